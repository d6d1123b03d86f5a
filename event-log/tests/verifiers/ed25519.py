"""Checks Ed25519 signatures as RFC 8032 (section 5.1.7) says, for Python's own library has none."""
import hashlib

P, D = 2**255 - 19, -121665 * pow(121666, -1, 2**255 - 19)
L = 2**252 + 27742317777372353535851937790883648493


def point(data):
    y = int.from_bytes(data, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0 and y < P, "a point is none"
    x = P - x if x & 1 != data[31] >> 7 else x
    return x, y, 1, x * y % P


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]), (p[1] + p[0]) * (q[1] + q[0])
    c, d = 2 * p[3] * q[3] * D, 2 * p[2] * q[2]
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, p):
    total = (0, 1, 1, 0)
    while n:
        total, p, n = (add(total, p) if n & 1 else total), add(p, p), n >> 1
    return total


BASE = point((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def is_signed(public, text, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(r + public + text).digest(), "little") % L
    a, b = times(s, BASE), add(point(r), times(h, point(public)))
    return all((a[i] * b[2] - b[i] * a[2]) % P == 0 for i in (0, 1))
