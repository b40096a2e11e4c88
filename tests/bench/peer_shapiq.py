"""One job for shapiq, run by `bench_attribution.py` in an environment that has shapiq.

Reads a JSON job from standard input, prints a JSON answer. Needs numpy and shapiq only.

    {"job": "exact", "table": FILE.npy, "players": n, "index": "SV" | "SII"}
    {"job": "sample", "game": name, "players": n, "budgets": [b], "seeds": [s]}
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from typing import Any

import numpy as np


def main() -> None:
    """Answer the job."""
    warnings.simplefilter("ignore")
    job = json.load(sys.stdin)
    # What shapiq prints while it works must not mix with the answer.
    with contextlib.redirect_stdout(sys.stderr):
        answer = {"exact": exact, "sample": sample}[job["job"]](job)
    json.dump(answer, sys.stdout)


def exact(job: dict[str, Any]) -> dict[str, Any]:
    """Time the exact computer, whose construction evaluates the game."""
    from shapiq.game_theory.exact import ExactComputer

    table = np.load(job["table"])
    bits = 1 << np.arange(job["players"])

    def game(coalitions: Any) -> Any:
        return table[np.asarray(coalitions, dtype=np.int64) @ bits]

    order = 1 if job["index"] == "SV" else 2
    start = time.process_time()
    computer = ExactComputer(game=game, n_players=job["players"])
    values = computer(index=job["index"], order=order)
    seconds = time.process_time() - start
    return {"seconds": seconds, "values": values.get_n_order_values(order).tolist()}


def sample(job: dict[str, Any]) -> dict[str, Any]:
    """Return the values of every estimator, budget and seed."""
    import coalition_games
    from shapiq import approximator

    play = coalition_games.game(job["game"], job["players"])

    def game(coalitions: Any) -> Any:
        return play(np.atleast_2d(np.asarray(coalitions, dtype=np.bool_))).mean(axis=1)

    estimators = {
        "permutation": lambda seed: approximator.PermutationSamplingSV(n=n, random_state=seed),
        "SVARM": lambda seed: approximator.SVARM(n=n, random_state=seed),
        "KernelSHAP": lambda seed: approximator.KernelSHAP(n=n, random_state=seed),
        "KernelSHAP paired": lambda seed: approximator.KernelSHAP(
            n=n, random_state=seed, pairing_trick=True
        ),
    }
    n = job["players"]
    return {
        name: [
            [_values(make(seed).approximate(budget=budget, game=game), n) for seed in job["seeds"]]
            for budget in job["budgets"]
        ]
        for name, make in estimators.items()
    }


def _values(found: Any, players: int) -> list[float]:
    return [float(found[(player,)]) for player in range(players)]


if __name__ == "__main__":
    main()
