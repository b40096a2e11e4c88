"""Content identifiers: CIDv1, sha2-256, codec raw or dag-pb, and nothing else.

Bytes are `01 <codec> 12 20 <32-byte digest>`; text is `b` and lower-case base32 without padding
(multiformats CID specification). Anything else is refused, so two texts never name one content.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from ledger.errors import DigestError, MalformedError

RAW: Final = 0x55
DAG_PB: Final = 0x70
_TEXT_LENGTH = 59
_BYTE_LENGTH = 36

# The texts of all CIDs accepted here, and of nothing else: version, codec and hash function are
# the first 32 bits, and the last character carries two bits that must be zero.
CID_PATTERN: Final = "baf(?:kr|yb)ei[a-h][a-z2-7]{50}[aeimquy4]"
_CANONICAL = re.compile(CID_PATTERN, re.ASCII)

_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567"
_TO_TEXT = bytes.maketrans(bytes(range(32)), _BASE32)
_FROM_TEXT = bytes.maketrans(_BASE32, bytes(range(32)))


def _spreading_steps() -> tuple[tuple[int, int, int], ...]:
    """Return (low mask, high mask, shift) of each step that spreads 64 groups of 5 bits to bytes.

    Each step cuts every block of groups in two and moves the upper half, so six operations on
    one large number do the work of 58 on small ones.
    """
    steps = []
    for half in (32, 16, 8, 4, 2, 1):
        low = sum(((1 << half * 5) - 1) << block * half * 16 for block in range(32 // half))
        steps.append((low, low << half * 5, half * 3))
    return tuple(steps)


_STEPS = _spreading_steps()


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of some bytes: a codec and the SHA-256 of the block."""

    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.codec not in (RAW, DAG_PB) or len(self.digest) != 32:
            raise MalformedError("CID: only raw and dag-pb with sha2-256 are accepted")

    @classmethod
    def of(cls, block: bytes, codec: int = RAW) -> Cid:
        """Return the CID of a block."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Parse the canonical base32 text.

        Raises:
            MalformedError: unless printing the result gives `text` back.
        """
        require_cid(text)
        number = int.from_bytes(text[1:].encode("ascii").translate(_FROM_TEXT), "big")
        for low, high, shift in reversed(_STEPS):
            number = (number & low) | ((number >> shift) & high)
        return cls.from_bytes((number >> 2).to_bytes(_BYTE_LENGTH, "big"))

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Parse the 36 binary bytes."""
        if len(data) != _BYTE_LENGTH or data[0] != 1 or data[2:4] != b"\x12\x20":
            raise MalformedError("CID: only CIDv1 with sha2-256 is accepted")
        return cls(data[1], data[4:])

    def __bytes__(self) -> bytes:
        return bytes((1, self.codec, 0x12, 0x20)) + self.digest

    def __str__(self) -> str:
        number = int.from_bytes(bytes(self), "big") << 2
        for low, high, shift in _STEPS:
            number = (number & low) | ((number & high) << shift)
        return "b" + number.to_bytes(_TEXT_LENGTH - 1, "big").translate(_TO_TEXT).decode("ascii")

    def check(self, block: bytes) -> None:
        """Require that `block` is what this CID names.

        Raises:
            DigestError: if it is not.
        """
        actual = Cid.of(block, self.codec)
        if actual != self:
            raise DigestError(f"block {self} has the bytes of {actual}")


def require_cid(text: str) -> None:
    """Require that a text is the CID of something, without computing what it names.

    Raises:
        MalformedError: if it is not.
    """
    if not _CANONICAL.fullmatch(text):
        raise MalformedError(f"'{text[:80]}' is not a CIDv1 in base32")
