"""Fault proofs: made of a mismatch that a replay found, checked and settled by anybody.

What a file proves without a model `node.checking.faultcheck` says; whether the claim is false is
settled by `settle`, which answers that one item again in a new process:

    confirmed      the item has another outcome: the claim is false
    refuted        the item has the claimed outcome: the accusation is false
    inconclusive   another outcome, but a near tie, or on software the claim was not made for
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ledger.database import storage_errors
from ledger.entry import Entry
from ledger.errors import IncompleteError, NotFoundError, UnavailableError
from ledger.log import Log, places
from node.bases import bases
from node.checking.attesting import attest as sign_verdict
from node.checking.confinement import Limits
from node.checking.rerunning import other_stack, rerun
from node.clock import Clock, utc_now
from node.composing import software
from node.home import Home
from node.peering.policyfile import home_policy
from node.peering.states import best_proof
from node.reading import load_view
from node.storage.gathering import Gathering, Progress
from node.storage.providers import providers_of

if TYPE_CHECKING:
    from compose.faultproof import FaultProof
    from compose.lock import Lock
    from compose.outcomes import Outcomes
    from compose.replay import Mismatch

SettledName = Literal["confirmed", "refuted", "inconclusive"]
_EXIT_CODES = {"confirmed": 3, "refuted": 0, "inconclusive": 9}


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of an accusation; `id` is the evaluation that is accused, `claimed_by` its author.

    `claimed` and `recomputed` are the two outcomes in words, `margin` is that of the re-run in
    units of 1e-6 nat, `notes` say what else a reader should know.
    """

    id: str
    composition: str
    claimed_by: str
    suite: str
    item: str
    index: int
    verdict: SettledName
    claimed: str
    recomputed: str
    margin: int | None
    exactness: str
    notes: list[str]
    exit_code: int
    attested: str | None = None


def fault_of(
    home: Home, composition: Entry, lock: Lock, evaluation: Entry, claim: Outcomes, found: Mismatch
) -> bytes:
    """Return the fault proof of a mismatch between an evaluation's claim and a re-run.

    Raises:
        IncompleteError: if no checkpoint covers the evaluation.
        MalformedError: if the file would be too large to be accepted.
    """
    from compose.faultproof import FaultProof
    from compose.outcomes import inclusion

    with home.reading() as database:
        origin, index, body = places(database, evaluation.id)[0]
        log = Log(database, origin)
        proof = best_proof(log, index, home_policy(home)).carrying(body, log.key)
    outcome = inclusion(claim, found.place)
    fault = FaultProof(
        suite=found.suite,
        index=found.place,
        path=outcome.path,
        claimed=replace(outcome.outcome, margin=None),
        recomputed=found.recomputed,
        software=software(),
        evaluation=bytes(proof),
        composition=composition.body,
        lock_bytes=lock.encode(),
    )
    fault.verify()
    return bytes(fault)


def read_fault(path: Path) -> FaultProof:
    """Read a fault proof.

    Raises:
        MalformedError: if the file is none.
    """
    from compose.faultproof import MAX_FAULT_BYTES, FaultProof

    with storage_errors(path), path.open("rb") as stream:
        return FaultProof.parse(stream.read(MAX_FAULT_BYTES + 1))


def settle(
    home: Home,
    path: Path,
    *,
    offline: bool = False,
    limits: Limits | None = None,
    attest: bool = False,
    clock: Clock = utc_now,
    progress: Progress,
) -> Settled:
    """Verify a fault proof, answer its item again, and say who is right.

    Blocks that are not here are fetched from peers, each verified.

    Args:
        path: the file.
        offline: contact nobody over the network.
        limits: what the new process may use, if not the defaults.
        attest: if the claim is false, record that as a signed verification of the evaluation.
        clock: the time that it claims.
        progress: told how many blocks have arrived.

    Raises:
        EvidenceError: if the file does not prove that somebody claimed this.
        IncompleteError: if bytes of the base, a member or the suite are not to be had, or the
            evaluation to attest is in no log held here.
    """
    from compose.exactness import NEAR_TIE
    from compose.outcomes import Outcomes
    from compose.replay import compare

    fault = read_fault(path)
    fault.verify()
    evaluation, composition = fault.verify_signatures()
    if attest:
        _require_held(home, evaluation)
    # The system does not depend on the suites, so that only this one is needed.
    asked = tuple(suite for suite in fault.lock.suites if suite.id == fault.suite)
    lock = replace(fault.lock, suites=asked)
    _gather(home, lock, offline=offline, progress=progress)
    total = _total(evaluation, fault.suite)
    item, size = {fault.suite: [fault.index]}, (fault.suite, total)
    rebuilt = rerun(home, lock, item, [size], limits or Limits())
    ours = rebuilt.outcomes[fault.suite].outcomes[0]
    # One item of the claim, compared as if it were the first of its suite.
    found = compare(
        Outcomes(fault.suite, (fault.claimed,)),
        Outcomes(fault.suite, (ours,)),
        near_tie=NEAR_TIE[lock.exactness],
    )
    stack = other_stack(lock)
    verdict: SettledName = "refuted"
    if found.mismatches:
        verdict = "inconclusive" if found.state == "inconclusive" or stack else "confirmed"
    notes = [stack] if stack else []
    if ours.leaf() not in (fault.claimed.leaf(), fault.recomputed.leaf()):
        notes.append(f"whoever made the file got {fault.recomputed.describe()}")
    if rebuilt.system_digest != composition.statement.predicate["system_digest"]:
        notes.append(f"the system rebuilt from the lock is {rebuilt.system_digest}, not as claimed")
    attested = None
    if attest and verdict == "confirmed":
        said = {
            "checked": 1,
            "mismatches": 1,
            "exactness": lock.exactness,
            "system_digest": rebuilt.system_digest,
            "fault": fault.id,
        }
        attested = sign_verdict(home, evaluation, "mismatch", said, clock)
    return Settled(
        id=evaluation.id,
        composition=composition.id,
        claimed_by=evaluation.author,
        suite=fault.suite,
        item=ours.item,
        index=fault.index,
        verdict=verdict,
        claimed=fault.claimed.describe(),
        recomputed=ours.describe(),
        margin=ours.margin,
        exactness=lock.exactness,
        notes=notes,
        exit_code=_EXIT_CODES[verdict],
        attested=attested,
    )


def _require_held(home: Home, evaluation: Entry) -> None:
    """A verdict on what its readers cannot look up would be a loose end in every audit."""
    with home.reading() as database:
        held = evaluation.id in load_view(database).entries
    if not held:
        raise IncompleteError(
            f"evaluation {evaluation.id} is in no log held here, so no verdict on it is recorded",
            hint="sync with a peer that has that log, or leave out --attest",
        )


def _total(evaluation: Entry, suite: str) -> int:
    scores = evaluation.statement.predicate["scores"]
    return next(int(score["total"]) for score in scores if score["suite"] == suite)


def _gather(home: Home, lock: Lock, *, offline: bool, progress: Progress) -> None:
    """Bring what a lock needs as far as it is to be had; the re-run says what is missing."""
    named = [member.cid for member in lock.members] + [suite.cid for suite in lock.suites]
    if lock.dev is not None:
        named.append(lock.dev.cid)
    if lock.base.digest not in {known.digest for known in bases(home)}:
        named.append(lock.base.cid)
    with providers_of(home, offline=offline) as providers:
        gathering = Gathering(home.store, providers, progress)
        for cid in named:
            with suppress(NotFoundError, UnavailableError, IncompleteError):
                gathering.gather(cid)
