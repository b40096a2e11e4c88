"""A set of CIDs on disk: one empty file for each, so that adding one is a single durable step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ledger.cid import Cid
from ledger.database import storage_errors
from node.durable import make_folder, write_atomic


class PinSet:
    """The CIDs named by the files of a folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, cid: Cid) -> None:
        """Add a CID durably; one that is there is left alone."""
        make_folder(self.folder)
        if cid not in self:
            write_atomic(self.folder / str(cid), b"")

    def discard(self, cid: Cid) -> None:
        """Remove a CID, if it is there."""
        with storage_errors(self.folder):
            (self.folder / str(cid)).unlink(missing_ok=True)

    def __contains__(self, cid: Cid) -> bool:
        return (self.folder / str(cid)).exists()

    def __iter__(self) -> Iterator[Cid]:
        """Yield the CIDs in order of their text.

        Raises:
            MalformedError: at a file that is named otherwise.
        """
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if not path.name.startswith("."):
                    yield Cid.parse(path.name)
