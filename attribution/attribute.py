"""From a composition to values: evaluate what is missing, once, then compute.

Coalitions come from a `TableSource`, which knows rows from earlier runs and can evaluate others.
What is known is never evaluated again, and an evaluator that answers something else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final, Literal

from attribution.analysis import Analysis, Estimator, analyse, check_seed
from attribution.errors import EstimatorError, OutcomeError
from attribution.evidence import Evidence, check_players, check_suites
from attribution.exact import MAX_PLAYERS_EXACT
from attribution.game import Suite
from attribution.growing import Answer, Ask, grow
from attribution.interval import spread_of
from attribution.outcomes import Outcomes, pack
from attribution.permutation import PermutationPlan, RunningSums
from attribution.quantile import parse_confidence
from attribution.table import MAX_ROWS, CoalitionTable
from attribution.treetable import TreeTable
from ledger.cid import Cid

DEFAULT_BUDGET: Final = 2000
MAX_PLAYERS_LISTED: Final = 8
"""The most players whose coalitions are listed one by one although trees would settle them."""
MAX_ANSWERS: Final = 4096
"""The most answers about one item that are asked for before trees are given up."""
MAX_PLAYERS_UNASKED: Final = 16
"""The most players whose coalitions are all evaluated without a budget that says so."""
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


@dataclass(frozen=True, slots=True)
class Attribution:
    """The table that was filled, what follows from it, and what it cost."""

    table: Evidence
    analysis: Analysis
    counts: CoalitionCounts


def attribute(
    table_source: TableSource,
    *,
    estimator: Literal["auto", "exact", "permutation"] = "auto",
    budget: int | None = None,
    confidence: str = "0.95",
    seed: str = "0",
    target_half_width: str | None = None,
    identical: Sequence[Sequence[str]] = (),
    progress: Progress | None = None,
) -> Attribution:
    """Compute what every contribution is worth.

    Args:
        estimator: `auto` is exact by decision trees where the method selects speakers and there are
            more than 8 players; exact by the table of all coalitions if the budget reaches for all
            of up to 20 players, or none is given and there are at most 16; else permutations.
        budget: most distinct coalitions in the table; 2000 if not given and sampling.
        confidence: of the intervals, a decimal string.
        seed: of the sampling plan; for a published value, something fixed after the lock.
        target_half_width: stop sampling once every player's sampling half-width is at most this
            decimal, looked at every 16 pairs. Stopping early makes intervals slightly optimistic.
        identical: groups of contributions whose adapters have identical tensors.

    Raises:
        EstimatorError: if the request cannot be met.
        OutcomeError: if the evaluator answers something else than it was asked.
    """
    level = parse_confidence(confidence)
    target = _parse_target(target_half_width)
    if _by_trees(table_source, estimator, budget):
        most = min(budget or MAX_ANSWERS, MAX_ANSWERS)
        grown = _grow(table_source, most, progress or _ignore)
        if grown is not None:
            reason = f"{_named(estimator)}: {grown.reason}"
            analysis = analyse(
                grown.table, Estimator("exact", reason), confidence=confidence, identical=identical
            )
            return Attribution(grown.table, analysis, CoalitionCounts(0, 0, 0, grown.asked))
    filler = _Filler(table_source, progress)
    chosen, reason = _choose(estimator, len(table_source.players), budget)
    if chosen == "exact":
        total = 1 << len(table_source.players)
        filler.fill(range(total), total)
        decided = Estimator("exact", reason)
    else:
        check_seed(seed)
        plan = PermutationPlan(seed, table_source.lock, len(table_source.players))
        limit = plan.pairs_within(min(budget or DEFAULT_BUDGET, MAX_ROWS))
        pairs = _fill_pairs(filler, plan, limit, target, level)
        decided = Estimator("permutation", reason, seed, pairs)
    table = filler.table()
    analysis = analyse(table, decided, confidence=confidence, identical=identical)
    return Attribution(table, analysis, filler.counts())


@dataclass(frozen=True, slots=True)
class _Grown:
    table: TreeTable
    asked: int
    reason: str


def _by_trees(source: TableSource, estimator: str, budget: int | None) -> bool:
    """Whether values shall come from decision trees: not where a table of all is small."""
    if source.ask is None or estimator not in ("auto", "exact"):
        return False
    total = 1 << len(source.players)
    return len(source.players) > MAX_PLAYERS_LISTED or (budget is not None and total > budget)


def _grow(source: TableSource, most: int, progress: Progress) -> _Grown | None:
    """Settle all coalitions of every item; None if one takes more than `most` answers."""
    assert source.ask is not None
    players, items = len(source.players), sum(suite.items for suite in source.suites)
    check_players(source.players)
    check_suites(source.suites)
    asked, ask = 0, source.ask

    def counting(requests: Sequence[tuple[int, int]]) -> Iterable[Answer]:
        nonlocal asked
        asked += len(requests)
        answers = ask(requests)
        # An item needs an answer for each leaf of its tree; how many those are shows at the end.
        progress(items - len(requests), items)
        return answers

    trees = grow(items, players, counting, most)
    if trees is None:
        return None
    progress(items, items)
    table = TreeTable.of(source.lock, source.players, source.suites, trees)
    reason = (
        f"{players} players; the method selects speakers, so {asked} answers settle all "
        f"{1 << players} coalitions on {items} items"
    )
    return _Grown(table, asked, reason)


def _named(estimator: str) -> str:
    return "requested" if estimator == "exact" else "automatic"


def _choose(
    estimator: str, players: int, budget: int | None
) -> tuple[Literal["exact", "permutation"], str]:
    total = 1 << players
    unasked = MAX_PLAYERS_EXACT if estimator == "exact" else MAX_PLAYERS_UNASKED
    affordable = players <= unasked if budget is None else total <= budget
    if budget is not None and budget < 1:
        raise EstimatorError(f"a budget of {budget} coalitions buys nothing")
    if estimator == "permutation":
        return "permutation", "requested"
    if estimator not in ("auto", "exact"):
        raise EstimatorError(f"estimator '{estimator}' is unknown; there are exact and permutation")
    if players <= MAX_PLAYERS_EXACT and affordable:
        return "exact", f"{_named(estimator)}: {players} players, {total} coalitions"
    limit = f"at most {MAX_PLAYERS_EXACT} players are computed exactly"
    if players <= MAX_PLAYERS_EXACT and budget is None:
        limit = f"{total} coalitions are evaluated only with a budget that allows them"
    elif players <= MAX_PLAYERS_EXACT:
        limit = f"{total} coalitions exceed the budget of {budget}"
    if estimator == "exact":
        raise EstimatorError(f"exact values of {players} players are out of reach: {limit}")
    return "permutation", f"automatic: {players} players, {limit}"


def _fill_pairs(
    filler: _Filler, plan: PermutationPlan, limit: int, target: Fraction | None, level: Fraction
) -> int:
    """Fill the table for up to `limit` pairs and return how many were used."""
    total = sum(1 for _ in plan.masks(limit))
    filler.fill(list(plan.ends()), total)
    running: RunningSums | None = None
    done = 0
    while done < limit:
        upto = min(done + BATCH_PAIRS, limit)
        batch = (mask for pair in range(done, upto) for mask in plan.pair_masks(pair))
        filler.fill(list(dict.fromkeys(batch)), total)
        done = upto
        if target is None:
            continue
        table = filler.table()
        running = running or RunningSums(table, plan)
        while running.pairs < done:
            running.add(table)
        if _within(running, table, target, level):
            break
    return done


def _within(running: RunningSums, table: CoalitionTable, target: Fraction, level: Fraction) -> bool:
    spread = spread_of(running.item_values(), table.suites, running.pair_sums(), level)
    widths = [
        spread.interval(Fraction(0), player).half_width_sampling
        for player in range(len(table.players))
    ]
    return all(width is not None and Fraction(width) <= target for width in widths)


def _parse_target(text: str | None) -> Fraction | None:
    if text is None:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise EstimatorError(f"target half-width '{text[:20]}' is not a decimal") from None
    if not value.is_finite() or value <= 0:
        raise EstimatorError(f"target half-width '{text[:20]}' is not above zero")
    return Fraction(value)


def _ignore(done: int, total: int) -> None:
    del done, total


class _Filler:
    """The rows gathered in this run; each is evaluated at most once."""

    def __init__(self, source: TableSource, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress or _ignore
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
