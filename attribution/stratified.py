"""Shapley values from pairs of complementary coalitions, by stratum, against a linear control.

With D(S) = v(S) - v(N - S), the value is (Castro et al. 2017, Covert and Lee 2021)

    phi_i = (v(N) - v({})) / n + (1/n) sum_s h_s m_i(s),
    m_i(s) = E[D | i in S] - E[D | i not in S]  over pairs of stratum s,

h_s = 1/2 in the middle stratum and 1 elsewhere, with E[w_i D] = m_i(s) for the weights w_i = n/s if
i is in S and -n/(n-s) if not. What the control f(S) = a_s + c_s sum_j beta_j z_j, z_j = 1 inside S
and -1 outside, contributes is known: with sum beta = 0, E[w_i f] = 2 c_s beta_i n / (n-1). Only the
rest D - f is estimated. The control of a fold of the pairs is fitted on the other folds, so the
estimate is unbiased whatever the control; strata that are drawn out need none and have no error.
Weights sum to zero over the players, so the values sum exactly to v(N) - v({}).

All steps but the last are integer sums, or elementwise float64 in a fixed order without matrix
libraries. The result is one weight for each player and pair, rounded to multiples of 2^-40; values
are exact sums of outcomes with these weights, so every machine publishes the same fractions.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import EstimatorError
from attribution.game import ItemValues
from attribution.interval import Covariance, SamplingError, gram
from attribution.outcomes import count
from attribution.strata import MIN_PAIRS, Pair, StratifiedPlan
from attribution.table import CoalitionTable

FOLDS: Final = 4
_WEIGHT_BITS: Final = 40
_REST_BITS: Final = 20
_VARIANCE_BITS: Final = 96
_PAIRS_AT_ONCE: Final = 1024
_RIDGE: Final = 0.5
_ROUNDS: Final = 2
_SLOPES: Final = (0.0, 4.0)
_PRIOR_PAIRS: Final = 4

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """The pairs of one stratum in their order.

    Attributes:
        signs: 1 inside the coalition and -1 outside, [pairs, players].
        gaps: D of each pair, in units of the game, [pairs].
        size: how many pairs the stratum has.
        half: h_s.
    """

    stratum: int
    signs: Integers
    gaps: Floats
    size: int
    half: float

    @property
    def whole(self) -> bool:
        """Whether all pairs of the stratum are here."""
        return len(self.gaps) == self.size


@dataclass(frozen=True, slots=True, eq=False)
class Stratified:
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


def variances(table: CoalitionTable, plan: StratifiedPlan, pairs: list[Pair]) -> dict[int, float]:
    """Return how much D varies beside the control in each stratum, leaning on the others.

    Raises:
        MissingCoalitionsError: if a coalition of a pair was not evaluated.
    """
    drawn = gather(table, plan, pairs)
    control = _Control.fit(drawn, [np.ones(len(each.gaps), dtype=np.bool_) for each in drawn])
    squares, freedom = {}, {}
    for each in drawn[1:]:
        rest = control.rest(each)
        squares[each.stratum] = float(_total(rest * rest))
        freedom[each.stratum] = len(rest) - 1
    pooled = sum(squares.values()) / max(1, sum(freedom.values()))
    return {
        stratum: (squares[stratum] + _PRIOR_PAIRS * pooled) / (freedom[stratum] + _PRIOR_PAIRS)
        for stratum in squares
    }


def estimate(table: CoalitionTable, plan: StratifiedPlan, pairs: list[Pair]) -> Stratified:
    """Return the values, per item and in total, and the error of sampling.

    Args:
        pairs: at least two of each stratum that is not drawn out.

    Raises:
        MissingCoalitionsError: if a coalition of a pair was not evaluated.
        EstimatorError: if there are fewer than two pairs of a stratum.
    """
    drawn = gather(table, plan, pairs)
    if any(len(each.gaps) < MIN_PAIRS and not each.whole for each in drawn) or len(drawn) != (
        plan.players // 2
    ):
        raise EstimatorError("stratified values need two pairs of every stratum")
    weights, rests = _weights(drawn, plan.players)
    masks = [pair.mask for pair in sorted([*plan.ends(), *pairs], key=lambda pair: pair.stratum)]
    numerators = _differences(table, [table.everyone])[0] << _WEIGHT_BITS
    numerators = np.tile(numerators, (plan.players, 1))
    for start in range(0, len(masks), _PAIRS_AT_ONCE):
        some = slice(start, start + _PAIRS_AT_ONCE)
        numerators += weights[:, some] @ _differences(table, masks[some])
    return Stratified(
        ItemValues(numerators, plan.players << _WEIGHT_BITS),
        _error(drawn, rests, plan.players),
        _totals(table, plan.players, weights, masks),
    )


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
        drawn.append(Drawn(stratum, 2 * bits - 1, gaps, plan.size(stratum), half))
    return drawn


@dataclass(frozen=True, slots=True, eq=False)
class _Control:
    """A fitted control: levels and slopes by stratum, and beta; how beta came from the gaps.

    `beta` is `solver` times the sum over strata of `terms`' columns, each times its pair's gap.
    """

    levels: list[float]
    slopes: list[float]
    beta: Floats
    solver: Floats
    terms: list[Floats]

    @classmethod
    def fit(cls, drawn: list[Drawn], used: list[NDArray[np.bool_]]) -> _Control:
        """Fit on the pairs that are `used`: ridge for beta, then a slope for each stratum."""
        slopes = [1.0] * len(drawn)
        control = cls._fit(drawn, used, slopes)
        for _ in range(_ROUNDS):
            control = cls._fit(drawn, used, control.steepness(drawn, used))
        return control

    @classmethod
    def _fit(
        cls, drawn: list[Drawn], used: list[NDArray[np.bool_]], slopes: list[float]
    ) -> _Control:
        players = drawn[0].signs.shape[1]
        matrix, right = np.zeros((players, players)), np.zeros(players)
        levels, terms, pairs = [], [], 0
        for each, use, slope in zip(drawn, used, slopes, strict=True):
            signs, gaps = each.signs[use], each.gaps[use]
            # In the middle stratum D is odd, so it has no level, and signs have no mean.
            centre = signs.sum(axis=0) / len(signs) if each.half == 1.0 else np.zeros(players)
            levels.append(_total(gaps) / len(gaps) if each.half == 1.0 else 0.0)
            matrix += slope * slope * ((signs.T @ signs) - len(signs) * np.outer(centre, centre))
            centred = np.where(use[:, None], each.signs - centre, 0.0) * slope
            terms.append(centred.T)
            right += _columns(centred.T, each.gaps)
            pairs += len(gaps)
        # Prior strength of beta: as if what the control misses were half of what it explains.
        ridge = _RIDGE * players * _total(np.diagonal(matrix)) / (players * pairs)
        # The ones direction, which no stratum tells apart, is held at zero by a large weight.
        matrix += ridge * np.eye(players) + (1.0 + _total(np.diagonal(matrix)) / players)
        solver = _inverse(matrix)
        solver -= _row_means(solver)[None, :]
        return cls(levels, slopes, _columns(solver, right), solver, terms)

    def rest(self, each: Drawn) -> Floats:
        """Return D less the control for every pair of a stratum."""
        at = each.stratum - 1
        told = _columns(each.signs.astype(np.float64), self.beta)
        return each.gaps - self.levels[at] - self.slopes[at] * told

    def steepness(self, drawn: list[Drawn], used: list[NDArray[np.bool_]]) -> list[float]:
        """Return a slope for each stratum: least squares, leaning towards 1."""
        products = []
        for each, use, level in zip(drawn, used, self.levels, strict=True):
            told = _columns(each.signs[use].astype(np.float64), self.beta)
            if each.half == 1.0:
                told = told - _total(told) / len(told)
            products.append(
                (_total(told * (each.gaps[use] - level)), _total(told * told), len(told))
            )
        weight = sum(square for _, square, _ in products) / sum(size for *_, size in products)
        lean = _PRIOR_PAIRS * weight
        return [
            min(_SLOPES[1], max(_SLOPES[0], (product + lean) / (square + lean))) if weight else 1.0
            for product, square, _ in products
        ]


def _weights(drawn: list[Drawn], players: int) -> tuple[Integers, list[Floats]]:
    """Return every pair's weight in every value, and what the control leaves of its gap.

    Weights are integers in units of 1 / (n 2^40), [players, pairs], strata in order; each column
    sums to zero.
    """
    direct = [_direct(each) for each in drawn]
    weights = [each.copy() for each in direct]
    rests = [each.gaps.copy() for each in drawn]
    for fold in range(FOLDS):
        held = [
            np.zeros(len(each.gaps), dtype=np.bool_)
            if each.whole
            else np.arange(len(each.gaps)) % FOLDS == fold
            for each in drawn
        ]
        if not any(hold.any() for hold in held):
            continue
        control = _Control.fit(drawn, [~hold for hold in held])
        known = np.zeros((players, players))
        for at, (each, hold) in enumerate(zip(drawn, held, strict=True)):
            if not hold.any():
                continue
            rests[at][hold] = control.rest(each)[hold]
            slope, ours, others = control.slopes[at], int(hold.sum()), int((~hold).sum())
            share = each.half * ours / len(hold)
            known += np.eye(players) * (slope * share * 2.0 / (players - 1))
            # Drawn without replacement, the fold speaks for all pairs but the others, which speak
            # for themselves.
            spoken = direct[at] * (np.where(hold, each.size - others, ours) / each.size)
            known -= slope * _product(spoken, each.signs)
            # The level is the mean of the stratum's other pairs, so it moves weight to them.
            if each.half == 1.0:
                weights[at][:, ~hold] -= (_row_sums(spoken) / others)[:, None]
        told = _product(known, control.solver)
        for at, term in enumerate(control.terms):
            weights[at] += _product(told, term)
    joined = np.concatenate(weights, axis=1)
    rounded = np.rint(joined * 2.0**_WEIGHT_BITS).astype(np.int64)
    return players * rounded - rounded.sum(axis=0), rests


def _direct(each: Drawn) -> Floats:
    """Return h_s w_i / (n M) for every player and pair."""
    players, pairs, size = each.signs.shape[1], len(each.gaps), each.stratum
    inside, outside = 1.0 / size, -1.0 / (players - size)
    return np.where(each.signs.T > 0, inside, outside) * (each.half / pairs)


def _error(drawn: list[Drawn], rests: list[Floats], players: int) -> SamplingError:
    """Return the covariance of the values, with the finite population correction."""
    total = np.zeros((players, players), dtype=np.object_)
    whole, spread = Fraction(0), Fraction(0)
    for each, rest in zip(drawn, rests, strict=True):
        if each.whole:
            continue
        pairs, size = len(rest), each.stratum
        rounded = np.rint(rest * 2.0**_REST_BITS).astype(np.int64)
        # (n - s) inside and -s outside: w_i in units of n / (s (n - s)).
        rows = np.where(each.signs > 0, players - size, -size) * rounded[:, None]
        sums = rows.sum(axis=0).astype(np.object_)
        unit = Fraction(each.half) / (size * (players - size) << _REST_BITS)
        scale = unit**2 * (1 - Fraction(pairs, each.size)) / (pairs * pairs * (pairs - 1))
        factor = (scale.numerator << _VARIANCE_BITS, scale.denominator)
        part = (pairs * gram(rows) - np.outer(sums, sums)) * factor[0] // factor[1]
        total += part
        trace = Fraction(int(np.trace(part)))
        whole += trace
        spread += trace**2 / (pairs - 1)
    covariance: Covariance = tuple(
        tuple(Fraction(int(entry), 1 << _VARIANCE_BITS) for entry in row) for row in total
    )
    # Welch and Satterthwaite, rounded down.
    return SamplingError(covariance, max(1, int(whole**2 / spread)) if spread else 1)


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
    sums = weights.astype(np.object_) @ gaps + (worth.gap(table.everyone) << _WEIGHT_BITS)
    return tuple(Fraction(each, worth.denominator * players << _WEIGHT_BITS) for each in sums)


def _total(values: Floats) -> float:
    """Return the sum of values from the first to the last."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def _row_sums(values: Floats) -> Floats:
    result: Floats = np.cumsum(values, axis=1)[:, -1]
    return result


def _row_means(values: Floats) -> Floats:
    result: Floats = np.cumsum(values, axis=0)[-1] / len(values)
    return result


def _columns(matrix: Floats, vector: Floats) -> Floats:
    """Return a matrix times a vector, summed column by column."""
    total = np.zeros(len(matrix))
    for at in range(matrix.shape[1]):
        total += matrix[:, at] * vector[at]
    return total


def _product(left: Floats, right: Floats | Integers) -> Floats:
    """Return the product of two matrices, summed in order."""
    total = np.zeros((len(left), right.shape[1]))
    for at in range(left.shape[1]):
        total += left[:, at, None] * right[at]
    return total


def _inverse(matrix: Floats) -> Floats:
    """Return the inverse of a positive definite matrix by elimination, element by element."""
    size = len(matrix)
    work = np.concatenate([matrix, np.eye(size)], axis=1)
    for at in range(size):
        pivot = work[at] / work[at, at]
        factors = work[:, at].copy()
        factors[at] = 0.0
        work = work - factors[:, None] * pivot
        work[at] = pivot
    return work[:, size:]
