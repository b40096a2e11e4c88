"""What others said of the trees of a log, as stored: cosignatures and sightings.

A cosignature is filed under the tree it covers (log, size, root) and the cosigner's key; the
earliest one stored stays for good. A sighting is a signed checkpoint that no entries held here
back: cosigned ahead of the mirror, or contradicting it. Only lines that were verified may be
stored, so what is read here is as trustworthy as the database.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from ledger.checkpoint import Checkpoint
from ledger.cosignature import CosignatureVerifier
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import EvidenceError
from ledger.log import Log, find_log
from ledger.note import MAX_SIGNATURES, Note, NoteKey, NoteSignature, parse_signature

if TYPE_CHECKING:
    import sqlite_utils

MAX_COSIGNERS: Final = 64
"""Lines kept per tree from cosigners that nobody asked for; identities cost nothing."""


def add_cosignatures(
    writer: sqlite_utils.Database,
    log: Log,
    checkpoint: Checkpoint,
    lines: Iterable[tuple[NoteKey, NoteSignature]],
) -> None:
    """Store cosignatures of a tree, verified once more; call it inside a transaction.

    Raises:
        SignatureError: if a line is not a cosignature of this tree by its key.
    """
    for key, line in lines:
        CosignatureVerifier(key).verify_line(checkpoint.text, line)
        writer.table("cosignature").insert(
            {**_tree(log, checkpoint), "key": str(key), "line": str(line)}, ignore=True
        )


def cosignatures(log: Log, checkpoint: Checkpoint) -> dict[str, NoteSignature]:
    """Return the cosignatures stored of a tree, by verifier key, in the order of storing."""
    sql = "SELECT key, line FROM cosignature WHERE log = ? AND size = ? AND root = ? ORDER BY rowid"
    rows = log.database.query(sql, (log.row_id, checkpoint.size, checkpoint.root))
    return {str(key): parse_signature(line) for key, line in rows}


def cosigned_note(log: Log, checkpoint: Checkpoint, note: bytes) -> bytes:
    """Return a checkpoint note with the log's own line and every cosignature stored of its tree.

    The log's line comes first, then the cosigners by name. Lines of the note as it was received
    that nobody verified are left out.
    """
    parsed = Note.parse(note)
    own = tuple(line for line in parsed.signatures if line.is_by(log.key))[:1]
    stored = list(cosignatures(log, checkpoint).values())[: MAX_SIGNATURES - 1]
    return bytes(Note(parsed.text, (*own, *sorted(stored, key=lambda line: line.name))))


def last_cosigned(log: Log, key: NoteKey) -> Checkpoint | None:
    """Return the largest tree of a log that a key has cosigned, as far as is stored."""
    sql = "SELECT size, root FROM cosignature WHERE log = ? AND key = ? ORDER BY size DESC LIMIT 1"
    for size, root in log.database.query(sql, (log.row_id, str(key))):
        return Checkpoint(log.origin, size, root)
    return None


def cosigned_trees(
    log: Log, keys: Collection[str], *, beyond: int = 0
) -> Iterator[tuple[Checkpoint, bytes, set[str]]]:
    """Yield the trees of more than `beyond` entries that some of these keys have cosigned.

    Smallest first, each with its checkpoint note as stored and the keys. Only trees that the
    entries held back: the others prove nothing about an entry.
    """
    sql = (
        "SELECT checkpoint.size, checkpoint.root, checkpoint.note, cosignature.key"
        " FROM checkpoint JOIN cosignature USING (log, size, root)"
        " WHERE log = ? AND size > ? ORDER BY size"
    )
    found: tuple[Checkpoint, bytes, set[str]] | None = None
    for size, root, note, key in log.database.query(sql, (log.row_id, beyond)):
        if key not in keys:
            continue
        if found is not None and found[0].size == size:
            found[2].add(key)
            continue
        if found is not None:
            yield found
        found = (Checkpoint(log.origin, size, root), note, {key})
    if found is not None:
        yield found


def add_sighting(
    writer: sqlite_utils.Database, log: Log, checkpoint: Checkpoint, note: bytes
) -> None:
    """Store a signed checkpoint that entries do not back; call it inside a transaction."""
    writer.table("sighting").insert({**_tree(log, checkpoint), "note": note}, ignore=True)


def sightings(
    log: Log, *, beyond: int = -1, up_to: int | None = None
) -> Iterator[tuple[Checkpoint, bytes]]:
    """Yield the sightings of a log with their notes, smallest first.

    Only those of more than `beyond` entries and, if it is given, of at most `up_to`.
    """
    sql = (
        "SELECT size, root, note FROM sighting WHERE log = ?1 AND size > ?2"
        " AND (?3 IS NULL OR size <= ?3) ORDER BY size, root"
    )
    for size, root, note in log.database.query(sql, (log.row_id, beyond, up_to)):
        yield Checkpoint(log.origin, size, root), note


def count_sightings(log: Log, *, beyond: int) -> int:
    """Return how many sightings of a log have more than `beyond` entries."""
    sql = "SELECT count(*) FROM sighting WHERE log = ? AND size > ?"
    return int(next(log.database.query(sql, (log.row_id, beyond)))[0])


def note_of(log: Log, checkpoint: Checkpoint) -> bytes | None:
    """Return the stored note that signs this very tree, backed by entries or only sighted."""
    for table in ("checkpoint", "sighting"):
        sql = f"SELECT note FROM {table} WHERE log = ? AND size = ? AND root = ?"  # noqa: S608
        for (note,) in log.database.query(sql, (log.row_id, checkpoint.size, checkpoint.root)):
            return bytes(note)
    return None


def cosigner_of(database: Database, origin: str) -> NoteKey | None:
    """Return the cosigner key that the genesis of a log held here binds to its own origin.

    A genesis that names a cosigner of another name is not believed: it could claim a stranger's.
    """
    log = find_log(database, origin)
    body = next(log.bodies(0, 1), None) if log is not None else None
    if body is None:
        return None
    try:
        genesis = Entry.stored(body)
        if genesis.kind != "genesis":
            return None
        key = NoteKey.parse(genesis.statement.predicate["cosigner_key"])
        return CosignatureVerifier(key).note_key if key.name == origin else None
    except EvidenceError:
        return None  # damaged, or of no use as a cosigner; the audit reports what is damaged


def _tree(log: Log, checkpoint: Checkpoint) -> dict[str, object]:
    return {"log": log.row_id, "size": checkpoint.size, "root": checkpoint.root}
