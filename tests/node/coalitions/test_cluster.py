"""Workers on a real Ray cluster of two nodes: a worker, a node and a driver die in the middle.

Needs Ray, an extra of 240 MB that the environment of development does not install: run it with
`pip install 'pnode[ray]'`. Without it the tests are skipped aloud, or fail if PNODE_REQUIRE_RAY=1.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from compose.errors import MissingExtraError
from ledger.errors import IncompleteError, UnavailableError, UsageError
from node.coalitions.cache import CoalitionCache, coalition_key
from node.coalitions.cluster import Cluster
from node.coalitions.division import Task
from node.materials import read_lock
from tests.node.coalitions.crews import alone, arguments, executor_of, lock_of
from tests.node.worlds import World, check_home

EVERY = range(8)
# Ray's own modules warn when they are imported and when its sockets are left to the end.
pytestmark = pytest.mark.filterwarnings("ignore")

HERE = importlib.util.find_spec("ray") is not None


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head and a second node, one processor each."""
    if not HERE:
        reason = "RAY NOT TESTED: it is not installed; pip install 'pnode[ray]'"
        if os.environ.get("PNODE_REQUIRE_RAY") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from ray.cluster_utils import Cluster as Nodes

    settings = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    nodes = Nodes(initialize_head=True, head_node_args={**settings, "include_dashboard": False})
    nodes.add_node(**settings)
    nodes.wait_for_nodes()
    yield nodes
    nodes.shutdown()


class Deadly(Cluster):
    """Kills the worker that gets the first task, and with the third task a node."""

    given = 0
    nodes: Any = None

    def give(self, worker: int, task: Task) -> None:
        super().give(worker, task)
        self.given += 1
        if self.given == 1:
            self._ray.kill(self._actors[worker])
        if self.given == 3:
            (second,) = self.nodes.worker_nodes
            self.nodes.remove_node(second, allow_graceful=False)
            self.nodes.add_node(num_cpus=1, object_store_memory=80 * 2**20)


@pytest.mark.parametrize("method", ["merge.linear", "logit.select"])
def test_rows_survive_a_killed_worker_and_a_killed_node(
    composed: World, nodes: Any, method: str
) -> None:
    home, lock = composed.node.home, lock_of(composed, method)
    workers = Deadly(arguments(home, lock), nodes.address)
    workers.nodes = nodes
    executor = executor_of(home, lock, workers, 2)
    with closing(executor):
        found = [*executor.evaluate(EVERY), *executor.evaluate([7])]
    expected = alone(home, lock, EVERY)
    assert sorted(found) == sorted([*expected, expected[7]])
    assert executor.losses >= 1


def test_a_killed_driver_on_a_cluster_goes_on_where_it_ended(composed: World, nodes: Any) -> None:
    node, id_ = composed.node, composed.compositions["merge.linear"]
    node.home.cache.joinpath("coalitions.db").unlink(missing_ok=True)
    script = (
        "import sys; from pathlib import Path; from node.api import Node\n"
        "node = Node.open(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "node.attribute(sys.argv[3], ray=sys.argv[4])\n"
    )
    place = [str(node.home.path), str(node.home.state)]
    driver = subprocess.Popen([sys.executable, "-c", script, *place, id_, nodes.address])
    lock = read_lock(node.home, node.show(id_).statement["predicate"]["lock"])
    keys = [coalition_key(lock, mask, fitted_once=False) for mask in EVERY]

    def known() -> int:
        with closing(CoalitionCache(node.home.cache)) as cache:
            return sum(cache.get(key) is not None for key in keys)

    while driver.poll() is None and not known():
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    there = known()
    assert there > 0
    again = node.attribute(id_, ray=nodes.address, jobs=1)
    assert again.coalitions["cached"] == there
    assert again.coalitions["evaluated"] == 8 - there
    check_home(node)


def test_a_node_with_other_software_ends_the_run(
    composed: World, nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    monkeypatch.setattr("node.coalitions.cluster.software", lambda: {"torch": "0.1"})
    executor = executor_of(home, lock, Cluster(arguments(home, lock), nodes.address), 1)
    with closing(executor), pytest.raises(IncompleteError, match=r"here is torch 0\.1") as caught:
        list(executor.evaluate([1]))
    assert caught.value.exit_code == 9


@pytest.mark.skipif(HERE, reason="Ray is installed")
def test_without_ray_the_extra_is_named() -> None:
    with pytest.raises(MissingExtraError, match="Ray is not installed") as caught:
        Cluster(("home", "state", "lock", 1), "auto")
    assert "pnode[ray]" in caught.value.hint


@pytest.mark.parametrize("address", ["", "here", "ray://host:1", "host:", "host:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a Ray cluster"):
        Cluster(("home", "state", "lock", 1), address)


def test_a_cluster_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        Cluster(("home", "state", "lock", 1), "127.0.0.1:1")
