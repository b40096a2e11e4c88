"""Replaying: rebuild what an entry claims from verified bytes, in a new process, and compare."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ledger.encoding import decode_hex
from ledger.entry import Entry
from ledger.errors import IncompleteError, MalformedError, NotFoundError, UsageError
from ledger.log import resolve_id
from ledger.view import LedgerView
from node.checking.attesting import attest as sign_verdict
from node.checking.claims import check_scored, claimed_lock, claimed_outcomes, entry_of
from node.checking.confinement import Limits
from node.checking.faults import fault_of
from node.checking.rerunning import Rebuilt, other_stack, rerun
from node.clock import Clock, utc_now
from node.durable import write_atomic
from node.home import Home
from node.reading import load_view

if TYPE_CHECKING:
    from fractions import Fraction

    from compose.detection import Detection
    from compose.lock import Lock
    from compose.outcomes import Outcomes
    from compose.replay import Mismatch, Verdict

VerdictName = Literal["reproduced", "mismatch", "inconclusive"]
_SEED_SIZE = 32
_EXIT_CODES = {"reproduced": 0, "mismatch": 3, "inconclusive": 9}


@dataclass(frozen=True, slots=True)
class Replayed:
    """The verdict on one entry, which is the composition or the evaluation that was named.

    `probability` is that of finding a false item if the fraction `false` of the items were false;
    `detection` says it in words. `seed` gives the same sample again; it is None if every item was
    answered. `fault_proof` is the file written, if any.
    """

    id: str
    verdict: VerdictName
    checked: int
    total: int
    mismatches: list[str]
    system_digest: str
    exactness: str
    false: str
    probability: str
    detection: str
    seed: str | None
    exit_code: int
    fault_proof: str | None = None
    attested: str | None = None


def replay(
    home: Home,
    prefix: str,
    *,
    sample: int | None = None,
    detect: str | None = None,
    false: str = "0.01",
    seed: str | None = None,
    fault_proof: Path | None = None,
    limits: Limits | None = None,
    attest: bool = False,
    clock: Clock = utc_now,
) -> Replayed:
    """Replay a composition or an evaluation.

    Args:
        sample: how many items to answer again; all by default.
        detect: instead, the probability with which a false item must be found, as a decimal; as
            few items are answered again as that takes.
        false: the fraction of the items supposed to be false, for that probability.
        seed: of an earlier sample, to draw the same items again; a fresh one by default.
        fault_proof: where to write the proof of the first false outcome, if there is one.
        limits: what the new process may use, if not the defaults.
        attest: record the verdict as a signed verification.

    Raises:
        UsageError: if the entry is of another kind, or a number makes no sense.
        NotFoundError: if there is no such folder for the fault proof.
        EvidenceError: if the claim contradicts itself before anything is run.
        IncompleteError: if bytes are missing, or it takes more than the limits allow.
    """
    from compose.detection import Detection, parse_part

    if fault_proof is not None and not fault_proof.parent.is_dir():
        raise NotFoundError(f"{fault_proof.parent}: no such folder", hint="check the path")
    part = parse_part(false, what="the fraction of false items")
    entry, composition, evaluations = _claims(home, prefix)
    lock = claimed_lock(composition, home.store)
    for evaluation in evaluations:
        check_scored(evaluation, composition)
    claims = [claimed_outcomes(evaluation, home.store) for evaluation in evaluations]
    total = sum(_items(claims).values())
    count = _count(total, part, sample, detect)
    drawn = _seed(seed, count)
    chosen = _choose(claims, lock, count, drawn)
    sizes = [(suite, len(each.outcomes)) for claim in claims for suite, each in claim.items()]
    rebuilt = rerun(home, lock, chosen, sizes, limits or Limits())
    detection = Detection(total, sum(map(len, chosen.values())), part)
    verdicts = _verdicts(lock, claims, chosen, rebuilt)
    result = replace(_result(composition, lock, verdicts, rebuilt, detection), id=entry.id)
    result = replace(result, seed=None if count is None else drawn.hex())
    fault = next(_faults(lock, evaluations, claims, verdicts), None)
    if fault is not None and fault_proof is not None:
        try:
            proof = fault_of(home, composition, lock, *fault)
        except (IncompleteError, MalformedError) as error:
            # The verdict stands without it, and may have taken hours.
            result.mismatches.append(f"no fault proof: {error.message}")
        else:
            write_atomic(fault_proof, proof)
            result = replace(result, fault_proof=str(fault_proof))
    if attest:
        said = {name: getattr(result, name) for name in ("checked", "exactness", "system_digest")}
        said["mismatches"] = len(result.mismatches)
        said |= {} if result.seed is None else {"seed": result.seed}
        result = replace(result, attested=sign_verdict(home, entry, result.verdict, said, clock))
    return result


def _claims(home: Home, prefix: str) -> tuple[Entry, Entry, list[Entry]]:
    """Return the entry that is replayed, its composition, and the evaluations that claim."""
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
    entry = _entry(ledger, id_)
    if entry.kind == "composition":
        found = ledger.about("evaluation", "composition", id_)
        return entry, entry, [item.entry for item in found if item.entry.author == entry.author]
    if entry.kind == "evaluation":
        composition = entry_of(ledger, entry.statement.predicate["composition"], "composition")
        return entry, composition, [entry]
    raise UsageError(
        f"{id_} is a {entry.kind}; only compositions and evaluations are replayed",
        hint="the values of an attribution are recomputed by 'pnode audit'",
    )


def _entry(ledger: LedgerView, id_: str) -> Entry:
    placed = ledger.entries.get(id_)
    if placed is None:
        raise IncompleteError(f"{id_} is not in the ledger at the current frontier")
    return placed.entry


def _choose(
    claims: Sequence[Mapping[str, Outcomes]], lock: Lock, count: int | None, seed: bytes
) -> dict[str, list[int]]:
    """Return the item numbers to answer again, by suite."""
    from compose.replay import sample

    items = _items(claims)
    suites = [suite.id for suite in lock.suites if suite.id in items]
    sizes = [items[suite] for suite in suites]
    if count is None:
        chosen: Sequence[Sequence[int]] = [range(size) for size in sizes]
    else:
        chosen = sample(seed, sizes, count)
    return {suite: list(items) for suite, items in zip(suites, chosen, strict=True)}


def _count(total: int, part: Fraction, sample: int | None, detect: str | None) -> int | None:
    """Return how many items to draw, None for all."""
    from compose.detection import false_items, parse_part, sample_size

    if detect is None or not total:
        return sample
    if sample is not None:
        raise UsageError("both the number of items and a probability are given", hint="give one")
    probability = parse_part(detect, what="the probability to detect")
    return sample_size(total, false_items(total, part), probability)


def _seed(given: str | None, count: int | None) -> bytes:
    """Return the seed of the sample: fresh, so that nobody who made the claim can have known it."""
    if given is None:
        return secrets.token_bytes(_SEED_SIZE)
    if count is None:
        raise UsageError("a seed without a sample", hint="say how many items: --sample N")
    try:
        return decode_hex(given, what="the seed", length=_SEED_SIZE)
    except MalformedError as error:
        raise UsageError(error.message, hint="it is 'seed' of an earlier replay") from None


def _items(claims: Sequence[Mapping[str, Outcomes]]) -> dict[str, int]:
    """Return the number of items of every suite that some evaluation claims."""
    return {suite: len(each.outcomes) for claim in claims for suite, each in claim.items()}


def _verdicts(
    lock: Lock,
    claims: Sequence[Mapping[str, Outcomes]],
    chosen: Mapping[str, Sequence[int]],
    rebuilt: Rebuilt,
) -> list[list[Verdict]]:
    """Return for each claim the verdict on each suite of it that was run again."""
    from compose.exactness import NEAR_TIE
    from compose.replay import compare

    near_tie = NEAR_TIE[lock.exactness]
    return [
        [
            compare(claim[suite], outcomes, chosen[suite], near_tie=near_tie)
            for suite, outcomes in rebuilt.outcomes.items()
            if suite in claim
        ]
        for claim in claims
    ]


def _faults(
    lock: Lock,
    evaluations: Sequence[Entry],
    claims: Sequence[Mapping[str, Outcomes]],
    verdicts: Sequence[Sequence[Verdict]],
) -> Iterator[tuple[Entry, Outcomes, Mismatch]]:
    """Yield what is false beyond excuse: the evaluation, its outcomes, the mismatch."""
    if other_stack(lock):
        return
    for evaluation, claim, judged in zip(evaluations, claims, verdicts, strict=True):
        for mismatch in chain.from_iterable(verdict.mismatches for verdict in judged):
            if not mismatch.near_tie:
                yield evaluation, claim[mismatch.suite], mismatch


def _result(
    composition: Entry,
    lock: Lock,
    verdicts: Sequence[Sequence[Verdict]],
    rebuilt: Rebuilt,
    detection: Detection,
) -> Replayed:
    from compose.methods import find_method
    from compose.replay import combine

    verdict = combine([*chain.from_iterable(verdicts)])
    mismatches = [mismatch.describe() for mismatch in verdict.mismatches]
    state: VerdictName = verdict.state
    another_stack = other_stack(lock)
    if state == "mismatch" and another_stack:
        # Outcomes that are not bitwise are only promised on the software the lock names.
        state = "inconclusive"
        mismatches.append(another_stack)
    claimed_digest = composition.statement.predicate["system_digest"]
    if rebuilt.system_digest != claimed_digest:
        mismatches.insert(0, f"system digest: claimed {claimed_digest}, {rebuilt.system_digest}")
        # Only what is fitted on outcomes can depend on the software; other digests are bitwise.
        fitted = find_method(lock.method.name, version=lock.method.version).needs_dev
        state = "inconclusive" if fitted and another_stack else "mismatch"
    return Replayed(
        id=composition.id,
        verdict=state,
        checked=detection.checked,
        total=detection.items,
        mismatches=mismatches,
        system_digest=rebuilt.system_digest,
        exactness=lock.exactness,
        false=str(detection.part),
        probability=detection.rounded(),
        detection=detection.describe(),
        seed=None,
        exit_code=_EXIT_CODES[state],
    )
