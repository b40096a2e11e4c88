"""Pairs of complementary coalitions as they were drawn, and values as weighted sums of their gaps.

Every estimate from pairs is linear in the outcomes: a weight for each player and pair, fitted in
floating point, is rounded once to a multiple of 2^-40 so that the weights of a pair sum to zero
over the players; the rest is integers. So values sum exactly to v(N) - v({}), item values add up to
suite values and these to the total, and every machine publishes the same fractions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.game import ItemValues
from attribution.interval import SamplingError
from attribution.ordered import Floats
from attribution.outcomes import count
from attribution.strata import Pair, StratifiedPlan
from attribution.table import CoalitionTable

WEIGHT_BITS: Final = 40
_PAIRS_AT_ONCE: Final = 1024

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The pairs of one stratum in their order.

    Attributes:
        masks: the coalitions.
        signs: 1 inside the coalition and -1 outside, [pairs, players].
        gaps: D of each pair, in units of the game, [pairs].
        size: how many pairs the stratum has.
        half: h_s.
    """

    stratum: int
    masks: tuple[int, ...]
    signs: Integers
    gaps: Floats
    size: int
    half: float

    @property
    def whole(self) -> bool:
        """Whether all pairs of the stratum are here."""
        return len(self.gaps) == self.size


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Values per item, the error of sampling, and the values by another way of adding up."""

    items: ItemValues
    error: SamplingError
    totals: tuple[Fraction, ...]


class Worth:
    """v of a coalition in integers: the solved items of each suite over a common denominator."""

    def __init__(self, table: CoalitionTable) -> None:
        """Take the table whose rows are looked up."""
        self._table = table
        sizes = [suite.items for suite in table.suites]
        common = lcm(*sizes)
        self.denominator = common * len(sizes)
        self._weights = [common // size for size in sizes]

    def gap(self, mask: int) -> int:
        """Return the denominator times D(S)."""
        return self._of(mask) - self._of(self._table.everyone ^ mask)

    def _of(self, mask: int) -> int:
        counts = count(self._table.packed(mask), self._table.suites)
        return sum(weight * solved for weight, solved in zip(self._weights, counts, strict=True))


def gather(table: CoalitionTable, plan: StratifiedPlan, pairs: list[Pair]) -> list[Drawn]:
    """Return the pairs by stratum, the ends first."""
    worth = Worth(table)
    masks: dict[int, list[int]] = defaultdict(list)
    for stratum, mask in [*plan.ends(), *pairs]:
        masks[stratum].append(mask)
    drawn = []
    for stratum, held in sorted(masks.items()):
        bits = np.array([[mask >> at & 1 for at in range(plan.players)] for mask in held])
        gaps = np.array([worth.gap(mask) / worth.denominator for mask in held])
        half = 0.5 if 2 * stratum == plan.players else 1.0
        signs = 2 * bits - 1
        drawn.append(Drawn(stratum, tuple(held), signs, gaps, plan.size(stratum), half))
    return drawn


def weigh(
    table: CoalitionTable, drawn: Sequence[Drawn], weights: Floats, error: SamplingError
) -> Sampled:
    """Return (v(N) - v({})) / n plus the gaps of all pairs, times their weights.

    Args:
        weights: for each player and pair, strata in order, [players, pairs].
    """
    players = len(table.players)
    rounded = np.rint(weights * 2.0**WEIGHT_BITS).astype(np.int64)
    whole = players * rounded - rounded.sum(axis=0)
    masks = [mask for each in drawn for mask in each.masks]
    numerators = np.tile(_differences(table, [table.everyone])[0] << WEIGHT_BITS, (players, 1))
    for start in range(0, len(masks), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        numerators += whole[:, some] @ _differences(table, masks[some])
    items = ItemValues(numerators, players << WEIGHT_BITS)
    return Sampled(items, error, _totals(table, players, whole, masks))


def _differences(table: CoalitionTable, masks: list[int]) -> Integers:
    """Return u(S) - u(N - S) on every item, [masks, items]."""
    inside = np.stack([table.outcomes(mask) for mask in masks]).astype(np.int64)
    return inside - np.stack([table.outcomes(table.everyone ^ mask) for mask in masks])


def _totals(
    table: CoalitionTable, players: int, weights: Integers, masks: list[int]
) -> tuple[Fraction, ...]:
    """Return the values in the game, from the counts of each suite instead of the items."""
    worth = Worth(table)
    gaps = np.array([worth.gap(mask) for mask in masks], dtype=np.object_)
    sums = weights.astype(np.object_) @ gaps + (worth.gap(table.everyone) << WEIGHT_BITS)
    return tuple(Fraction(each, worth.denominator * players << WEIGHT_BITS) for each in sums)
