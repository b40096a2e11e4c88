"""The checks box: each check can fail, and says what it compared."""

from __future__ import annotations

from fractions import Fraction

import pytest

from attribution import axioms, exact
from attribution.analysis import Estimator, analyse, interactions
from attribution.axioms import Check
from attribution.errors import TableError
from attribution.interval import Spread, error_of_pairs, spread_of
from attribution.permutation import PermutationPlan, sample
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, random_table, table_of

EXACT = Estimator("exact", "test")


def check(name: str, table: CoalitionTable, twins: list[list[int]] | None = None) -> Check:
    groups = [[table.players[at] for at in group] for group in twins or []]
    analysis = analyse(table, EXACT, confidence="0.95", identical=groups)
    return next(one for one in analysis.checks if one.name == name)


def spread(table: CoalitionTable) -> Spread:
    return spread_of(exact.item_values(table), table.suites, None, Fraction("0.95"))


def test_all_checks_pass_on_an_ordinary_table() -> None:
    analysis = analyse(random_table(1, 5, 20, 30), EXACT, confidence="0.95")
    assert [one.verdict for one in analysis.checks] == ["pass"] * 5
    assert analysis.efficiency_gap == 0


def test_values_that_do_not_sum_to_the_gain_fail_efficiency() -> None:
    table = random_table(1, 4, 20)
    values = list(exact.shapley(table))
    values[0] += Fraction(1, 10**9)
    found = axioms.check_efficiency(table, values)
    assert (found.verdict, found.detail) == ("fail", "gap 1/1000000000, computed without rounding")


def test_null_player_is_found_and_must_be_worth_nothing() -> None:
    table = table_of(3, lambda s: len(s - {1}), 4)
    assert table.null_players() == (1,)
    assert table.players[1] in check("null-player", table).detail
    wrong = [Fraction(1), Fraction(1), Fraction(0)]
    assert axioms.check_null_players(table, wrong, spread(table)).verdict == "fail"


def test_player_that_only_matters_in_company_is_not_a_null_player() -> None:
    table = table_of(3, lambda s: 2 * int({0, 2} <= s), 4)
    assert table.null_players() == (1,)


def test_zero_effect_adapter_under_averaging_is_not_a_null_player() -> None:
    gains = (60, 30, 0)
    table = table_of(3, lambda s: sum(gains[at] for at in s) // len(s) if s else 0, 60)
    assert table.null_players() == ()
    assert exact.shapley(table)[2] < 0
    assert check("null-player", table).verdict == "pass"


def test_identical_adapters_with_equal_values_are_symmetric() -> None:
    table = table_of(3, lambda s: int(bool(s & {0, 1})) + int(2 in s), 4)
    assert check("symmetry", table, [[0, 1]]).verdict == "pass"
    assert check("symmetry", table).detail == "no two contributions have identical tensors"


def test_identical_adapters_with_different_values_fail_and_print_the_difference() -> None:
    table = table_of(2, lambda s: 3 * int(0 in s) + int(1 in s), 4)
    found = check("symmetry", table, [[0, 1]])
    assert found.verdict == "fail"
    assert "values differ by 1/2" in found.detail


def test_sampled_values_of_identical_adapters_may_differ_within_error() -> None:
    # A triple interaction is what a pair of reverse orders does not cancel.
    table = table_of(5, lambda s: 6 * int(len(s & {0, 1, 2}) >= 2) + 5 * int({0, 1, 3} <= s), 30)
    items, pairs = sample(table, PermutationPlan("3", LOCK, 5), 5)
    values = [sum(row, Fraction(0)) for row in items.by_suite(table.suites)]
    sampled = spread_of(items, table.suites, error_of_pairs(pairs), Fraction("0.95"))
    assert values[0] != values[1]
    twins = [[table.players[0], table.players[1]]]
    assert axioms.check_symmetry(table, values, sampled, twins).verdict == "inconclusive"


def test_groups_of_identical_adapters_must_be_disjoint_players() -> None:
    table = random_table(1, 3, 10)
    one, two, three = table.players
    for groups in ([[one]], [[one, two], [two, three]], [[one, one]], [[one, str(LOCK)]]):
        with pytest.raises(TableError, match="identical adapters"):
            analyse(table, EXACT, confidence="0.95", identical=groups)


def test_suite_values_that_do_not_add_up_fail_additivity() -> None:
    table = random_table(2, 3, 10, 12)
    by_suite = [list(row) for row in exact.suite_values(table)]
    totals = exact.shapley(table)
    assert axioms.check_additivity(by_suite, totals).verdict == "pass"
    by_suite[1][0] += 1
    assert axioms.check_additivity(by_suite, totals).verdict == "fail"


def test_missing_coalitions_are_counted() -> None:
    table = random_table(2, 3, 10)
    rows = {mask: table.rows[mask] for mask in range(5)}
    short = CoalitionTable.of(LOCK, table.players, table.suites, rows)
    assert axioms.check_coalitions(table, 8).verdict == "pass"
    assert axioms.check_coalitions(short, 5).detail.startswith("all 5 planned")
    assert axioms.check_coalitions(short, 6).verdict == "fail"


def test_interactions_are_sorted_by_strength_and_carry_intervals() -> None:
    # 0 and 1 are substitutes on ten items, 1 and 2 complements on four.
    table = table_of(3, lambda s: 10 * int(bool(s & {0, 1})) + 4 * int({1, 2} <= s), 40)
    found = interactions(table, confidence="0.95")
    pairs = [(table.players.index(one.first), table.players.index(one.second)) for one in found]
    assert pairs == [(0, 1), (1, 2), (0, 2)]
    assert [one.value * 40 for one in found] == [-10, 4, 0]
    assert [one.interval.excludes_zero for one in found] == [True, True, False]
    assert spread(table).sampling is None
