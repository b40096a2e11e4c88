"""Content identifiers: CIDv1, sha2-256, codec raw or dag-pb, and nothing else.

Bytes are `01 <codec> 12 20 <32-byte digest>`; text is `b` and lower-case base32 without padding
(multiformats CID specification). Anything else is refused, so two texts never name one content.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from ledger.errors import DigestError, MalformedError

RAW: Final = 0x55
DAG_PB: Final = 0x70
_TEXT_LENGTH = 59
_BYTE_LENGTH = 36


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
        if len(text) != _TEXT_LENGTH or not text.startswith("b") or not text.isascii():
            raise MalformedError(f"'{text[:80]}' is not a CIDv1 in base32")
        try:
            data = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
        except ValueError:
            raise MalformedError(f"'{text}' is not a CIDv1 in base32") from None
        cid = cls.from_bytes(data)
        if str(cid) != text:
            raise MalformedError(f"'{text}' is not a canonical CID")
        return cid

    @classmethod
    def from_bytes(cls, data: bytes) -> Cid:
        """Parse the 36 binary bytes."""
        if len(data) != _BYTE_LENGTH or data[0] != 1 or data[2:4] != b"\x12\x20":
            raise MalformedError("CID: only CIDv1 with sha2-256 is accepted")
        return cls(data[1], data[4:])

    def __bytes__(self) -> bytes:
        return bytes((1, self.codec, 0x12, 0x20)) + self.digest

    def __str__(self) -> str:
        return "b" + base64.b32encode(bytes(self)).decode("ascii").lower().rstrip("=")

    def check(self, block: bytes) -> None:
        """Require that `block` is what this CID names.

        Raises:
            DigestError: if it is not.
        """
        actual = Cid.of(block, self.codec)
        if actual != self:
            raise DigestError(f"block {self} has the bytes of {actual}")
