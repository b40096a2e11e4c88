"""Tiles: paths, widths, bundles, and proofs read from them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import open_checkpoint
from ledger.errors import MalformedError, PnodeError, ProofError
from ledger.merkle import (
    MAX_ENTRY_BYTES,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    perfect_root,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.note import NoteKey
from ledger.tile import (
    Tile,
    changed_tiles,
    encode_bundle,
    node_reader,
    split_bundle,
    split_hashes,
    tiles_of,
)
from tests.ledger.published import load


@pytest.mark.parametrize(
    ("path", "tile"),
    [
        ("tile/0/000", Tile(0, 0)),
        ("tile/0/001.p/5", Tile(0, 1, 5)),
        ("tile/0/x001/x234/067", Tile(0, 1234067)),
        ("tile/63/x123/x456/789.p/255", Tile(63, 123456789, 255)),
        ("tile/5/x001/000.p/1", Tile(5, 1000, 1)),
        ("tile/entries/000.p/5", Tile(-1, 0, 5)),
        ("tile/entries/x003/x057/500", Tile(-1, 3057500)),
    ],
)
def test_tile_paths(path: str, tile: Tile) -> None:
    assert tile.path == path
    assert Tile.parse(path) == tile


@given(st.integers(-1, 63), st.integers(0, 2**55), st.integers(1, 256))
def test_any_tile_path_round_trips(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert Tile.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/123/456",
        "tile/0/x123/x456",
        "tile/0/x12/345",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p/5/",
        "tile/0/000.p/-5",
        "tile/0/../000",
        "tile/0/\u0660\u0660\u0660",
        "tile/0/000\n",
        "tile/0/" + "x001/" * 40 + "000",
    ],
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(MalformedError):
        Tile.parse(path)


@given(st.text("tile/entries0123456789x.p", max_size=40))
def test_any_text_is_a_tile_path_or_refused(text: str) -> None:
    for candidate in (text, "tile/" + text, "tile/0/" + text):
        try:
            assert Tile.parse(candidate).path == candidate
        except PnodeError as error:
            assert isinstance(error, MalformedError)


def test_the_tiles_of_seventy_thousand_entries() -> None:
    tiles = list(tiles_of(70_000))
    widths = [[t.width for t in tiles if t.level == level] for level in range(3)]
    assert widths == [[256] * 273 + [112], [256, 17], [1]]
    assert len(tiles) == 277


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 2**24 + 1])
def test_widths_follow_the_specification(size: int) -> None:
    """SPEC: the partial tile at level L has floor(s / 256**L) mod 256 hashes, or does not exist."""
    partials = [t for t in tiles_of(size) if t.width < 256]
    for level in range(4):
        count = size >> 8 * level
        partial = [t for t in partials if t.level == level]
        assert [t.width for t in partial] == ([count % 256] if count % 256 else [])
        assert all(t.index == count // 256 for t in partial)


@given(st.integers(0, 150_000), st.integers(0, 3_000) | st.integers(0, 150_000))
def test_changed_tiles_are_those_the_old_tree_lacks(old: int, more: int) -> None:
    new = min(old + more, 150_000)
    assert sorted(changed_tiles(old, new)) == sorted(set(tiles_of(new)) - set(tiles_of(old)))


class TiledTree:
    """A tree whose tiles are built level by level from all leaves."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.tiles: dict[tuple[int, int], list[bytes]] = {}
        level, hashes = 0, list(leaves)
        while hashes:
            for start in range(0, len(hashes), 256):
                self.tiles[level, start // 256] = hashes[start : start + 256]
            full = len(hashes) // 256
            hashes = [perfect_root(hashes[i * 256 : i * 256 + 256]) for i in range(full)]
            level += 1

    def read(self, tile: Tile) -> Sequence[bytes]:
        return self.tiles[tile.level, tile.index][: tile.width]


LEAVES = [leaf_hash(b"%d" % index) for index in range(70_000)]
LARGE = TiledTree(LEAVES)
ROOT = root_of(LEAVES)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 511, 600, 65_536, 65_537, 70_000])
def test_roots_from_tiles(size: int) -> None:
    assert subtree_root(0, size, node_reader(size, LARGE.read)) == root_of(LEAVES[:size])


@given(st.integers(0, 69_999), st.integers(1, 70_000))
def test_proofs_from_tiles(index: int, size: int) -> None:
    read = node_reader(70_000, LARGE.read)
    verify_inclusion(LEAVES[index], index, 70_000, inclusion_proof(index, 70_000, read), ROOT)
    old_root = subtree_root(0, size, node_reader(size, LARGE.read))
    steps = consistency_proof(size, 70_000, read)
    verify_consistency(size, 70_000, old_root, ROOT, steps)


def test_no_tile_outside_the_tree_is_asked_for() -> None:
    """SPEC: clients must not ask for a partial tile that no checkpoint implies."""
    for size in (1, 255, 256, 300, 65_536 + 300):
        allowed = set(tiles_of(size))

        def read(tile: Tile, allowed: set[Tile] = allowed) -> Sequence[bytes]:
            assert tile in allowed
            return LARGE.read(tile)

        reader = node_reader(size, read)
        subtree_root(0, size, reader)
        for index in {0, size // 2, size - 1}:
            inclusion_proof(index, size, reader)


def test_a_short_tile_is_noticed() -> None:
    reader = node_reader(300, lambda tile: LARGE.read(tile)[:-1])
    with pytest.raises(ProofError, match="tile/"):
        subtree_root(0, 300, reader)


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=64))
def test_perfect_roots(hashes: list[bytes]) -> None:
    level = hashes[: 1 << (len(hashes).bit_length() - 1)]
    tree = CompactRange()
    for value in level:
        tree.append(value)
    assert perfect_root(level) == tree.root()
    if len(level) == 2:
        assert perfect_root(level) == node_hash(*level)


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_a_bundle_round_trips(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    tile = Tile(-1, 0, len(entries))
    assert split_bundle(data, tile) == entries
    for other in {len(entries) - 1, len(entries) + 1} - {-1}:
        with pytest.raises(MalformedError):
            split_bundle(data, Tile(-1, 0, other))
    for broken in (data + b"\0", data[:-1]):
        if broken != data:
            with pytest.raises(MalformedError):
                split_bundle(broken, tile)


def test_the_largest_entry_fits_and_no_larger_one() -> None:
    entry = bytes(MAX_ENTRY_BYTES)
    assert split_bundle(encode_bundle([entry]), Tile(-1, 0, 1)) == [entry]
    with pytest.raises((OverflowError, PnodeError)):
        encode_bundle([entry + b"\0"])


@given(st.binary(max_size=200), st.integers(1, 256))
def test_any_bytes_are_a_bundle_or_refused(data: bytes, width: int) -> None:
    try:
        entries = split_bundle(data, Tile(-1, 0, width))
    except PnodeError as error:
        assert isinstance(error, MalformedError)
        return
    assert encode_bundle(entries) == data


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96])
def test_a_hash_tile_has_exactly_its_width(length: int) -> None:
    assert split_hashes(bytes(64), Tile(0, 0, 2)) == [bytes(32)] * 2
    with pytest.raises(MalformedError):
        split_hashes(bytes(length), Tile(0, 0, 2))


def test_the_bundle_of_the_pnode_set() -> None:
    vectors = load("pnode", "vectors.json")
    data = encode_bundle([entry.encode() for entry in vectors["entries"]])
    assert data.hex().startswith(vectors["bundle_begins"])
    assert Tile(-1, 0, 5).path == vectors["bundle_path"]


def test_a_published_log_has_the_roots_of_its_tiles() -> None:
    log = load("tessera", "log.json")
    key = NoteKey.parse(log["vkey"])
    roots = []
    for size in range(1, 16):
        tile, bundle = Tile(0, 0, size), Tile(-1, 0, size)
        entries = split_bundle(bytes.fromhex(log["files"][bundle.path]), bundle)
        hashes = split_hashes(bytes.fromhex(log["files"][tile.path]), tile)
        assert [leaf_hash(entry) for entry in entries] == hashes
        checkpoint = open_checkpoint(bytes.fromhex(log["files"][f"checkpoint.{size}"]), key)
        assert root_of(hashes) == checkpoint.root
        roots.append(checkpoint.root)
        read = node_reader(size, lambda _, hashes=hashes: hashes)  # type: ignore[misc]
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, read)
            verify_consistency(old, size, roots[old - 1], checkpoint.root, proof)
    assert entries[0] == b"one"
