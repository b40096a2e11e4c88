"""Tiles: a Merkle tree cut into files of 256 hashes (c2sp.org/tlog-tiles v0.1.0).

Tile (level, index) holds the hashes of the perfect subtrees of 256^level leaves. Level 0 holds
leaf hashes. A tile with fewer than 256 hashes is partial and its width is part of its path. Entry
bundles hold the entries themselves, each behind a 16-bit length, hence at most 65,535 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.errors import MalformedError, ProofError
from ledger.merkle import HASH_SIZE, MAX_ENTRY_BYTES, NodeReader, parents, perfect_root

TILE_WIDTH: Final = 256
TILE_BITS: Final = 8
MAX_BUNDLE_BYTES: Final = TILE_WIDTH * (2 + MAX_ENTRY_BYTES)
# Sizes are below 2^63, which other implementations and the database share.
_MAX_INDEX_BITS = 63

_PATH = re.compile(
    r"tile/(?P<level>entries|[0-9]|[1-5][0-9]|6[0-3])/"
    r"(?P<index>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The coordinates of a tile; `level` is -1 for an entry bundle."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """The path under the prefix of a log."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.append(f"x{rest % 1000:03d}")
            rest //= 1000
        level = "entries" if self.level < 0 else str(self.level)
        partial = "" if self.width == TILE_WIDTH else f".p/{self.width}"
        return f"tile/{level}/{'/'.join(reversed(groups))}{partial}"

    @classmethod
    def parse(cls, path: str) -> Tile:
        """Parse a tile path.

        Raises:
            MalformedError: unless printing the result gives `path` back.
        """
        match = _PATH.fullmatch(path) if len(path) <= 80 else None
        if not match:
            raise MalformedError(f"'{path[:80]}' is not a tile path")
        level = -1 if match["level"] == "entries" else int(match["level"])
        index = int(re.sub(r"[x/]", "", match["index"]))
        tile = cls(level, index, int(match["width"] or TILE_WIDTH))
        possible = 0 < tile.width <= TILE_WIDTH and tile.index < 1 << _MAX_INDEX_BITS
        if tile.path != path or not possible:
            raise MalformedError(f"'{path[:80]}' is not a canonical tile path")
        return tile


TileReader = Callable[[Tile], Sequence[bytes]]
"""Returns the hashes of a tile, at least as many as its width."""


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield the hash tiles of a tree of `size` leaves, level by level."""
    level = 0
    while size:
        full, partial = divmod(size, TILE_WIDTH)
        for index in range(full):
            yield Tile(level, index)
        if partial:
            yield Tile(level, full, partial)
        size, level = full, level + 1


def changed_tiles(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles that a tree of `new_size` has and one of `old_size` has not."""
    level = 0
    while new_size:
        for index in range(old_size // TILE_WIDTH, -(-new_size // TILE_WIDTH)):
            width = min(TILE_WIDTH, new_size - index * TILE_WIDTH)
            if index * TILE_WIDTH + width > old_size:
                yield Tile(level, index, width)
        old_size, new_size, level = old_size // TILE_WIDTH, new_size // TILE_WIDTH, level + 1


def node_reader(size: int, read: TileReader) -> NodeReader:
    """Return a reader of the perfect subtrees of a tree of `size` leaves, from its tiles."""

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_BITS)
        first = index << height
        count = (size >> (TILE_BITS * tile_level)) - first // TILE_WIDTH * TILE_WIDTH
        tile = Tile(tile_level, first // TILE_WIDTH, min(TILE_WIDTH, count))
        start = first % TILE_WIDTH
        hashes = read(tile)[start : start + (1 << height)]
        if len(hashes) != 1 << height:
            raise ProofError(f"{tile.path}: fewer hashes than the tree needs")
        return perfect_root(hashes)

    return node


class TileNodes:
    """The hashes of a tile and the nodes inside it, each level hashed when it is first asked for.

    What many proofs of one log read again and again; hashing a tile takes longer than reading it.
    """

    __slots__ = ("_levels",)

    def __init__(self, hashes: Sequence[bytes]) -> None:
        self._levels: list[Sequence[bytes]] = [hashes]

    @property
    def hashes(self) -> Sequence[bytes]:
        """The hashes of the tile itself."""
        return self._levels[0]

    def node(self, height: int, index: int) -> bytes:
        """Return the root over the hashes [index << height, (index + 1) << height)."""
        while len(self._levels) <= height:
            below = self._levels[-1]
            self._levels.append(parents(below[: len(below) & ~1]))
        return self._levels[height][index]


def split_hashes(data: bytes, tile: Tile) -> list[bytes]:
    """Split the bytes of a hash tile.

    Raises:
        MalformedError: unless they are exactly `tile.width` hashes.
    """
    if len(data) != tile.width * HASH_SIZE:
        raise MalformedError(f"{tile.path}: {len(data)} bytes, not {tile.width} hashes")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bytes of an entry bundle."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def split_bundle(data: bytes, tile: Tile) -> list[bytes]:
    """Split the bytes of an entry bundle.

    Raises:
        MalformedError: unless they are exactly `tile.width` entries.
    """
    entries: list[bytes] = []
    position = 0
    while position < len(data) and len(entries) < tile.width:
        end = position + 2 + int.from_bytes(data[position : position + 2], "big")
        if position + 2 > len(data) or end > len(data):
            raise MalformedError(f"{tile.path}: an entry is cut off")
        entries.append(data[position + 2 : end])
        position = end
    if position != len(data) or len(entries) != tile.width:
        raise MalformedError(f"{tile.path}: not exactly {tile.width} entries")
    return entries
