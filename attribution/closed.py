"""Shapley values in polynomial time, for games whose rule is known, from per-member evidence.

No coalition is enumerated. Each function solves many items at once, in float64, with an error of a
few units in the last place; values that are published come from `decision`, in integers. Shapes:
`m` items, `n` players. `order[x]` lists the players of item x from the first to be asked.

    priority      argmax router, cascade, best-of by a judge: the first player present answers
    top_mean      a fixed 1/K average of the K best (Jia et al. 2019, KNN-Shapley)
    top_pair      any function of the best two present
    average       the mean over the players present
    choice_table  products of experts: all coalitions' choices from each member's log-likelihoods
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Order = NDArray[np.intp]

_BITS = 8


def priority(order: Order, outcome: Floats, base: Floats) -> Floats:
    """Return the values where the first player of an order that is present answers.

    With d_k the step from the k-th of the order to the next, the base being last, the game is the
    base plus the sum of d_k over the k of whose first k players one is present: an airport game.

    Args:
        order: a permutation of the players for each item, [m, n].
        outcome: what player i achieves on item x, [m, n].
        base: what the base achieves, [m].

    Returns:
        Values, [m, n]; their sum over players is outcome[first] - base.
    """
    shared = _shares(order, outcome, base, np.arange(1, order.shape[1] + 1))
    return _by_player(order, shared)


def priority_banzhaf(order: Order, outcome: Floats, base: Floats) -> Floats:
    """Return the raw Banzhaf values of the game of `priority`."""
    shared = _shares(order, outcome, base, np.exp2(np.arange(order.shape[1], dtype=np.float64)))
    return _by_player(order, shared)


def top_mean(order: Order, outcome: Floats, best: int) -> Floats:
    """Return the values where the `best` first players present are averaged with weight 1/best.

    With fewer present, the missing ones count as zero; so does the empty coalition.
    """
    places = np.arange(1, order.shape[1] + 1)
    divisor = best * places / np.minimum(best, places)
    shared = _shares(order, outcome, np.zeros(len(order)), divisor)
    return _by_player(order, shared)


def top_pair(order: Order, pair: Floats, alone: Floats, base: Floats) -> Floats:
    """Return the values where the first two players present answer together.

    Args:
        order: a permutation of the players for each item, [m, n].
        pair: pair[x, p, q] is what places p < q of the order achieve together, [m, n, n].
        alone: what each place achieves when nobody else is present, [m, n].
        base: what the base achieves, [m].
    """
    players = order.shape[1]
    upper = np.triu(pair, k=1)
    # 1-based place q of the second: B(2, q-1) for the pair, B(3, q-2) for each better one absent.
    q = np.arange(1.0, players + 1)
    with np.errstate(divide="ignore"):
        present = np.where(q > 1, 1 / (q * (q - 1)), 0)
        absent = np.where(q > 2, 2 / (q * (q - 1) * (q - 2)), 0)
    values = (upper * present).sum(axis=2) + (upper * present).sum(axis=1)
    # A better player i is absent from (p, q) if i < q and i != p.
    lost = (upper * absent).sum(axis=1)
    later = np.cumsum(lost[:, ::-1], axis=1)[:, ::-1] - lost
    values -= later - (upper * absent).sum(axis=2)
    single = alone.sum(axis=1, keepdims=True)
    values += alone / players
    if players > 1:
        values -= (single - alone) / (players * (players - 1))
    return _by_player(order, values - base[:, None] / players)


def average(outcome: Floats, base: Floats) -> Floats:
    """Return the values where the players present are averaged, and the base answers alone.

    A player without effect gets a negative value here, because its presence dilutes the others.
    """
    players = outcome.shape[1]
    harmonic = (1 / np.arange(1, players + 1)).sum()
    others = (outcome.sum(axis=1, keepdims=True) - outcome) / max(1, players - 1)
    result: Floats = (outcome - base[:, None] + (harmonic - 1) * (outcome - others)) / players
    return result


def choice_table(
    likelihoods: NDArray[np.int64], base: NDArray[np.int64], answer: NDArray[np.intp]
) -> NDArray[np.uint8]:
    """Return what every coalition of an unnormalised product of experts answers correctly.

    A coalition takes the choice whose log-likelihood, summed over its members, is largest, the
    lowest index among equals; the empty coalition takes the base's.

    Args:
        likelihoods: of every member, item and choice, [n, m, choices], on an integer grid whose
            sums stay below 2^31.
        base: the base's, [m, choices].
        answer: the right choice of each item, [m].

    Returns:
        Packed outcomes, [2^n, ceil(m / 8)], most significant bit first, as in a coalition table.
    """
    players, items, choices = likelihoods.shape
    packed = np.zeros((1 << players, (items + _BITS - 1) // _BITS), dtype=np.uint8)
    for column in range(packed.shape[1]):
        part = slice(column * _BITS, min(items, (column + 1) * _BITS))
        right = np.ones((part.stop - part.start, 1 << players), dtype=np.bool_)
        at = np.arange(len(right))
        for step in range(1, choices):
            rival = (answer[part] + step) % choices
            lead = likelihoods[:, part][:, at, answer[part]] - likelihoods[:, part][:, at, rival]
            # Of equal sums the lower index wins: a lead of one is needed over a lower one.
            right &= _sums(lead.astype(np.int32), -(rival < answer[part]).astype(np.int32)) >= 0
        right[:, 0] = base[part].argmax(axis=1) == answer[part]
        packed[:, column] = np.packbits(right, axis=0)[0]
    return packed


def _sums(terms: NDArray[np.int32], start: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return start plus the terms of every coalition, [items, 2^n], from terms [n, items]."""
    players, items = terms.shape
    sums = np.empty((items, 1 << players), dtype=np.int32)
    sums[:, 0] = start
    for player in range(players):
        half = 1 << player
        np.add(sums[:, :half], terms[player][:, None], out=sums[:, half : 2 * half])
    return sums


def _shares(order: Order, outcome: Floats, base: Floats, divisor: Floats | Order) -> Floats:
    """Return by place the sum over k >= place of d_k / divisor_k."""
    placed = np.take_along_axis(outcome, order, axis=1)
    steps = placed.astype(np.float64)
    steps[:, :-1] -= placed[:, 1:]
    steps[:, -1] -= base
    steps /= divisor
    result: Floats = np.cumsum(steps[:, ::-1], axis=1)[:, ::-1]
    return result


def _by_player(order: Order, placed: Floats) -> Floats:
    values = np.empty_like(placed)
    np.put_along_axis(values, order, placed, axis=1)
    return values
