r"""Replay: compare what a record claims with what a re-run gives. Pure; no model is touched.

Outcomes are discrete, so the comparison is exact: item by item, answer and correctness. A
difference is pinned to its item. Margins are not compared; they say whether a difference could be
a near tie that another machine broke the other way, and only the margin of the re-run counts for
the verdict, since a liar can claim any margin.

    reproduced     every item that was re-run agrees
    mismatch       an item differs, and not by a near tie of the re-run
    inconclusive   nothing was re-run, or all that differs are near ties

A sample is drawn without replacement from a seed nobody could know before the claim was published
(such as the hash of the claim, a later checkpoint and the auditor's key): position by position a
Fisher-Yates shuffle whose j-th draw is sha256("pnode-replay-sample/1\n" + seed + j as 8 bytes,
big-endian) modulo what is left; its bias is below 2^-200. What a sample finds: `compose.detection`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from compose.errors import ReplayMismatchError
from compose.outcomes import Outcome, Outcomes
from ledger.errors import IncompleteError, UsageError

State = Literal["reproduced", "mismatch", "inconclusive"]

NEAR_TIE = 1
"""Margins below this many units of 1e-6 nat are near ties."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One item on which claim and re-run differ; `claimed` is None if the claim is too short.

    `place` is the number of the item in its suite, from 0.
    """

    suite: str
    place: int
    item: str
    claimed: Outcome | None
    recomputed: Outcome
    near_tie: bool

    def describe(self) -> str:
        """Return one sentence for people."""
        said = "nothing" if self.claimed is None else self.claimed.describe()
        if self.claimed is not None and self.claimed.item != self.item:
            said = f"the outcome of item {self.claimed.item}"
        text = f"suite {self.suite}: item {self.item}: claimed {said}, "
        text += f"recomputed {self.recomputed.describe()}"
        if self.near_tie:
            text += f" (a near tie: margin {self.recomputed.margin} of 1e-6 nat)"
        elif self.claimed is not None and _is_near(self.claimed, NEAR_TIE):
            text += " (the claim calls it a near tie, the re-run does not)"
        return text


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found; mismatches in the order of the claim."""

    state: State
    checked: int
    mismatches: tuple[Mismatch, ...]

    def require(self) -> None:
        """Accept only a reproduction.

        Raises:
            ReplayMismatchError: naming the first item that differs.
            IncompleteError: if the replay was inconclusive.
        """
        if self.state == "mismatch":
            first = next(each for each in self.mismatches if not each.near_tie)
            raise ReplayMismatchError(first.describe())
        if self.state == "inconclusive":
            why = self.mismatches[0].describe() if self.mismatches else "no item was re-run"
            raise IncompleteError(
                f"the replay is inconclusive: {why}",
                hint="replay more items, or on the software versions the lock records",
            )


def compare(
    claimed: Outcomes,
    recomputed: Outcomes,
    places: Sequence[int] | None = None,
    *,
    near_tie: int = NEAR_TIE,
) -> Verdict:
    """Compare a claim with a re-run of all of its items or of some.

    A claim has the outcomes in the order of the suite, so that what counts is what it says in the
    place of an item.

    Args:
        claimed: the outcomes on record.
        recomputed: the outcomes of the re-run, of the same suite.
        places: the number in the suite of each item that was re-run; all in order by default.
        near_tie: margins below this many units of 1e-6 nat are near ties.

    Raises:
        UsageError: if the two are about different suites.
    """
    if claimed.suite != recomputed.suite:
        raise UsageError(f"outcomes of suite {recomputed.suite} cannot check {claimed.suite}")
    order = range(len(recomputed.outcomes)) if places is None else places
    mismatches = []
    for place, ours in sorted(zip(order, recomputed.outcomes, strict=True), key=lambda at: at[0]):
        theirs = claimed.outcomes[place] if place < len(claimed.outcomes) else None
        if theirs is None or theirs.leaf() != ours.leaf():
            tie = theirs is not None and is_tie(theirs, ours, near_tie)
            mismatches.append(Mismatch(claimed.suite, place, ours.item, theirs, ours, tie))
    return Verdict(_state(len(order), mismatches), len(order), tuple(mismatches))


def is_tie(claimed: Outcome, recomputed: Outcome, near_tie: int) -> bool:
    """Return whether a near tie of the re-run explains another outcome of an item.

    It explains another answer, never the same answer judged otherwise, nor another item.
    """
    other = claimed.item == recomputed.item and claimed.answer != recomputed.answer
    return other and _is_near(recomputed, near_tie)


def combine(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict on several suites together, in their order."""
    mismatches = tuple(each for verdict in verdicts for each in verdict.mismatches)
    checked = sum(verdict.checked for verdict in verdicts)
    return Verdict(_state(checked, mismatches), checked, mismatches)


def sample(seed: bytes, sizes: Sequence[int], count: int) -> list[list[int]]:
    """Choose items to re-run.

    Args:
        seed: unpredictable to whoever made the claim.
        sizes: number of items of each suite.
        count: how many to choose; all of them if there are no more.

    Returns:
        For each suite the chosen item numbers, ascending.

    Raises:
        UsageError: for a negative count.
    """
    if count < 0:
        raise UsageError(f"cannot choose {count} items")
    total = sum(sizes)
    moved: dict[int, int] = {}
    chosen = []
    for step in range(min(count, total)):
        label = b"pnode-replay-sample/1\n" + seed + step.to_bytes(8, "big")
        draw = int.from_bytes(hashlib.sha256(label).digest(), "big") % (total - step)
        last = total - 1 - step
        chosen.append(moved.get(draw, draw))
        moved[draw] = moved.get(last, last)
    return _by_suite(sorted(chosen), sizes)


def _by_suite(chosen: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    result: list[list[int]] = []
    begin = 0
    for size in sizes:
        result.append([each - begin for each in chosen if begin <= each < begin + size])
        begin += size
    return result


def _state(checked: int, mismatches: Sequence[Mismatch]) -> State:
    if any(not each.near_tie for each in mismatches):
        return "mismatch"
    return "inconclusive" if mismatches or not checked else "reproduced"


def _is_near(outcome: Outcome, bound: int) -> bool:
    return outcome.margin is not None and outcome.margin < bound
