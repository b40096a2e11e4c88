"""Workers as processes of this machine."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from node.coalitions.division import Task
from node.coalitions.executor import Event, Lost
from node.coalitions.worker import event_of


class _Process:
    """A worker, and the file that takes what it says on standard error."""

    def __init__(self, arguments: Sequence[str]) -> None:
        # The same packages, wherever this process found them, and with -P none from the current
        # folder, which may be a stranger's.
        packages = os.pathsep.join(filter(os.path.isabs, sys.path))
        environment = {**os.environ, "PYTHONPATH": packages}
        # Cores are shared by processes, not by threads of each.
        environment.setdefault("OMP_NUM_THREADS", "1")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._process = subprocess.Popen(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, "-P", "-m", "node.coalitions.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def write(self, line: str) -> None:
        """Write a line; to a process that is gone, nothing, and reading will tell."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode("ascii"))
            self._process.stdin.flush()

    def end(self, *, kill: bool) -> str:
        """End it if it still runs, and return how it ended."""
        if kill:
            self._process.kill()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self.output.close()
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").split("\n")
        self._errors.close()
        said = next((line for line in reversed(lines) if line.strip()), "")
        how = "was killed by " + _signal(-status) if status < 0 else f"ended with status {status}"
        return f"{how}: {said[:200]}" if said else how


class Processes:
    """Starts workers here, and talks to them through pipes."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Take the arguments of `node.coalitions.worker`."""
        self._arguments = tuple(arguments)
        self._running: dict[int, _Process] = {}
        self._selector = selectors.DefaultSelector()
        self._started = 0

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [process.pid for process in self._running.values()]

    def start(self) -> int:
        """Start a worker; it is ready later."""
        self._started += 1
        process = _Process(self._arguments)
        self._running[self._started] = process
        self._selector.register(process.output, selectors.EVENT_READ, self._started)
        return self._started

    def give(self, worker: int, task: Task) -> None:
        """Give a task to a worker that is ready and has none."""
        self._running[worker].write(task.encode())

    def wait(self) -> tuple[int, Event]:
        """Wait for the next event; raises what a worker reports."""
        (key, _), *_ = self._selector.select()
        worker: int = key.data
        line = self._running[worker].output.readline()
        if not line.endswith(b"\n"):
            return worker, Lost(self._ended(worker, kill=False))
        return worker, event_of(line.decode("ascii"))

    def stop(self, worker: int) -> None:
        """End a worker."""
        self._ended(worker, kill=True)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self._running):
            self._ended(worker, kill=True)
        self._selector.close()

    def _ended(self, worker: int, *, kill: bool) -> str:
        process = self._running.pop(worker)
        self._selector.unregister(process.output)
        return process.end(kill=kill)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
