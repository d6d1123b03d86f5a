"""Verifies a raw export of the log with nothing but the standard library.

Written from the description of the format alone (docs/replay.md), so that agreeing with it means
that a stranger can check the log. Prints {"head": …, "chain": …} or says what is wrong and exits 1.
"""

import base64
import hashlib
import json
import sys
import uuid
from datetime import datetime, timedelta, timezone

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def micros(text):
    moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return (moment - EPOCH) // timedelta(microseconds=1)


def big_endian(number, size):
    return number.to_bytes(size, "big", signed=True)


def field(value):
    if value is None:
        return b"\xff\xff\xff\xff"
    return len(value).to_bytes(4, "big") + value


def optional_uuid(text):
    return None if text is None else uuid.UUID(text).bytes


def commit(domain, salt, body):
    content = bytes([domain]) + bytes.fromhex(salt) + base64.b64decode(body, validate=True)
    return hashlib.sha256(content).digest()


def event_hash(event):
    fields = [
        uuid.UUID(event["tenant"]).bytes,
        None if event["stream"] is None else event["stream"].encode(),
        event["type"].encode(),
        big_endian(event["schema_version"], 2),
        uuid.UUID(event["event_id"]).bytes,
        big_endian(micros(event["occurred_at"]), 8),
        event["actor"].encode(),
        optional_uuid(event["causation"]),
        optional_uuid(event["correlation"]),
        b"".join(uuid.UUID(subject).bytes for subject in event["subjects"]),
        commit(0x02, event["payload_salt"], event["payload"]),
        commit(0x03, event["meta_salt"], event["meta"]),
    ]
    return hashlib.sha256(b"OPSEVT01" + b"".join(map(field, fields))).digest()


class Log:
    def __init__(self):
        self.chain, self.last, self.recorded_at, self.versions = bytes(32), 0, None, {}

    def check(self, batch, events):
        first, last, at = batch["first"], batch["last"], micros(batch["recorded_at"])
        assert first == self.last + 1 <= last, f"batch {first}: not after {self.last}"
        assert self.recorded_at is None or self.recorded_at < at, f"batch {first}: time"
        positions = [event["position"] for event in events]
        assert positions == list(range(first, last + 1)), f"batch {first}: positions"
        hashes = b""
        for event in events:
            where = f"position {event['position']}"
            found = event_hash(event)
            assert found.hex() == event["event_hash"], f"{where}: hash"
            assert micros(event["recorded_at"]) == at, f"{where}: time"
            stream, version = event["stream"], event["stream_version"]
            assert (stream is None) == (version is None), f"{where}: stream"
            if stream is not None:
                self.versions[stream] = self.versions.get(stream, 0) + 1
                assert version == self.versions[stream], f"{where}: version"
            hashes += found
        head = big_endian(first, 8) + big_endian(len(events), 4) + big_endian(at, 8)
        self.chain = hashlib.sha256(self.chain + head + hashes).digest()
        assert self.chain.hex() == batch["chain"], f"batch {first}: chain"
        self.last, self.recorded_at = last, at


def main(path):
    log, batch, events = Log(), None, []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            content = json.loads(line)
            if "batch" in content:
                if batch is not None:
                    log.check(batch, events)
                batch, events = content["batch"], []
            else:
                events.append(content["event"])
    if batch is not None:
        log.check(batch, events)
    print(json.dumps({"head": log.last, "chain": log.chain.hex()}))


if __name__ == "__main__":
    main(sys.argv[1])
