"""Many blocks at once: written while the next are read or hashed, and durable together.

    write to a temporary name, and send the bytes on their way to the disk
    for each group: sync every file, then give each its name
    at the end: sync the folders

A block file is always complete, as with single blocks, and after the batch all are durable; but
a disk that has to seek or commit does so once for a group and not twice for a block. One thread
writes, in order, and a few blocks wait for it in memory; another syncs a group while the next is
written.

If the work between fails or is interrupted, what was put so far is kept.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ledger.cid import Cid
from ledger.database import storage_errors
from node.durable import TEMPORARY, make_folder, sync_folder

GROUP: Final = 64
_AHEAD = 8


@dataclass(frozen=True, slots=True)
class _Written:
    """A file under its temporary name, open until it is synced."""

    stream: FileIO
    temporary: Path
    path: Path


class Batch:
    """Takes blocks; use it as a context manager, at whose end they are durable.

    Args:
        folder: below which they lie.
        path_of: returns the file of a block.
        renew: says whether a block is here, and keeps it from being collected.
    """

    def __init__(
        self, folder: Path, path_of: Callable[[Cid], Path], renew: Callable[[Cid], bool]
    ) -> None:
        self._folder = folder
        self._path_of = path_of
        self._renew = renew
        self._writer = ThreadPoolExecutor(1, "block-writer")
        self._syncer = ThreadPoolExecutor(1, "block-syncer")
        self._ahead: deque[Future[None]] = deque()
        self._group: list[_Written] = []
        self._settling: list[_Written] = []
        self._settled: Future[None] | None = None
        self._put: set[Cid] = set()
        self._changed: set[Path] = set()

    def put(self, cid: Cid, block: bytes) -> None:
        """Take a block; a file that already holds these bytes is left alone.

        Raises:
            StorageError: if the disk refused this block or one before it.
        """
        if cid in self._put:
            return
        self._put.add(cid)
        self._ahead.append(self._writer.submit(self._write, cid, block))
        if len(self._ahead) > _AHEAD:
            self._ahead.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            while self._ahead:
                self._ahead.popleft().result()
            self._writer.submit(self._finish).result()
        finally:
            self._writer.shutdown()
            self._syncer.shutdown()
            self._discard()

    def _write(self, cid: Cid, block: bytes) -> None:
        path = self._path_of(cid)
        with storage_errors(path):
            if path.exists() and path.read_bytes() == block and self._renew(cid):
                return
            if not path.parent.exists():
                make_folder(self._folder)
                path.parent.mkdir(exist_ok=True)
                self._changed.add(self._folder)
            descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
            stream = FileIO(descriptor, "wb")
            self._group.append(_Written(stream, Path(temporary), path))
            os.fchmod(descriptor, 0o644)
            view = memoryview(block)
            while view:
                view = view[stream.write(view) :]
            # Begins to write without waiting, so that the sync finds little left to do.
            with suppress(AttributeError, OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            if len(self._group) >= GROUP:
                self._hand_over()

    def _hand_over(self) -> None:
        """Let the group be synced, after the one before it."""
        self._wait()
        self._settling, self._group = self._group, []
        self._settled = self._syncer.submit(self._settle)

    def _wait(self) -> None:
        if self._settled is not None:
            self._settled.result()

    def _settle(self) -> None:
        for written in self._settling:
            with storage_errors(written.path):
                os.fsync(written.stream.fileno())
        while self._settling:
            written = self._settling[0]
            with storage_errors(written.path):
                written.stream.close()
                written.temporary.replace(written.path)
            self._changed.add(written.path.parent)
            del self._settling[0]

    def _finish(self) -> None:
        self._hand_over()
        self._wait()
        for folder in sorted(self._changed):
            with storage_errors(folder):
                sync_folder(folder)

    def _discard(self) -> None:
        """Remove what could not be finished."""
        for written in [*self._settling, *self._group]:
            with suppress(OSError):
                written.stream.close()
                written.temporary.unlink(missing_ok=True)
