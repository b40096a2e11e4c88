"""Writing the static tree to a directory, for a USB stick or an ordinary web server.

Every file is atomic, what others point to is written first, and lists last, so a directory is a
consistent tree at any moment, also when the export was interrupted. A second export writes only
what is new. Files of tiles that have grown meanwhile stay: an older checkpoint still needs them.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ledger.database import storage_errors
from ledger.errors import PolicyError, UsageError
from node.durable import make_folder, write_atomic
from node.home import Home
from node.location import MARKER
from node.peering.published import Published
from node.peering.tree import paths, resolve

_MUTABLE = ("/checkpoint", "/evidence", "/frontier", "/logs")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export found and did: files in the tree, files and bytes written now."""

    directory: Path
    files: int
    written: int
    bytes: int


def export(home: Home, directory: Path) -> ExportReport:
    """Bring a directory up to date with the tree of a home.

    Raises:
        UsageError: if the directory is a home or lies in this one.
        PolicyError: if a link or special file stands where the tree needs a file or folder.
        StorageError: if the disk refuses; what is there is then still a consistent tree.
    """
    target = directory.resolve()
    if (target / MARKER).exists() or target.is_relative_to(home.path.resolve()):
        raise UsageError(f"{directory} belongs to a home", hint="export to a folder of its own")
    make_folder(target)
    files = written = size = 0
    published = Published()
    with home.reading() as database:
        for path in paths(database, home.store, published):
            files += 1
            place = target / path[1:]
            _make_folders(target, place.parent)
            present = _is_file(place)
            # Tiles and blocks are written whole under a name that fixes their content.
            if present and not path.endswith(_MUTABLE):
                continue
            body = resolve(database, home.store, path, published).body
            if not present or not _holds(place, body):
                write_atomic(place, body)
                written += 1
                size += len(body)
    return ExportReport(directory, files, written, size)


def _holds(place: Path, body: bytes) -> bool:
    with storage_errors(place):
        return place.read_bytes() == body


def _make_folders(target: Path, folder: Path) -> None:
    for part in reversed([folder, *folder.parents]):
        if part.is_relative_to(target) and part.is_symlink():
            raise PolicyError(f"{part} is a link; an export does not write through links")
    make_folder(folder)


def _is_file(place: Path) -> bool:
    with storage_errors(place):
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return False
    if not stat.S_ISREG(mode):
        raise PolicyError(f"{place} is not a regular file; remove it and export again")
    return True
