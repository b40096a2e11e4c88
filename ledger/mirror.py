"""Growing the verified copy of somebody else's log.

Nothing is stored before everything is known to fit: the checkpoint is signed by the key its origin
names, the new entries extend exactly what is already held, together they hash to its root and to
every tree of the log that was seen before its entries came, and each is valid and new
(`Entry.stored` relies on it).

Verifying signatures is what costs time, and it is done once. A caller that verified the entries
while it read them hands them over as `CheckedBodies`; they are hashed again here, under the writer
lock, and must lead from what is held now to the signed root. Entries given as plain bytes are
verified here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.checkpoint import log_key, open_checkpoint
from ledger.database import Database
from ledger.errors import EquivocationError, EvidenceError, ProofError, SignatureError
from ledger.log import CheckedBodies, Log, add_log, check_bodies, find_log, store_rows
from ledger.merkle import CompactRange, leaf_hash
from ledger.note import NoteKey
from ledger.observations import sightings


def extend(database: Database, key: NoteKey, note: bytes, bodies: Sequence[bytes]) -> Log:
    """Add entries to the copy of a log up to a signed checkpoint, all or nothing.

    Args:
        database: the ledger, opened for writing.
        key: the log's key; its name must be the self-certifying origin.
        note: the checkpoint note as received.
        bodies: every entry between what is held and the size of the checkpoint, checked or not.

    Raises:
        SignatureError: if the log did not sign the checkpoint.
        EquivocationError: if it signed another tree of one of these sizes, which was seen before.
        ProofError: if held and new entries do not hash to its root.
        MalformedError, SignatureError: if one is not a valid entry or repeats another.
    """
    if log_key(key.name, key.key) != key:
        raise SignatureError(f"{key.name}: the key given is not of the type that logs sign with")
    checkpoint = open_checkpoint(note, key)
    held = find_log(database, key.name)
    size = held.size if held else 0
    if size + len(bodies) != checkpoint.size:
        raise ProofError(
            f"{key.name}: {len(bodies)} entries do not lead from {size} to {checkpoint.size}"
        )
    checked = isinstance(bodies, CheckedBodies) and (bodies.origin, bodies.start) == (
        key.name,
        size,
    )
    edge = held.edge(size) if held else CompactRange()
    seen = _sighted_roots(held)
    for body in bodies:
        edge.append(leaf_hash(body))
        for root in seen.get(edge.size, ()):
            if edge.root() != root:
                raise EquivocationError(
                    f"log {key.name} signed two different trees of {edge.size} entries"
                )
    if edge.root() != checkpoint.root:
        raise ProofError(
            f"{key.name}: its tree of {checkpoint.size} entries does not extend the {size} held"
        )
    if not checked:
        bodies = check_bodies(key.name, size, bodies, held)
    with database.transaction() as writer:
        log = add_log(database, key)
        if bodies:
            store_rows(writer, log, bodies)
        writer.table("checkpoint").insert(
            {"log": log.row_id, "size": checkpoint.size, "root": checkpoint.root, "note": note},
            ignore=True,
        )
    return log


def _sighted_roots(held: Log | None) -> dict[int, list[bytes]]:
    """Return the roots of the trees that were seen signed before the entries came, by size."""
    roots: dict[int, list[bytes]] = {}
    if held is None:
        return roots
    for seen, note in sightings(held):
        # A bit that flipped on this disk must not accuse the log.
        if open_checkpoint(note, held.key) != seen:
            raise EvidenceError(
                f"the ledger here is damaged: {held.origin} did not sign a sighting"
            )
        roots.setdefault(seen.size, []).append(seen.root)
    return roots
