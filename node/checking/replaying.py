"""Replaying: rebuild what an entry claims from verified bytes, in a new process, and compare.

The new process starts from nothing: it extracts base, adapters and suites from blocks into a
temporary folder, assembles, answers, and returns outcomes. No cache is read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from ledger.encoding import encode_base64
from ledger.entry import Entry
from ledger.errors import IncompleteError, PnodeError, UsageError
from ledger.log import resolve_id
from ledger.statement import Statement, Subject
from ledger.view import LedgerView
from node.checking.claims import check_scored, claimed_lock, claimed_outcomes, entry_of
from node.clock import Clock, utc_now
from node.composing import software
from node.home import Home
from node.reading import load_view

if TYPE_CHECKING:
    from compose.lock import Lock
    from compose.outcomes import Outcomes

VerdictName = Literal["reproduced", "mismatch", "inconclusive"]
_EXIT_CODES = {"reproduced": 0, "mismatch": 3, "inconclusive": 9}


@dataclass(frozen=True, slots=True)
class Replayed:
    """The verdict on one entry; `probability` is that of finding 1 % false items."""

    id: str
    verdict: VerdictName
    checked: int
    total: int
    mismatches: list[str]
    system_digest: str
    exactness: str
    probability: str
    exit_code: int
    attested: str | None = None


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the new process found: the system digest and the outcomes by suite."""

    system_digest: str
    outcomes: dict[str, Outcomes]


def replay(
    home: Home,
    prefix: str,
    *,
    sample: int | None = None,
    attest: bool = False,
    clock: Clock = utc_now,
) -> Replayed:
    """Replay a composition or an evaluation.

    Args:
        sample: how many items to answer again; all by default.
        attest: record the verdict as a signed verification.

    Raises:
        UsageError: if the entry is of another kind.
        EvidenceError: if the claim contradicts itself before anything is run.
        IncompleteError: if bytes are missing.
    """
    composition, evaluations = _claims(home, prefix)
    lock = claimed_lock(composition, home.store)
    for evaluation in evaluations:
        check_scored(evaluation, composition)
    claims = [claimed_outcomes(evaluation, home.store) for evaluation in evaluations]
    chosen = _choose(composition, claims, lock, sample)
    sizes = [(suite, len(each.outcomes)) for claim in claims for suite, each in claim.items()]
    rebuilt = _in_new_process(home, lock, chosen, sizes)
    result = _compare(composition, lock, claims, rebuilt)
    if attest:
        result = replace(result, attested=_attest(home, result, composition, clock))
    return result


def _claims(home: Home, prefix: str) -> tuple[Entry, list[Entry]]:
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
    entry = _entry(ledger, id_)
    if entry.kind == "composition":
        found = ledger.about("evaluation", "composition", id_)
        return entry, [item.entry for item in found if item.entry.author == entry.author]
    if entry.kind == "evaluation":
        return entry_of(ledger, entry.statement.predicate["composition"], "composition"), [entry]
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
    composition: Entry, claims: Sequence[Mapping[str, Outcomes]], lock: Lock, count: int | None
) -> dict[str, list[int]]:
    """Return the item numbers to answer again, by suite."""
    from compose.replay import sample

    items = _items(claims)
    suites = [suite.id for suite in lock.suites if suite.id in items]
    sizes = [items[suite] for suite in suites]
    if count is None:
        chosen: Sequence[Sequence[int]] = [range(size) for size in sizes]
    else:
        # Fresh randomness: nobody who made the claim can have known it.
        seed = hashlib.sha256(f"{composition.id} {secrets.token_hex(16)}".encode()).digest()
        chosen = sample(seed, sizes, count)
    return {suite: list(items) for suite, items in zip(suites, chosen, strict=True)}


def _items(claims: Sequence[Mapping[str, Outcomes]]) -> dict[str, int]:
    """Return the number of items of every suite that some evaluation claims."""
    return {suite: len(each.outcomes) for claim in claims for suite, each in claim.items()}


def _in_new_process(
    home: Home,
    lock: Lock,
    chosen: Mapping[str, Sequence[int]],
    sizes: Sequence[tuple[str, int]],
) -> Rebuilt:
    from compose.outcomes import parse_outcomes

    request = {"lock": encode_base64(lock.encode()), "items": chosen, "sizes": sizes}
    # -P: nothing in the current folder, which may be a stranger's, is imported.
    program = [sys.executable, "-P", "-m", "node.checking.rebuilding"]
    command = [*program, str(home.path), str(home.state)]
    done = subprocess.run(  # noqa: S603 - our own module, arguments as a list
        command, input=json.dumps(request).encode(), capture_output=True, check=False
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no output"])[-1]
        raise PnodeError(f"the replay process failed: {last[:300]}") from None
    if "error" in answer:
        raise _same_error(answer["error"])
    outcomes = {
        suite: parse_outcomes(text.encode(), what=f"replayed outcomes of suite {suite}")
        for suite, text in answer["outcomes"].items()
    }
    return Rebuilt(answer["system_digest"], outcomes)


def _same_error(error: Mapping[str, str]) -> PnodeError:
    """Return the error of the other process as one of this."""
    classes = [PnodeError]
    for cls in classes:
        classes += cls.__subclasses__()
    name = error["code"].partition(".")[0]
    same = next((each for each in classes if each.code == name), PnodeError)(
        error["message"], hint=error["hint"]
    )
    same.code = error["code"]
    return same


def _compare(
    composition: Entry,
    lock: Lock,
    claims: Sequence[Mapping[str, Outcomes]],
    rebuilt: Rebuilt,
) -> Replayed:
    from compose.exactness import NEAR_TIE
    from compose.methods import find_method
    from compose.replay import combine, compare, detection_probability

    total = sum(_items(claims).values())
    checked = sum(len(outcomes.outcomes) for outcomes in rebuilt.outcomes.values())
    verdict = combine(
        [
            compare(claim[suite], outcomes, near_tie=NEAR_TIE[lock.exactness])
            for claim in claims
            for suite, outcomes in rebuilt.outcomes.items()
            if suite in claim
        ]
    )
    mismatches = [mismatch.describe() for mismatch in verdict.mismatches]
    state: VerdictName = verdict.state
    promised_everywhere = lock.exactness == "bitwise"
    another_stack = not promised_everywhere and _stack(software()) != _stack(lock.software)
    if state == "mismatch" and another_stack:
        # Outcomes that are not bitwise are only promised on the software the lock names.
        state = "inconclusive"
        mismatches.append(f"here: {_stack(software())}; in the lock: {_stack(lock.software)}")
    claimed_digest = composition.statement.predicate["system_digest"]
    if rebuilt.system_digest != claimed_digest:
        mismatches.insert(0, f"system digest: claimed {claimed_digest}, {rebuilt.system_digest}")
        # Only what is fitted on outcomes can depend on the software; other digests are bitwise.
        fitted = find_method(lock.method.name, version=lock.method.version).needs_dev
        state = "inconclusive" if fitted and another_stack else "mismatch"
    false = -(-total // 100)
    probability = detection_probability(total, false, checked) if total else Fraction(0)
    return Replayed(
        id=composition.id,
        verdict=state,
        checked=checked,
        total=total,
        mismatches=mismatches,
        system_digest=rebuilt.system_digest,
        exactness=lock.exactness,
        probability=f"{float(probability):.4f}",
        exit_code=_EXIT_CODES[state],
    )


def _stack(versions: Mapping[str, str]) -> str:
    """Return the part of the software versions that decides about numbers."""
    named = {name: versions.get(name, "missing").partition("+")[0] for name in ("numpy", "torch")}
    return ", ".join(f"{name} {version}" for name, version in named.items())


def _attest(home: Home, result: Replayed, target: Entry, clock: Clock) -> str:
    predicate = {
        "author": home.author,
        "created": clock(),
        "target": result.id,
        "verdict": result.verdict,
        "checked": result.checked,
        "mismatches": len(result.mismatches),
        "exactness": result.exactness,
        "software": software(),
        "system_digest": result.system_digest,
    }
    subject = Subject(target.id, hashlib.sha256(target.body).hexdigest())
    statement = Statement("verification", (subject,), predicate)
    entry = Entry.sign(statement, home.keys().author)
    with home.writing() as log:
        log.append([entry])
    return entry.id
