"""The local block store: one file per block, one small file per pinned root.

Blocks lie under a two-character shard of their CID, written to a temporary name, synced and
renamed, so a block file is always complete. A crash can leave blocks that no pin reaches; they
are harmless, and `node.storage.garbage` removes them. The time of a file says when its block was
last stored or renewed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ledger.blocks import Health
from ledger.cid import Cid
from ledger.database import storage_errors
from ledger.errors import MalformedError, NotFoundError
from node.durable import TEMPORARY, make_folder, write_atomic
from node.storage.batch import Batch
from node.storage.pinset import PinSet


class LocalStore:
    """Blocks and pins below one folder."""

    def __init__(self, path: Path) -> None:
        self._blocks = path / "blocks"
        self._pins = PinSet(path / "pins")

    def put_dag(self, root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Store blocks and pin their root."""
        with self.batch() as batch:
            for cid, block in blocks:
                batch.put(cid, block)
        self.pin(root)

    def batch(self) -> Batch:
        """Return what takes many blocks; at the end of its `with` block they are durable."""
        return Batch(self._blocks, self.path_of, self.renew)

    def put_block(self, cid: Cid, block: bytes) -> None:
        """Store one block durably; a file that already holds these bytes is left alone."""
        path = self.path_of(cid)
        with storage_errors(path):
            intact = path.exists() and path.read_bytes() == block
        if not (intact and self.renew(cid)):
            make_folder(path.parent)
            write_atomic(path, block)

    def get_block(self, cid: Cid) -> bytes:
        """Return the bytes filed under a CID, unverified."""
        path = self.path_of(cid)
        with storage_errors(path):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                raise NotFoundError(f"block {cid} is not in the local store") from None

    def size_of(self, cid: Cid) -> int:
        """Return how many bytes are filed under a CID.

        Raises:
            NotFoundError: if it is not here.
        """
        try:
            return self.path_of(cid).stat().st_size
        except FileNotFoundError:
            raise NotFoundError(f"block {cid} is not in the local store") from None

    def has(self, cid: Cid) -> bool:
        """Whether a block is here."""
        return self.path_of(cid).exists()

    def renew(self, cid: Cid) -> bool:
        """Say whether a block is here, and keep it from being collected for a while if it is."""
        with storage_errors(self.path_of(cid)):
            try:
                os.utime(self.path_of(cid))
            except FileNotFoundError:
                return False
        return True

    def blocks(self) -> Iterator[tuple[Cid, int, float]]:
        """Yield the CID, the size and the time of every block; what is no block is passed over."""
        for path in self._blocks.glob("??/baf*"):
            try:
                info = path.stat()
                yield Cid.parse(path.name), info.st_size, info.st_mtime
            except (FileNotFoundError, MalformedError):
                continue

    def remove(self, cid: Cid, *, before: float) -> bool:
        """Remove a block, unless it was stored or renewed at that time or later."""
        path = self.path_of(cid)
        aside = path.with_name(f"{TEMPORARY}{cid}")
        with storage_errors(path):
            try:
                path.rename(aside)
            except FileNotFoundError:
                return False
            if aside.stat().st_mtime >= before:
                aside.rename(path)
                return False
            aside.unlink()
        return True

    def remove_leftovers(self, *, before: float) -> None:
        """Remove the temporary files that processes left behind when they were killed."""
        for path in self._blocks.glob(f"??/{TEMPORARY}*"):
            with storage_errors(path), suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    def pin(self, root: Cid) -> None:
        """Keep everything below a root."""
        self._pins.add(root)

    def unpin(self, root: Cid) -> None:
        """Stop keeping what is below a root."""
        self._pins.discard(root)

    def is_pinned(self, root: Cid) -> bool:
        """Whether a root is kept; whoever pins one has completed what is below it."""
        return root in self._pins

    def pins(self) -> Iterator[Cid]:
        """Yield the pinned roots in order of their text."""
        yield from self._pins

    def health(self) -> Health:
        """Say how much is pinned and how much space is left."""
        place = next(folder for folder in self._pins.folder.parents if folder.is_dir())
        try:
            pinned = sum(1 for _ in self.pins())
            free = shutil.disk_usage(place).free
        except (OSError, MalformedError) as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=True, detail=f"{pinned} pinned, {free / 1e9:.1f} GB free")

    def path_of(self, cid: Cid) -> Path:
        """Return the file a block has, or would have."""
        text = str(cid)
        return self._blocks / text[-3:-1] / text
