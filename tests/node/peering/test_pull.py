"""Tiles read from a peer prove a tree, and that it extends another, at every boundary."""

from __future__ import annotations

from functools import partial

import pytest
from simulator import SimulatedLog, SimulatedPeer

from ledger.checkpoint import Checkpoint
from ledger.errors import EquivocationError, MalformedError, ProofError
from ledger.merkle import CompactRange, leaf_hash, perfect_root, root_of
from ledger.tile import TILE_WIDTH, Tile, changed_tiles, tiles_of
from node.peering.budget import SyncLimits
from node.peering.pull import _check_extends, _read_bodies, _read_tiles, read_offer
from node.peering.tree import log_folder

BOUNDARIES = (
    *(1, 2, 3, 7, 8, 254, 255, 256, 257, 258, 300, 511, 512, 513, 768, 1_024, 4_096),
    *(65_279, 65_280, 65_281, 65_535, 65_536, 65_537, 65_791, 65_792, 65_793, 66_000),
)
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
    for old in (0, *BOUNDARIES):
        if old >= new:
            continue
        tiles = _read_tiles(peer, old, offered)
        for (level, index), hashes in tiles.items():
            tile = Tile(level, index, len(hashes))
            assert b"".join(hashes) == peer.files[f"/{log_folder('log')}/{tile.path}"]
        # Leaves are read at the edges alone, and of the tiles above all that is new.
        read = {(level, index) for level, index in tiles if not level}
        assert read == {(0, size // TILE_WIDTH) for size in (old, new) if size % TILE_WIDTH}
        grown = {(tile.level, tile.index) for tile in changed_tiles(old, new) if tile.level}
        assert grown <= tiles.keys()
        if old:
            _check_extends(offered, old, roots[old], tiles)
            with pytest.raises(EquivocationError):
                _check_extends(offered, old, leaf_hash(b"another tree"), tiles)


@pytest.mark.no_cover
def test_every_hash_of_every_tile_that_is_read_counts() -> None:
    leaves, old = LEAVES[:700], 300
    honest = tree_of(leaves)
    _read_tiles(honest, old, offer(leaves))
    assert len(honest.requests) == 3
    for path in list(honest.requests):
        good = honest.files[path]
        for position in range(0, len(good), 32):
            honest.files[path] = good[:position] + b"\0" * 32 + good[position + 32 :]
            with pytest.raises(ProofError):
                _read_tiles(honest, old, offer(leaves))
        honest.files[path] = good
    _read_tiles(honest, old, offer(leaves))


@pytest.mark.parametrize("old", [0, 1, 256, 300, 512])
def test_every_byte_of_every_bundle_counts(old: int) -> None:
    log = SimulatedLog(42).grow(600)
    honest = SimulatedPeer(log)
    offered = read_offer(honest, log.key).checkpoint
    tiles = _read_tiles(honest, old, offered)
    read = partial(_read_bodies, honest, old, offered, tiles, SyncLimits())
    assert list(read()) == log.bodies[old:]
    for index in range(old // TILE_WIDTH, 3):
        path = f"{log.folder}/{Tile(-1, index, 88 if index == 2 else TILE_WIDTH).path}"
        good = honest.files[path]
        for position in (0, 1, 2, 300, len(good) // 2, len(good) - 1):
            bad = bytes([good[position] ^ 1])
            honest.files[path] = good[:position] + bad + good[position + 1 :]
            with pytest.raises((ProofError, MalformedError)):
                list(read())
        honest.files[path] = good


def test_no_entry_of_a_wrong_bundle_is_looked_at() -> None:
    log = SimulatedLog(42).grow(600)
    peer = SimulatedPeer(log)
    offered = read_offer(peer, log.key).checkpoint
    path = f"{log.folder}/tile/entries/001"
    peer.files[path] = peer.files[path][:-1] + b"?"
    bodies = _read_bodies(peer, 0, offered, _read_tiles(peer, 0, offered), SyncLimits())
    assert [next(bodies) for _ in range(TILE_WIDTH)] == log.bodies[:TILE_WIDTH]
    with pytest.raises(ProofError, match="entries/001"):
        next(bodies)
