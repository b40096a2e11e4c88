"""Cosignatures: a witness says which tree it has seen, and when (c2sp.org/tlog-cosignature v1.0.1).

The payload of the note line is a 64-bit big-endian POSIX time and an Ed25519 signature (key type
04) over `cosignature/v1`, `time <decimal>` and the whole checkpoint text. The message does not
name the cosigner, hence one key serves one cosigner and nothing else.
"""

from __future__ import annotations

from typing import Final

from ledger.errors import MalformedError, SignatureError
from ledger.keys import SIGNATURE_SIZE, PrivateKey
from ledger.note import ED25519_COSIGNATURE, NoteKey, NoteSignature

_TIME_SIZE = 8
COSIGNATURE_SIZE: Final = _TIME_SIZE + SIGNATURE_SIZE


class CosignatureVerifier:
    """Verifies Ed25519 cosignature lines (type 04)."""

    def __init__(self, note_key: NoteKey) -> None:
        if note_key.kind != ED25519_COSIGNATURE:
            raise MalformedError(f"'{note_key.name}' is not a cosigner key")
        self.note_key = note_key

    def verify_line(self, text: str, line: NoteSignature) -> None:
        """Require a timestamped signature over the checkpoint text."""
        if len(line.payload) != COSIGNATURE_SIZE:
            raise SignatureError(f"cosignature of '{line.name}' has the wrong length")
        signature = line.payload[_TIME_SIZE:]
        self.note_key.key.verify(signature, _message(text, cosigned_at(line)))


def cosign(text: str, name: str, key: PrivateKey, *, time: int) -> NoteSignature:
    """Return the cosignature line over a checkpoint text at POSIX second `time`."""
    note_key = NoteKey(name, ED25519_COSIGNATURE, key.public)
    payload = time.to_bytes(_TIME_SIZE, "big") + key.sign(_message(text, time))
    return NoteSignature(name, note_key.key_id, payload)


def cosigned_at(line: NoteSignature) -> int:
    """Return the POSIX second a cosignature line claims."""
    return int.from_bytes(line.payload[:_TIME_SIZE], "big")


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
