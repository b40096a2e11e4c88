"""Filling a table: what is known is never evaluated again, and only what was asked for is believed.

Sampled tables are filled along their plan until the budget or a stopping rule ends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from attribution import stratified
from attribution.drawn import Sampled
from attribution.errors import EstimatorError, OutcomeError
from attribution.game import Suite
from attribution.growing import Ask
from attribution.interval import error_of_pairs
from attribution.outcomes import Outcomes, pack
from attribution.permutation import PermutationPlan, RunningSums
from attribution.stopping import Stopping
from attribution.strata import Pair, StratifiedPlan
from attribution.table import CoalitionTable
from ledger.cid import Cid

BATCH_PAIRS: Final = 16

Row = tuple[int, Outcomes | bytes]
Progress = Callable[[int, int], None]
"""Called with how many coalitions are there and how many the plan needs at most."""


@dataclass(frozen=True, slots=True)
class TableSource:
    """Where coalition rows come from.

    Attributes:
        lock: the lock of the composition whose members are the players.
        players: contribution ids, sorted; bit i of a mask is player i.
        suites: what each row is scored on, in the order of its outcomes.
        evaluate: yields (mask, outcomes) for every mask asked for, in any order.
        known: rows from earlier runs of the same lock and suites.
        ask: answers a coalition's request about one item and says who had a say, for methods that
            select speakers (`growing`); None for others.
    """

    lock: Cid
    players: tuple[str, ...]
    suites: tuple[Suite, ...]
    evaluate: Callable[[Sequence[int]], Iterable[Row]]
    known: Mapping[int, Outcomes | bytes]
    ask: Ask | None = None


@dataclass(frozen=True, slots=True)
class CoalitionCounts:
    """How many coalitions this run evaluated, how many it knew, and their sum.

    For decision trees nothing but `answers`, each of one coalition about one item.
    """

    evaluated: int
    cached: int
    total: int
    answers: int = 0


def fill_permutations(filler: Filler, plan: PermutationPlan, limit: int, stopping: Stopping) -> int:
    """Fill the table for up to `limit` pairs of orders and return how many were used."""
    total = sum(1 for _ in plan.masks(limit))
    filler.fill(list(plan.ends()), total)
    running: RunningSums | None = None
    done = 0
    while done < limit:
        upto = min(done + BATCH_PAIRS, limit)
        batch = (mask for pair in range(done, upto) for mask in plan.pair_masks(pair))
        filler.fill(list(dict.fromkeys(batch)), total)
        done = upto
        if not stopping.due(done):
            continue
        table = filler.table()
        running = running or RunningSums(table, plan)
        while running.pairs < done:
            running.add(table)
        if stopping.reached(running.item_values(), error_of_pairs(running.pair_sums())):
            break
    return done


def fill_pairs(
    filler: Filler,
    plan: StratifiedPlan,
    budget: int,
    stopping: Stopping,
    *,
    least: int,
    estimate: Callable[[CoalitionTable, StratifiedPlan, list[Pair]], Sampled],
) -> int:
    """Fill the table along a plan within a budget of coalitions; return how many pairs it took.

    Args:
        least: the fewest coalitions from which `estimate` tells an error.

    Raises:
        EstimatorError: if the budget is below the least from which an error can be told.
    """
    if budget < least:
        raise EstimatorError(
            f"a budget of {budget} coalitions is too small for {plan.players} players",
            hint=f"allow at least {least} coalitions with --budget {least}",
        )
    ends = list(plan.masks([]))
    limit = (budget - len(ends)) // 2
    filler.fill(ends, budget)
    done: list[Pair] = []

    def fill(pairs: list[Pair]) -> None:
        everyone = (1 << plan.players) - 1
        new = pairs[len(done) :]
        filler.fill([mask for pair in new for mask in (pair.mask, everyone ^ pair.mask)], budget)
        done.extend(new)

    def variances(pairs: list[Pair]) -> dict[int, float]:
        # Asked before the batch that holds the latest of these pairs is full.
        fill(pairs)
        return stratified.variances(filler.table(), plan, pairs)

    enough = (least - len(ends)) // 2
    taken: list[Pair] = []
    for pair in islice(plan.sequence(variances), limit):
        taken.append(pair)
        if len(taken) - len(done) < BATCH_PAIRS:
            continue
        fill(taken)
        if len(done) >= enough and stopping.due(len(done)):
            found = estimate(filler.table(), plan, done)
            if stopping.reached(found.items, found.error):
                return len(done)
    fill(taken)
    return len(done)


def ignore(done: int, total: int) -> None:
    """Report no progress."""
    del done, total


class Filler:
    """The rows gathered in this run; each is evaluated at most once."""

    def __init__(self, source: TableSource, progress: Progress | None) -> None:
        """Take where rows come from.

        Raises:
            TableError: if players or suites are unusable.
        """
        self._source = source
        self._progress = progress or ignore
        self._items = sum(suite.items for suite in source.suites)
        self._rows: dict[int, Outcomes | bytes] = {}
        self._cached = 0
        # Refuse unusable players and suites before anything expensive is evaluated.
        CoalitionTable.of(source.lock, source.players, source.suites, {})

    def fill(self, masks: Iterable[int], total: int) -> None:
        """Bring rows for `masks`, from what is known or from the evaluator."""
        wanted = []
        for mask in masks:
            if mask in self._rows:
                continue
            if mask in self._source.known:
                self._rows[mask] = self._source.known[mask]
                self._cached += 1
            else:
                wanted.append(mask)
        self._progress(len(self._rows), total)
        if wanted:
            self._evaluate(wanted, total)

    def _evaluate(self, wanted: list[int], total: int) -> None:
        open_masks = set(wanted)
        for mask, outcomes in self._source.evaluate(wanted):
            if mask not in open_masks:
                raise OutcomeError(f"evaluator: coalition {mask:x} was not asked for, or twice")
            open_masks.remove(mask)
            self._rows[mask] = pack(outcomes, self._items, what=f"evaluator, coalition {mask:x}")
            self._progress(len(self._rows), total)
        if open_masks:
            raise OutcomeError(
                f"evaluator: {len(open_masks)} coalitions not answered, first {min(open_masks):x}"
            )

    def table(self) -> CoalitionTable:
        """Return the table of the rows so far."""
        return CoalitionTable.of(
            self._source.lock, self._source.players, self._source.suites, self._rows
        )

    def counts(self) -> CoalitionCounts:
        """Return what was evaluated and what was known."""
        total = len(self._rows)
        return CoalitionCounts(total - self._cached, self._cached, total)
