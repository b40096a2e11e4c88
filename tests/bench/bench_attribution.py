"""Exact values from a complete table, against shapiq's exact computer on the same games.

Run as `PNODE_SHAPIQ_PYTHON=/path/to/python python tests/bench/bench_attribution.py [PLAYERS...]`
with an interpreter whose environment has shapiq 1.4.1; without it only our own times are printed.
By default 12 16 20 players; shapiq needs half a minute for 20. The game is a random integer for
each coalition, in memory on both sides; evaluating it is a look-up. Seconds of CPU time, one
thread: the best of several runs for us, one run for shapiq, whose runs last seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any

import numpy as np

RUNS = 7
VARIABLE = "PNODE_SHAPIQ_PYTHON"


def main(sizes: list[int]) -> None:
    """Print one line for each kind of value and number of players."""
    print(f"import of attribution.attribute {_import_seconds():.3f} s")
    for players in sizes:
        compare("SV", players, fractions=False)
    compare("SV", 16, fractions=True)
    compare("SII", 12, fractions=False)
    closed_forms()
    print(f"extra memory of n = 20 exact: {_extra_memory(20) / 2**20:.0f} MiB")


def compare(index: str, players: int, *, fractions: bool) -> None:
    """Time both sides on one game and check that they agree."""
    from attribution import exact

    game = np.random.default_rng(players).integers(0, 1000, (1, 1 << players))
    compute = exact.shapley_numerators if index == "SV" else exact.interaction_numerators
    common = lcm(*range(1, players + 1 if index == "SV" else players))

    def work() -> Any:
        numerators = compute(game)
        if not fractions:
            return numerators
        return [Fraction(number, common) for number in numerators[:, 0].tolist()]

    seconds = min(_seconds(work) for _ in range(RUNS))
    what = f"{index:3s} n = {players:2d} {'fractions' if fractions else 'integers '}"
    theirs = peer({"job": "exact", "players": players, "index": index}, game[0].astype(float))
    if theirs is None:
        print(f"{what}  ours {seconds * 1e3:9.3f} ms  shapiq not measured")
        return
    found = compute(game)[..., 0] / common
    gap = np.abs(found - np.array(theirs["values"])).max()
    ratio = theirs["seconds"] / seconds
    print(
        f"{what}  ours {seconds * 1e3:9.3f} ms  shapiq {theirs['seconds'] * 1e3:9.1f} ms  "
        f"{ratio:6.0f} x faster, values agree within {gap:.0e}"
    )


def closed_forms() -> None:
    """Time the closed forms that shapiq has no counterpart of."""
    from attribution import closed, votes

    source = np.random.default_rng(1)
    scores, solved = source.random((10_000, 1_000)), source.integers(0, 2, (10_000, 1_000))
    outcome, base = solved.astype(float), np.zeros(10_000)

    def router() -> Any:
        return closed.priority(np.argsort(-scores, axis=1), outcome, base)

    likelihoods = source.integers(-(10**6), 0, (16, 1_000, 4))
    answer = source.integers(0, 4, 1_000)
    parties = tuple(votes.Party(voters, wins_ties=True) for voters in (15, 10, 5))
    jobs: dict[str, Callable[[], Any]] = {
        "router, 1,000 players x 10,000 items": router,
        "2^16 products of experts x 1,000 items": lambda: closed.choice_table(
            likelihoods, likelihoods[0], answer
        ),
        "plurality, 50 voters of 4 answers": lambda: votes.plurality.__wrapped__(
            20, parties, base_right=True
        ),
    }
    for name, work in jobs.items():
        print(f"{name:40s} {min(_seconds(work) for _ in range(2)):.3f} s")


def peer(job: dict[str, Any], table: Any = None) -> Any:
    """Let shapiq do a job, on the game `table` if given; None, said loudly, where it is not."""
    python = os.environ.get(VARIABLE)
    if not python:
        print(f"NOT COMPARED: {VARIABLE} names no interpreter with shapiq", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.npy"
        if table is not None:
            np.save(path, table)
        done = subprocess.run(
            [python, str(Path(__file__).with_name("peer_shapiq.py"))],
            input=json.dumps({**job, "table": str(path)}),
            capture_output=True,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
    if done.returncode:
        raise SystemExit(f"{python} could not run shapiq:\n{done.stderr}")
    return json.loads(done.stdout)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _import_seconds() -> float:
    code = (
        "import time; start = time.perf_counter(); import attribution.attribute; "
        "print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    runs = (subprocess.run(command, capture_output=True, check=True) for _ in range(RUNS))
    return min(float(run.stdout) for run in runs)


def _extra_memory(players: int) -> int:
    from attribution import exact

    game = np.random.default_rng(players).integers(0, 1000, (1, 1 << players))
    tracemalloc.start()
    exact.shapley_numerators(game)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or [12, 16, 20])
