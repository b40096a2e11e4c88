"""Stratified values: unbiased, efficient to the last digit, with intervals that cover."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import exact, stratified
from attribution.analysis import Estimator, analyse
from attribution.drawn import Sampled
from attribution.errors import EstimatorError, RecomputeError
from attribution.strata import PILOT, Pair, StratifiedPlan
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, ids, random_table, suites_of

PLAYERS = 9
TABLE = random_table(31, PLAYERS, 25, 15)


def plan_of(seed: str, players: int = PLAYERS) -> StratifiedPlan:
    return StratifiedPlan(seed, LOCK, players)


def sequence(table: CoalitionTable, plan: StratifiedPlan) -> Iterator[Pair]:
    return plan.sequence(lambda pairs: stratified.variances(table, plan, pairs))


def estimate(table: CoalitionTable, seed: str, pairs: int) -> Sampled:
    plan = plan_of(seed, len(table.players))
    return stratified.estimate(table, plan, list(islice(sequence(table, plan), pairs)))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.text("abc", max_size=4))
def test_every_pair_of_a_stratum_is_drawn_once(players: int, seed: str) -> None:
    plan = plan_of(seed, players)
    for stratum in [1, *plan.strata]:
        masks = [plan.pair(stratum, index).mask for index in range(plan.size(stratum))]
        everyone = (1 << players) - 1
        both = {*masks, *(everyone ^ mask for mask in masks)}
        assert {mask.bit_count() for mask in masks} == {stratum}
        assert len(both) == 2 * len(masks)
        sizes = {stratum, players - stratum}
        assert len(both) == sum(comb(players, size) for size in sizes)


def test_first_draws_favour_no_coalition() -> None:
    seeds, size = 4000, comb(6, 2)
    drawn = Counter(plan_of(str(seed), 6).pair(2, 0).mask for seed in range(seeds))
    expected = seeds / size
    distance = sum((count - expected) ** 2 / expected for count in drawn.values())
    # Chi square with 14 degrees of freedom: 36 is passed once in a thousand.
    assert len(drawn) == size
    assert distance < 36


def test_large_strata_are_ranked_without_listing_them() -> None:
    plan = plan_of("large", 200)
    masks = {plan.pair(100, index).mask for index in range(50)}
    assert len(masks) == 50
    assert all(mask & 1 and mask.bit_count() == 100 for mask in masks)


def test_a_longer_plan_starts_with_the_shorter_one() -> None:
    plan = plan_of("prefix")
    long = list(islice(sequence(TABLE, plan), 120))
    assert list(islice(sequence(TABLE, plan), 37)) == long[:37]
    turns = [stratum for stratum, _ in long[: PILOT * len(plan.strata)]]
    assert turns == list(plan.strata) * PILOT


def test_pairs_go_where_outcomes_vary() -> None:
    """A game that only turns at two members draws mostly from the stratum where that shows."""
    rows = {
        mask: np.array([mask.bit_count() == 2 and mask % 3 == 0] * 4) for mask in range(1 << 10)
    }
    table = CoalitionTable.of(LOCK, ids("player", 10), suites_of(4), rows)
    plan = plan_of("neyman", 10)
    drawn = Counter(stratum for stratum, _ in islice(sequence(table, plan), 60))
    assert drawn[2] == max(drawn.values())


@settings(max_examples=25, deadline=None)
@given(st.integers(4, 8), st.integers(0, 2**31), st.text("abc", max_size=3), st.data())
def test_values_sum_exactly_and_both_ways_agree(
    players: int, game: int, seed: str, data: st.DataObject
) -> None:
    table = random_table(game, players, 7, 4)
    plan = plan_of(seed, players)
    most = sum(plan.size(stratum) for stratum in plan.strata)
    least = sum(min(2, plan.size(stratum)) for stratum in plan.strata)
    found = estimate(table, seed, data.draw(st.integers(least, most)))
    assert sum(found.totals) == table.value(table.everyone) - table.value(0)
    by_suite = found.items.by_suite(table.suites)
    assert tuple(sum(row) / len(row) for row in by_suite) == found.totals


def test_a_plan_drawn_out_has_the_exact_values_and_no_error() -> None:
    found = estimate(TABLE, "whole", 10**6)
    for value, expected in zip(found.totals, exact.shapley(TABLE), strict=True):
        assert abs(value - expected) < Fraction(1, 2**30)
    assert not any(found.error.covariance[at][at] for at in range(PLAYERS))


def test_values_are_unbiased_whatever_the_control() -> None:
    table = random_table(5, 6, 30)
    runs = np.array(
        [[float(v) for v in estimate(table, str(seed), 12).totals] for seed in range(300)]
    )
    truth = np.array([float(value) for value in exact.shapley(table)])
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    assert np.all(np.abs(runs.mean(axis=0) - truth) < 4 * error)


@pytest.mark.parametrize("pairs", [12, 40])
def test_intervals_cover_the_exact_value(pairs: int) -> None:
    from attribution.quantile import student_quantile

    truth = exact.shapley(TABLE)
    covered = total = 0
    for seed in range(40):
        found = estimate(TABLE, f"cover {seed}", pairs)
        factor = float(student_quantile(Fraction(19, 20), found.error.freedom))
        for at, value in enumerate(found.totals):
            width = factor * float(found.error.covariance[at][at]) ** 0.5
            covered += abs(float(value - truth[at])) <= width
            total += 1
    assert 0.91 <= covered / total <= 0.99


def test_error_is_well_below_that_of_orders_for_the_same_coalitions() -> None:
    from attribution.permutation import PermutationPlan, sample

    truth = np.array([float(value) for value in exact.shapley(TABLE)])
    ours, theirs = [], []
    for seed in range(20):
        found = estimate(TABLE, str(seed), 50)
        ours.append(np.array([float(value) for value in found.totals]) - truth)
        orders = PermutationPlan(str(seed), LOCK, PLAYERS)
        items, _ = sample(TABLE, orders, orders.pairs_within(2 + 2 * PLAYERS + 100))
        values = [float(sum(row) / len(row)) for row in items.by_suite(TABLE.suites)]
        theirs.append(np.array(values) - truth)
    assert np.square(ours).mean() < np.square(theirs).mean() / 2


def sampled(pairs: int = 20) -> tuple[CoalitionTable, Estimator]:
    plan = plan_of("seed")
    masks = plan.masks(list(islice(sequence(TABLE, plan), pairs)))
    rows = {mask: TABLE.rows[mask] for mask in masks}
    table = CoalitionTable.of(LOCK, TABLE.players, TABLE.suites, rows)
    return table, Estimator("stratified", "test", "seed", pairs)


def test_analysis_checks_the_plan() -> None:
    table, estimator = sampled()
    assert analyse(table, estimator, confidence="0.95").efficiency_gap == 0
    stray = next(mask for mask in TABLE.rows if mask not in table.rows)
    rows = {**table.rows, stray: TABLE.rows[stray]}
    wider = CoalitionTable.of(LOCK, TABLE.players, TABLE.suites, rows)
    with pytest.raises(RecomputeError, match="not part of the sampling plan"):
        analyse(wider, estimator, confidence="0.95")
    with pytest.raises(RecomputeError, match="has only 246 pairs"):
        analyse(TABLE, Estimator("stratified", "test", "seed", 300), confidence="0.95")


def test_two_pairs_of_every_stratum_are_needed() -> None:
    with pytest.raises(EstimatorError, match="two pairs of every stratum"):
        estimate(TABLE, "few", 5)
    with pytest.raises(EstimatorError, match="pairs of coalitions"):
        Estimator("stratified", "test", "seed", None)


def test_simultaneous_intervals_are_wider() -> None:
    table, estimator = sampled()
    for worth in analyse(table, estimator, confidence="0.95").values:
        assert worth.interval.low is not None
        assert worth.simultaneous.low is not None
        assert Fraction(worth.simultaneous.low) < Fraction(worth.interval.low)


def test_a_null_player_may_differ_from_zero_by_chance_only() -> None:
    rows = {mask: TABLE.rows[mask & 0xFF] for mask in range(1 << PLAYERS)}
    table = CoalitionTable.of(LOCK, TABLE.players, TABLE.suites, rows)
    plan = plan_of("seed")
    masks = plan.masks(list(islice(sequence(table, plan), 30)))
    partial = CoalitionTable.of(
        LOCK, table.players, table.suites, {mask: rows[mask] for mask in masks}
    )
    result = analyse(partial, Estimator("stratified", "test", "seed", 30), confidence="0.999")
    verdicts = {check.name: check.verdict for check in result.checks}
    assert verdicts["null-player"] in ("inconclusive", "pass")
