"""Exact Shapley values of voting games, as fractions, without enumerating coalitions.

An item is solved if the answer that wins the vote is right. Members that abstain are null players
and are left out. Ties and the empty coalition are settled by what is stated with each function.
Everything is counted in integers: a polynomial whose coefficient at x^s is a number of coalitions
of s members is one large integer, its value at x = 2^b (Kronecker substitution).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Party:
    """The voters of one wrong answer.

    `wins_ties` says whether that answer beats the right one at equal numbers.
    """

    voters: int
    wins_ties: bool


def majority(right: int, wrong: int) -> tuple[Fraction, Fraction]:
    """Return the value of a voter for the right and for the wrong answer; a tie does not solve.

    The empty coalition does not solve either. A value is 0 where there is no such voter.
    """
    players = right + wrong
    gained = sum(
        Fraction(
            comb(right - 1, q) * comb(wrong, q) * factorial(2 * q) * factorial(players - 1 - 2 * q),
            factorial(players),
        )
        for q in range(min(right - 1, wrong) + 1)
    )
    lost = sum(
        Fraction(
            comb(right, q + 1)
            * comb(wrong - 1, q)
            * factorial(2 * q + 1)
            * factorial(players - 2 - 2 * q),
            factorial(players),
        )
        for q in range(min(right - 1, wrong - 1) + 1)
    )
    return Fraction(gained), -Fraction(lost)


@lru_cache(maxsize=4096)
def plurality(
    right: int, parties: tuple[Party, ...], *, base_right: bool
) -> tuple[Fraction, tuple[Fraction, ...]]:
    """Return the value of a voter for the right answer, and of a voter of each other party.

    The right answer wins if it has a vote, more votes than every party that wins ties, and at least
    as many as every other. Without any vote the base answers.

    Args:
        right: voters for the right answer.
        parties: the voters of the other answers, each with at least one.
        base_right: whether the base is right.
    """
    players = right + sum(party.voters for party in parties)
    bits = players + 1
    nobody = Fraction(int(base_right), players) if players else Fraction(0)
    if not right:
        return Fraction(0), tuple(-nobody for _ in parties)
    at_most = [_cumulative(party.voters, bits) for party in parties]
    # `held[p]` counts the coalitions of the others against which p right votes win, by size.
    held = [0]
    for votes in range(1, right + 1):
        product = 1
        for party, sums in zip(parties, at_most, strict=True):
            product *= sums[min(votes - party.wins_ties, party.voters)]
        held.append(product)
    gained = sum(
        comb(right - 1, votes) * _weigh(held[votes + 1] - held[votes], votes, players, bits)
        for votes in range(right)
    )
    lost = []
    for at, party in enumerate(parties):
        total = Fraction(0)
        for votes in range(1, right + 1):
            # The newcomer turns a win into a loss: its party stood at the most that loses.
            stood = votes - party.wins_ties
            if stood > party.voters - 1:
                continue
            product = comb(party.voters - 1, stood) << bits * stood
            for other, (rival, sums) in enumerate(zip(parties, at_most, strict=True)):
                if other != at:
                    product *= sums[min(votes - rival.wins_ties, rival.voters)]
            total += comb(right, votes) * _weigh(product, votes, players, bits)
        lost.append(-total - nobody)
    return Fraction(gained) - nobody, tuple(lost)


def weighted(weights: Sequence[int], quota: int = 1) -> tuple[Fraction, ...]:
    """Return the values where a coalition solves an item iff its weights sum to `quota` or more.

    Weights are positive for the right answer, negative for the wrong one; zero abstains. Coalitions
    are counted by size and sum, once; then each player is taken out of the count again. Costs
    O(n^2 W) for n players and W the sum of absolute weights.
    """
    players = len(weights)
    lowest = sum(weight for weight in weights if weight < 0)
    width = sum(map(abs, weights)) + 1
    # Counts reach C(n, n/2) <= 2^n.
    kind = np.int64 if players < 62 else np.object_
    counts: NDArray[Any] = np.zeros((players + 1, width), dtype=kind)
    counts[0, -lowest] = 1
    for weight in weights:
        counts[1:] += _shifted(counts[:-1], weight)
    values = []
    for weight in weights:
        others = np.zeros_like(counts)
        others[0] = counts[0]
        for size in range(1, players):
            others[size] = counts[size] - _shifted(others[size - 1 : size], weight)[0]
        # Sums that the player lifts to the quota, or pulls below it.
        low, high = sorted((quota - weight, quota))
        swings = others[:players, max(0, low - lowest) : max(0, high - lowest)].sum(axis=1)
        sign = 1 if weight > 0 else -1
        values.append(
            sum(
                (
                    Fraction(sign * int(swing), players * comb(players - 1, size))
                    for size, swing in enumerate(swings)
                ),
                Fraction(0),
            )
        )
    return tuple(values)


def _cumulative(voters: int, bits: int) -> list[int]:
    """Return for t = 0, 1, ..., voters the coalitions of at most t of them, by size."""
    sums, total = [], 0
    for size in range(voters + 1):
        total += comb(voters, size) << bits * size
        sums.append(total)
    return sums


def _weigh(polynomial: int, further: int, players: int, bits: int) -> Fraction:
    """Return the sum of a polynomial's coefficients, each times w(size + further)."""
    total, size, mask = Fraction(0), further, (1 << bits) - 1
    while polynomial:
        if polynomial & mask:
            total += Fraction(polynomial & mask, players * comb(players - 1, size))
        polynomial >>= bits
        size += 1
    return total


def _shifted(rows: NDArray[Any], weight: int) -> NDArray[Any]:
    """Return rows moved by `weight` columns, zeros moved in."""
    result = np.zeros_like(rows)
    if weight > 0:
        result[:, weight:] = rows[:, :-weight]
    elif weight < 0:
        result[:, :weight] = rows[:, -weight:]
    else:
        result[:] = rows
    return result
