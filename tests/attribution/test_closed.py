"""Closed forms: each equals the full table on random games."""

from __future__ import annotations

from collections.abc import Callable
from math import lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attribution import closed, exact
from tests.attribution.games import members

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.integers(1, 7)
Worth = Callable[[int, frozenset[int]], float]


def enumerated(items: int, players: int, worth: Worth) -> NDArray[np.float64]:
    """Values of integer games from all coalitions, [items, players]."""
    games = np.array(
        [[worth(item, members(mask)) for mask in range(1 << players)] for item in range(items)]
    )
    whole = np.rint(games).astype(np.int64)
    assert np.array_equal(whole, games)
    return exact.shapley_numerators(whole).T / lcm(*range(1, players + 1))


def ordered(seed: int, items: int, players: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    source = np.random.default_rng(seed)
    order = source.permuted(np.tile(np.arange(players), (items, 1)), axis=1)
    return order, source.integers(-5, 6, (items, players)).astype(float)


def first(order: NDArray[np.intp], item: int, who: frozenset[int], how_many: int) -> list[int]:
    return [player for player in order[item].tolist() if player in who][:how_many]


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_priority_is_the_game_of_the_first_present(seed: int, players: int) -> None:
    order, outcome = ordered(seed, 4, players)
    base = np.arange(4.0)

    def worth(item: int, who: frozenset[int]) -> float:
        return float(outcome[item, first(order, item, who, 1)[0]]) if who else float(base[item])

    expected = enumerated(4, players, worth)
    assert np.allclose(closed.priority(order, outcome, base), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_banzhaf_of_priority_is_the_mean_marginal(seed: int, players: int) -> None:
    order, outcome = ordered(seed, 1, players)
    game = np.array(
        [
            outcome[0, first(order, 0, members(mask), 1)[0]] if mask else 3.0
            for mask in range(1 << players)
        ]
    )
    for player, value in enumerate(closed.priority_banzhaf(order, outcome, np.array([3.0]))[0]):
        held = [mask for mask in range(1 << players) if mask >> player & 1]
        assert value == pytest.approx(np.mean([game[s] - game[s ^ 1 << player] for s in held]))


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES, st.integers(1, 4))
def test_top_mean_averages_the_best_present(seed: int, players: int, best: int) -> None:
    order, outcome = ordered(seed, 3, players)

    def worth(item: int, who: frozenset[int]) -> float:
        return float(sum(outcome[item, player] for player in first(order, item, who, best)))

    expected = enumerated(3, players, worth) / best
    assert np.allclose(closed.top_mean(order, outcome, best), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_top_pair_is_any_function_of_the_best_two(seed: int, players: int) -> None:
    order, _ = ordered(seed, 2, players)
    source = np.random.default_rng(seed)
    pair = source.integers(-5, 6, (2, players, players)).astype(float)
    alone, base = source.integers(-5, 6, (2, players)).astype(float), np.array([2.0, -1.0])

    def worth(item: int, who: frozenset[int]) -> float:
        places = [order[item].tolist().index(player) for player in first(order, item, who, 2)]
        if len(places) == 2:
            return float(pair[item, places[0], places[1]])
        return float(alone[item, places[0]] if places else base[item])

    expected = enumerated(2, players, worth)
    assert np.allclose(closed.top_pair(order, pair, alone, base), expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(SEEDS, SIZES)
def test_average_is_the_mean_of_those_present(seed: int, players: int) -> None:
    _, outcome = ordered(seed, 3, players)
    common = lcm(*range(1, players + 1))

    def worth(item: int, who: frozenset[int]) -> float:
        return common * sum(outcome[item, at] for at in who) / len(who) if who else common * 2.0

    expected = enumerated(3, players, lambda item, who: round(worth(item, who))) / common
    assert np.allclose(closed.average(outcome, np.full(3, 2.0)), expected, atol=1e-12)


def test_averaging_vectors_of_the_pay_rule() -> None:
    two = closed.average(np.array([[60.0, 30.0]]), np.zeros(1))
    assert two.tolist() == [[37.5, 7.5]]
    three = closed.average(np.array([[60.0, 30.0, 0.0]]), np.zeros(1))
    assert np.allclose(three, [[32.5, 10.0, -12.5]])


@pytest.mark.parametrize(("copies", "others"), [(1, 3), (2, 3), (4, 2)])
def test_copies_in_a_router_earn_what_the_replication_law_says(copies: int, others: int) -> None:
    """An honest share 1/k becomes c / (k + c - 1) among equals, of a pie of one."""
    players = copies + others - 1
    order = np.arange(players)[None]
    values = closed.priority(order, np.ones((1, players)), np.zeros(1))
    assert values[0, :copies].sum() == pytest.approx(copies / players)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 6), st.integers(1, 4))
def test_choice_table_is_the_argmax_of_every_sum(seed: int, players: int, choices: int) -> None:
    source = np.random.default_rng(seed)
    items = 11
    likelihoods = source.integers(-3, 4, (players, items, choices))
    base, answer = source.integers(-3, 4, (items, choices)), source.integers(0, choices, items)
    packed = closed.choice_table(likelihoods, base, answer)
    for mask in range(1 << players):
        chosen = [at for at in range(players) if mask >> at & 1]
        sums = likelihoods[chosen].sum(axis=0) if chosen else base
        bits = np.unpackbits(packed[mask], count=items).astype(bool)
        assert bits.tolist() == (sums.argmax(axis=1) == answer).tolist()
