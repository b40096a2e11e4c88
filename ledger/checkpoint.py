"""Checkpoints: what a log says its whole content is (c2sp.org/tlog-checkpoint v1.0.0).

The text of the note is three lines: origin, size in decimal, base64 of the root hash. The
specification allows extension lines; pnode refuses them, because cosigners do not cover them. The
log's own line must carry the origin as its key name.

A pnode origin is self-certifying: `pnode.example/log/v1/<hex SHA-256 of the log key>`. No registry
is needed to know which key may speak for a log, and a log keeps its key for life.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from ledger.encoding import decode_base64, encode_base64, parse_decimal
from ledger.errors import MalformedError, SignatureError
from ledger.keys import PrivateKey, PublicKey
from ledger.merkle import EMPTY_ROOT, HASH_SIZE
from ledger.note import ED25519_NOTE, Note, NoteKey, NoteVerifier, sign_note

ORIGIN_PREFIX: Final = "pnode.example/log/v1/"


@dataclass(frozen=True, slots=True, order=True)
class Checkpoint:
    """The size and root of a log: a claim, until the note around it is verified."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise MalformedError("checkpoint: the origin is empty or has several lines")
        if len(self.root) != HASH_SIZE or type(self.size) is not int or self.size < 0:
            raise MalformedError(f"checkpoint of {self.origin}: bad size or root")
        if (self.size == 0) != (self.root == EMPTY_ROOT):
            raise MalformedError(f"checkpoint of {self.origin}: root and size disagree")

    @property
    def text(self) -> str:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Parse the text of a checkpoint note."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise MalformedError("checkpoint: exactly three lines are accepted")
        origin, size, root = lines[:3]
        return cls(
            origin,
            parse_decimal(size, what=f"size in checkpoint of {origin[:120]}"),
            decode_base64(root, what=f"root in checkpoint of {origin[:120]}", length=HASH_SIZE),
        )


def log_origin(key: PublicKey) -> str:
    """Return the self-certifying origin of the log that `key` signs."""
    return ORIGIN_PREFIX + hashlib.sha256(key.raw).hexdigest()


def log_key(origin: str, key: PublicKey) -> NoteKey:
    """Return the note key of a pnode log.

    Raises:
        SignatureError: if the origin does not belong to this key.
    """
    if log_origin(key) != origin:
        raise SignatureError(f"the log key given for {origin} is not the one its name contains")
    return NoteKey(origin, ED25519_NOTE, key)


def sign_checkpoint(checkpoint: Checkpoint, key: PrivateKey) -> Note:
    """Return the signed note. Call it only after the log is durable and the lock has moved."""
    return Note(checkpoint.text, (sign_note(checkpoint.text, checkpoint.origin, key),))


def open_checkpoint(data: bytes, key: NoteKey) -> Checkpoint:
    """Verify a checkpoint note by the key of its log.

    Raises:
        MalformedError: if the bytes are not a checkpoint note.
        SignatureError: if the log's key did not sign it or names another origin.
    """
    note = Note.parse(data)
    note.open([NoteVerifier(key)])
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != key.name:
        raise SignatureError(f"the key of {key.name} signed a checkpoint of {checkpoint.origin}")
    return checkpoint
