"""Sampled values: the plan, its prefixes, unbiasedness and exact efficiency."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import exact
from attribution.analysis import Estimator, analyse
from attribution.errors import EstimatorError, MissingCoalitionsError, RecomputeError
from attribution.game import mean
from attribution.permutation import PermutationPlan, sample
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, random_table, table_of, tables


def sampled(table: CoalitionTable, seed: str, pairs: int) -> list[Fraction]:
    plan = PermutationPlan(seed, table.lock, len(table.players))
    items, _ = sample(table, plan, pairs)
    return [mean(row) for row in items.by_suite(table.suites)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 9))
def test_every_order_names_every_player_once(players: int, pair: int) -> None:
    order = PermutationPlan("s", LOCK, players).order(pair)
    assert sorted(order) == list(range(players))


def test_a_longer_plan_starts_with_the_shorter_one() -> None:
    plan = PermutationPlan("7", LOCK, 20)
    short = list(plan.masks(plan.pairs_within(1000)))
    long = list(plan.masks(plan.pairs_within(2000)))
    assert len(short) <= 1000 < len(long) <= 2000
    assert long[: len(short)] == short


def test_plan_is_frozen() -> None:
    """The orders are part of every published record: they must never change."""
    plan = PermutationPlan("seed", LOCK, 6)
    assert [plan.order(pair) for pair in range(3)] == [
        (3, 0, 2, 1, 5, 4),
        (3, 0, 5, 4, 1, 2),
        (1, 0, 5, 2, 4, 3),
    ]


def test_plan_depends_on_seed_and_lock_and_nothing_else() -> None:
    plan = PermutationPlan("a", LOCK, 12)
    assert plan.order(5) == PermutationPlan("a", LOCK, 12).order(5)
    others = [
        PermutationPlan("b", LOCK, 12),
        PermutationPlan("a", type(LOCK)(LOCK.codec, bytes(32)), 12),
    ]
    assert all(other.order(5) != plan.order(5) for other in others)


def test_orders_are_uniform() -> None:
    plan = PermutationPlan("uniform", LOCK, 4)
    seen = Counter(plan.order(pair) for pair in range(4800))
    assert len(seen) == 24
    # Chi-squared with 23 degrees of freedom: mean 23, standard deviation 6.8.
    assert sum((number - 200) ** 2 / 200 for number in seen.values()) < 23 + 4 * 6.8


def test_plan_starts_with_the_ends() -> None:
    masks = list(PermutationPlan("x", LOCK, 5).masks(2))
    ends = {0, 31, *(1 << at for at in range(5)), *(31 ^ 1 << at for at in range(5))}
    assert set(masks[:12]) == ends
    assert len(set(masks)) == len(masks)


def test_budget_too_small_for_an_error_bar_names_the_least() -> None:
    plan = PermutationPlan("x", LOCK, 20)
    with pytest.raises(EstimatorError, match="too small") as refused:
        plan.pairs_within(40)
    least = int(refused.value.hint.split()[-1])
    assert plan.pairs_within(least) == 2


@settings(max_examples=40, deadline=None)
@given(tables(), st.integers(2, 9))
def test_sampled_values_sum_exactly_to_the_gain(table: CoalitionTable, pairs: int) -> None:
    values = sampled(table, "e", pairs)
    assert sum(values) == table.value(table.everyone) - table.value(0)


def test_one_pair_is_exact_where_only_pairs_interact() -> None:
    gains = [3, 1, 4, 1, 5]

    def game(who: frozenset[int]) -> int:
        return sum(gains[at] for at in who) + 2 * int({0, 3} <= who) + int({1, 2} <= who)

    table = table_of(5, game, 20)
    assert sampled(table, "any", 1) == list(exact.shapley(table))


def test_mean_over_seeds_is_the_exact_value() -> None:
    table = random_table(11, 6, 15, 25)
    truth = exact.shapley(table)
    runs = [sampled(table, str(seed), 3) for seed in range(400)]
    for player, value in enumerate(truth):
        found = [float(run[player]) for run in runs]
        centre = sum(found) / len(found)
        spread = sqrt(sum((one - centre) ** 2 for one in found) / (len(found) - 1))
        assert spread > 0
        assert abs(centre - float(value)) < 4 * spread / sqrt(len(found))


def planned_table(table: CoalitionTable, seed: str, pairs: int) -> CoalitionTable:
    plan = PermutationPlan(seed, table.lock, len(table.players))
    rows = {mask: table.rows[mask] for mask in plan.masks(pairs)}
    return CoalitionTable.of(table.lock, table.players, table.suites, rows)


def test_missing_and_extra_coalitions_are_named() -> None:
    whole = random_table(4, 7, 12)
    estimator = Estimator("permutation", "test", "0", 3)
    table = planned_table(whole, "0", 3)
    analyse(table, estimator, confidence="0.95")
    absent = next(mask for mask in table.rows if mask not in (0, 127))
    rows = {mask: row for mask, row in table.rows.items() if mask != absent}
    short = CoalitionTable.of(table.lock, table.players, table.suites, rows)
    with pytest.raises(MissingCoalitionsError, match=f"coalition {absent:x} "):
        analyse(short, estimator, confidence="0.95")
    with pytest.raises(RecomputeError, match="not part of the sampling plan"):
        analyse(whole, estimator, confidence="0.95")


def test_another_seed_does_not_fit_the_table() -> None:
    table = planned_table(random_table(4, 9, 12), "0", 3)
    with pytest.raises(MissingCoalitionsError):
        analyse(table, Estimator("permutation", "test", "1", 3), confidence="0.95")


@pytest.mark.parametrize(
    ("seed", "pairs"), [(None, 3), ("", 3), ("x" * 129, 3), ("\n", 3), ("0", 1), ("0", None)]
)
def test_unusable_sampling_is_refused(seed: str | None, pairs: int | None) -> None:
    with pytest.raises(EstimatorError):
        Estimator("permutation", "test", seed, pairs)
