"""From a composition to values: evaluate what is missing, once, then compute.

Coalitions come from a `TableSource`, which knows rows from earlier runs and can evaluate others.
What is known is never evaluated again, and an evaluator that answers something else is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from attribution import gaussian
from attribution.analysis import (
    FROM_PAIRS,
    Analysis,
    Estimator,
    EstimatorName,
    analyse,
    check_seed,
)
from attribution.errors import EstimatorError
from attribution.evidence import Evidence, check_players, check_suites
from attribution.exact import MAX_PLAYERS_EXACT
from attribution.filling import (
    CoalitionCounts,
    Filler,
    Progress,
    TableSource,
    fill_pairs,
    fill_permutations,
    ignore,
)
from attribution.growing import Answer, grow
from attribution.permutation import PermutationPlan
from attribution.quantile import parse_confidence
from attribution.stopping import Stopping
from attribution.strata import StratifiedPlan
from attribution.table import MAX_ROWS
from attribution.treetable import TreeTable

DEFAULT_BUDGET: Final = 2000
MAX_PLAYERS_LISTED: Final = 8
"""The most players whose coalitions are listed one by one although trees would settle them."""
MAX_ANSWERS: Final = DEFAULT_BUDGET
"""The most answers about one item that are asked for before trees are given up."""
MAX_PLAYERS_UNASKED: Final = 16
"""The most players whose coalitions are all evaluated without a budget that says so."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The table that was filled, what follows from it, and what it cost."""

    table: Evidence
    analysis: Analysis
    counts: CoalitionCounts


def attribute(
    table_source: TableSource,
    *,
    estimator: EstimatorName | Literal["auto"] = "auto",
    budget: int | None = None,
    confidence: str = "0.95",
    seed: str = "0",
    until: str | None = None,
    identical: Sequence[Sequence[str]] = (),
    progress: Progress | None = None,
) -> Attribution:
    """Compute what every contribution is worth.

    Args:
        estimator: `auto` is exact by decision trees where the method selects speakers and there are
            more than 8 players; exact by the table of all coalitions if the budget reaches for all
            of up to 20 players, or none is given and there are at most 16; else by a Gaussian
            process below 10 coalitions for each player, and stratified above.
        budget: most distinct coalitions in the table; 2000 if not given and sampling.
        confidence: of the intervals, a decimal string.
        seed: of the sampling plan; for a published value, something fixed after the lock.
        until: when to stop sampling before the budget is spent (`stopping`).
        identical: groups of contributions whose adapters have identical tensors.

    Raises:
        EstimatorError: if the request cannot be met.
        OutcomeError: if the evaluator answers something else than it was asked.
    """
    level = parse_confidence(confidence)
    stopping = Stopping(until, table_source.suites, level)
    if _by_trees(table_source, estimator, budget):
        most = min(budget or MAX_ANSWERS, MAX_ANSWERS)
        grown = _grow(table_source, most, progress or ignore)
        if grown is not None:
            reason = f"{_named(estimator)}: {grown.reason}"
            analysis = analyse(
                grown.table, Estimator("exact", reason), confidence=confidence, identical=identical
            )
            return Attribution(grown.table, analysis, CoalitionCounts(0, 0, 0, grown.asked))
    filler = Filler(table_source, progress)
    players = len(table_source.players)
    chosen, reason = _choose(estimator, players, budget)
    if chosen == "exact":
        total = 1 << players
        filler.fill(range(total), total)
        decided = Estimator("exact", reason)
    elif chosen == "permutation":
        check_seed(seed)
        orders = PermutationPlan(seed, table_source.lock, players)
        limit = orders.pairs_within(min(budget or DEFAULT_BUDGET, MAX_ROWS))
        pairs = fill_permutations(filler, orders, limit, stopping)
        decided = Estimator("permutation", reason, seed, pairs)
    else:
        check_seed(seed)
        plan = StratifiedPlan(seed, table_source.lock, players)
        limit = min(budget or DEFAULT_BUDGET, MAX_ROWS)
        least = gaussian.least(plan) if chosen == "gaussian-process" else plan.least()
        estimate = FROM_PAIRS[chosen]
        pairs = fill_pairs(filler, plan, limit, stopping, least=least, estimate=estimate)
        decided = Estimator(chosen, reason, seed, pairs)
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
        # How many answers an item needs shows only at the end.
        progress(items - len({item for item, _ in requests}), items)
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


def _choose(estimator: str, players: int, budget: int | None) -> tuple[EstimatorName, str]:
    if budget is not None and budget < 1:
        raise EstimatorError(f"a budget of {budget} coalitions buys nothing")
    if estimator not in ("auto", *get_args(EstimatorName)):
        known = ", ".join(get_args(EstimatorName))
        raise EstimatorError(f"estimator '{estimator}' is unknown; there are {known}")
    if estimator == "permutation":
        return "permutation", "requested"
    obstacle = _obstacle(players, budget, asked=estimator == "exact")
    total = 1 << players
    if obstacle is None and estimator not in ("auto", "exact"):
        return "exact", f"{estimator} requested; {players} players, all {total} coalitions allowed"
    if obstacle is None:
        return "exact", f"{_named(estimator)}: {players} players, {total} coalitions"
    if estimator == "exact":
        raise EstimatorError(f"exact values of {players} players are out of reach: {obstacle}")
    if estimator in FROM_PAIRS:
        return cast("EstimatorName", estimator), "requested"
    reason = f"automatic: {players} players, {obstacle}"
    few = gaussian.PER_PLAYER * players
    if (budget or DEFAULT_BUDGET) < few:
        return "gaussian-process", f"{reason}; below {few} coalitions a model-based estimate"
    return "stratified", reason


def _obstacle(players: int, budget: int | None, *, asked: bool) -> str | None:
    """Return why not all coalitions are evaluated, or None if they are."""
    total = 1 << players
    if players > MAX_PLAYERS_EXACT:
        return f"at most {MAX_PLAYERS_EXACT} players are computed exactly"
    if budget is None and players > MAX_PLAYERS_UNASKED and not asked:
        return f"{total} coalitions are evaluated only with a budget that allows them"
    if budget is not None and total > budget:
        return f"{total} coalitions exceed the budget of {budget}"
    return None
