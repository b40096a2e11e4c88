"""How sure a value is, and what its interval covers.

Two sources, kept apart and combined in quadrature:

* items: the suites are samples of the tasks people care about. The value is a stratified mean over
  items, so its variance is (1/K^2) sum_k s_k^2 / m_k with s_k the standard deviation of the value
  per item in suite k. Degrees of freedom: the smallest suite less one, which errs on the wide side.
* sampling: only some coalitions were tried. Pairs of orders are independent draws, so the variance
  of their mean is s^2 / P, with P - 1 degrees of freedom; for stratified values see `stratified`.
  Absent for exact values.

An interval is for one player; those for all players together are wider, each at a confidence that
leaves one n-th of the doubt (Bonferroni). A zero half-width says that no item, or no pair,
differed from another in what was evaluated. With a single item in a suite the spread over items
is unknown: then there is no interval, which is not the same as a narrow one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from attribution.game import Integers, ItemValues, Suite, suite_slices
from attribution.permutation import PairSums
from attribution.quantile import ends, root, scaled, student_quantile, up

Covariance = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True, slots=True)
class SamplingError:
    """The covariance of sampled values, and the degrees of freedom it was told from."""

    covariance: Covariance
    freedom: int


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its uncertainty, as published: decimal strings of six places.

    `low`, `high` and `half_width_items` are None where the spread over items is unknown;
    `half_width_sampling` is None for exact values.
    """

    low: str | None
    high: str | None
    half_width_items: str | None
    half_width_sampling: str | None

    @property
    def sources(self) -> tuple[str, ...]:
        """Which sources of uncertainty the interval covers."""
        items = () if self.half_width_items is None else ("items",)
        return items if self.half_width_sampling is None else (*items, "sampling")

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies wholly on one side of zero."""
        if self.low is None or self.high is None:
            return False
        return Decimal(self.low) > 0 or Decimal(self.high) < 0


@dataclass(frozen=True, slots=True)
class Spread:
    """The covariance of the values from each source, with the quantile that belongs to it."""

    items: Covariance | None
    items_quantile: Decimal
    sampling: Covariance | None
    sampling_quantile: Decimal

    def interval(self, value: Fraction, player: int) -> Interval:
        """Return the interval of one player's value."""
        items = None if self.items is None else self.items[player][player]
        sampling = None if self.sampling is None else self.sampling[player][player]
        return self._interval(value, items, sampling)

    def sampling_only(self, value: Fraction, player: int) -> Interval:
        """Return the interval of one player's value on these very items."""
        sampling = Fraction(0) if self.sampling is None else self.sampling[player][player]
        return self._interval(value, Fraction(0), sampling)

    def difference(self, value: Fraction, first: int, second: int) -> Interval:
        """Return the interval of a difference of two values, paired over items and over pairs."""
        return self._interval(
            value, _contrast(self.items, first, second), _contrast(self.sampling, first, second)
        )

    def _interval(
        self, value: Fraction, items: Fraction | None, sampling: Fraction | None
    ) -> Interval:
        wide_items = None if items is None else scaled(self.items_quantile, root(items))
        wide_sampling = None if sampling is None else scaled(self.sampling_quantile, root(sampling))
        published_items = None if wide_items is None else up(wide_items)
        published_sampling = None if wide_sampling is None else up(wide_sampling)
        if items is None:
            return Interval(None, None, None, published_sampling)
        square = Fraction(self.items_quantile) ** 2 * items
        if sampling is not None:
            square += Fraction(self.sampling_quantile) ** 2 * sampling
        low, high = ends(value, root(square))
        return Interval(low, high, published_items, published_sampling)


def spread_of(
    values: ItemValues,
    suites: Sequence[Suite],
    sampled: SamplingError | None,
    confidence: Fraction,
    *,
    together: int = 1,
) -> Spread:
    """Return the spread of the values in the game `mean-accuracy`.

    Args:
        together: how many intervals shall hold at once with this confidence (Bonferroni).
    """
    confidence = 1 - (1 - confidence) / together
    smallest = min(suite.items for suite in suites)
    parts = [_items_covariance(values.numerators[:, part]) for part in suite_slices(suites)]
    scale = (len(suites) * values.denominator) ** 2
    return Spread(
        items=None if smallest < 2 else _sum_covariances(parts, scale),
        items_quantile=student_quantile(confidence, max(1, smallest - 1)),
        sampling=None if sampled is None else sampled.covariance,
        sampling_quantile=student_quantile(confidence, 1 if sampled is None else sampled.freedom),
    )


def suite_intervals(
    values: ItemValues, suites: Sequence[Suite], confidence: Fraction
) -> tuple[tuple[Interval, ...], ...]:
    """Return the interval of every player on every suite; it covers items only."""
    columns = []
    for index, (suite, part) in enumerate(zip(suites, suite_slices(suites), strict=True)):
        alone = ItemValues(values.numerators[:, part], values.denominator)
        spread = spread_of(alone, [suite], None, confidence)
        worth = [row[index] for row in values.by_suite(suites)]
        columns.append([spread.interval(value, at) for at, value in enumerate(worth)])
    return tuple(zip(*columns, strict=True))


def rank_ranges(values: Sequence[Fraction], spread: Spread) -> tuple[tuple[int, int], ...]:
    """Return for each player its best and worst possible rank, 1 being the highest value.

    A player ranks surely above another if the interval of their difference excludes zero.
    """
    above = _surely_above(values, spread)
    size = len(values)
    return tuple(
        (1 + sum(above[other][player] for other in range(size)), size - sum(above[player]))
        for player in range(size)
    )


def rank_groups(values: Sequence[Fraction], spread: Spread) -> tuple[tuple[int, ...], ...]:
    """Return the players by falling value, split wherever all above are surely above all below."""
    above = _surely_above(values, spread)
    order = sorted(range(len(values)), key=lambda player: (-values[player], player))
    groups: list[tuple[int, ...]] = []
    start = 0
    for cut in range(1, len(order) + 1):
        if all(above[first][second] for first in order[:cut] for second in order[cut:]):
            groups.append(tuple(order[start:cut]))
            start = cut
    return tuple(groups)


def _surely_above(values: Sequence[Fraction], spread: Spread) -> list[list[bool]]:
    size = len(values)
    above = [[False] * size for _ in range(size)]
    for first in range(size):
        for second in range(size):
            gap = values[first] - values[second]
            if gap > 0:
                above[first][second] = spread.difference(gap, first, second).excludes_zero
    return above


def _contrast(covariance: Covariance | None, first: int, second: int) -> Fraction | None:
    if covariance is None:
        return None
    return covariance[first][first] + covariance[second][second] - 2 * covariance[first][second]


def _items_covariance(numerators: Integers) -> Covariance:
    """Return the covariance of the mean over the items of one suite, in numerator units."""
    return _covariance_of_mean(numerators.T)


def error_of_pairs(pairs: PairSums) -> SamplingError:
    """Return the error of the mean of independent pairs of orders."""
    covariance = _sum_covariances([_covariance_of_mean(pairs.numerators)], pairs.denominator**2)
    return SamplingError(covariance, max(1, len(pairs.numerators) - 1))


def _covariance_of_mean(rows: Integers) -> Covariance:
    """Return the covariance matrix of the mean of independent rows, shape [rows, players]."""
    size = len(rows)
    products = gram(rows).tolist()
    sums = rows.sum(axis=0).tolist()
    scale = size * size * (size - 1) if size > 1 else 1
    return tuple(
        tuple(Fraction(size * products[i][j] - sums[i] * sums[j], scale) for j in range(len(sums)))
        for i in range(len(sums))
    )


def gram(rows: Integers) -> NDArray[np.object_]:
    """Return the exact products of all pairs of columns, each summed over at most 2^20 rows."""
    if rows.dtype == np.object_:
        return np.asarray(rows.T @ rows, dtype=np.object_)
    # Limbs of 20 bits: their products, summed, stay below 2^63.
    limbs = [rows & 0xFFFFF, rows >> 20 & 0xFFFFF, rows >> 40]
    total = np.zeros((rows.shape[1],) * 2, dtype=np.object_)
    for i, first in enumerate(limbs):
        for j, second in enumerate(limbs):
            total += (first.T @ second).astype(np.object_) << 20 * (i + j)
    return total


def _sum_covariances(parts: Sequence[Covariance], scale: int) -> Covariance:
    size = len(parts[0])
    return tuple(
        tuple(sum((part[i][j] for part in parts), Fraction(0)) / scale for j in range(size))
        for i in range(size)
    )
