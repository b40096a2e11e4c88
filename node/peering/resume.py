"""Continuing a pull that was interrupted: what was read of a log is kept until it is stored.

Tiles and bundles never change under their path, so those that arrived are kept below
`cache/pull/<log folder>/` and not asked for again. They are verified like fresh ones, every time.
If they prove wrong, whoever sent them, all of that log are dropped and the log is read again once;
a stranger who got something into the cache delays a pull and achieves nothing else. A log that is
larger than what is accepted of it leaves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ledger.database import storage_errors
from ledger.errors import EvidenceError, IncompleteError, NotFoundError
from node.home import Home
from node.peering.source import Answer, Source
from node.peering.tree import log_folder

Result = TypeVar("Result")


class ResumedSource:
    """A source that keeps what it read of one log's immutable files, and reads it there first."""

    def __init__(self, source: Source, folder: Path, prefix: str) -> None:
        self.address = source.address
        self.reused = 0
        self.cut_short = False
        self._source = source
        self._folder = folder
        self._prefix = prefix

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return a file of the log from the cache, else from the peer; other paths pass."""
        place = self._place(path)
        if place is None:
            return self._source.read(path, max_bytes=max_bytes)
        with storage_errors(place):
            if place.is_file() and place.stat().st_size <= max_bytes:
                self.reused += 1
                return place.read_bytes()
        try:
            data = self._source.read(path, max_bytes=max_bytes)
        except IncompleteError:
            # Nothing about this log: the peer has sent as much as it may in one sync.
            self.cut_short = True
            raise
        with storage_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            # Not durable on purpose: a torn file proves wrong and is read again.
            part = place.with_name(f".{place.name}.part")
            part.write_bytes(data)
            part.replace(place)
        return data

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Poll the peer; lists are never kept."""
        return self._source.poll(path, max_bytes=max_bytes, since=since)

    def _place(self, path: str) -> Path | None:
        if not path.startswith(self._prefix):
            return None
        # Tile paths are made by this program: digits, `x`, `.p` and slashes.
        return self._folder / path.removeprefix(self._prefix).replace("/", "_")


def resuming(home: Home, source: Source, origin: str, read: Callable[[Source], Result]) -> Result:
    """Read a log with what an earlier attempt has left, and once more without if that is wrong.

    What was read stays for the next attempt if the peer fails or has sent enough for one sync. It
    is dropped if it is wrong, or if the log exceeds a limit or quota of its own.
    Call `forget` when the log is stored.

    Raises:
        PnodeError: what `read` raises.
    """
    folder = _folder(home, origin)
    resumed = ResumedSource(source, folder, f"/{log_folder(origin)}/tile/")
    try:
        return read(resumed)
    except (EvidenceError, NotFoundError):
        shutil.rmtree(folder, ignore_errors=True)
        if not resumed.reused:
            raise
    except IncompleteError:
        _drop_excess(resumed, folder)
        raise
    again = ResumedSource(source, folder, f"/{log_folder(origin)}/tile/")
    try:
        return read(again)
    except EvidenceError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except IncompleteError:
        _drop_excess(again, folder)
        raise


def forget(home: Home, origin: str) -> None:
    """Drop what was kept of a log: it is stored."""
    shutil.rmtree(_folder(home, origin), ignore_errors=True)


def _drop_excess(source: ResumedSource, folder: Path) -> None:
    if not source.cut_short:
        shutil.rmtree(folder, ignore_errors=True)


def _folder(home: Home, origin: str) -> Path:
    return home.cache / "pull" / log_folder(origin)
