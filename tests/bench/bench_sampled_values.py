"""How many evaluations sampled values need, against shapiq's estimators on the same games.

Run as `PNODE_SHAPIQ_PYTHON=/path/to/python python tests/bench/bench_sampled_values.py [GAME...]`,
by default on all of them: vote, router and weighted with 50 players each, whose values are known
in closed form, and a merge of 14 updates, whose coalitions are all evaluated (`coalition_games`).
Prints the relative error |found - true| / |true|, the mean of some seeds, by number of evaluated
coalitions; how often our 95 % intervals hold the true value; the CPU seconds of our arithmetic; and
by interpolation how many evaluations 5 % of error take.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import islice
from math import lcm
from typing import Any

import coalition_games
import numpy as np
from bench_attribution import peer
from numpy.typing import NDArray

from attribution import closed, exact, gaussian, permutation, stratified, votes
from attribution.filling import Filler, TableSource, fill_pairs
from attribution.game import Suite, mean
from attribution.quantile import student_quantile
from attribution.stopping import Stopping
from attribution.strata import StratifiedPlan
from attribution.table import CoalitionTable
from ledger.cid import Cid

PLAYERS = {"vote": 50, "router": 50, "weighted": 50, "merge": 14}
PER_PLAYER = (10, 30, 100)
SEEDS = range(5)
LEVEL = Fraction(19, 20)
TARGET = 0.05
LOCK = Cid.of(b"bench")

Floats = NDArray[np.float64]


def main(names: list[str]) -> None:
    """Print one block for each game."""
    for name in names:
        true, budgets = known(name), budgets_of(name)
        print(f"\n{name}, {PLAYERS[name]} players, {coalition_games.ITEMS[name]} items")
        runs = [[stratified_run(name, budget, seed) for seed in SEEDS] for budget in budgets]
        ours = [error(true, [values for values, *_ in row]) for row in runs]
        held = [np.mean(np.abs(v - true) <= w) for row in runs for v, w, _ in row]
        spent = max(seconds for row in runs for *_, seconds in row)
        report("stratified, ours", name, ours)
        model = [error(true, [model_run(name, budgets[0], seed) for seed in SEEDS])]
        report("process, ours", name, model)
        report("permutation, ours", name, [orders_error(name, true, each) for each in budgets])
        theirs = peer(
            {
                "job": "sample",
                "game": name,
                "players": PLAYERS[name],
                "budgets": budgets,
                "seeds": list(SEEDS),
            }
        )
        errors = {
            peer_name: [error(true, row) for row in np.array(found)]
            for peer_name, found in (theirs or {}).items()
        }
        for peer_name, row in errors.items():
            report(peer_name, name, row)
        if errors:
            best = min(needed(name, row) for row in errors.values())
            ratio = needed(name, ours) / best
            print(f"  evaluations to {TARGET:.0%}: ours / best of shapiq {ratio:.2f}")
        print(f"  our intervals hold the value: {np.mean(held):.3f}; at most {spent:.1f} s of CPU")


def budgets_of(name: str) -> list[int]:
    """Return how many coalitions are evaluated."""
    return [PLAYERS[name] * each for each in PER_PLAYER]


def known(name: str) -> Floats:
    """Return the values of a game."""
    players = PLAYERS[name]
    if name == "merge":
        everything = np.arange(1 << players)[:, None] >> np.arange(players) & 1
        solved = coalition_games.game(name, players)(everything.astype(np.bool_)).sum(axis=1)
        scale = lcm(*range(1, players + 1)) * coalition_games.ITEMS[name]
        return exact.shapley_numerators(solved[None].astype(np.int64))[:, 0] / scale
    if name == "router":
        order, solved = coalition_games.routes(players)
        return closed.priority(order, solved.astype(float), np.zeros(len(order))).mean(axis=0)
    if name == "weighted":
        weights = coalition_games.weights(players).tolist()
        return np.array([float(v) for v in votes.weighted(weights, sum(weights) // 2 + 1)])
    ballots = coalition_games.ballots(players)
    total = np.zeros(players)
    for row in ballots:
        cast = np.bincount(row, minlength=4).tolist()
        wrong = [answer for answer in (1, 2, 3) if cast[answer]]
        parties = tuple(votes.Party(cast[answer], wins_ties=True) for answer in wrong)
        right, others = votes.plurality(cast[0], parties, base_right=False)
        worth = {0: right, **dict(zip(wrong, others, strict=True))}
        total += [float(worth[answer]) for answer in row.tolist()]
    return total / len(ballots)


def source(name: str) -> TableSource:
    """Return where the rows of a game come from."""
    players = PLAYERS[name]
    play = coalition_games.game(name, players)
    ids = sorted(str(Cid.of(f"{number}".encode())) for number in range(players))
    suite = Suite(str(Cid.of(name.encode())), name, coalition_games.ITEMS[name])

    def evaluate(masks: Sequence[int]) -> Iterable[tuple[int, NDArray[np.bool_]]]:
        chosen = np.array(masks, dtype=object)[:, None] >> np.arange(players) & 1
        return zip(masks, play(chosen.astype(np.bool_)), strict=True)

    return TableSource(LOCK, tuple(ids), (suite,), evaluate, {})


def stratified_run(name: str, budget: int, seed: int) -> tuple[Floats, Floats, float]:
    """Return values, half-widths and the seconds that planning and estimating took."""
    table, plan, count = filled(name, budget, seed)
    start = time.process_time()
    sequence = plan.sequence(lambda pairs: stratified.variances(table, plan, pairs))
    found = stratified.estimate(table, plan, list(islice(sequence, count)))
    seconds = time.process_time() - start
    factor = float(student_quantile(LEVEL, found.error.freedom))
    squares = [float(found.error.covariance[at][at]) for at in range(plan.players)]
    return np.array([float(v) for v in found.totals]), factor * np.sqrt(squares), seconds


def model_run(name: str, budget: int, seed: int) -> list[float]:
    """Return the values of the model for small budgets."""
    table, plan, count = filled(name, budget, seed)
    sequence = plan.sequence(lambda pairs: stratified.variances(table, plan, pairs))
    return [float(v) for v in gaussian.estimate(table, plan, list(islice(sequence, count))).totals]


def filled(name: str, budget: int, seed: int) -> tuple[CoalitionTable, StratifiedPlan, int]:
    """Return a table filled along its plan, and how many pairs that took."""
    rows = source(name)
    filler, plan = Filler(rows, None), StratifiedPlan(str(seed), LOCK, PLAYERS[name])
    count = fill_pairs(
        filler,
        plan,
        budget,
        Stopping(None, rows.suites, LEVEL),
        least=plan.least(),
        estimate=stratified.estimate,
    )
    return filler.table(), plan, count


def orders_error(name: str, true: Floats, budget: int) -> float:
    """Return the error of antithetic permutations, few seeds being enough."""
    found = []
    for seed in list(SEEDS)[:2]:
        rows = source(name)
        filler, plan = (
            Filler(rows, None),
            permutation.PermutationPlan(str(seed), LOCK, PLAYERS[name]),
        )
        pairs = plan.pairs_within(budget)
        filler.fill(list(plan.masks(pairs)), budget)
        items, _ = permutation.sample(filler.table(), plan, pairs)
        found.append([float(mean(row)) for row in items.by_suite(rows.suites)])
    return error(true, found)


def error(true: Floats, runs: Any) -> float:
    """Return the mean over runs of |found - true| / |true|."""
    return float(np.mean([np.linalg.norm(run - true) for run in runs]) / np.linalg.norm(true))


def needed(name: str, errors: Sequence[float]) -> float:
    """Return the evaluations for the target, by a line through the logarithms."""
    slope, level = np.polyfit(np.log(budgets_of(name)), np.log(errors), 1)
    return float(np.exp((np.log(TARGET) - level) / slope))


def report(estimator: str, name: str, errors: Sequence[float]) -> None:
    """Print one estimator; the evaluations for the target only from all three budgets."""
    pairs = zip(budgets_of(name), errors, strict=False)
    row = "  ".join(f"{budget}: {each:.3f}" for budget, each in pairs)
    whole = len(errors) == len(PER_PLAYER)
    end = f"   to {TARGET:.0%}: {needed(name, errors):8.0f}" if whole else ""
    print(f"  {estimator:20s} {row}{end}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(PLAYERS))
