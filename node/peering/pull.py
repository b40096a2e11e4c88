"""Reading the new part of one log from a peer, verified before anything is stored.

The order is the safety argument:

1. The checkpoint note is signed by the key that the origin names.
2. It is compared with what is held: smaller or equal trees must be the same tree.
3. The new hash tiles are read, but for leaves that fill a tile: the tile above has their root. They
   must lead to the signed root on their own, without help of what is held here; only then they say
   what the log has signed.
4. The tree held must be a prefix of it. If it is not, the log has signed both: an equivocation.
5. Entry bundles are read. Each must hash to its tile before its entries are parsed and verified,
   which goes on while the next ones are read. An entry that is not valid is marked; a log whose
   genesis is not is refused.

Peers are blamed for wrong tiles and bundles (ProofError), logs for what they signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.entry import Entry
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    ProofError,
    SignatureError,
)
from ledger.evidence import of_trees
from ledger.heldevidence import evidence_against
from ledger.log import CheckedBodies, Log, check_bodies
from ledger.merkle import (
    HASH_SIZE,
    NodeReader,
    consistency_proof,
    leaf_hash,
    perfect_root,
    subtree_root,
    verify_consistency,
)
from ledger.note import MAX_NOTE_BYTES, NoteKey
from ledger.tile import (
    MAX_BUNDLE_BYTES,
    TILE_WIDTH,
    Tile,
    changed_tiles,
    encode_bundle,
    node_reader,
    split_bundle,
    split_hashes,
)
from node.cores import usable_cores
from node.peering.budget import SyncLimits
from node.peering.source import Source
from node.peering.tree import log_folder

TileHashes = dict[tuple[int, int], list[bytes]]


@dataclass(frozen=True, slots=True)
class Offer:
    """A checkpoint a peer offers, its signature verified, with its note as received."""

    key: NoteKey
    checkpoint: Checkpoint
    note: bytes


def read_offer(source: Source, key: NoteKey) -> Offer:
    """Read and verify the checkpoint a peer holds of a log.

    Raises:
        SignatureError: if the key of the log did not sign it.
    """
    note = source.read(f"/{log_folder(key.name)}/checkpoint", max_bytes=MAX_NOTE_BYTES)
    return open_offer(key, note)


def open_offer(key: NoteKey, note: bytes) -> Offer:
    """Verify the checkpoint note of a log as received.

    Raises:
        MalformedError: if it is not a checkpoint note.
        SignatureError: if the key of the log did not sign it.
    """
    return Offer(key, open_checkpoint(note, key), note)


def is_new(offer: Offer, log: Log | None) -> bool:
    """Say whether an offer goes beyond what is held.

    Raises:
        EquivocationError: if the log signed a tree of at most the held size that is another tree;
            with the evidence.
        EvidenceError: if what is held here is damaged.
    """
    # What is held and not signed yet, at the end of an own log, contradicts nothing.
    latest = log.checkpoint() if log else None
    size = latest[0].size if latest else 0
    offered = offer.checkpoint
    if offered.size > size:
        return True
    if log is not None and offered.size and _held_root(log, offered.size) != offered.root:
        evidence = evidence_against(log, offer.note)
        raise EquivocationError(
            f"log {offered.origin} signed two different trees of {offered.size} entries",
            evidence=bytes(evidence) if evidence else None,
        )
    return False


def _held_root(log: Log, size: int) -> bytes:
    """Return the root of the first `size` entries held, proven to be what the log has signed.

    Without the proof a tile that was damaged on this disk would accuse the log.
    """
    try:
        root = log.root(size)
        latest = log.checkpoint()
        if latest is not None:
            signed = open_checkpoint(latest[1], log.key)
            (old, old_root), (new, new_root) = sorted([(size, root), (signed.size, signed.root)])
            verify_consistency(old, new, old_root, new_root, log.prove_consistency(old, new))
    except EvidenceError as error:
        raise EvidenceError(
            f"the ledger here is damaged: what it holds of {log.origin} does not lead to the "
            f"checkpoint it holds ({error.message})",
            hint="run 'pnode audit' to see what is damaged, then restore ledger.db from a backup",
        ) from None
    return root


def read_entries(
    source: Source, offer: Offer, held: Log | None, limits: SyncLimits
) -> CheckedBodies:
    """Return the entries between what is held and what is offered, completely verified.

    Raises:
        IncompleteError: if there are more than the limits allow.
        EquivocationError: if the tree offered does not extend the one held; with the evidence.
        ProofError: if tiles or bundles do not lead to the signed root.
        MalformedError, SignatureError: if entry 0 is not the genesis of this log.
        EvidenceError: if what is held here is damaged.
    """
    size = held.size if held else 0
    offered = offer.checkpoint
    if offered.size - size > limits.entries:
        raise IncompleteError(
            f"{offered.origin}: {offered.size - size} new entries, {limits.entries} are accepted"
        )
    tiles = _read_tiles(source, size, offered)
    if held is not None and size:
        _require_extends(offer, held, tiles)
    bodies = _read_bodies(source, size, offered, tiles, limits)
    checked = check_bodies(offered.origin, size, bodies, threads=usable_cores())
    if checked and not size:
        _check_genesis(offer.key, Entry.stored(checked[0]))
    return checked


def _read_tiles(source: Source, old_size: int, offered: Checkpoint) -> TileHashes:
    """Read the tiles that are new, and prove that they are those of the signed tree.

    Of leaves only those at the two edges are read: what the entries there must hash to is not in
    the tile above, or the tree held ends among them.
    """
    edge = [Tile(level, *_edge(offered.size, level)) for level in _levels(offered.size)]
    first, within = divmod(old_size, TILE_WIDTH)
    wanted = {
        *(tile for tile in edge if tile.width),
        *(
            tile
            for tile in changed_tiles(old_size, offered.size)
            if tile.level or (within and tile.index == first)
        ),
    }
    tiles: TileHashes = {}
    for tile in sorted(wanted):
        tiles[tile.level, tile.index] = split_hashes(_read_tile(source, offered, tile), tile)
    # The root needs the right edge alone: every partial tile, and of those every hash.
    if subtree_root(0, offered.size, _reader(offered, tiles)) != offered.root:
        raise ProofError(f"{offered.origin}: the tiles of {source.address} have another root")
    for (level, index), hashes in tiles.items():
        if len(hashes) == TILE_WIDTH:
            parent = tiles[level + 1, index // TILE_WIDTH]
            if perfect_root(hashes) != parent[index % TILE_WIDTH]:
                path = Tile(level, index).path
                raise ProofError(f"{offered.origin}: {path} of {source.address} is not its tile")
    return tiles


def _levels(size: int) -> Iterator[int]:
    level = 0
    while size >> (8 * level):
        yield level
        level += 1


def _edge(size: int, level: int) -> tuple[int, int]:
    """Return index and width of the partial tile of a level; width 0 means there is none."""
    return divmod(size >> (8 * level), TILE_WIDTH)


def _reader(offered: Checkpoint, tiles: TileHashes) -> NodeReader:
    def read(tile: Tile) -> Sequence[bytes]:
        try:
            return tiles[tile.level, tile.index]
        except KeyError:
            raise ProofError(f"{offered.origin}: {tile.path} was not read") from None

    return node_reader(offered.size, read)


def check_extends(source: Source, offer: Offer, held: Log) -> None:
    """Require that a larger tree extends the one held, without reading its entries.

    Raises:
        EquivocationError: if it does not; with the evidence.
        ProofError: if the tiles of the peer do not lead to the signed root.
        EvidenceError: if what is held here is damaged.
    """
    latest = held.checkpoint()
    if latest is not None:
        _require_extends(offer, held, _read_tiles(source, latest[0].size, offer.checkpoint))


def _require_extends(offer: Offer, held: Log, tiles: TileHashes) -> None:
    """Require that a tree, given by its proven tiles, extends the largest signed one held."""
    latest = held.checkpoint()
    if latest is None:
        return
    size = latest[0].size
    try:
        _check_extends(offer.checkpoint, size, _held_root(held, size), tiles)
    except EquivocationError as error:
        read = _reader(offer.checkpoint, tiles)
        evidence = of_trees(offer.key, latest[1], offer.note, read)
        raise EquivocationError(error.message, evidence=bytes(evidence)) from None


def _check_extends(offered: Checkpoint, size: int, root: bytes, tiles: TileHashes) -> None:
    path = consistency_proof(size, offered.size, _reader(offered, tiles))
    try:
        verify_consistency(size, offered.size, root, offered.root, path)
    except ProofError:
        raise EquivocationError(
            f"log {offered.origin} signed a tree of {offered.size} entries that does not extend "
            f"the {size} it signed before"
        ) from None


def peer_tree(source: Source, key: NoteKey) -> tuple[int, NodeReader]:
    """Return the size a peer offers of a log, and a reader of its tree, tile by tile.

    Tiles are read when they are needed and trusted by nobody: prove what is read.
    """
    offered = read_offer(source, key).checkpoint
    tiles: TileHashes = {}

    def read(tile: Tile) -> Sequence[bytes]:
        place = tile.level, tile.index
        if place not in tiles:
            tiles[place] = split_hashes(_read_tile(source, offered, tile), tile)
        return tiles[place]

    return offered.size, node_reader(offered.size, read)


def _read_bodies(
    source: Source, old_size: int, offered: Checkpoint, tiles: TileHashes, limits: SyncLimits
) -> Iterator[bytes]:
    """Yield the new entries, bundle by bundle, each of which the signed tree has."""
    total = 0
    for index in range(old_size // TILE_WIDTH, -(-offered.size // TILE_WIDTH)):
        bundle = Tile(-1, index, min(TILE_WIDTH, offered.size - index * TILE_WIDTH))
        entries = split_bundle(_read_tile(source, offered, bundle), bundle)
        if not _is_bundle_of(tiles, bundle, [leaf_hash(entry) for entry in entries]):
            raise ProofError(f"{offered.origin}: {bundle.path} of {source.address} is not its tile")
        new = entries[max(0, old_size - index * TILE_WIDTH) :]
        total += sum(map(len, new))
        if total > limits.log_bytes:
            raise IncompleteError(
                f"{offered.origin}: its new entries have more than {limits.log_bytes} bytes"
            )
        yield from new


def _is_bundle_of(tiles: TileHashes, bundle: Tile, leaves: list[bytes]) -> bool:
    """Say whether the entries of a bundle, given by their leaf hashes, are those of a tree."""
    if bundle.width < TILE_WIDTH:
        return tiles[0, bundle.index] == leaves
    index, within = divmod(bundle.index, TILE_WIDTH)
    return tiles[1, index][within] == perfect_root(leaves)


def _read_tile(source: Source, offered: Checkpoint, tile: Tile) -> bytes:
    """Read a tile or bundle; a partial one may have been dropped once the full one existed."""
    prefix = f"/{log_folder(offered.origin)}/"
    max_bytes = MAX_BUNDLE_BYTES if tile.level < 0 else TILE_WIDTH * HASH_SIZE
    try:
        return source.read(prefix + tile.path, max_bytes=max_bytes)
    except NotFoundError:
        if tile.width == TILE_WIDTH:
            raise
    full = Tile(tile.level, tile.index)
    data = source.read(prefix + full.path, max_bytes=max_bytes)
    if tile.level >= 0:
        return b"".join(split_hashes(data, full)[: tile.width])
    return encode_bundle(split_bundle(data, full)[: tile.width])


def _check_genesis(key: NoteKey, entry: Entry) -> None:
    """Require that entry 0 binds the log to its author."""
    predicate = entry.statement.predicate
    if entry.kind != "genesis":
        raise MalformedError(f"entry 0 of {key.name} is not a genesis")
    if predicate["origin"] != key.name or predicate["log_key"] != str(key):
        raise SignatureError(f"entry 0 of {key.name} binds another origin or key")
