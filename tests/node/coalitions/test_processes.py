"""Workers in processes of their own: killed in the middle, and a driver killed as well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from node.coalitions.cache import CoalitionCache, coalition_key
from node.coalitions.division import Task
from node.coalitions.processes import Processes
from node.materials import read_lock
from tests.node.coalitions.crews import alone, arguments, executor_of, lock_of
from tests.node.worlds import World, check_home

EVERY = range(8)


class Deadly(Processes):
    """Kills the first worker that gets a task."""

    killed = False

    def give(self, worker: int, task: Task) -> None:
        super().give(worker, task)
        if not self.killed:
            self.killed = True
            os.kill(self._running[worker].pid, signal.SIGKILL)


@pytest.mark.parametrize("method", ["merge.linear", "logit.select"])
def test_a_killed_worker_is_replaced_and_the_rows_are_the_same(
    composed: World, method: str
) -> None:
    home, lock = composed.node.home, lock_of(composed, method)
    workers = Deadly([str(each) for each in arguments(home, lock)])
    executor = executor_of(home, lock, workers, 2)
    with closing(executor):
        found = list(executor.evaluate(EVERY))
        found += executor.evaluate([7])
        pids = workers.pids
    expected = alone(home, lock, EVERY)
    assert sorted(found) == sorted([*expected, expected[7]])
    assert executor.losses == 1
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_a_process_said_last_is_in_the_reason(composed: World) -> None:
    home = composed.node.home
    with closing(Processes([str(home.path), str(home.state), "no-cid", "not-a-number"])) as workers:
        workers.start()
        _, event = workers.wait()
    assert "ended with status 1: ValueError" in event.reason


def test_a_killed_driver_goes_on_where_it_ended(composed: World, tmp_path: Path) -> None:
    """The rows that were there are not evaluated again, and its processes do not outlive it."""
    node, id_ = composed.node, composed.compositions["merge.linear"]
    node.home.cache.joinpath("coalitions.db").unlink(missing_ok=True)
    script = (
        "import sys; from pathlib import Path; from node.api import Node\n"
        "Node.open(Path(sys.argv[1]), Path(sys.argv[2])).attribute(sys.argv[3], jobs=2)\n"
    )
    place = [str(node.home.path), str(node.home.state)]
    driver = subprocess.Popen([sys.executable, "-c", script, *place, id_])
    lock = read_lock(node.home, node.show(id_).statement["predicate"]["lock"])
    keys = [coalition_key(lock, mask, fitted_once=False) for mask in EVERY]
    while driver.poll() is None:
        with closing(CoalitionCache(node.home.cache)) as cache:
            if any(cache.get(key) for key in keys):
                break
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    with closing(CoalitionCache(node.home.cache)) as cache:
        there = sum(cache.get(key) is not None for key in keys)
    assert there > 0
    again = node.attribute(id_)
    assert again.coalitions["cached"] == there
    assert again.coalitions["evaluated"] == 8 - there
    check_home(node)
