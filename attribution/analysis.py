"""Everything the record states about the players, computed from a coalition table.

The one function `analyse` serves both sides: who publishes values and who recomputes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Final, Literal

from attribution import axioms, exact, gaussian, permutation, strata, stratified
from attribution.axioms import Check
from attribution.drawn import Sampled
from attribution.errors import EstimatorError, RecomputeError, TableError
from attribution.evidence import Evidence
from attribution.game import ItemValues, mean
from attribution.interval import (
    Interval,
    SamplingError,
    Spread,
    error_of_pairs,
    rank_groups,
    rank_ranges,
    spread_of,
    suite_intervals,
)
from attribution.permutation import PermutationPlan, sample
from attribution.quantile import parse_confidence
from attribution.strata import Pair, StratifiedPlan
from attribution.table import CoalitionTable

EXACT_VERSION = "1"

EstimatorName = Literal["exact", "permutation", "stratified", "gaussian-process"]


FROM_PAIRS: Final[Mapping[str, Callable[[CoalitionTable, StratifiedPlan, list[Pair]], Sampled]]] = {
    "stratified": stratified.estimate,
    "gaussian-process": gaussian.estimate,
}
"""The estimators that share the plan of pairs of coalitions."""


@dataclass(frozen=True, slots=True)
class Estimator:
    """How values are computed: all that, beside the table, decides every digit.

    `seed` and `pairs` (of orders, or of coalitions beside the ends) are None for exact values.
    """

    name: EstimatorName
    reason: str
    seed: str | None = None
    pairs: int | None = None

    def __post_init__(self) -> None:
        if self.name == "exact" and (self.seed is not None or self.pairs is not None):
            raise EstimatorError("exact values have neither a seed nor pairs")
        if self.name == "permutation":
            check_seed(self.seed)
            if self.pairs is None or not 2 <= self.pairs <= permutation.MAX_PAIRS:
                raise EstimatorError("sampled values need at least 4 permutations, in pairs")
        if self.name in FROM_PAIRS:
            check_seed(self.seed)
            if self.pairs is None or not 1 <= self.pairs <= strata.MAX_PAIRS:
                raise EstimatorError(f"{self.name} values need pairs of coalitions")

    @property
    def version(self) -> str:
        """The version of the arithmetic, which changes whenever a digit could."""
        versions = {
            "permutation": permutation.VERSION,
            "stratified": strata.VERSION,
            "gaussian-process": gaussian.VERSION,
        }
        return versions.get(self.name, EXACT_VERSION)


@dataclass(frozen=True, slots=True)
class SuiteValue:
    """A player's value on one suite; the interval covers items only."""

    suite: str
    value: Fraction
    interval: Interval


@dataclass(frozen=True, slots=True)
class PlayerValue:
    """What one contribution is worth, with everything needed to judge the figure.

    `share` is None if the whole is worth as much as the base; `banzhaf` is None for sampled values.
    `simultaneous` are the intervals that hold for all players together.
    `rank` is the best and the worst rank that the evidence leaves open.
    """

    player: str
    value: Fraction
    in_items: Fraction
    by_suite: tuple[SuiteValue, ...]
    share: Fraction | None
    interval: Interval
    simultaneous: Interval
    leave_one_out: Fraction
    alone: Fraction
    banzhaf: Fraction | None
    rank: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Analysis:
    """The values of all players, in the order of their ids, with groups and checks."""

    estimator: Estimator
    confidence: str
    values: tuple[PlayerValue, ...]
    efficiency_gap: Fraction
    groups: tuple[tuple[str, ...], ...]
    identical: tuple[tuple[str, ...], ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Interaction:
    """How much two contributions are worth together beyond each on its own.

    Positive is synergy, negative is redundancy; the interval covers items only.
    """

    first: str
    second: str
    value: Fraction
    interval: Interval


def analyse(
    table: Evidence,
    estimator: Estimator,
    *,
    confidence: str,
    identical: Sequence[Sequence[str]] = (),
) -> Analysis:
    """Compute every published figure from a table.

    Args:
        identical: groups of contributions whose adapters have identical tensors.

    Raises:
        MissingCoalitionsError: if the table lacks a coalition that the estimator needs.
        RecomputeError: if the table holds a coalition that the sampling plan does not.
        EstimatorError: if confidence or estimator cannot be used.
    """
    level = parse_confidence(confidence)
    groups_of_twins = _check_identical(table, identical)
    items, sampled, independently, planned = _estimate(table, estimator)
    by_suite = items.by_suite(table.suites)
    totals = tuple(mean(row) for row in by_suite)
    spread = spread_of(items, table.suites, sampled, level)
    wide = spread_of(items, table.suites, sampled, level, together=len(table.players))
    return Analysis(
        estimator=estimator,
        confidence=confidence,
        values=_player_values(table, estimator, items, (spread, wide), level),
        efficiency_gap=axioms.efficiency_gap(table, totals),
        groups=tuple(
            tuple(table.players[player] for player in group)
            for group in rank_groups(totals, spread)
        ),
        identical=groups_of_twins,
        checks=(
            axioms.check_efficiency(table, totals),
            axioms.check_null_players(table, totals, spread),
            axioms.check_symmetry(table, totals, spread, groups_of_twins),
            axioms.check_additivity(by_suite, independently),
            axioms.check_coalitions(table, planned),
        ),
    )


def interactions(table: Evidence, *, confidence: str) -> tuple[Interaction, ...]:
    """Return the Shapley interaction index of every pair, strongest first.

    Raises:
        MissingCoalitionsError: if the table is not complete.
    """
    level = parse_confidence(confidence)
    players = len(table.players)
    if players < 2:
        return ()
    items = exact.item_interactions(table)
    spread = spread_of(items, table.suites, None, level)
    pairs = [(i, j) for i in range(players) for j in range(i + 1, players)]
    found = []
    for at, (row, (i, j)) in enumerate(zip(items.by_suite(table.suites), pairs, strict=True)):
        value = mean(row)
        interval = spread.interval(value, at)
        found.append(Interaction(table.players[i], table.players[j], value, interval))
    return tuple(sorted(found, key=lambda pair: (-abs(pair.value), pair.first, pair.second)))


def check_seed(seed: str | None) -> str:
    """Return the seed of a sampling plan.

    Raises:
        EstimatorError: unless it is 1 to 128 printable ASCII characters.
    """
    if seed is None or not 0 < len(seed) <= 128 or not seed.isascii() or not seed.isprintable():
        raise EstimatorError("the seed must be 1 to 128 printable ASCII characters")
    return seed


def _estimate(
    table: Evidence, estimator: Estimator
) -> tuple[ItemValues, SamplingError | None, tuple[Fraction, ...], int]:
    """Return values per item, their error, the totals by another route, coalitions planned."""
    if estimator.name == "exact":
        return exact.item_values(table), None, exact.shapley(table), 1 << len(table.players)
    if not isinstance(table, CoalitionTable):
        raise EstimatorError("values are sampled from a table of coalitions only")
    if estimator.name == "permutation":
        return _permuted(table, estimator)
    return _from_pairs(table, estimator)


def _permuted(
    table: CoalitionTable, estimator: Estimator
) -> tuple[ItemValues, SamplingError, tuple[Fraction, ...], int]:
    pairs = estimator.pairs or 0
    plan = PermutationPlan(estimator.seed or "", table.lock, len(table.players))
    planned = _check_planned(table, plan.masks(pairs))
    items, sums = sample(table, plan, pairs)
    independently = tuple(
        Fraction(number, sums.denominator * pairs)
        for number in sums.numerators.sum(axis=0).tolist()
    )
    return items, error_of_pairs(sums), independently, planned


def _from_pairs(
    table: CoalitionTable, estimator: Estimator
) -> tuple[ItemValues, SamplingError, tuple[Fraction, ...], int]:
    plan = StratifiedPlan(estimator.seed or "", table.lock, len(table.players))
    for mask in plan.masks([]):
        table.packed(mask)
    sequence = plan.sequence(lambda pairs: stratified.variances(table, plan, pairs))
    pairs = list(islice(sequence, estimator.pairs))
    if len(pairs) != estimator.pairs:
        raise RecomputeError(f"table: the sampling plan has only {len(pairs)} pairs")
    planned = _check_planned(table, plan.masks(pairs))
    estimate = FROM_PAIRS[estimator.name]
    found = estimate(table, plan, pairs)
    return found.items, found.error, found.totals, planned


def _check_planned(table: CoalitionTable, masks: Iterable[int]) -> int:
    """Require that a table holds the planned coalitions and no others; return how many."""
    planned = set()
    for mask in masks:
        table.packed(mask)
        planned.add(mask)
    for mask in table.rows:
        if mask not in planned:
            raise RecomputeError(f"table: coalition {mask:x} is not part of the sampling plan")
    return len(planned)


def _player_values(
    table: Evidence,
    estimator: Estimator,
    items: ItemValues,
    spreads: tuple[Spread, Spread],
    level: Fraction,
) -> tuple[PlayerValue, ...]:
    spread, wide = spreads
    by_suite = items.by_suite(table.suites)
    totals = tuple(mean(row) for row in by_suite)
    gain = table.value(table.everyone) - table.value(0)
    intervals = suite_intervals(items, table.suites, level)
    ranks = rank_ranges(totals, spread)
    in_items, without, alone = items.in_items(), exact.leave_one_out(table), exact.alone(table)
    banzhaf = exact.banzhaf(table) if estimator.name == "exact" else None
    return tuple(
        PlayerValue(
            player=player,
            value=totals[at],
            in_items=in_items[at],
            by_suite=tuple(
                SuiteValue(suite.id, value, interval)
                for suite, value, interval in zip(
                    table.suites, by_suite[at], intervals[at], strict=True
                )
            ),
            share=totals[at] / gain if gain else None,
            interval=spread.interval(totals[at], at),
            simultaneous=wide.interval(totals[at], at),
            leave_one_out=without[at],
            alone=alone[at],
            banzhaf=banzhaf[at] if banzhaf else None,
            rank=ranks[at],
        )
        for at, player in enumerate(table.players)
    )


def _check_identical(
    table: Evidence, identical: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], ...]:
    groups = tuple(sorted(tuple(sorted(group)) for group in identical))
    members = [player for group in groups for player in group]
    known = set(table.players)
    if len(set(members)) != len(members) or any(len(group) < 2 for group in groups):
        raise TableError("identical adapters: groups must be disjoint, of two or more")
    if not known.issuperset(members):
        raise TableError("identical adapters: a group names a contribution that is no player")
    return groups
