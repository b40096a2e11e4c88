"""Tiles read from a peer prove a tree, and that it extends another, at every boundary."""

from __future__ import annotations

import itertools

import pytest
from simulator import SimulatedPeer

from ledger.checkpoint import Checkpoint
from ledger.errors import EquivocationError, ProofError
from ledger.merkle import CompactRange, leaf_hash, root_of
from ledger.tile import TILE_WIDTH, perfect_root, tiles_of
from node.peering.pull import TileHashes, _check_extends, _read_tiles
from node.peering.tree import log_folder

BOUNDARIES = (
    *(1, 2, 3, 7, 8, 254, 255, 256, 257, 258, 300, 511, 512, 513, 768, 1_024, 4_096),
    *(65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_791, 65_792, 65_793, 66_000),
)
LARGE = 4_096
LEAVES = [leaf_hash(b"%d" % index) for index in range(BOUNDARIES[-1])]


@pytest.fixture(scope="module")
def roots() -> dict[int, bytes]:
    """The root at each boundary."""
    tree = CompactRange()
    found = {}
    for leaf in LEAVES:
        tree.append(leaf)
        if tree.size in BOUNDARIES:
            found[tree.size] = tree.root()
    return found


def tree_of(leaves: list[bytes]) -> SimulatedPeer:
    """Return a peer with the hash tiles of some leaves."""
    peer = SimulatedPeer()
    levels = [leaves]
    for tile in tiles_of(len(leaves)):
        if tile.level == len(levels):
            ends = range(TILE_WIDTH, len(levels[-1]) + 1, TILE_WIDTH)
            levels.append([perfect_root(levels[-1][end - TILE_WIDTH : end]) for end in ends])
        start = tile.index * TILE_WIDTH
        hashes = levels[tile.level][start : start + tile.width]
        peer.files[f"/{log_folder('log')}/{tile.path}"] = b"".join(hashes)
    return peer


def offer(leaves: list[bytes]) -> Checkpoint:
    return Checkpoint("log", len(leaves), root_of(leaves))


@pytest.mark.no_cover
@pytest.mark.parametrize("new", BOUNDARIES)
def test_every_extension_is_proven_and_every_fork_is_seen(
    roots: dict[int, bytes], new: int
) -> None:
    peer = tree_of(LEAVES[:new])
    offered = Checkpoint("log", new, roots[new])
    tiles: dict[int, TileHashes] = {}
    for old in (0, *BOUNDARIES):
        if old >= new:
            continue
        first = old // TILE_WIDTH
        # A large tree is read once from each tile on that it may begin at.
        if first not in tiles or new <= LARGE:
            tiles[first] = _read_tiles(peer, old, offered)
        read = [tiles[first][0, index] for index in range(first, -(-new // TILE_WIDTH))]
        assert list(itertools.chain(*read)) == LEAVES[first * TILE_WIDTH : new]
        if old:
            _check_extends(offered, old, roots[old], tiles[first])
            with pytest.raises(EquivocationError):
                _check_extends(offered, old, leaf_hash(b"another tree"), tiles[first])


@pytest.mark.no_cover
def test_every_hash_of_every_tile_that_is_read_counts() -> None:
    leaves, old = LEAVES[:700], 300
    honest = tree_of(leaves)
    _read_tiles(honest, old, offer(leaves))
    for path in list(honest.requests):
        good = honest.files[path]
        for position in range(0, len(good), 32):
            honest.files[path] = good[:position] + b"\0" * 32 + good[position + 32 :]
            with pytest.raises(ProofError):
                _read_tiles(honest, old, offer(leaves))
        honest.files[path] = good
    _read_tiles(honest, old, offer(leaves))
