"""Exact values: games solved by hand, and the axioms on arbitrary tables."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import exact
from attribution.analysis import Estimator, analyse
from attribution.errors import EstimatorError, MissingCoalitionsError
from attribution.game import Suite, mean
from attribution.table import CoalitionTable, all_counts
from tests.attribution.games import (
    LOCK,
    Game,
    ids,
    members,
    naive_shapley,
    random_table,
    relabelled,
    suites_of,
    table_of,
    tables,
)


def fractions(*texts: str) -> tuple[Fraction, ...]:
    return tuple(Fraction(text) for text in texts)


def averaging(*gains: int) -> Game:
    return lambda who: sum(gains[at] for at in who) // len(who) if who else 0


def two_of_three_pieces_and_one(who: frozenset[int]) -> int:
    return int(len(who & {0, 1, 2}) >= 2) + int(3 in who)


def any_of(who: frozenset[int]) -> int:
    return int(bool(who))


def all_of(players: int) -> Game:
    return lambda who: int(len(who) == players)


# (name, players, game, items, Shapley values, Banzhaf values), all in units of one item.
VECTORS = [
    ("substitutes", 2, any_of, 1, "1/2 1/2", "1/2 1/2"),
    ("substitutes, two copies", 3, any_of, 1, "1/3 " * 3, "1/4 " * 3),
    ("substitutes, three copies", 4, any_of, 1, "1/4 " * 4, "1/8 " * 4),
    ("unanimity", 2, all_of(2), 1, "1/2 1/2", "1/2 1/2"),
    ("unanimity, split in two", 3, all_of(3), 1, "1/3 " * 3, "1/4 " * 3),
    ("unanimity, split in three", 4, all_of(4), 1, "1/4 " * 4, "1/8 " * 4),
    ("complement", 2, all_of(2), 1, "1/2 1/2", "1/2 1/2"),
    (
        "complement, two copies",
        3,
        lambda s: int(2 in s and len(s) > 1),
        1,
        "1/6 1/6 2/3",
        "1/4 1/4 3/4",
    ),
    ("averaging", 2, averaging(60, 30), 60, "75/2 15/2", "75/2 15/2"),
    ("averaging, zero effect joins", 3, averaging(60, 30, 0), 60, "65/2 10 -25/2", "30 15/2 -15"),
    ("additive", 3, lambda s: sum((60, 30, 0)[at] for at in s), 90, "60 30 0", "60 30 0"),
    (
        "three pieces, two suffice",
        4,
        two_of_three_pieces_and_one,
        2,
        "1/3 1/3 1/3 1",
        "1/2 1/2 1/2 1",
    ),
    (
        "glove, one left two right",
        3,
        lambda s: min(len(s & {0}), len(s & {1, 2})),
        1,
        "2/3 1/6 1/6",
        "3/4 1/4 1/4",
    ),
    ("dictator", 3, lambda s: int(1 in s), 1, "0 1 0", "0 1 0"),
]


@pytest.mark.parametrize(
    ("players", "game", "items", "shapley", "banzhaf"),
    [vector[1:] for vector in VECTORS],
    ids=[vector[0] for vector in VECTORS],
)
def test_games_solved_by_hand(
    players: int, game: Game, items: int, shapley: str, banzhaf: str
) -> None:
    table = table_of(players, game, items)
    assert [value * items for value in exact.shapley(table)] == [*fractions(*shapley.split())]
    assert [value * items for value in exact.banzhaf(table)] == [*fractions(*banzhaf.split())]


def test_coverage_game_pays_each_catch_in_equal_parts() -> None:
    caught = [{0}, {0, 1}, {0, 1, 2}, {2}]
    table = table_of(3, lambda s: sum(bool(s & by) for by in caught), 4)
    assert tuple(4 * value for value in exact.shapley(table)) == fractions("11/6", "5/6", "4/3")


@pytest.mark.parametrize("players", range(3, 10))
def test_majority_is_shared_equally(players: int) -> None:
    table = table_of(players, lambda s: int(2 * len(s) > players), 1)
    assert exact.shapley(table) == (Fraction(1, players),) * players


def test_airport_game_shares_each_stretch_among_those_who_need_it() -> None:
    costs = [1, 3, 3, 7, 12]
    table = table_of(5, lambda s: max((costs[at] for at in s), default=0), 12)
    stretches = [
        Fraction(cost - before, 5 - at)
        for at, (before, cost) in enumerate(zip([0, *costs], costs, strict=False))
    ]
    expected = [sum(stretches[: at + 1], Fraction(0)) / 12 for at in range(5)]
    assert list(exact.shapley(table)) == expected


@pytest.mark.parametrize("needed", [{0}, {1, 3}, {0, 2, 4}, {0, 1, 2, 3, 4}])
def test_unanimity_game_is_shared_among_the_needed(needed: set[int]) -> None:
    table = table_of(5, lambda s: int(needed <= s), 1)
    expected = tuple(Fraction(int(at in needed), len(needed)) for at in range(5))
    assert exact.shapley(table) == expected


def test_leave_one_out_sees_no_substitutes_and_every_complement() -> None:
    substitutes = table_of(3, lambda s: int(bool(s)), 1)
    unanimity = table_of(3, lambda s: int(len(s) == 3), 1)
    assert exact.leave_one_out(substitutes) == (0, 0, 0)
    assert exact.leave_one_out(unanimity) == (1, 1, 1)
    assert exact.alone(substitutes) == (1, 1, 1)
    assert exact.alone(unanimity) == (0, 0, 0)


def test_interaction_of_substitutes_is_negative_and_of_complements_positive() -> None:
    substitutes = table_of(2, lambda s: int(bool(s)), 1)
    unanimity = table_of(2, lambda s: int(len(s) == 2), 1)
    assert exact.item_interactions(substitutes).in_items() == (-1,)
    assert exact.item_interactions(unanimity).in_items() == (1,)


@settings(max_examples=60, deadline=None)
@given(tables(5))
def test_values_equal_the_mean_over_all_orders(table: CoalitionTable) -> None:
    assert list(exact.shapley(table)) == naive_shapley(table)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_routes_by_counts_and_by_items_agree(table: CoalitionTable) -> None:
    items = exact.item_values(table)
    assert items.by_suite(table.suites) == exact.suite_values(table)
    floats = items.numerators / items.denominator
    parts = np.split(floats, np.cumsum([suite.items for suite in table.suites])[:-1], axis=1)
    means = np.mean([part.mean(axis=1) for part in parts], axis=0)
    assert np.allclose(means, [float(value) for value in exact.shapley(table)], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(tables(5))
def test_interactions_equal_their_definition(table: CoalitionTable) -> None:
    players = len(table.players)
    found = exact.item_interactions(table).by_suite(table.suites)
    for row, (i, j) in zip(found, combinations(range(players), 2), strict=True):
        assert mean(row) == _interaction(table, i, j)


def _interaction(table: CoalitionTable, i: int, j: int) -> Fraction:
    others = [at for at in range(len(table.players)) if at not in (i, j)]
    total = Fraction(0)
    for size in range(len(others) + 1):
        layer = list(combinations(others, size))
        for chosen in layer:
            base = sum(1 << at for at in chosen)
            both, one, two = base | 1 << i | 1 << j, base | 1 << i, base | 1 << j
            gain = table.value(both) - table.value(one) - table.value(two) + table.value(base)
            total += gain / len(layer)
    return total / (len(others) + 1)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_efficiency_is_exact(table: CoalitionTable) -> None:
    assert sum(exact.shapley(table)) == table.value(table.everyone) - table.value(0)


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_relabelling_players_relabels_values(table: CoalitionTable, data: st.DataObject) -> None:
    to = data.draw(st.permutations(range(len(table.players))))
    before, after = exact.shapley(table), exact.shapley(relabelled(table, to))
    assert after == tuple(before[other] for other in to)


@settings(max_examples=40, deadline=None)
@given(tables(5))
def test_a_player_that_changes_nothing_is_worth_nothing(table: CoalitionTable) -> None:
    players = len(table.players)
    rows = {mask: table.rows[mask & table.everyone] for mask in range(2 << players)}
    wider = CoalitionTable.of(table.lock, ids("player", players + 1), table.suites, rows)
    assert exact.shapley(wider) == (*exact.shapley(table), 0)
    assert exact.banzhaf(wider) == (*exact.banzhaf(table), 0)


@settings(max_examples=40, deadline=None)
@given(tables(5))
def test_interchangeable_players_get_equal_values(table: CoalitionTable) -> None:
    players = len(table.players)
    twin = players
    # The newcomer stands in for player 0: either of them brings what player 0 brought.
    rows = {
        mask: table.rows[(mask & table.everyone) | (mask >> twin & 1)]
        for mask in range(2 << players)
    }
    wider = CoalitionTable.of(table.lock, ids("player", players + 1), table.suites, rows)
    values = exact.shapley(wider)
    assert values[0] == values[twin]


@settings(max_examples=40, deadline=None)
@given(tables(5))
def test_values_add_up_over_suites(table: CoalitionTable) -> None:
    totals = [Fraction(0)] * len(table.players)
    for at, suite in enumerate(table.suites):
        part = CoalitionTable.of(table.lock, table.players, [suite], _only_suite(table, at))
        for player, value in enumerate(exact.shapley(part)):
            totals[player] += value / len(table.suites)
    assert tuple(totals) == exact.shapley(table)


def _only_suite(table: CoalitionTable, at: int) -> dict[int, np.ndarray]:  # type: ignore[type-arg]
    start = sum(suite.items for suite in table.suites[:at])
    stop = start + table.suites[at].items
    return {mask: table.outcomes(mask)[start:stop] for mask in table.rows}


def test_only_the_odd_part_of_a_game_matters() -> None:
    # v(S) + g(S) with g(S) = g(N without S) has the values of v.
    table = table_of(4, len, 8)
    shifted = table_of(4, lambda s: len(s) + 2 * int(len(s) == 2), 8)
    assert exact.shapley(table) == exact.shapley(shifted)


def test_sixteen_players_agree_with_a_game_known_in_closed_form() -> None:
    table = table_of(16, lambda s: max(s, default=-1) + 1, 16)
    expected, so_far = [], Fraction(0)
    for at in range(16):
        so_far += Fraction(1, 16 - at)
        expected.append(so_far / 16)
    assert list(exact.shapley(table)) == expected


def test_incomplete_table_is_refused_and_the_first_gap_named() -> None:
    table = random_table(1, 3, 10)
    rows = {mask: row for mask, row in table.rows.items() if mask != 5}
    partial = CoalitionTable.of(LOCK, table.players, table.suites, rows)
    assert list(partial.missing()) == [5]
    with pytest.raises(MissingCoalitionsError, match="1 of 8 coalitions are missing, first 5"):
        exact.shapley(partial)
    with pytest.raises(MissingCoalitionsError):
        analyse(partial, Estimator("exact", "test"), confidence="0.95")


def test_twenty_one_players_are_not_computed_exactly() -> None:
    suite = suites_of(1)
    table = CoalitionTable.of(LOCK, ids("player", 21), suite, {0: np.array([True])})
    with pytest.raises(EstimatorError, match="at most 20"):
        exact.shapley(table)


def test_twenty_players_stay_within_32_bits_where_a_game_is_largest() -> None:
    # Every coalition solves the item: the largest sums that zeros and ones can give.
    game = np.ones((1, 1 << 20), dtype=np.int32)
    assert not exact.shapley_numerators(game).any()
    game[0, 0] = 0
    assert set(exact.shapley_numerators(game)[:, 0].tolist()) == {lcm(*range(1, 21)) // 20}
    game[0, -1] = 0
    assert not exact.shapley_numerators(game).any()


@settings(max_examples=60, deadline=None)
@given(tables())
def test_dividends_rebuild_the_game_and_share_out_to_the_values(table: CoalitionTable) -> None:
    worth = all_counts(table).T
    dividends = exact.moebius(worth)
    whole = [dividends[:, list(_subsets(mask))].sum(axis=1) for mask in range(worth.shape[1])]
    assert np.array_equal(np.stack(whole, axis=1), worth)
    for player, values in enumerate(exact.suite_values(table)):
        held = [mask for mask in range(worth.shape[1]) if mask >> player & 1]
        for suite, value, row in zip(table.suites, values, dividends.tolist(), strict=True):
            shares = [Fraction(row[mask], mask.bit_count()) for mask in held]
            assert sum(shares) == value * suite.items


def _subsets(mask: int) -> list[int]:
    return [subset for subset in range(mask + 1) if subset & mask == subset]


@settings(max_examples=60, deadline=None)
@given(tables())
def test_counts_of_all_rows_are_those_of_each(table: CoalitionTable) -> None:
    assert all_counts(table).tolist() == [list(table.counts(mask)) for mask in table.rows]


def test_suites_count_equally_whatever_their_size() -> None:
    suites = (Suite(ids("s", 2)[0], "small", 1), Suite(ids("s", 2)[1], "large", 9))
    rows = {mask: np.array([0 in members(mask)] + [1 in members(mask)] * 9) for mask in range(4)}
    table = CoalitionTable.of(LOCK, ids("player", 2), suites, rows)
    assert exact.shapley(table) == (Fraction(1, 2), Fraction(1, 2))
    assert exact.item_values(table).in_items() == (1, 9)
