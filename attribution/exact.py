"""Exact values from a complete coalition table, in integers and fractions only.

The Shapley value of player i weighs the marginal contribution to a coalition of s others by
w(s) = s! (n-1-s)! / n! = 1 / (n C(n-1, s)). Collecting the terms per coalition T of size t,

    phi_i = sum_{T with i} (w(t-1) + w(t)) v(T)  -  sum_T w(t) v(T),      w(-1) = w(n) = 0.

lcm(1..n) clears every denominator n C(n-1, s) (Farhi, "An identity involving the least common
multiple of binomial coefficients", 2009), so the sums are integers. The sums over the coalitions
that hold i, for all i at once, cost one pass over the table by repeated halving. No floating-point
number is involved, hence no order of summation either.

Games are integer arrays of shape [games, 2^n], column S for coalition mask S. No sum met on the
way exceeds 2 (1 + 1/2 + ... + 1/n) lcm(1..n) times the largest cell: 0.8 * 2^31 for games of zeros
and ones at n = 20, so that these are folded in 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import comb, lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution import treetable
from attribution.errors import EstimatorError, MissingCoalitionsError
from attribution.evidence import Evidence
from attribution.game import ItemValues, mean
from attribution.table import CoalitionTable, all_counts
from attribution.treetable import TreeTable

MAX_PLAYERS_EXACT: Final = 20
_CHUNK_CELLS = 1 << 22

Cells = NDArray[np.integer]


def fold(cells: Cells) -> Cells:
    """Return for every player the sum over the coalitions that hold it.

    Args:
        cells: integers of shape [games, 2^n].

    Returns:
        Integers of shape [n, games].
    """
    players = cells.shape[-1].bit_length() - 1
    sums = np.empty((players, *cells.shape[:-1]), dtype=cells.dtype)
    work = cells
    for player in reversed(range(players)):
        lower, upper = work[..., : 1 << player], work[..., 1 << player :]
        upper.sum(axis=-1, dtype=cells.dtype, out=sums[player])
        work = lower + upper
    return sums


def fold_pairs(cells: Cells) -> Cells:
    """Return for every pair the sum over the coalitions that hold both.

    Returns:
        Integers of shape [n, n, games], symmetric; the diagonal holds `fold`.
    """
    players = cells.shape[-1].bit_length() - 1
    sums = np.zeros((players, players, *cells.shape[:-1]), dtype=cells.dtype)
    work = cells
    for player in reversed(range(players)):
        lower, upper = work[..., : 1 << player], work[..., 1 << player :]
        upper.sum(axis=-1, dtype=cells.dtype, out=sums[player, player])
        sums[player, :player] = fold(upper)
        sums[:player, player] = sums[player, :player]
        work = lower + upper
    return sums


def moebius(cells: Cells) -> Cells:
    """Return the Moebius transform m(T) = sum_{S in T} (-1)^(|T| - |S|) v(S), of the same shape.

    v(S) is the sum of m(T) over all T in S, so m(T) is what exactly the members of T bring together
    (Harsanyi dividend); the Shapley value of i is the sum of m(T) / |T| over the T that hold i.
    """
    result = cells.copy()
    for player in range(cells.shape[-1].bit_length() - 1):
        halves = result.reshape(*cells.shape[:-1], -1, 2, 1 << player)
        halves[..., 1, :] -= halves[..., 0, :]
    return result


def shapley_numerators(cells: Cells) -> Cells:
    """Return lcm(1..n) times the Shapley values of integer games, shape [n, games]."""
    players = cells.shape[-1].bit_length() - 1
    holding, any_ = _coalition_weights(players, cells.dtype)
    result: Cells = fold(cells * holding) - cells @ any_
    return result


def interaction_numerators(cells: Cells) -> Cells:
    """Return lcm(1..n-1) times the pairwise Shapley interaction indices.

    The index of Grabisch and Roubens (1999) for a pair averages v(S+ij) - v(S+i) - v(S+j) + v(S)
    with weights s! (n-2-s)! / (n-1)!; positive is synergy, negative is redundancy.

    Returns:
        Integers of shape [n, n, games], symmetric, with a zero diagonal.
    """
    players = cells.shape[-1].bit_length() - 1
    if players < 2:
        return np.zeros((players, players, *cells.shape[:-1]), dtype=cells.dtype)
    # Entry t of `both`, `one`, `none` weighs a coalition of t that holds both, one, none of a pair.
    weight = _weights(players - 1, lcm(*range(1, players))).astype(cells.dtype)
    both, one, none = np.insert(weight[:-1], 0, 0), weight, np.append(weight[1:], 0)
    sizes = _sizes(players)
    pairs = fold_pairs(cells * (both + 2 * one + none).take(sizes))
    singles = fold(cells * (one + none).take(sizes))
    result: Cells = pairs - singles[:, None] - singles[None, :] + cells @ none.take(sizes)
    result[np.arange(players), np.arange(players)] = 0
    return result


def item_values(table: Evidence) -> ItemValues:
    """Return the exact Shapley value of every player on every item.

    Raises:
        MissingCoalitionsError: if the table is not complete.
        EstimatorError: for more than 20 players, unless the table holds trees.
    """
    if isinstance(table, TreeTable):
        return treetable.item_values(table)
    parts = [shapley_numerators(cells) for cells in _item_games(table, np.dtype(np.int32))]
    numerators = np.concatenate(parts, axis=1)[:, : table.items].astype(np.int64)
    return ItemValues(numerators, lcm(*range(1, len(table.players) + 1)))


def item_interactions(table: Evidence) -> ItemValues:
    """Return the pairwise interaction index on every item, one row per pair i < j in order."""
    if isinstance(table, TreeTable):
        return treetable.item_interactions(table)
    first, second = np.triu_indices(len(table.players), k=1)
    parts = [
        interaction_numerators(cells)[first, second]
        for cells in _item_games(table, np.dtype(np.int64))
    ]
    numerators = np.concatenate(parts, axis=1)[:, : table.items].astype(np.int64, copy=False)
    return ItemValues(numerators, lcm(*range(1, len(table.players))))


def suite_values(table: Evidence) -> tuple[tuple[Fraction, ...], ...]:
    """Return the exact Shapley value of every player on every suite, from the counts alone."""
    if isinstance(table, TreeTable):
        return treetable.suite_values(table)
    whole = _require_complete(table)
    numerators = shapley_numerators(all_counts(whole).T).tolist()
    common = lcm(*range(1, len(table.players) + 1))
    return tuple(
        tuple(
            Fraction(number, common * suite.items)
            for number, suite in zip(row, table.suites, strict=True)
        )
        for row in numerators
    )


def shapley(table: Evidence) -> tuple[Fraction, ...]:
    """Return the exact Shapley value of every player in the game `mean-accuracy`."""
    return tuple(mean(row) for row in suite_values(table))


def banzhaf(table: Evidence) -> tuple[Fraction, ...]:
    """Return the raw Banzhaf value: the plain mean of a player's marginal contributions."""
    if isinstance(table, TreeTable):
        return treetable.banzhaf(table)
    counts = all_counts(_require_complete(table)).T
    players = len(table.players)
    numerators = (2 * fold(counts) - counts.sum(axis=-1)).tolist()
    return tuple(
        mean(
            [
                Fraction(number, suite.items << (players - 1))
                for number, suite in zip(row, table.suites, strict=True)
            ]
        )
        for row in numerators
    )


def leave_one_out(table: Evidence) -> tuple[Fraction, ...]:
    """Return what the whole loses without each player, v(N) - v(N without i).

    Raises:
        MissingCoalitionsError: if one of these coalitions was not evaluated.
    """
    whole = table.value(table.everyone)
    return tuple(
        whole - table.value(table.everyone ^ (1 << player)) for player in range(len(table.players))
    )


def alone(table: Evidence) -> tuple[Fraction, ...]:
    """Return what each player adds to the base on its own, v({i}) - v({}).

    Raises:
        MissingCoalitionsError: if one of these coalitions was not evaluated.
    """
    base = table.value(0)
    return tuple(table.value(1 << player) - base for player in range(len(table.players)))


def _weights(players: int, common: int) -> NDArray[np.int64]:
    """Return common * [w(-1), w(0), ..., w(players-1), w(players)] with zeros at both ends."""
    inner = [common // (players * comb(players - 1, size)) for size in range(players)]
    return np.array([0, *inner, 0], dtype=np.int64)


@lru_cache(maxsize=1)
def _coalition_weights(players: int, dtype: np.dtype[np.signedinteger]) -> tuple[Cells, Cells]:
    """Return lcm(1..n) times w(t-1) + w(t), and w(t), for every coalition."""
    weight = _weights(players, lcm(*range(1, players + 1))).astype(dtype)
    sizes = _sizes(players)
    return (weight[:-1] + weight[1:]).take(sizes), weight[1:].take(sizes)


def _sizes(players: int) -> NDArray[np.int8]:
    """Return the number of members of every coalition."""
    sizes = np.zeros(1, dtype=np.int8)
    for _ in range(players):
        sizes = np.concatenate([sizes, sizes + np.int8(1)])
    return sizes


def _item_games(table: Evidence, dtype: np.dtype[np.signedinteger]) -> Iterator[Cells]:
    """Yield the items as games of zeros and ones, in whole bytes of items, padding included."""
    packed = _require_complete(table).all_packed()
    step = max(1, _CHUNK_CELLS // (8 * packed.shape[0]))
    for start in range(0, packed.shape[1], step):
        bits = np.unpackbits(packed[:, start : start + step], axis=1)
        yield bits.T.astype(dtype, order="C")


def _require_complete(table: Evidence) -> CoalitionTable:
    players = len(table.players)
    if players > MAX_PLAYERS_EXACT:
        raise EstimatorError(
            f"exact values need 2^{players} coalitions; at most {MAX_PLAYERS_EXACT} players "
            "are computed exactly",
            hint="use --estimator permutation",
        )
    if not isinstance(table, CoalitionTable):
        raise EstimatorError(f"a table of schema {table.schema} has no lines for coalitions")
    if not table.complete:
        absent = (1 << players) - len(table.rows)
        first = next(table.missing())
        raise MissingCoalitionsError(
            f"table: {absent} of {1 << players} coalitions are missing, first {first:x}"
        )
    return table
