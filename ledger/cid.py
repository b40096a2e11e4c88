"""Content identifiers: CIDv1, sha2-256, codec raw or dag-pb, and nothing else.

Bytes are `01 <codec> 12 20 <32-byte digest>`; text is `b` and lower-case base32 without padding
(multiformats CID specification). Anything else is refused, so two texts never name one content.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
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


_TOGETHER = 16


def _spreading_steps(numbers: int) -> tuple[tuple[int, int, int], ...]:
    """Return (low mask, high mask, shift) of each step that spreads groups of 5 bits to bytes.

    Each step cuts every block of groups in two and moves the upper half, so six operations on one
    large number do the work of 58 on small ones. A large number may hold several numbers of 64
    groups, each in 64 bytes of its own.
    """
    steps = []
    for half in (32, 16, 8, 4, 2, 1):
        blocks = 32 // half * numbers
        low = sum(((1 << half * 5) - 1) << block * half * 16 for block in range(blocks))
        steps.append((low, low << half * 5, half * 3))
    return tuple(steps)


_STEPS = _spreading_steps(1)
_STEPS_TOGETHER = _spreading_steps(_TOGETHER)


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


def cid_texts(digests: Sequence[bytes]) -> list[str]:
    """Return the texts of many raw CIDs, given by their digests; quicker than one after another."""
    texts: list[str] = []
    before = bytes(64 - _BYTE_LENGTH) + bytes((1, RAW, 0x12, 0x20))
    for start in range(0, len(digests), _TOGETHER):
        part = digests[start : start + _TOGETHER]
        number = int.from_bytes(b"".join([before + digest for digest in part]), "big") << 2
        for low, high, shift in _STEPS_TOGETHER:
            number = (number & low) | ((number & high) << shift)
        text = number.to_bytes(64 * len(part), "big").translate(_TO_TEXT).decode("ascii")
        texts += ["b" + text[at + 6 : at + 64] for at in range(0, len(text), 64)]
    return texts


def require_cid(text: str) -> None:
    """Require that a text is the CID of something, without computing what it names.

    Raises:
        MalformedError: if it is not.
    """
    if not _CANONICAL.fullmatch(text):
        raise MalformedError(f"'{text[:80]}' is not a CIDv1 in base32")
