"""Intervals: what they cover, how often they do, and how they are written."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attribution import exact, interval
from attribution.errors import EstimatorError
from attribution.game import mean
from attribution.interval import rank_groups, rank_ranges, spread_of, suite_intervals
from attribution.permutation import PermutationPlan, sample
from attribution.quantile import down, ends, parse_confidence, root, student_quantile, up
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, ids, random_table, suites_of, table_of

LEVEL = Fraction(19, 20)
RUNS = 500
# Four standard deviations of a binomial share around 0.95 in RUNS draws.
TOLERANCE = 4 * (0.95 * 0.05 / RUNS) ** 0.5


@pytest.mark.parametrize(
    ("confidence", "freedom", "expected"),
    # Published tables of Student's distribution.
    [
        ("0.95", 1, "12.706"),
        ("0.95", 2, "4.303"),
        ("0.95", 3, "3.182"),
        ("0.95", 10, "2.228"),
        ("0.95", 29, "2.045"),
        ("0.95", 120, "1.980"),
        ("0.99", 4, "4.604"),
        ("0.99", 60, "2.660"),
        ("0.9", 7, "1.895"),
        ("0.95", 1_000_000, "1.960"),
    ],
)
def test_student_quantiles(confidence: str, freedom: int, expected: str) -> None:
    found = student_quantile(Fraction(confidence), freedom)
    assert round(found, 3) == Decimal(expected)


def test_series_and_expansion_meet() -> None:
    series, expansion = student_quantile(LEVEL, 400), student_quantile(LEVEL, 401)
    assert 0 < series - expansion < Decimal("0.00002")


@pytest.mark.parametrize(
    "text", ["", "1", "0", "95", "0.95%", ".95", "0.4", "1.0", "0.99999", "nan"]
)
def test_unusable_confidence_is_refused(text: str) -> None:
    with pytest.raises(EstimatorError):
        parse_confidence(text)


@given(st.fractions(-5, 5), st.fractions(0, 5))
def test_ends_are_rounded_outwards_by_less_than_a_millionth(
    value: Fraction, square: Fraction
) -> None:
    half = root(square)
    low, high = ends(value, half)
    assert Fraction(low) <= value <= Fraction(high)
    assert 0 <= value - Fraction(half) - Fraction(low) + Fraction(1, 10**50) < Fraction(2, 10**6)
    assert 0 <= Fraction(high) - value - Fraction(half) + Fraction(1, 10**50) < Fraction(2, 10**6)
    assert "-0.000000" not in (low, high)


def test_rounding_directions() -> None:
    assert up(Decimal("0.0000001")) == "0.000001"
    assert down(Decimal("0.0000009")) == "0.000000"
    assert up(Decimal("-0.0000009")) == "0.000000"
    assert down(Decimal("-0.0000001")) == "-0.000001"


def test_item_half_width_is_the_textbook_one() -> None:
    table = random_table(2, 4, 30, 50)
    values = exact.item_values(table)
    spread = spread_of(values, table.suites, None, LEVEL)
    floats = values.numerators / values.denominator
    totals = exact.shapley(table)
    for player in range(4):
        first, second = floats[player, :30], floats[player, 30:]
        error = (first.var(ddof=1) / 30 + second.var(ddof=1) / 50) ** 0.5 / 2
        found = spread.interval(totals[player], player)
        assert found.half_width_items is not None
        assert float(found.half_width_items) == pytest.approx(2.04523 * error, abs=2e-6)
        assert found.half_width_sampling is None
        assert found.sources == ("items",)


def test_sources_are_combined_in_quadrature() -> None:
    table = random_table(2, 5, 30, 50)
    values, pairs = sample(table, PermutationPlan("0", LOCK, 5), 20)
    spread = spread_of(values, table.suites, interval.error_of_pairs(pairs), LEVEL)
    worth = [mean(row) for row in values.by_suite(table.suites)]
    found = spread.interval(worth[0], 0)
    assert found.sources == ("items", "sampling")
    assert found.low is not None
    assert found.high is not None
    parts = float(found.half_width_items or 0), float(found.half_width_sampling or 0)
    assert min(parts) > 0
    assert float(found.high) - float(found.low) == pytest.approx(
        2 * (parts[0] ** 2 + parts[1] ** 2) ** 0.5, abs=1e-5
    )


def test_intervals_cover_the_value_over_all_possible_items() -> None:
    """Suites are drawn from a large pool of items; the value over the pool is the truth."""
    pool = random_table(8, 3, 1500, 900)
    truth = exact.shapley(pool)
    outcomes = np.stack([pool.outcomes(mask) for mask in range(8)])
    source = np.random.default_rng(5)
    hits = np.zeros(3)
    for _ in range(RUNS):
        chosen = np.concatenate([source.integers(0, 1500, 40), source.integers(1500, 2400, 60)])
        rows = {mask: outcomes[mask, chosen] for mask in range(8)}
        table = CoalitionTable.of(LOCK, ids("player", 3), suites_of(40, 60), rows)
        spread = spread_of(exact.item_values(table), table.suites, None, LEVEL)
        for player, value in enumerate(exact.shapley(table)):
            interval = spread.interval(value, player)
            assert interval.low is not None
            assert interval.high is not None
            hits[player] += Fraction(interval.low) <= truth[player] <= Fraction(interval.high)
    assert np.all(np.abs(hits / RUNS - 0.95) < TOLERANCE), hits / RUNS


@pytest.mark.no_cover
def test_sampling_half_width_covers_the_exact_value() -> None:
    table = random_table(9, 6, 40, 40)
    truth = exact.shapley(table)
    hits = np.zeros(6)
    for seed in range(RUNS):
        values, pairs = sample(table, PermutationPlan(str(seed), LOCK, 6), 12)
        spread = spread_of(values, table.suites, interval.error_of_pairs(pairs), LEVEL)
        for player, row in enumerate(values.by_suite(table.suites)):
            width = spread.interval(mean(row), player).half_width_sampling
            assert width is not None
            hits[player] += abs(mean(row) - truth[player]) <= Fraction(width)
    assert np.all(np.abs(hits / RUNS - 0.95) < TOLERANCE), hits / RUNS


def test_a_suite_of_one_item_leaves_the_spread_unknown() -> None:
    table = random_table(3, 3, 1, 20)
    values = exact.item_values(table)
    spread = spread_of(values, table.suites, None, LEVEL)
    found = spread.interval(Fraction(1), 0)
    assert (found.low, found.high, found.half_width_items, found.sources) == (None, None, None, ())
    assert not found.excludes_zero
    totals = exact.shapley(table)
    assert rank_ranges(totals, spread) == ((1, 3),) * 3
    per_suite = suite_intervals(values, table.suites, LEVEL)
    assert per_suite[0][0].low is None
    assert per_suite[0][1].low is not None


def test_clear_differences_are_ranked_and_twins_share_a_rank() -> None:
    # Player 2 solves 60 items alone; players 0 and 1 each stand in for the other on 10 items.
    table = table_of(3, lambda s: 60 * int(2 in s) + 10 * int(bool(s & {0, 1})), 100)
    values = exact.item_values(table)
    totals = exact.shapley(table)
    spread = spread_of(values, table.suites, None, LEVEL)
    assert rank_ranges(totals, spread) == ((2, 3), (2, 3), (1, 1))
    assert rank_groups(totals, spread) == ((2,), (0, 1))


def test_differences_are_paired_over_items() -> None:
    # Both values vary a lot over items, but one always exceeds the other by the same items.
    table = table_of(2, lambda s: 30 * len(s) + 12 * int(0 in s), 100)
    values, totals = exact.item_values(table), exact.shapley(table)
    spread = spread_of(values, table.suites, None, LEVEL)
    apart = spread.difference(totals[0] - totals[1], 0, 1)
    single = spread.interval(totals[0], 0)
    assert apart.half_width_items is not None
    assert single.half_width_items is not None
    assert apart.excludes_zero == (Fraction(apart.low or 0) > 0)
    gaps = (values.numerators[0] - values.numerators[1]) / values.denominator
    expected = 1.98422 * (gaps.var(ddof=1) / 100) ** 0.5
    assert float(apart.half_width_items) == pytest.approx(expected, abs=2e-6)


@given(st.lists(st.lists(st.integers(-(2**62), 2**62 - 1), min_size=3, max_size=3), min_size=1))
def test_products_of_large_numerators_do_not_overflow(rows: list[list[int]]) -> None:
    wide = np.array(rows, dtype=np.int64)
    exactly = wide.astype(object)
    assert (interval.gram(wide) == exactly.T @ exactly).all()
