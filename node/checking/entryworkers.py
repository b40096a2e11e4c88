"""Checking the entries of one log in several processes.

`python -m node.checking.entryworkers FILE INDEX LOG COVERED END VERIFIED FIRST STEP` is one worker:
it reads every STEP-th range of entries from the ledger file by itself, checks them, fills an index
of its own, and writes what else the parent needs to standard output, a line of JSON for each batch.
The parent reads these in order and takes the indices in at the end. A worker that cannot write any
more ends: so none outlives its parent.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final

from ledger.auditindex import AuditIndex
from ledger.entrycheck import BATCH, Batch, Row, check_rows
from ledger.entryreader import EntryReader
from ledger.errors import PnodeError
from ledger.log import ROWS_SQL, Log
from node.cores import usable_cores

SMALL: Final = 20_000
"""A log of fewer entries is checked sooner than other processes have started."""

_PIPE_BYTES: Final = 1 << 20
_DONE: Final = b"done\n"
"""The last line of a worker, when its index is complete."""


def check_entries(
    log: Log, index: AuditIndex, covered: int, *, jobs: int | None, verified: int = 0
) -> Iterator[Batch]:
    """Check every entry of a log, put those that are valid into the index, yield the batches.

    When the last batch was taken, the index is complete.

    Args:
        log: the log, in a private copy of a ledger if several processes are to read it.
        index: takes the outlines.
        covered: how many of its entries belong to the ledger.
        jobs: how many processes; chosen by the size of the log if None.
        verified: of how many entries, from the first on, signatures need no check.
    """
    size = log.size
    copy = log.database.private_copy
    if jobs is None:
        jobs = usable_cores() if size - verified >= SMALL else 1
    # Only where every index up to the last has its row does the last say how much work there is.
    if jobs > 1 and copy is not None and log.count == size:
        with TemporaryDirectory(prefix="pnode-audit-") as folder:
            files = [Path(folder, f"{number}.db") for number in range(jobs)]
            yield from _in_processes(copy, files, [log.row_id, covered, size, verified])
            for file in files:
                index.take(file)
        return
    reader = EntryReader()
    for start, end, verify in ((0, verified, False), (verified, None, True)):
        for batch in check_rows(log.rows(start, end), reader, verify=verify):
            index.add(log.row_id, covered, batch)
            yield batch


def _in_processes(copy: Path, files: Sequence[Path], work: Sequence[int]) -> Iterator[Batch]:
    workers: list[subprocess.Popen[bytes]] = []
    end = work[2]
    try:
        for first, file in enumerate(files):
            arguments = [copy, file, *work, first, len(files)]
            workers.append(_start([str(argument) for argument in arguments]))
        for number in range(-(-end // BATCH)):
            yield from _received(workers[number % len(files)])
        for worker in workers:
            assert worker.stdout is not None
            if worker.stdout.readline() != _DONE:
                raise _ended_early()
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _start(arguments: list[str]) -> subprocess.Popen[bytes]:
    # The same packages, wherever this process found them, and with -P none from the current folder,
    # which may be a stranger's.
    packages = os.pathsep.join(filter(os.path.isabs, sys.path))
    environment = {**os.environ, "PYTHONPATH": packages}
    worker = subprocess.Popen(  # noqa: S603 - our own module, arguments as a list
        [sys.executable, "-P", "-m", "node.checking.entryworkers", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=environment,
    )
    _widen(worker.stdout)
    return worker


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a worker be some batches ahead, so that it need not wait for the others."""
    try:
        import fcntl

        if pipe is not None:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        return  # then it waits now and then


def _received(worker: subprocess.Popen[bytes]) -> Iterator[Batch]:
    assert worker.stdout is not None
    try:
        batches = [Batch.decode(worker.stdout.readline()) for _ in range(_count(worker.stdout))]
    except ValueError:
        raise _ended_early() from None
    yield from batches


def _ended_early() -> PnodeError:
    return PnodeError(
        "a process that checked entries ended before its work was done",
        hint="free memory and disk space and run again, or check in one process with --jobs 1",
    )


def _count(stream: IO[bytes]) -> int:
    """Return how many batches follow; a worker that ended early has no such line."""
    return int(stream.readline())


def _work(
    copy: str, file: str, log: int, covered: int, end: int, verified: int, first: int, step: int
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it and ends this process
    out = sys.stdout.buffer
    reader = EntryReader()
    with (
        closing(sqlite3.connect(copy, isolation_level=None)) as connection,
        AuditIndex(Path(file)) as index,
    ):
        connection.execute("PRAGMA query_only = ON")
        for start in range(first * BATCH, end, step * BATCH):
            stop = min(start + BATCH, end)
            limit = min(max(start, verified), stop)
            batches: list[Batch] = []
            for low, high, verify in ((start, limit, False), (limit, stop, True)):
                rows = map(Row._make, connection.execute(ROWS_SQL, (log, low, high)))
                batches += check_rows(rows, reader, verify=verify)
            for batch in batches:
                index.add(log, covered, batch)
            out.write(b"%d\n" % len(batches))
            out.writelines(batch.encode() for batch in batches)
            out.flush()
    out.write(_DONE)


if __name__ == "__main__":
    _work(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
