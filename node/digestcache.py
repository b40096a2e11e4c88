"""SHA-256 of large files by path, size, mtime and inode, so that none is hashed twice.

`cache/digests.json` is safe to delete. A file counts as the one that was hashed if its device,
inode, size, mtime and ctime are still the same. A change within the resolution of the file
system's clock could leave all of them the same, so, as in git's index, nothing is kept of a file
that had changed less than two seconds before its hashing began.

Whatever judges others (`verify`, `audit`, `replay`) hashes every byte and never looks here.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from ledger.database import storage_errors
from node.durable import make_folder, write_atomic

RACY_NS: Final = 2_000_000_000
"""The step of the coarsest clock that a file system in use has, FAT's, in nanoseconds."""
MIN_BYTES: Final = 4 << 20
"""Smaller files are hashed as fast as they are looked up."""
MAX_FILES: Final = 4096
_MAX_BYTES = 16 << 20


class DigestCache:
    """Called with the path of an open file and the file, returns its hex SHA-256.

    Args:
        folder: where `digests.json` lies.
        clock: nanoseconds since 1970, as file systems count them.
    """

    def __init__(self, folder: Path, clock: Callable[[], int] = time.time_ns) -> None:
        self._path = folder / "digests.json"
        self._clock = clock
        self._rows = _read(self._path)

    def __call__(self, path: Path, file: BinaryIO) -> str:
        """Return the digest of a file, from its bytes unless it is known to be unchanged."""
        from compose.base import read_and_hash

        facts = _facts(file)
        if facts[2] < MIN_BYTES:
            return read_and_hash(path, file)
        key = str(path.absolute())
        known = self._rows.get(key)
        if known is not None and known["facts"] == facts:
            return str(known["sha256"])
        begun = self._clock()
        digest = read_and_hash(path, file)
        if _facts(file) == facts and max(facts[-2:]) + RACY_NS <= begun:
            self._keep(key, {"facts": facts, "sha256": digest})
        return digest

    def _keep(self, key: str, row: dict[str, Any]) -> None:
        self._rows.pop(key, None)
        self._rows[key] = row
        newest = dict(list(self._rows.items())[-MAX_FILES:])
        rows = json.dumps(newest).encode()
        make_folder(self._path.parent)
        write_atomic(self._path, rows + b"\n" + _checksum(rows))


def _facts(file: BinaryIO) -> list[int]:
    status = os.fstat(file.fileno())
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _checksum(rows: bytes) -> bytes:
    """Seal the rows: what a cache says may be signed, and a flipped bit must not be."""
    return hashlib.sha256(rows).hexdigest().encode()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of an undamaged file; else there are none yet."""
    if not path.is_file():
        return {}
    with storage_errors(path), path.open("rb") as stream:
        rows, _, checksum = stream.read(_MAX_BYTES).rpartition(b"\n")
    return dict(json.loads(rows)) if checksum == _checksum(rows) else {}
