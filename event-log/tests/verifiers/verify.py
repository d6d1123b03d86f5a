"""Verifies a log by docs/event-log-format.md alone. Reads JSON Lines: each batch, then its rows.
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

    fields = [
        raw("tenant"), text("stream"), text("type"), struct.pack(">h", row["schema_version"]),
        raw("event_id"), struct.pack(">q", row["occurred_at"]), text("actor"), raw("causation"),
        raw("correlation"), b"".join(bytes.fromhex(s) for s in row["subjects"]),
        sha(b"\x02", raw("payload_salt"), raw("payload")),
        sha(b"\x03", raw("meta_salt"), raw("meta")),
    ]
    return sha(b"OPSEVT01", *map(field, fields))


def verify(lines):
    chain, last, clock, versions = bytes(32), 0, None, {}
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
            assert row["recorded_at"] == batch["recorded_at"], f"{position}: its time was changed"
            if row["stream"] is not None:
                versions[row["stream"]] = versions.get(row["stream"], 0) + 1
            assert row["stream_version"] == versions.get(row["stream"]), f"{position}: its version"
        numbers = struct.pack(">qiq", batch["first"], count, batch["recorded_at"])
        chain, last, clock = sha(chain, numbers, *hashes), batch["last"], batch["recorded_at"]
        assert chain.hex() == batch["chain"], f"{batch['first']}: the chain does not follow"
    return f"ok {last} {chain.hex()}"


try:
    print(verify(iter(sys.stdin)))
except (AssertionError, KeyError, ValueError, TypeError) as wrong:
    sys.exit(print(f"wrong at {wrong}") or 1)
