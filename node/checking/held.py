"""What a home adds to the checking of a file: the logs and entries that are here."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import EquivocationError, EvidenceError, IncompleteError, StorageError
from ledger.log import Log, find_log, places
from ledger.note import Note, NoteKey
from ledger.tlogproof import TlogProof
from node.checking.proofs import proven
from node.checking.verdict import Check
from node.home import Home

if TYPE_CHECKING:
    from node.checking.witnessed import Wanted


def check_place(home: Home, target: str, id_: str, wanted: Wanted | None) -> Iterator[Check]:
    """Check that an entry is in a log held here, if it is in one, and whether that is witnessed."""
    with home.reading() as database:
        for origin, index, body in places(database, id_)[:1]:
            log = Log(database, origin)
            yield Check.of("inclusion", target, partial(_included, log, index, body))
            if wanted is not None:
                yield wanted.check_entry(target, log, index)


def _included(log: Log, index: int, body: bytes) -> str:
    return proven(log.prove(index), body, log.key)


def find_entry(home: Home, proof: TlogProof) -> tuple[bytes, NoteKey] | None:
    """Return the entry that a proof is about and the key of its log, if they are here."""
    with home.reading() as database:
        log = find_log(database, proof.origin)
        bodies = list(log.bodies(proof.index, proof.index + 1)) if log else []
        return (bodies[0], log.key) if log and bodies else None


def is_held(home: Home, origin: str) -> bool:
    """Whether a copy of a log is here."""
    with home.reading() as database:
        return find_log(database, origin) is not None


def compare(home: Home, note: bytes) -> str:
    """Check a checkpoint note against the log held here, and say what it signs.

    Raises:
        IncompleteError: if the log, or so much of it, is not here.
        EvidenceError: if it is not signed by its log, or the copy here is damaged.
        EquivocationError: if the log signed another history; the evidence is kept.
    """
    origin = Checkpoint.parse(Note.parse(note).text).origin
    try:
        with home.reading() as database:
            log = find_log(database, origin)
            if log is not None:
                return _compared(log, note)
    except EquivocationError as error:
        raise _kept(home, error) from None
    raise IncompleteError(f"the key of {origin} is not known here")


def _compared(log: Log, note: bytes) -> str:
    checkpoint = open_checkpoint(note, log.key)
    if checkpoint.size > log.size:
        raise IncompleteError(f"signs {checkpoint.size} entries, only {log.size} are here")
    if not is_intact(log):
        raise EvidenceError(
            f"the ledger here does not hash to the signed tree of {log.origin}",
            hint="run 'pnode audit', and restore this home from a copy",
        )
    if log.root(checkpoint.size) != checkpoint.root:
        from ledger.heldevidence import evidence_against

        evidence = evidence_against(log, note)
        raise EquivocationError(
            f"{log.origin} signed a tree of {checkpoint.size} entries that is not the one held",
            evidence=bytes(evidence) if evidence else None,
        )
    return f"size {checkpoint.size} of {log.origin}"


def is_intact(log: Log) -> bool:
    """Whether the tiles held give the root of the largest checkpoint held.

    Only then can a contradiction be the log's fault and not that of this disk.
    """
    latest = log.checkpoint()
    return latest is None or log.root(latest[0].size) == latest[0].root


def _kept(home: Home, error: EquivocationError) -> EquivocationError:
    """Store the evidence of an equivocation, where that is possible, and say so."""
    from node.peering.equivocation import keep

    if error.evidence is None:
        return error
    try:
        evidence = keep(home, error.evidence)
    except StorageError as problem:
        text = f"{error.message} (the evidence could not be kept: {problem.message})"
        return EquivocationError(text, evidence=error.evidence)
    text = f"{error.message} (evidence {evidence.id}, kept)"
    return EquivocationError(text, evidence=bytes(evidence))
