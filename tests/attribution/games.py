"""Small games as coalition tables, so that expected values can be worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import permutations

import numpy as np
from hypothesis import strategies as st

from attribution.game import Suite
from attribution.table import CoalitionTable
from ledger.cid import Cid

LOCK = Cid.of(b"lock")

Game = Callable[[frozenset[int]], int]


def ids(prefix: str, size: int) -> tuple[str, ...]:
    """Return `size` contribution ids in order."""
    return tuple(sorted(str(Cid.of(f"{prefix}{at}".encode())) for at in range(size)))


def suites_of(*sizes: int) -> tuple[Suite, ...]:
    """Return suites with these numbers of items."""
    return tuple(
        Suite(suite, f"suite {at}", size)
        for at, (suite, size) in enumerate(zip(ids("suite", len(sizes)), sizes, strict=True))
    )


def members(mask: int) -> frozenset[int]:
    """Return the players of a mask."""
    return frozenset(at for at in range(mask.bit_length()) if mask >> at & 1)


def table_of(players: int, game: Game, items: int) -> CoalitionTable:
    """Return the complete table of a game: the coalition S solves the first game(S) items."""
    return CoalitionTable.of(
        LOCK,
        ids("player", players),
        suites_of(items),
        {mask: np.arange(items) < game(members(mask)) for mask in range(1 << players)},
    )


def random_table(seed: int, players: int, *sizes: int) -> CoalitionTable:
    """Return a complete table in which adapters help, hurt and interact on random items."""
    source = np.random.default_rng(seed)
    items = sum(sizes)
    skill = source.normal(0.3, 1, (items, players))
    bias = source.normal(-0.5, 1, items)
    clash = source.normal(0, 0.5, (items, players, players))
    rows = {}
    for mask in range(1 << players):
        chosen = np.array([mask >> at & 1 for at in range(players)], dtype=float)
        rows[mask] = bias + skill @ chosen + (clash @ chosen) @ chosen > 0
    return CoalitionTable.of(LOCK, ids("player", players), suites_of(*sizes), rows)


@st.composite
def tables(draw: st.DrawFn, most_players: int = 6) -> CoalitionTable:
    """Draw a complete table with arbitrary outcomes."""
    players = draw(st.integers(1, most_players))
    sizes = draw(st.lists(st.integers(1, 11), min_size=1, max_size=3))
    noise = random.Random(draw(st.integers(0, 2**32)))
    bias = draw(st.sampled_from([0.1, 0.5, 0.9]))
    items = sum(sizes)
    rows = {
        mask: np.array([noise.random() < bias for _ in range(items)])
        for mask in range(1 << players)
    }
    return CoalitionTable.of(LOCK, ids("player", players), suites_of(*sizes), rows)


def naive_shapley(table: CoalitionTable) -> list[Fraction]:
    """Return Shapley values by the definition: the mean over all orders, one by one."""
    players = len(table.players)
    sums = [Fraction(0)] * players
    orders = list(permutations(range(players)))
    for order in orders:
        mask = 0
        for player in order:
            sums[player] += table.value(mask | 1 << player) - table.value(mask)
            mask |= 1 << player
    return [total / len(orders) for total in sums]


def relabelled(table: CoalitionTable, to: Sequence[int]) -> CoalitionTable:
    """Return the game in which player at plays the part of player to[at]."""

    def moved(mask: int) -> int:
        return sum(1 << to[at] for at in members(mask))

    rows = {mask: table.rows[moved(mask)] for mask in table.rows}
    return CoalitionTable.of(table.lock, table.players, table.suites, rows)
