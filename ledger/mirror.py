"""Growing the verified copy of somebody else's log.

Nothing is stored before everything is known to fit: the checkpoint is signed by the key its origin
names, the new entries extend exactly what is already held, together they hash to its root and to
every tree of the log that was seen before its entries came, and each is verified. What is not
valid is kept and marked (`ledger.rejected`); `Entry.stored` relies on the rest.

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
from ledger.evidence import Evidence, of_trees
from ledger.heldevidence import check_not_frozen
from ledger.log import CheckedBodies, Log, add_log, check_bodies, find_log, store_rows
from ledger.merkle import CompactRange, leaf_hash, perfect_root
from ledger.note import NoteKey
from ledger.observations import sightings
from ledger.tile import tiles_of


def extend(database: Database, key: NoteKey, note: bytes, bodies: Sequence[bytes]) -> Log:
    """Add entries to the copy of a log up to a signed checkpoint, all or nothing.

    Args:
        database: the ledger, opened for writing.
        key: the log's key; its name must be the self-certifying origin.
        note: the checkpoint note as received.
        bodies: every entry between what is held and the size of the checkpoint, checked or not.

    Raises:
        SignatureError: if the log did not sign the checkpoint.
        EquivocationError: if it signed another tree of one of these sizes, which was seen before,
            with the evidence; or if the log held is frozen. A frozen log that is not held yet may
            be copied once, because what stands before its fork is valid.
        ProofError: if held and new entries do not hash to its root.
        MalformedError, SignatureError: if entry 0 is not valid.
    """
    if log_key(key.name, key.key) != key:
        raise SignatureError(f"{key.name}: the key given is not of the type that logs sign with")
    checkpoint = open_checkpoint(note, key)
    held = find_log(database, key.name)
    size = held.size if held else 0
    if size:
        check_not_frozen(database, key.name)
    if size + len(bodies) != checkpoint.size:
        raise ProofError(
            f"{key.name}: {len(bodies)} entries do not lead from {size} to {checkpoint.size}"
        )
    _require_one_history(key, note, held, bodies)
    checked = isinstance(bodies, CheckedBodies) and (bodies.origin, bodies.start) == (
        key.name,
        size,
    )
    if not checked:
        bodies = check_bodies(key.name, size, bodies)
    with database.transaction() as writer:
        log = add_log(database, key)
        if bodies:
            store_rows(writer, log, bodies)
        writer.table("checkpoint").insert(
            {"log": log.row_id, "size": checkpoint.size, "root": checkpoint.root, "note": note},
            ignore=True,
        )
    return log


def _require_one_history(
    key: NoteKey, note: bytes, held: Log | None, bodies: Sequence[bytes]
) -> None:
    """Require that held and new entries lead to the signed root and past every tree seen before."""
    checkpoint = open_checkpoint(note, key)
    edge = held.edge(held.size) if held else CompactRange()
    leaves = [leaf_hash(body) for body in bodies]
    seen = _sighted_roots(held, checkpoint.size)
    contradicting: bytes | None = None
    first = edge.size
    for size in sorted({*seen, checkpoint.size}):
        edge.extend(leaves[edge.size - first : size - first])
        for root, sighting in seen.get(size, ()):
            if edge.root() != root:
                contradicting = sighting
    if edge.root() != checkpoint.root:
        raise ProofError(
            f"{key.name}: its tree of {checkpoint.size} entries does not extend what is held"
        )
    if contradicting is not None:
        raise EquivocationError(
            f"log {key.name} signed a tree of {checkpoint.size} entries that does not extend one "
            "it was seen to sign before",
            evidence=bytes(_evidence(key, held, bodies, contradicting, note)),
        )


def _evidence(
    key: NoteKey, held: Log | None, bodies: Sequence[bytes], sighting: bytes, note: bytes
) -> Evidence:
    """Return the evidence in a sighting and a checkpoint that all these entries lead to."""
    tiles = (tile for tile in tiles_of(held.size if held else 0) if tile.level == 0)
    leaves = [value for tile in tiles if held for value in held.tile(tile)[: tile.width]]
    leaves += map(leaf_hash, bodies)

    def read(level: int, index: int) -> bytes:
        return perfect_root(leaves[index << level : (index + 1) << level])

    return of_trees(key, sighting, note, read)


def _sighted_roots(held: Log | None, size: int) -> dict[int, list[tuple[bytes, bytes]]]:
    """Return the trees seen signed before the entries up to `size` came: root and note, by size."""
    roots: dict[int, list[tuple[bytes, bytes]]] = {}
    if held is None:
        return roots
    for seen, note in sightings(held, beyond=held.size, up_to=size):
        # A bit that flipped on this disk must not accuse the log.
        if open_checkpoint(note, held.key) != seen:
            raise EvidenceError(
                f"the ledger here is damaged: {held.origin} did not sign a sighting"
            )
        roots.setdefault(seen.size, []).append((seen.root, note))
    return roots
