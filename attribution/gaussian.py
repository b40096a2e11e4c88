"""Small budgets: the values of the most likely game, given a few coalitions.

A game is taken for a Gaussian process whose covariance falls with the number of players by which
two coalitions differ, rho^|S ^ T|. Then D(S) = v(S) - v(N - S) has the covariance

    k(S, T) = rho^d - rho^(n-d),        d = |S ^ T|,

up to a factor, about a level of its own in each stratum but the middle one. It is fitted to all
pairs there are, those of a stratified plan (`strata`), and the values of the fitted game are known
exactly: the weights w_i of `stratified` meet k only through sums over hypergeometric laws. The
error is the posterior's, scaled to the data.

This is a model: it has no sampling guarantee, and is the better the more a game is smooth. Below
about ten coalitions for each player it errs far less than what makes no assumption; above, use
`stratified`. rho = (1-r)/(1+r) with r = 1/n gives interactions of three players about as much
weight as merges of adapters showed; the nugget stands for finer structure. Neither is fitted.
"""

from __future__ import annotations

from fractions import Fraction
from math import comb
from typing import Final

import numpy as np

from attribution.drawn import Drawn, Sampled, gather, weigh
from attribution.errors import EstimatorError
from attribution.interval import Covariance, SamplingError
from attribution.ordered import Floats, product, row_sums, solve, total
from attribution.strata import Pair, StratifiedPlan
from attribution.table import CoalitionTable

VERSION: Final = "1"
MAX_PAIRS: Final = 2048
PER_PLAYER: Final = 10
"""Up to so many coalitions for each player this is the better estimate."""
_REACH: Final = 1.0
_NUGGET: Final = 0.03


def least(plan: StratifiedPlan) -> int:
    """Return the fewest coalitions for an estimate: the ends and a pair of every stratum."""
    return 2 + 2 * plan.players + 2 * len(plan.strata)


def estimate(table: CoalitionTable, plan: StratifiedPlan, pairs: list[Pair]) -> Sampled:
    """Return the values of the fitted game, per item and in total, and the posterior error.

    Raises:
        MissingCoalitionsError: if a coalition of a pair was not evaluated.
        EstimatorError: if a stratum has no pair, or there are more than 2048 pairs.
    """
    drawn = gather(table, plan, pairs)
    if len(pairs) > MAX_PAIRS or len(drawn) != max(1, plan.players // 2):
        raise EstimatorError(f"a process is fitted to a pair of every stratum, at most {MAX_PAIRS}")
    players = plan.players
    kernel = _kernel(players)
    signs = np.concatenate([each.signs for each in drawn])
    apart = (players - signs @ signs.T) // 2
    matrix = kernel[apart] + _NUGGET * kernel[0] * np.eye(len(signs))
    contrasts = _contrasts(players, kernel)
    known, prior = _known(drawn, contrasts), _prior(players, contrasts)
    gaps = np.concatenate([_centred(each, each.gaps[None])[0] for each in drawn])
    solved = solve(matrix, np.concatenate([known.T, gaps[:, None]], axis=1))
    levels = sum(each.half == 1.0 for each in drawn)
    scale = total(gaps * solved[:, -1]) / (len(gaps) - levels)
    error = _error(known, solved[:, :-1], prior, scale, len(gaps) - levels)
    weights, start = [], 0
    for each in drawn:
        weights.append(_centred(each, solved[start : start + len(each.gaps), :-1].T))
        start += len(each.gaps)
    return weigh(table, drawn, np.concatenate(weights, axis=1), error)


def _kernel(players: int) -> Floats:
    """Return k by the number of players by which two coalitions differ, [n + 1]."""
    reach = _REACH / players
    powers = np.cumprod(np.full(players, (1 - reach) / (1 + reach)))
    powers = np.concatenate([np.ones(1), powers])
    result: Floats = powers - powers[::-1]
    return result


def _contrasts(players: int, kernel: Floats) -> Floats:
    """Return E[k(S, T) | i in S] - E[k(S, T) | i not in S] over S of size s.

    Returns:
        By s, |T| and whether i is in T, [n/2 + 1, n/2 + 1, 2].
    """
    half = players // 2
    result = np.zeros((half + 1, half + 1, 2))
    for s in range(1, half + 1):
        for t in range(1, half + 1):
            distances = [kernel[s + t - 2 * shared] for shared in range(min(s, t) + 1)]
            for inside in (0, 1):
                others, held = players - 1, t - inside
                with_i = _mean(distances[inside:], others, held, s - 1)
                without = _mean(distances, others, held, s)
                result[s, t, inside] = with_i - without
    return result


def _mean(values: list[float], size: int, marked: int, draws: int) -> float:
    """Return the mean of values[j] where j of `draws` out of `size` are among `marked`."""
    first = max(0, draws - (size - marked))
    chance = comb(marked, first) * comb(size - marked, draws - first) / comb(size, draws)
    result = 0.0
    for shared in range(first, min(marked, draws) + 1):
        result += chance * values[shared]
        chance *= (marked - shared) * (draws - shared)
        chance /= (shared + 1) * (size - marked - draws + shared + 1)
    return result


def _half(players: int, stratum: int) -> float:
    return 0.5 if 2 * stratum == players else 1.0


def _known(drawn: list[Drawn], contrasts: Floats) -> Floats:
    """Return the value of every player in the game k(., T), for every pair T, [players, pairs]."""
    players = drawn[0].signs.shape[1]
    columns = []
    for each in drawn:
        value = np.zeros((players, len(each.gaps)))
        for s in range(1, players // 2 + 1):
            outside, inside = contrasts[s, each.stratum].tolist()
            share = _half(players, s) / players
            value += share * np.where(each.signs.T > 0, inside, outside)
        columns.append(value)
    return np.concatenate(columns, axis=1)


def _prior(players: int, contrasts: Floats) -> float:
    """Return the variance of a value before anything was seen, in units of the kernel."""
    result = 0.0
    for s in range(1, players // 2 + 1):
        for t in range(1, players // 2 + 1):
            share = _half(players, s) * _half(players, t) / (players * players)
            result += share * (contrasts[s, t, 1] - contrasts[s, t, 0])
    return result


def _centred(each: Drawn, values: Floats) -> Floats:
    """Return rows less their mean over the pairs of a stratum, where it has a level."""
    if each.half != 1.0:
        return values
    result: Floats = values - (row_sums(values) / values.shape[1])[:, None]
    return result


def _error(
    known: Floats, solved: Floats, prior: float, scale: float, freedom: int
) -> SamplingError:
    """Return the posterior covariance of the values."""
    players = len(known)
    told = product(known, solved)
    told = (told + told.T) / 2
    # Values sum to what is known, so any two move against each other.
    before = np.where(np.eye(players, dtype=np.bool_), prior, -prior / (players - 1))
    left = scale * (before - told)
    diagonal = np.arange(players)
    left[diagonal, diagonal] = np.maximum(left[diagonal, diagonal], 0.0)
    covariance: Covariance = tuple(tuple(Fraction(entry) for entry in row) for row in left.tolist())
    return SamplingError(covariance, max(1, freedom))
