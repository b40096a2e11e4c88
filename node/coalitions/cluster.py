"""Workers on a cluster of Ray (docs/adr/0032-workers-on-ray.md).

Every worker is an actor on one processor of some node. It opens the home by its path, so the home
lies in a folder that all nodes see. An actor that waits for a free processor holds no task, and an
actor that died is not restarted by Ray: the executor decides whether another is started.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from compose.errors import MissingExtraError
from ledger.errors import UnavailableError
from node.coalitions.division import Task
from node.coalitions.executor import Event, Lost
from node.coalitions.worker import Worker, event_of


class Cluster:
    """Starts workers on a cluster that runs."""

    def __init__(self, arguments: Sequence[str | int], address: str) -> None:
        """Connect.

        Args:
            arguments: those of `Worker`.
            address: HOST:PORT of the head node, or `auto` for the one that runs here.

        Raises:
            MissingExtraError: on an install without Ray.
            UnavailableError: if there is no such cluster.
        """
        self._ray = _import()
        self._arguments = tuple(arguments)
        self._actors: dict[int, Any] = {}
        self._calls: dict[Any, int] = {}
        self._started = 0
        try:
            self._ray.init(
                address=address,
                namespace="pnode",
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UnavailableError(
                f"no Ray cluster at {address}: {str(error).splitlines()[0]}",
                hint="start one with 'ray start --head', or give HOST:PORT of its head node",
            ) from None

    @property
    def processors(self) -> int:
        """How many workers it can run at a time."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def start(self) -> int:
        """Start a worker; it is ready later."""
        # One thread each: processors are shared by actors. No restarts: see above.
        remote = self._ray.remote(Worker).options(
            num_cpus=1,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )
        self._started += 1
        actor = remote.remote(*self._arguments)
        self._actors[self._started] = actor
        self._calls[actor.load.remote()] = self._started
        return self._started

    def give(self, worker: int, task: Task) -> None:
        """Give a task to a worker that is ready and has none."""
        self._calls[self._actors[worker].answer.remote(task.encode())] = worker

    def wait(self) -> tuple[int, Event]:
        """Wait for the next event; raises what a worker reports."""
        (call, *_), _ = self._ray.wait(list(self._calls), num_returns=1)
        worker = self._calls.pop(call)
        try:
            line = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self.stop(worker)
            return worker, Lost(f"was lost: {type(error).__name__}")
        return worker, event_of(line)

    def stop(self, worker: int) -> None:
        """End a worker."""
        self._ray.kill(self._actors.pop(worker))
        self._calls = {call: each for call, each in self._calls.items() if each != worker}

    def close(self) -> None:
        """End all workers, and leave the cluster as it is."""
        for worker in list(self._actors):
            self.stop(worker)
        self._ray.shutdown()


def _import() -> ModuleType:
    # Nothing here may tell others what is computed.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError(
            "Ray is not installed", hint="install it with pip install 'pnode[ray]', on every node"
        ) from None
    module: ModuleType = ray
    return module
