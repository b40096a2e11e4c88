"""Whether checkpoints carry the cosignatures that a policy asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ledger.checkpoint import Checkpoint
from ledger.errors import EvidenceError, IncompleteError, PnodeError
from ledger.log import Log
from ledger.note import Note
from ledger.policy import Policy
from node.checking.verdict import Check
from node.clock import at
from node.home import Home
from node.peering.states import best_proof, disqualified, witnessed_by


class Wanted(NamedTuple):
    """What counts as witnessed, and whether the verdict depends on it."""

    policy: Policy
    required: bool

    def check_entry(self, target: str, log: Log, index: int) -> Check:
        """Check an entry that is held: any checkpoint that covers it may be the witnessed one."""
        try:
            note = best_proof(log, index, self.policy).note
        except PnodeError as error:
            return self._missing(target, error)
        return self._quorum(target, note, disqualified(log.database, log.origin))

    def check_note(self, home: Home | None, target: str, note: bytes) -> Iterator[Check]:
        """Check a checkpoint note by the cosignatures that it carries itself."""
        try:
            origin = Checkpoint.parse(Note.parse(note).text).origin
        except PnodeError:
            return  # reported as what it is already
        excluded = frozenset({origin})
        if home is not None:
            with home.reading() as database:
                excluded = disqualified(database, origin)
        yield self._quorum(target, note, excluded)

    def _quorum(self, target: str, note: bytes, excluded: frozenset[str]) -> Check:
        try:
            quorum = self.policy.evaluate(Note.parse(note), excluded=excluded)
        except EvidenceError as error:
            return Check.failed("witnessed", target, error)
        except IncompleteError as error:
            return self._missing(target, error)
        names = ", ".join(f"{each.name} ({each.time})" for each in witnessed_by(quorum))
        return Check.passed("witnessed", target, f"since {at(quorum.time)} by {names}")

    def _missing(self, target: str, error: PnodeError) -> Check:
        return Check(
            "witnessed",
            ok=False,
            detail=error.message,
            target=target,
            exit_code=error.exit_code if self.required else 0,
            required=self.required,
        )
