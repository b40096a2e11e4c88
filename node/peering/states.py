"""How far an entry has come: appended, signed or witnessed.

    appended     stored in its log; no checkpoint covers it yet
    signed       under a checkpoint that its log has signed
    witnessed    under a checkpoint that witnesses cosigned, as many as the policy asks for

Without a policy, or with the quorum `none`, nothing goes beyond signed. Cosignatures of a log over
itself do not count, nor those of a cosigner against whose log there is evidence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ledger.checkpoint import Checkpoint
from ledger.database import Database
from ledger.errors import IncompleteError
from ledger.heldevidence import frozen_origins
from ledger.log import Log
from ledger.note import Note
from ledger.observations import cosigned_note, cosigned_trees
from ledger.tlogproof import TlogProof
from node.clock import at

if TYPE_CHECKING:
    from ledger.policy import Policy, Quorum

APPENDED: Final = "appended"
SIGNED: Final = "signed"
WITNESSED: Final = "witnessed"


@dataclass(frozen=True, slots=True)
class WitnessedBy:
    """A witness that counted: its name in the policy, its verifier key, when it cosigned."""

    name: str
    key: str
    time: str


@dataclass(frozen=True, slots=True)
class EntryState:
    """One of the three words; if witnessed, since when and by whom."""

    state: str
    since: str = ""
    witnesses: list[WitnessedBy] = field(default_factory=list)


def entry_state(log: Log, index: int, policy: Policy | None) -> EntryState:
    """Return how far an entry of a log has come."""
    latest = log.checkpoint()
    if latest is None or index >= latest[0].size:
        return EntryState(APPENDED)
    first = next(_witnessed(log, policy, beyond=index), None)
    if first is None:
        return EntryState(SIGNED)
    quorum = first[2]
    return EntryState(WITNESSED, at(quorum.time), witnessed_by(quorum))


def witnessed_size(log: Log, policy: Policy | None) -> int:
    """Return the size of the largest witnessed tree of a log, 0 if there is none."""
    return max((tree.size for tree, _, _ in _witnessed(log, policy)), default=0)


def largest_witnessed(log: Log, policy: Policy | None) -> Checkpoint | None:
    """Return the largest witnessed tree of a log whose entries are held, if there is one."""
    trees = (tree for tree, _, _ in _witnessed(log, policy) if tree.size <= log.size)
    return max(trees, key=lambda tree: tree.size, default=None)


def best_proof(log: Log, index: int, policy: Policy | None) -> TlogProof:
    """Return the proof of an entry under its largest witnessed checkpoint, else its largest.

    The note carries every cosignature stored of that tree.

    Raises:
        NotFoundError: if no checkpoint covers the entry yet.
    """
    witnessed = list(_witnessed(log, policy, beyond=index))
    if witnessed:
        tree, note, _ = witnessed[-1]
        return TlogProof(index, tuple(log.prove_inclusion(index, tree.size)), note)
    proof = log.prove(index)
    tree = Checkpoint.parse(Note.parse(proof.note).text)
    return TlogProof(index, proof.path, cosigned_note(log, tree, proof.note))


def witnessed_by(quorum: Quorum) -> list[WitnessedBy]:
    """Return the witnesses of a quorum for people and JSON."""
    from ledger.policy import printable

    return [
        WitnessedBy(printable(seen.name), str(seen.key), at(seen.time)) for seen in quorum.witnesses
    ]


def disqualified(database: Database, origin: str) -> frozenset[str]:
    """Return the cosigners that do not count for a log: itself, and proven equivocators."""
    return frozen_origins(database) | {origin}


def _witnessed(
    log: Log, policy: Policy | None, *, beyond: int = 0
) -> Iterator[tuple[Checkpoint, bytes, Quorum]]:
    """Yield the witnessed trees of a log, smallest first, with their cosigned notes."""
    if policy is None or not policy.asks_for_witnesses:
        return
    excluded = disqualified(log.database, log.origin)
    wanted = {str(w.key) for w in policy.witnesses.values() if w.key.name not in excluded}
    for tree, note, keys in cosigned_trees(log, wanted, beyond=beyond):
        # Signatures are only verified where they can be enough.
        if not policy.could_suffice(keys):
            continue
        cosigned = cosigned_note(log, tree, note)
        try:
            quorum = policy.evaluate(Note.parse(cosigned), excluded=excluded)
        except IncompleteError:
            continue
        yield tree, cosigned, quorum
