"""Locks of many methods in one home, and workers that run in the process of the test."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from compose.coalitions import CoalitionEngine
from compose.lock import LockedEntry, LockedMethod
from compose.methods import find_method
from compose.outcomes import pack_cell
from ledger.cid import Cid
from node.artifacts import store_document
from node.coalitions.division import Row, Task
from node.coalitions.executor import Event, Executor, Lost
from node.coalitions.worker import Worker, event_of
from node.home import Home
from node.materials import cached_materials, read_lock
from tests.node.worlds import World, predicate_of

MEMORY = 64 * 2**20
PARAMETERS = {
    "merge.lorahub": {"objective": "loss", "budget": "6"},
    "merge.model_swarms": {"steps": "2"},
    "text.refine": {"style": "bare"},
}


def lock_of(world: World, method: str) -> Cid:
    """Store a lock like that of the composed merge, of another method, and return its CID."""
    home = world.node.home
    composed = read_lock(home, predicate_of(world.node, world.compositions["merge.linear"])["lock"])
    dev = world.ids["own0-dev"]
    chosen = find_method(method)
    lock = replace(
        composed,
        method=LockedMethod(method, chosen.version, chosen.validate(PARAMETERS.get(method, {}))),
        dev=LockedEntry(dev, Cid.parse(predicate_of(world.node, dev)["cid"])),
        exactness="pinned",
    )
    return store_document(lock.encode(), home.store)


def arguments(home: Home, lock: Cid) -> tuple[str, str, str, int]:
    """The arguments of a worker."""
    return str(home.path), str(home.state), str(lock), MEMORY


def executor_of(home: Home, lock: Cid, workers: object, count: int) -> Executor:
    """An executor over workers of a lock."""
    parsed = read_lock(home, str(lock))
    suites = cached_materials(home, parsed).suites
    method = find_method(parsed.method.name)
    return Executor(
        workers,
        count=count,
        items=sum(len(suite.items) for suite in suites),
        together=method.shares_members,
    )


def alone(home: Home, lock: Cid, masks: Sequence[int]) -> list[Row]:
    """The rows as one engine in this process gives them."""
    parsed = read_lock(home, str(lock))
    given = cached_materials(home, parsed)
    engine = CoalitionEngine(
        parsed, given.base, given.adapters, given.suites, given.dev, given.titles
    )
    return [(mask, pack_cell(cell)) for mask, cell in engine.evaluate(masks)]


@dataclass
class Here:
    """Workers in this process; `lose` says which events, counted from 1, are losses instead.

    `fading` is a worker that is lost next, whatever else happens.
    """

    arguments: tuple[str, str, str, int]
    lose: frozenset[int] = frozenset()
    workers: dict[int, Worker] = field(default_factory=dict)
    lines: deque[tuple[int, str]] = field(default_factory=deque)
    fading: int = 0
    events: int = 0
    started: int = 0

    def start(self) -> int:
        self.started += 1
        self.workers[self.started] = Worker(*self.arguments)
        self.lines.append((self.started, self.workers[self.started].load()))
        return self.started

    def give(self, worker: int, task: Task) -> None:
        self.lines.append((worker, self.workers[worker].answer(task.encode())))

    def wait(self) -> tuple[int, Event]:
        if self.fading:
            worker, self.fading = self.fading, 0
            return worker, Lost("faded")
        self.events += 1
        worker, line = self.lines.popleft()
        if self.events in self.lose:
            del self.workers[worker]
            return worker, Lost("was lost by the test")
        return worker, event_of(line)

    def stop(self, worker: int) -> None:
        del self.workers[worker]

    def close(self) -> None:
        self.workers.clear()
