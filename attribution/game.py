"""The game `mean-accuracy`: what a coalition of contributions is worth.

A suite has items; a coalition solves an item or does not. With c_k(S) items of suite k solved by
the coalition S, m_k items in suite k and K suites,

    v(S) = (1/K) * sum_k c_k(S) / m_k.

Every value here is linear in the per-item games, so one integer matrix, players by items over a
common denominator, carries the value per item, per suite and in total without rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

GAME_NAME: Final = "mean-accuracy"
EMPTY_COALITION: Final = "empty coalition is the base model alone"

Counts = NDArray[np.int64]
Integers = NDArray[np.int64] | NDArray[np.object_]
"""Integers of any size: Python's where 64 bits may not hold them."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A task suite as the game sees it: its id, its name and how many items it has."""

    id: str
    name: str
    items: int


@dataclass(frozen=True, slots=True, eq=False)
class ItemValues:
    """The value of every player on every item: `numerators[player, item] / denominator`."""

    numerators: Integers
    denominator: int

    def sums(self, suites: Sequence[Suite]) -> Integers:
        """Return the numerators summed over the items of each suite, shape [players, suites]."""
        starts = [part.start for part in suite_slices(suites)]
        return np.add.reduceat(self.numerators, starts, axis=1)

    def by_suite(self, suites: Sequence[Suite]) -> tuple[tuple[Fraction, ...], ...]:
        """Return the exact value of each player on each suite."""
        sums = self.sums(suites).tolist()
        return tuple(
            tuple(
                Fraction(number, self.denominator * suite.items)
                for number, suite in zip(row, suites, strict=True)
            )
            for row in sums
        )

    def in_items(self) -> tuple[Fraction, ...]:
        """Return each player's value in items solved, all suites together."""
        return tuple(
            Fraction(number, self.denominator) for number in self.numerators.sum(axis=1).tolist()
        )


def mean(values: Sequence[Fraction]) -> Fraction:
    """Return the exact mean."""
    return sum(values, Fraction(0)) / len(values)


def suite_slices(suites: Sequence[Suite]) -> tuple[slice, ...]:
    """Return where each suite lies in the row of all items, in the order of the suites."""
    start = 0
    parts = []
    for suite in suites:
        parts.append(slice(start, start + suite.items))
        start += suite.items
    return tuple(parts)
