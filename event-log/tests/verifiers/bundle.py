"""Verifies a bundle by docs/log-format.md alone: bundle.py BUNDLE KEY (of the log, as text)."""
import base64, hashlib, json, struct, sys, uuid
from ed25519 import is_signed


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def fields(data):
    while data:
        length = int.from_bytes(data[:4], "big")
        end = 4 if length == 0xFFFFFFFF else 4 + length
        assert end <= len(data), "a field is cut off"
        yield None if length == 0xFFFFFFFF else data[4:end]
        data = data[end:]


def frames(data):
    at, count = 8, 1
    assert data[:8] == b"OPSBNDL1" and data[-32:] == sha(data[:-45]), "it is no bundle, or changed"
    while at < len(data) - 45:
        end, count = at + 5 + int.from_bytes(data[at + 1:at + 5], "big"), count + 1
        yield chr(data[at]), data[at + 5:end]
        at = end
    assert data[at:-32] == b"Z\0\0\0\x28" + count.to_bytes(8, "big"), "the end does not fit"


class Verifier:
    def __init__(self, manifest, key):
        self.claim, self.scope, self.key = manifest, manifest["scope"], key.split("+", 2)
        self.ours = None if self.scope == "all" else uuid.UUID(self.scope["organization"]).bytes
        self.size, self.signed, self.nodes, self.events, self.purged = 0, 0, [], 0, 0
        self.gone, self.counts, self.behind, self.tenants, self.total = {}, {}, False, None, -1

    def grow(self, level, node):
        self.size += 1 << level
        while self.nodes and self.nodes[-1][0] == level:
            level, node = level + 1, sha(b"\1", self.nodes.pop()[1], node)
        self.nodes.append((level, node))

    def event(self, kind, body):
        at, begin = self.size + 1, self.claim["from"]
        position, number, header, *bodies = *struct.unpack(">qq", body[8:24]), *fields(body[84:])
        assert body[:8] == b"OPSLEAF1" and position == at, f"{at}: an event is missing"
        assert sha(header) == body[52:84] and header[:8] == b"OPSEVT01", f"{at}: it was changed"
        tenant, _, name, *_, payload, meta = fields(header[8:])
        is_ours = (kind == "E") == (begin <= at <= self.claim["to"]) and self.ours in (None, tenant)
        assert is_ours, f"{at}: the event does not belong here"
        self.events += kind == "E"
        if bodies != [None] * 4:
            assert sha(b"\2", *bodies[:2]) == payload and len(bodies[0]) == 16, f"{at}: its payload"
            assert sha(b"\3", *bodies[2:]) == meta and len(bodies[2]) == 16, f"{at}: its meta"
        elif kind == "E" and self.claim["bodies"]:
            self.gone[at] = tenant
        first = number - 1 if at < begin or not self.ours and begin > 1 else 0
        may = kind == "P" and (self.behind or not self.ours)
        assert may or number == self.counts.get(tenant, first) + 1, f"{at}: some are missing"
        self.counts[tenant], self.behind = number, at > self.claim["to"]
        if name == b"bodies_purged" and bodies[1]:
            runs = json.loads(bodies[1])["runs"]
            for gone in {p for p in self.gone for r in runs if r["first"] <= p <= r["last"]}:
                assert self.gone.pop(gone) == tenant, f"{at}: it purges another's"
                self.purged += 1
        self.grow(0, sha(b"\0", body[:84]))

    def gap(self, body):
        start, end = self.size, int.from_bytes(body[:8], "big")
        may = self.ours or end < self.claim["from"] or start >= self.claim["to"]
        for at in range(8, len(body), 32):
            low, left = (self.size & -self.size).bit_length() or 64, (end - self.size).bit_length()
            self.grow(min(low, left) - 1, body[at:at + 32])
        assert may and self.size == end, f"{start + 1}: events are missing, or their hashes"

    def checkpoint(self, note):
        text, lines = note.decode().rsplit("\n\n", 1)
        self.root = self.nodes[-1][1]
        for _, node in self.nodes[-2::-1]:
            self.root = sha(b"\1", node, self.root)
        lines = [line.split(" ")[2] for line in lines.splitlines() if f" {self.key[0]} " in line]
        found = [v[4:] for v in map(base64.b64decode, lines) if v[:4].hex() == self.key[1]]
        made = lambda v: is_signed(base64.b64decode(self.key[2])[1:], (text + "\n").encode(), v)
        origin, size, root, tenants = text.split("\n")[:4]
        assert found and all(map(made, found)), f"{self.size}: the checkpoint is not signed"
        assert origin.startswith(f"opscenter/log/{self.claim['log']}/epoch/"), "another log's"
        assert int(size) == self.size and base64.b64decode(root) == self.root, f"{size}: the root"
        self.signed, self.tenants = self.size, base64.b64decode(tenants.removeprefix("tenants "))

    def count(self, body):
        key, path = sha(self.ours), [body[at:at + 32] for at in range(8, len(body), 32)]
        node, self.total = sha(b"\4", self.ours, body[:8]), int.from_bytes(body[:8], "big")
        for depth, beside in zip(range(len(path) - 1, -1, -1), path):
            bit = key[depth // 8] >> 7 - depth % 8 & 1
            node = sha(b"\5", beside, node) if bit else sha(b"\5", node, beside)
        assert node == self.tenants, "the count is not what is signed"


def verify(data, key):
    found = frames(data)
    it = Verifier(json.loads(next(found)[1]), key)
    for kind, body in found:
        if kind in "ENP":
            it.event(kind, body)
        elif kind in "GCT":
            {"G": it.gap, "C": it.checkpoint, "T": it.count}[kind](body)
    assert it.signed == it.size == it.claim["size"], "the bundle ends before it is proved"
    is_all = it.total >= 0 and (it.behind or it.total == it.counts.get(it.ours, 0))
    assert is_all or not it.ours, "the last events are missing, or their count"
    assert not it.gone, f"{min(it.gone, default=0)}: the body is missing"
    return f"ok {it.events} {it.purged} {it.root.hex()}"


try:
    print(verify(open(sys.argv[1], "rb").read(), sys.argv[2]))
except (AssertionError, KeyError, ValueError, TypeError, IndexError, struct.error) as wrong:
    sys.exit(print(f"wrong at {wrong}") or 1)
