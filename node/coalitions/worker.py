"""What evaluates coalitions for an executor: one worker, in a process of its own.

`python -P -m node.coalitions.worker HOME STATE LOCK MEMORY` reads tasks from standard input and
writes answers to standard output, a line of JSON each: first `{"ready": {...}}`, the versions of
what computes, once base, adapters and suites are loaded, then for each task `{"parts": [...]}`, the
outcomes in hexadecimal, or `{"error": {...}}`. It ends with its standard input, so none outlives
its parent by more than a task.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.errors import PnodeError
from node.coalitions.division import Task
from node.coalitions.executor import Done, Event, Ready
from node.composing import software
from node.home import Home
from node.materials import cached_materials, read_lock

if TYPE_CHECKING:
    from compose.coalitions import CoalitionEngine


class Worker:
    """Evaluates tasks of one lock, whose materials it loads once.

    Args:
        home: the folder of a home that holds the lock and what it names.
        state: the state folder of that home.
        lock: its CID.
        memory: bytes it may keep beside the weights.
    """

    def __init__(self, home: str, state: str, lock: str, memory: int) -> None:
        self._place = Path(home), Path(state)
        self._lock = lock
        self._memory = memory
        self._engine: CoalitionEngine | None = None

    def load(self) -> str:
        """Load the materials; returns the line that says so."""
        return _told(self._load)

    def answer(self, line: str) -> str:
        """Return the line that answers a task's line."""
        return _told(lambda: self._evaluate(Task.decode(line)))

    def _load(self) -> dict[str, Any]:
        from compose.coalitions import CoalitionEngine

        home = Home.open(*self._place)
        lock = read_lock(home, self._lock)
        given = cached_materials(home, lock)
        self._engine = CoalitionEngine(
            lock,
            given.base,
            given.adapters,
            given.suites,
            given.dev,
            given.titles,
            memory=self._memory,
        )
        return {"ready": software()}

    def _evaluate(self, task: Task) -> dict[str, Any]:
        from compose.outcomes import pack_cell

        assert self._engine is not None, "loaded before it is asked"
        cells = self._engine.evaluate(task.masks, items=range(task.first, task.last))
        return {"parts": [pack_cell(cell).hex() for _, cell in cells]}


def event_of(line: str) -> Event:
    """Return what a worker's line says.

    Raises:
        PnodeError: the error that it tells of.
        ValueError: if it is no line of a worker.
    """
    document = json.loads(line)
    if "error" in document:
        raise _error(**document["error"])
    if "ready" in document:
        return Ready(document["ready"])
    return Done(tuple(bytes.fromhex(part) for part in document["parts"]))


def _told(work: Callable[[], dict[str, Any]]) -> str:
    try:
        return json.dumps(work())
    except PnodeError as error:
        kind = type(error)
        told = {
            "module": kind.__module__,
            "name": kind.__qualname__,
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
        }
        return json.dumps({"error": told})


def _error(module: str, name: str, code: str, message: str, hint: str) -> PnodeError:
    """Return an error of the same kind as the worker's."""
    kind = getattr(import_module(module), name)
    error = kind.__new__(kind)
    assert isinstance(error, PnodeError), "workers tell of no other errors"
    PnodeError.__init__(error, message, hint=hint)
    error.code = code
    return error


def _work(home: str, state: str, lock: str, memory: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it and ends this process
    # Nothing else that is loaded here may write between the lines.
    with os.fdopen(os.dup(1), "w", encoding="ascii") as out:
        os.dup2(2, 1)
        worker = Worker(home, state, lock, int(memory))
        out.write(worker.load() + "\n")
        out.flush()
        for line in sys.stdin:
            out.write(worker.answer(line) + "\n")
            out.flush()


if __name__ == "__main__":
    _work(*sys.argv[1:])
