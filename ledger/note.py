"""Signed notes: text that several keys have signed (c2sp.org/signed-note v1.0.0).

    <text, ending in a newline>
    <empty line>
    - <key name> <base64 of 4-byte key ID and signature>      (one line per signature)

The dash stands for U+2014. The separator is the last empty line. A key ID is the first four bytes
of SHA-256(name || 0x0A || type || public key); the ID alone never identifies a key, the pair of
name and ID does. Implemented: Ed25519 note keys (type 01) and, in `ledger.cosignature`, Ed25519
cosigners (type 04). Stricter than the specification: at most 100 signature lines, 64 KiB in all,
one accepted base64 spelling.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from ledger.encoding import decode_base64, decode_hex, encode_base64
from ledger.errors import MalformedError, SignatureError
from ledger.keys import PrivateKey, PublicKey

ED25519_NOTE: Final = 0x01
ED25519_COSIGNATURE: Final = 0x04
MAX_NOTE_BYTES: Final = 65_536
MAX_SIGNATURES: Final = 100
_KEY_ID_SIZE = 4
_DASH = "\u2014"
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f]")
_NO_NAME = re.compile(r"[\s\x00-\x1f+]")


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A public key as notes name it: `name+<key ID>+<base64 of type and key>` (a vkey).

    Raises:
        MalformedError: for a name that a note could not carry, or an unknown type.
    """

    name: str
    kind: int
    key: PublicKey

    def __post_init__(self) -> None:
        if self.kind not in (ED25519_NOTE, ED25519_COSIGNATURE):
            raise MalformedError(f"note key '{self.name}': type {self.kind:#04x} is not supported")
        _check_name(self.name)

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Parse a vkey; the key ID in it must be the right one."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError(f"'{text[:120]}' is not a verifier key")
        name, key_id, encoded = parts
        data = decode_base64(encoded, what=f"verifier key of '{name[:80]}'", length=33)
        key = cls(name, data[0], PublicKey(data[1:]))
        if decode_hex(key_id, what="key ID", length=_KEY_ID_SIZE) != key.key_id:
            raise MalformedError(f"verifier key of '{name[:80]}' has the wrong key ID")
        return key

    def __str__(self) -> str:
        encoded = encode_base64(bytes([self.kind]) + self.key.raw)
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def key_id(self) -> bytes:
        """The four-byte key ID."""
        data = self.name.encode("utf-8") + b"\n" + bytes([self.kind]) + self.key.raw
        return hashlib.sha256(data).digest()[:_KEY_ID_SIZE]


class NoteSignature(NamedTuple):
    """One signature line: who, and the bytes after the key ID."""

    name: str
    key_id: bytes
    payload: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {encode_base64(self.key_id + self.payload)}"

    def is_by(self, key: NoteKey) -> bool:
        """Whether the line claims to come from this key (nothing is verified)."""
        return self.name == key.name and self.key_id == key.key_id


class LineVerifier(Protocol):
    """Checks one kind of signature line over the text of a note."""

    @property
    def note_key(self) -> NoteKey:
        """The key whose lines it checks."""

    def verify_line(self, text: str, line: NoteSignature) -> None:
        """Raise SignatureError unless the line is a valid signature over `text`."""


class Note(NamedTuple):
    """A note as received; its text is unverified until `open` returned."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __bytes__(self) -> bytes:
        lines = "".join(f"{line}\n" for line in self.signatures)
        return f"{self.text}\n{lines}".encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Parse the bytes of a note without verifying a signature.

        Raises:
            MalformedError: if they are not a note.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise MalformedError(f"note: {len(data)} bytes, at most {MAX_NOTE_BYTES} are accepted")
        try:
            content = data.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedError("note: not UTF-8") from None
        if _CONTROL.search(content):
            raise MalformedError("note: contains a control character")
        text, separator, tail = content.rpartition("\n\n")
        if not separator or not text or not tail.endswith("\n"):
            raise MalformedError("note: no signature block at its end")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise MalformedError(f"note: more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", tuple(parse_signature(line) for line in lines))

    def open(self, verifiers: Sequence[LineVerifier]) -> tuple[NoteSignature, ...]:
        """Verify the note and return one line per known key that signed it.

        SPEC: "a signature from a known key that fails to verify MUST cause the note to be
        rejected"; lines by unknown keys are ignored.

        Raises:
            SignatureError: if a known key's line is wrong or no known key signed.
        """
        verified: dict[tuple[str, bytes], NoteSignature] = {}
        for line in self.signatures:
            for verifier in verifiers:
                if line.is_by(verifier.note_key):
                    verifier.verify_line(self.text, line)
                    verified.setdefault((line.name, line.key_id), line)
        if not verified:
            raise SignatureError("note: not signed by any known key")
        return tuple(verified.values())


class NoteVerifier:
    """Verifies plain Ed25519 lines (type 01)."""

    def __init__(self, note_key: NoteKey) -> None:
        if note_key.kind != ED25519_NOTE:
            raise MalformedError(f"'{note_key.name}' is not a key that signs notes directly")
        self.note_key = note_key

    def verify_line(self, text: str, line: NoteSignature) -> None:
        """Require an Ed25519 signature over the text, its final newline included."""
        self.note_key.key.verify(line.payload, text.encode("utf-8"))


def sign_note(text: str, name: str, key: PrivateKey) -> NoteSignature:
    """Return the Ed25519 signature line of `name` over a note text."""
    note_key = NoteKey(name, ED25519_NOTE, key.public)
    return NoteSignature(name, note_key.key_id, key.sign(text.encode("utf-8")))


def parse_signature(line: str) -> NoteSignature:
    """Parse one signature line, without its newline; nothing is verified."""
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != _DASH:
        raise MalformedError("note: a signature line does not begin with an em dash")
    _check_name(name)
    data = decode_base64(encoded, what=f"signature line of '{name[:80]}'")
    if len(data) <= _KEY_ID_SIZE:
        raise MalformedError(f"signature line of '{name[:80]}' is too short")
    return NoteSignature(name, data[:_KEY_ID_SIZE], data[_KEY_ID_SIZE:])


def _check_name(name: str) -> None:
    surrogates = not name.isascii() and any("\ud800" <= char <= "\udfff" for char in name)
    if not 0 < len(name) <= 256 or surrogates or _NO_NAME.search(name):
        raise MalformedError(f"'{name[:80]}' cannot be a key name")
