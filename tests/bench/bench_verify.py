"""Time of `pnode verify FILE.tlog-proof`, the whole process, and the sizes of proof files.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_verify.py [RUNS]`; prints the least of several
runs beside the time of a Python process that does nothing.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.ledgers import load, make

ROOT = Path(__file__).parents[2]


def main(runs: int) -> None:
    """Print elapsed and CPU time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        node = make(folder, 1_000)
        proof = folder / "entry.tlog-proof"
        proof.write_bytes(node.prove(node.list(kind="note")[0].id))
        program = "from node.cli import main; main()"
        environment = {
            **os.environ,
            "PNODE_HOME": str(folder / "none"),
            "PNODE_STATE": str(folder / "none"),
            "PYTHONPATH": str(ROOT),
        }
        verify = [sys.executable, "-c", program, "verify", str(proof)]
        print(f"best of {runs}, {load()}")
        for title, command in (("python alone", [sys.executable, "-c", ""]), ("verify", verify)):
            wall, cpu = _best(command, environment, runs)
            print(f"  {title:14} {wall:6.3f} s wall {cpu:6.3f} s CPU")
        print("  bar for verify  0.150 s")


def _best(command: list[str], environment: dict[str, str], runs: int) -> tuple[float, float]:
    walls, cpus = [], []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(walls), min(cpus)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
