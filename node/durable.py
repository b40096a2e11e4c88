"""Files that are either complete on disk or not there at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.database import storage_errors

TEMPORARY: Final = ".tmp-"
"""How the names of files and folders begin that are not complete."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file durably: temporary name, fsync, rename, fsync of the folder.

    Raises:
        StorageError: if the disk refuses; an older file then stays as it was.
    """
    write_pieces(path, (data,), mode=mode)


def write_pieces(path: Path, pieces: Iterable[bytes], *, mode: int = 0o644) -> int:
    """Write a file durably as `write_atomic` does, piece by piece, and return its size in bytes.

    Raises:
        StorageError: if the disk refuses; an older file then stays as it was.
    """
    with storage_errors(path):
        descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.writelines(pieces)
                size = stream.tell()
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return size


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, mode: int = 0o755) -> None:
    """Create a folder and its parents durably."""
    with storage_errors(path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True, mode=mode)
        for folder in missing:
            sync_folder(folder.parent)


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """Fill a folder under a temporary name; when the block succeeds, sync it and name it.

    An existing `target` is kept: somebody else finished the same work first.
    """
    make_folder(target.parent)
    with (
        storage_errors(target),
        tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target.parent) as name,
    ):
        folder = Path(name) / "content"
        folder.mkdir()
        yield folder
        if not target.exists():
            _sync_tree(folder)
            folder.rename(target)
            sync_folder(target.parent)


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(parent))
