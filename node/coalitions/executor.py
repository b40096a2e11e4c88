"""Evaluating coalitions by workers, wherever they run.

An executor hands tasks to workers and yields rows as they are complete. Which worker answers, in
which order and how many there are changes nothing about a row. A worker that is lost, because its
process was killed or its machine is gone, is replaced and its task given to another, a bounded
number of times. An error that a worker reports is the error of the evaluation.

`node.coalitions.processes` and `node.coalitions.cluster` are the two places where workers run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ledger.errors import PnodeError
from node.coalitions.division import Division, Row, Task

MOST_LOSSES: Final = 3
"""So often a task may be lost, or a worker in a row fail to start, before the evaluation ends."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker has loaded what it needs; `software` are the versions of what computes there."""

    software: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has done its task; `parts` are its outcomes, packed, for each coalition."""

    parts: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker is no more, and its task is undone."""

    reason: str


Event = Ready | Done | Lost


class Workers(Protocol):
    """Workers by number; each has one task at a time."""

    def start(self) -> int:
        """Start a worker; it is ready later."""
        ...

    def give(self, worker: int, task: Task) -> None:
        """Give a task to a worker that is ready and has none."""
        ...

    def wait(self) -> tuple[int, Event]:
        """Wait for the next event.

        Raises:
            PnodeError: what a worker reports about the evaluation.
        """
        ...

    def stop(self, worker: int) -> None:
        """End a worker."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


class Executor:
    """Evaluates coalitions by up to `count` workers, which stay until it is closed.

    `losses` counts the workers that were lost.
    """

    def __init__(
        self,
        workers: Workers,
        *,
        count: int,
        items: int,
        together: bool,
    ) -> None:
        """Start nothing yet.

        Args:
            workers: where they run.
            count: how many at most.
            items: how many the suites have.
            together: see `Division`.
        """
        self.losses = 0
        self._workers = workers
        self._count = count
        self._items = items
        self._together = together
        self._idle: list[int] = []
        self._starting: set[int] = set()
        self._failed_starts = 0

    def evaluate(self, masks: Sequence[int]) -> Iterator[Row]:
        """Yield each coalition with its outcomes, in any order.

        Raises:
            PnodeError: what a worker reports, or if workers are lost again and again.
        """
        division = Division(masks, self._items, together=self._together, workers=self._count)
        busy: dict[int, Task] = {}
        try:
            while division.waiting or busy:
                self._spread(division, busy)
                worker, event = self._workers.wait()
                task = busy.pop(worker, None)
                if isinstance(event, Lost):
                    self._lost(worker, event, task, division)
                    continue
                self._starting.discard(worker)
                self._failed_starts = 0
                self._idle.append(worker)
                if isinstance(event, Done):
                    assert task is not None, "only a worker with a task can have done it"
                    yield from division.done(task, event.parts)
        finally:
            # After an error their answers would be taken for those of the next evaluation.
            for worker in busy:
                self._workers.stop(worker)

    def close(self) -> None:
        """End all workers."""
        self._workers.close()

    def _spread(self, division: Division, busy: dict[int, Task]) -> None:
        """Give a task to everyone who is idle, and start workers while there is work for them."""
        while self._idle and (task := division.take(self._idle[-1])):
            worker = self._idle.pop()
            busy[worker] = task
            self._workers.give(worker, task)
        wanted = min(self._count - len(busy), division.waiting)
        while len(self._starting) < wanted:
            self._starting.add(self._workers.start())

    def _lost(self, worker: int, event: Lost, task: Task | None, division: Division) -> None:
        self.losses += 1
        losses, what = 0, "an idle worker"
        if task is not None:
            losses, what = division.lost(task), _named(task)
        elif worker in self._starting:
            self._starting.remove(worker)
            self._failed_starts += 1
            losses, what = self._failed_starts, "a worker that was loading"
        else:
            self._idle.remove(worker)
        if losses >= MOST_LOSSES:
            raise PnodeError(
                f"{what}: lost {losses} times with its worker, which {event.reason}",
                hint="what was evaluated is kept: free memory, or use fewer workers or less "
                "--memory, and run the same command again",
            )


def _named(task: Task) -> str:
    first = f"coalition {task.masks[0]:x}"
    others = len(task.masks) - 1
    return f"{first} and {others} others" if others else first
