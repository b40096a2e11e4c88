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

All steps are integer sums, or float64 in a fixed order (`ordered`). The result is one weight for
each player and pair (`drawn`).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.drawn import Drawn, Sampled, gather, weigh
from attribution.errors import EstimatorError
from attribution.interval import Covariance, SamplingError, gram
from attribution.ordered import Floats, product, row_sums, solve, total
from attribution.strata import MIN_PAIRS, Pair, StratifiedPlan
from attribution.table import CoalitionTable

FOLDS: Final = 8
_REST_BITS: Final = 20
_VARIANCE_BITS: Final = 96
_RIDGE: Final = 0.5
_ROUNDS: Final = 2
_SLOPES: Final = (0.0, 4.0)
_PRIOR_PAIRS: Final = 4


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
        squares[each.stratum] = float(total(rest * rest))
        freedom[each.stratum] = len(rest) - 1
    pooled = sum(squares.values()) / max(1, sum(freedom.values()))
    return {
        stratum: (squares[stratum] + _PRIOR_PAIRS * pooled) / (freedom[stratum] + _PRIOR_PAIRS)
        for stratum in squares
    }


def estimate(table: CoalitionTable, plan: StratifiedPlan, pairs: list[Pair]) -> Sampled:
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
    return weigh(table, drawn, weights, _error(drawn, rests, plan.players))


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
            levels.append(total(gaps) / len(gaps) if each.half == 1.0 else 0.0)
            matrix += slope * slope * ((signs.T @ signs) - len(signs) * np.outer(centre, centre))
            centred = np.where(use[:, None], each.signs - centre, 0.0) * slope
            terms.append(centred.T)
            right += product(centred.T, each.gaps)
            pairs += len(gaps)
        # Prior strength of beta: as if what the control misses were half of what it explains.
        ridge = _RIDGE * players * total(np.diagonal(matrix)) / (players * pairs)
        # The ones direction, which no stratum tells apart, is held at zero by a large weight.
        matrix += ridge * np.eye(players) + (1.0 + total(np.diagonal(matrix)) / players)
        solver = solve(matrix, np.eye(players))
        solver -= row_sums(solver.T) / players
        return cls(levels, slopes, product(solver, right), solver, terms)

    def rest(self, each: Drawn) -> Floats:
        """Return D less the control for every pair of a stratum."""
        at = each.stratum - 1
        told = product(each.signs.astype(np.float64), self.beta)
        return each.gaps - self.levels[at] - self.slopes[at] * told

    def steepness(self, drawn: list[Drawn], used: list[NDArray[np.bool_]]) -> list[float]:
        """Return a slope for each stratum: least squares, leaning towards 1."""
        products = []
        for each, use, level in zip(drawn, used, self.levels, strict=True):
            told = product(each.signs[use].astype(np.float64), self.beta)
            if each.half == 1.0:
                told = told - total(told) / len(told)
            products.append((total(told * (each.gaps[use] - level)), total(told * told), len(told)))
        weight = sum(square for _, square, _ in products) / sum(size for *_, size in products)
        lean = _PRIOR_PAIRS * weight
        return [
            min(_SLOPES[1], max(_SLOPES[0], (product + lean) / (square + lean))) if weight else 1.0
            for product, square, _ in products
        ]


def _weights(drawn: list[Drawn], players: int) -> tuple[Floats, list[Floats]]:
    """Return every pair's weight in every value, and what the control leaves of its gap.

    Weights are [players, pairs], strata in order.
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
            known -= slope * product(spoken, each.signs)
            # The level is the mean of the stratum's other pairs, so it moves weight to them.
            if each.half == 1.0:
                weights[at][:, ~hold] -= (row_sums(spoken) / others)[:, None]
        told = product(known, control.solver)
        for at, term in enumerate(control.terms):
            weights[at] += product(told, term)
    return np.concatenate(weights, axis=1), rests


def _direct(each: Drawn) -> Floats:
    """Return h_s w_i / (n M) for every player and pair."""
    players, pairs, size = each.signs.shape[1], len(each.gaps), each.stratum
    inside, outside = 1.0 / size, -1.0 / (players - size)
    return np.where(each.signs.T > 0, inside, outside) * (each.half / pairs)


def _error(drawn: list[Drawn], rests: list[Floats], players: int) -> SamplingError:
    """Return the covariance of the values, with the finite population correction."""
    summed = np.zeros((players, players), dtype=np.object_)
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
        summed += part
        trace = Fraction(int(np.trace(part)))
        whole += trace
        spread += trace**2 / (pairs - 1)
    covariance: Covariance = tuple(
        tuple(Fraction(int(entry), 1 << _VARIANCE_BITS) for entry in row) for row in summed
    )
    # Welch and Satterthwaite, rounded down.
    return SamplingError(covariance, max(1, int(whole**2 / spread)) if spread else 1)
