"""One job for shapiq, run by `bench_attribution.py` in an environment that has shapiq.

Reads a JSON job from standard input, prints a JSON answer. Needs numpy and shapiq only.

    {"job": "exact", "table": FILE.npy, "players": n, "index": "SV" | "SII"}
    {"job": "sample", "table": FILE.npy, "players": n, "estimators": [name], "budgets": [b],
     "seeds": [s]}
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
    table = np.load(job["table"])
    bits = 1 << np.arange(job["players"])
    # What shapiq prints while it works must not mix with the answer.
    with contextlib.redirect_stdout(sys.stderr):
        answer = {"exact": exact, "sample": sample}[job["job"]](
            job, lambda coalitions: table[np.asarray(coalitions, dtype=np.int64) @ bits]
        )
    json.dump(answer, sys.stdout)


def exact(job: dict[str, Any], game: Any) -> dict[str, Any]:
    """Time the exact computer, whose construction evaluates the game."""
    from shapiq.game_theory.exact import ExactComputer

    order = 1 if job["index"] == "SV" else 2
    start = time.process_time()
    computer = ExactComputer(game=game, n_players=job["players"])
    values = computer(index=job["index"], order=order)
    seconds = time.process_time() - start
    return {"seconds": seconds, "values": values.get_n_order_values(order).tolist()}


def sample(job: dict[str, Any], game: Any) -> dict[str, Any]:
    """Return the first-order values of every estimator, budget and seed."""
    from shapiq import approximator

    found: dict[str, list[list[list[float]]]] = {}
    for name in job["estimators"]:
        made = getattr(approximator, name)
        found[name] = [
            [
                made(n=job["players"], random_state=seed)
                .approximate(budget=budget, game=game)
                .get_n_order_values(1)
                .tolist()
                for seed in job["seeds"]
            ]
            for budget in job["budgets"]
        ]
    return found


if __name__ == "__main__":
    main()
