"""Checking a log's tree while its leaf hashes pass by, in memory that does not grow with it.

Held are the unfinished tile of each level and the edge of the tree. A tile is compared with the
stored one when it is full, and its root moves up a level; a checkpoint is compared when its size
is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.errors import PnodeError, ProofError
from ledger.merkle import CompactRange, perfect_root
from ledger.note import NoteKey
from ledger.tile import TILE_BITS, TILE_WIDTH, Tile, TileReader


class TreeChecker:
    """Compares the tiles and checkpoints held of a log with its leaf hashes.

    Args:
        key: the key of the log.
        checkpoints: what the notes claim and the notes, in order of size.
        tiles: reads stored tiles.
    """

    def __init__(
        self, key: NoteKey, checkpoints: Iterable[tuple[Checkpoint, bytes]], tiles: TileReader
    ) -> None:
        self._key = key
        self._checkpoints = iter(checkpoints)
        self._tiles = tiles
        self._levels: list[list[bytes]] = [[]]
        self._done = [0]  # how many full tiles of each level
        self._edge = CompactRange()
        self.size = 0
        self.signed = 0
        self._tile_errors: list[tuple[Tile, PnodeError]] = []
        self.checkpoint_errors: list[tuple[int, str, PnodeError]] = []
        """What is wrong with checkpoints: the size, the check and why."""
        self._next = next(self._checkpoints, None)
        self._compare_checkpoints()

    @property
    def tile_errors(self) -> list[tuple[Tile, PnodeError]]:
        """What is wrong with tiles, level by level."""
        return sorted(self._tile_errors, key=lambda each: each[0])

    def root(self) -> bytes:
        """Return the root of the leaves so far."""
        self._catch_up()
        return self._edge.root()

    def add(self, leaves: Sequence[bytes]) -> None:
        """Take the next leaf hashes."""
        position = 0
        while position < len(leaves):
            room = TILE_WIDTH - len(self._levels[0])
            if self._next is not None:
                room = min(room, self._next[0].size - self.size)
            part = leaves[position : position + room]
            self._levels[0] += part
            self.size += len(part)
            position += len(part)
            if len(self._levels[0]) == TILE_WIDTH:
                self._finish_tile(0)
            self._compare_checkpoints()

    def finish(self) -> None:
        """Compare what is left: partial tiles, and checkpoints of more than there is."""
        for level, hashes in enumerate(self._levels):
            if hashes:
                self._compare_tile(Tile(level, self._done[level], len(hashes)), hashes)
        while self._next is not None:
            error = ProofError("the ledger holds fewer entries than this checkpoint signs")
            self._compare_checkpoint(error)

    def _finish_tile(self, level: int) -> None:
        hashes = self._levels[level]
        self._compare_tile(Tile(level, self._done[level]), hashes)
        root = perfect_root(hashes)
        if level == 0:
            if self._edge.size == self.size - TILE_WIDTH:
                self._edge.append(root, TILE_BITS)
            self._catch_up()
        self._levels[level] = []
        self._done[level] += 1
        if level + 1 == len(self._levels):
            self._levels.append([])
            self._done.append(0)
        self._levels[level + 1].append(root)
        if len(self._levels[level + 1]) == TILE_WIDTH:
            self._finish_tile(level + 1)

    def _catch_up(self) -> None:
        """Bring the edge up to date; it lags behind by the leaves of the unfinished tile."""
        missing = self.size - self._edge.size
        self._edge.extend(self._levels[0][len(self._levels[0]) - missing :])

    def _compare_tile(self, tile: Tile, expected: Sequence[bytes]) -> None:
        try:
            stored = list(self._tiles(tile))
        except PnodeError as error:
            self._tile_errors.append((tile, error))
            return
        if stored != list(expected):
            wrong = ProofError(f"{tile.path} is not the tile of the entries")
            self._tile_errors.append((tile, wrong))

    def _compare_checkpoints(self) -> None:
        while self._next is not None and self._next[0].size == self.size:
            error = None
            if self._next[0].root != self.root():
                error = ProofError("the entries do not hash to the root of this checkpoint")
            self._compare_checkpoint(error)

    def _compare_checkpoint(self, wrong_root: PnodeError | None) -> None:
        """Verify the next checkpoint, whose root was compared, and go on to the one after."""
        assert self._next is not None
        claimed, note = self._next
        self.signed = max(self.signed, claimed.size)
        try:
            open_checkpoint(note, self._key)
        except PnodeError as error:
            self.checkpoint_errors.append((claimed.size, "log.checkpoint", error))
        else:
            if wrong_root is not None:
                self.checkpoint_errors.append((claimed.size, "log.root", wrong_root))
        self._next = next(self._checkpoints, None)
        assert self._next is None or self._next[0].size >= claimed.size
