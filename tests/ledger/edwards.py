"""The Edwards curve of Ed25519, written out from RFC 8032 section 5.1, to make odd signatures.

Only for tests: it knows the points of small order that a signing library never produces.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_1 = pow(2, (P - 1) // 4, P)


@dataclass(frozen=True)
class Point:
    """An affine point of the curve."""

    x: int
    y: int

    def __add__(self, other: Point) -> Point:
        product = D * self.x * other.x * self.y * other.y % P
        x = (self.x * other.y + other.x * self.y) * pow(1 + product, -1, P)
        y = (self.y * other.y + self.x * other.x) * pow(1 - product, -1, P)
        return Point(x % P, y % P)

    def __rmul__(self, factor: int) -> Point:
        result, addend = Point(0, 1), self
        while factor:
            if factor & 1:
                result = result + addend
            addend, factor = addend + addend, factor >> 1
        return result

    def encode(self) -> bytes:
        """The canonical 32 bytes."""
        return (self.y | (self.x & 1) << 255).to_bytes(32, "little")

    def encodings(self) -> list[bytes]:
        """Every 32 bytes that a lenient decoder takes for this point."""
        signs = {self.x & 1} if self.x else {0, 1}
        ys = [y for y in (self.y, self.y + P) if y < 2**255]
        return [(y | sign << 255).to_bytes(32, "little") for y in ys for sign in sorted(signs)]


def point_with(y: int) -> Point | None:
    """A point with this y coordinate, or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * SQRT_MINUS_1 % P
    return Point(x, y) if (x * x - square) % P == 0 else None


def small_order_points() -> list[Point]:
    """The eight points whose order divides 8."""
    for y in range(2, 1000):
        point = point_with(y)
        if point:
            torsion = L * point
            if 4 * torsion != Point(0, 1):
                return [n * torsion for n in range(8)]
    raise AssertionError("no point of order 8 found")


BASE = next(
    point
    for point in [point_with(4 * pow(5, -1, P) % P)]
    if point is not None
)  # fmt: skip
BASE = BASE if BASE.x % 2 == 0 else Point(P - BASE.x, BASE.y)
IDENTITY = Point(0, 1)


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    """k of RFC 8032 section 5.1.7."""
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def signature(r: int, r_bytes: bytes, a: int, a_bytes: bytes, message: bytes) -> bytes:
    """Sign with secret scalars and freely chosen encodings of R and A."""
    s = (r + challenge(r_bytes, a_bytes, message) * a) % L
    return r_bytes + s.to_bytes(32, "little")
