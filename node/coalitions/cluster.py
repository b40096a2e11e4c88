"""Workers on a cluster of Ray (docs/adr/0033-workers-on-ray.md).

Every worker is an actor on one processor of some node. It opens the home by its path, so the home
lies in a folder that all nodes see. An actor that waits for a free processor holds no task, and an
actor that died is not restarted by Ray: the executor decides whether another is started.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from compose.errors import MissingExtraError
from ledger.errors import IncompleteError, UnavailableError, UsageError
from node.coalitions.division import Task
from node.coalitions.executor import Event, Lost, Ready
from node.coalitions.worker import Worker, event_of
from node.composing import software

_SECONDS: Final = 10.0
_HINT: Final = "start one with 'ray start --head', and give HOST:PORT of its head node, or auto"


class Cluster:
    """Starts workers on a cluster that runs."""

    def __init__(self, arguments: Sequence[str | int], address: str) -> None:
        """Connect.

        Args:
            arguments: those of `Worker`.
            address: HOST:PORT of the head node, or `auto` for the one that runs here.

        Raises:
            UsageError: if it is no such address.
            MissingExtraError: on an install without Ray.
            UnavailableError: if there is no such cluster.
        """
        if address != "auto":
            _reach(address)
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
            raise _unavailable(address, str(error).split("\n")[0]) from None

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
        event = event_of(line)
        if isinstance(event, Ready) and event.software != software():
            raise IncompleteError(
                f"a node of the cluster has {_versions(event.software)}, "
                f"here is {_versions(software())}",
                hint="install the same releases on every node",
            )
        return worker, event

    def stop(self, worker: int) -> None:
        """End a worker."""
        self._ray.kill(self._actors.pop(worker))
        self._calls = {call: each for call, each in self._calls.items() if each != worker}

    def close(self) -> None:
        """End all workers, and leave the cluster as it is."""
        for worker in list(self._actors):
            self.stop(worker)
        self._ray.shutdown()


def _reach(address: str) -> None:
    """See that something listens, because Ray itself asks for minutes.

    Raises:
        UsageError: if it is not HOST:PORT.
        UnavailableError: if nothing does.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isascii() or not port.isdecimal():
        raise UsageError(f"'{address}' is not the address of a Ray cluster", hint=_HINT)
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unavailable(address, str(error)) from None


def _unavailable(address: str, reason: str) -> UnavailableError:
    return UnavailableError(f"no Ray cluster at {address}: {reason}", hint=_HINT)


def _versions(found: Mapping[str, str]) -> str:
    return " ".join(f"{name} {version}" for name, version in sorted(found.items()))


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
