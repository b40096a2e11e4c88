"""What an auditor checks of what others said of a log: cosignatures and sightings, as stored."""

from __future__ import annotations

from collections.abc import Iterator

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cosignature import CosignatureVerifier
from ledger.errors import DigestError, EvidenceError
from ledger.log import Log
from ledger.note import NoteKey, parse_signature
from ledger.rules import Finding

# As bytes: a damaged text may not even be UTF-8.
_COSIGNATURES = (
    "SELECT size, root, CAST(key AS BLOB), CAST(line AS BLOB) FROM cosignature"
    " WHERE log = ? ORDER BY size, rowid"
)
_SIGHTINGS = "SELECT size, root, note FROM sighting WHERE log = ? ORDER BY size, root"


def check_observations(log: Log) -> Iterator[Finding]:
    """Check every cosignature and every sighting stored of a log."""
    for size, root, key, line in log.database.query(_COSIGNATURES, (log.row_id,)):
        try:
            _check_cosignature(Checkpoint(log.origin, size, root), key, line)
        except EvidenceError as error:
            yield Finding.of("log.cosignature", f"{log.origin} at size {size}", error)
    for size, root, note in log.database.query(_SIGHTINGS, (log.row_id,)):
        try:
            if open_checkpoint(note, log.key) != Checkpoint(log.origin, size, root):
                raise DigestError("filed here is the checkpoint of another tree")
        except EvidenceError as error:
            yield Finding.of("log.sighting", f"{log.origin} at size {size}", error)


def _check_cosignature(tree: Checkpoint, key: bytes, line: bytes) -> None:
    note_key = NoteKey.parse(key.decode("utf-8", errors="replace"))
    signature = parse_signature(line.decode("utf-8", errors="replace"))
    if not signature.is_by(note_key):
        raise DigestError(f"filed under {note_key.name} is a line of another key")
    CosignatureVerifier(note_key).verify_line(tree.text, signature)
