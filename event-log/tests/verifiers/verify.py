"""Verifies a log by docs/log-format.md alone. Reads JSON Lines: each batch, then its rows.
Prints "ok <last position> <chain>", or the first thing that is wrong and exits with 1."""
import hashlib
import json
import struct
import sys


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def field(value):
    return b"\xff\xff\xff\xff" if value is None else struct.pack(">I", len(value)) + value


def event_hash(row):
    def raw(name):
        return None if row[name] is None else bytes.fromhex(row[name])

    def text(name):
        return None if row[name] is None else row[name].encode()

    def commit(name, tag):
        kept = row.get(name + "_commit")
        return bytes.fromhex(kept) if kept else sha(tag, raw(name + "_salt"), raw(name))

    fields = [
        raw("tenant"), text("stream"), text("type"), struct.pack(">h", row["schema_version"]),
        raw("event_id"), struct.pack(">q", row["occurred_at"]), text("actor"), raw("causation"),
        raw("correlation"), b"".join(bytes.fromhex(s) for s in row["subjects"]),
        commit("payload", b"\x02"), commit("meta", b"\x03"),
    ]
    return sha(b"OPSEVT01", *map(field, fields))


BODIES = ["payload", "payload_salt", "meta", "meta_salt"]


def account(row, digest, gone):
    """Notes a body that was purged, and takes away what a recorded purge covers."""
    if row.get("payload_commit") or row.get("meta_commit"):
        assert not any(row[name] for name in BODIES), f"{row['position']}: purged by half"
        place = struct.pack(">q", row["position"])
        gone[row["position"]] = place + bytes.fromhex(row["event_id"]) + digest
    elif row["type"] == "bodies_purged":
        purge = json.loads(bytes.fromhex(row["payload"]))
        places = [p for run in purge["runs"] for p in range(run["first"], run["last"] + 1)]
        covered = sha(b"OPSPURG1", *(gone.pop(p, b"") for p in places))
        assert covered.hex() == purge["digest"], f"{row['position']}: it covers other bodies"


def verify(lines):
    chain, last, clock, versions, gone = bytes(32), 0, None, {}, {}
    for line in lines:
        batch = json.loads(line)
        count = batch["last"] - batch["first"] + 1
        assert batch["first"] == last + 1 and count > 0, f"{last + 1}: no batch begins here"
        assert clock is None or batch["recorded_at"] > clock, f"{last + 1}: time goes back"
        hashes = []
        for position in range(batch["first"], batch["last"] + 1):
            row = json.loads(next(lines, "{}"))
            assert row.get("position") == position, f"{position}: the row is missing"
            hashes.append(event_hash(row))
            assert hashes[-1].hex() == row["event_hash"], f"{position}: the content was changed"
            account(row, hashes[-1], gone)
            assert row["recorded_at"] == batch["recorded_at"], f"{position}: its time was changed"
            if row["stream"] is not None:
                versions[row["stream"]] = versions.get(row["stream"], 0) + 1
            assert row["stream_version"] == versions.get(row["stream"]), f"{position}: its version"
        numbers = struct.pack(">qiq", batch["first"], count, batch["recorded_at"])
        chain, last, clock = sha(chain, numbers, *hashes), batch["last"], batch["recorded_at"]
        assert chain.hex() == batch["chain"], f"{batch['first']}: the chain does not follow"
    assert not gone, f"{min(gone, default=0)}: its body is gone and no purge says so"
    return f"ok {last} {chain.hex()}"


try:
    print(verify(iter(sys.stdin)))
except (AssertionError, KeyError, ValueError, TypeError) as wrong:
    sys.exit(print(f"wrong at {wrong}") or 1)
