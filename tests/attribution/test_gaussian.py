"""The model for small budgets: it computes exactly what it assumes, and errs less than a sample."""

from __future__ import annotations

from fractions import Fraction
from itertools import islice
from math import lcm

import numpy as np
import pytest

from attribution import exact, gaussian, stratified
from attribution.errors import EstimatorError
from attribution.quantile import student_quantile
from attribution.strata import Pair, StratifiedPlan
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, random_table


def drawn(table: CoalitionTable, seed: str, pairs: int) -> tuple[StratifiedPlan, list[Pair]]:
    plan = StratifiedPlan(seed, LOCK, len(table.players))
    sequence = plan.sequence(lambda done: stratified.variances(table, plan, done))
    return plan, list(islice(sequence, pairs))


@pytest.mark.parametrize("players", [5, 6])
def test_value_of_a_kernel_is_that_of_its_game(players: int) -> None:
    """k(., T) as a game, enumerated, against the sums over hypergeometric laws."""
    table = random_table(1, players, 3)
    plan, pairs = drawn(table, "kernel", 8)
    held = stratified.gather(table, plan, pairs)
    kernel = gaussian._kernel(players)
    known = gaussian._known(held, gaussian._contrasts(players, kernel))
    masks = [mask for each in held for mask in each.masks]
    fine = 2**40
    for column, mask in enumerate(masks):
        # v with v(S) - v(N - S) = k(S, T) is half of k itself, which is odd.
        game = np.array([kernel[(other ^ mask).bit_count()] / 2 for other in range(1 << players)])
        cells = np.rint(game * fine).astype(np.int64)[None]
        values = exact.shapley_numerators(cells)[:, 0] / lcm(*range(1, players + 1)) / fine
        # The gap of everybody and nobody is known apart from the kernel.
        values -= (game[-1] - game[0]) / players
        assert np.allclose(known[:, column], values, atol=1e-9)


def test_values_sum_exactly_and_items_add_up() -> None:
    table = random_table(7, 9, 12, 5)
    plan, pairs = drawn(table, "sum", 10)
    found = gaussian.estimate(table, plan, pairs)
    assert sum(found.totals) == table.value(table.everyone) - table.value(0)
    by_suite = found.items.by_suite(table.suites)
    assert tuple(sum(row) / len(row) for row in by_suite) == found.totals


def test_a_small_budget_goes_further_than_in_a_sample_and_intervals_cover() -> None:
    table = random_table(3, 12, 60)
    truth = exact.shapley(table)
    exactly = np.array([float(value) for value in truth])
    errors: dict[str, list[float]] = {"model": [], "sample": []}
    covered = []
    for seed in range(12):
        plan, pairs = drawn(table, str(seed), 16)
        model = gaussian.estimate(table, plan, pairs)
        sample = stratified.estimate(table, plan, pairs)
        for name, found in (("model", model), ("sample", sample)):
            values = np.array([float(value) for value in found.totals])
            errors[name].append(float(np.square(values - exactly).sum()))
        factor = float(student_quantile(Fraction(19, 20), model.error.freedom))
        for at, value in enumerate(model.totals):
            width = factor * float(model.error.covariance[at][at]) ** 0.5
            covered.append(abs(float(value - truth[at])) <= width)
    assert np.mean(errors["model"]) < np.mean(errors["sample"]) / 2
    assert 0.85 <= np.mean(covered) <= 1


def test_a_pair_of_every_stratum_is_needed() -> None:
    table = random_table(3, 8, 10)
    plan, pairs = drawn(table, "few", 2)
    assert gaussian.least(plan) == 2 + 16 + 6
    with pytest.raises(EstimatorError, match="a pair of every stratum"):
        gaussian.estimate(table, plan, pairs)
