"""Logs as stored: reading entries, tiles, checkpoints and proofs of one log.

Everything read here is as trustworthy as the database it comes from; `ledger.rules` checks it.
Growth happens in exactly two places: `ledger.append` for the node's own log and `ledger.mirror`
for logs of others. Both call `store_rows`, and verify entries before anything is signed or kept.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice, repeat
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, overload

from ledger.checkpoint import Checkpoint
from ledger.cid import Cid, cid_texts
from ledger.database import Database
from ledger.entry import Entry
from ledger.entrycheck import Row
from ledger.entryreader import EntryReader
from ledger.errors import EvidenceError, NotFoundError, UsageError
from ledger.merkle import (
    HASH_SIZE,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    perfect_root,
    subtree_root,
)
from ledger.note import Note, NoteKey
from ledger.rejected import Placed, place_entries
from ledger.tile import (
    TILE_BITS,
    TILE_WIDTH,
    Tile,
    TileNodes,
    changed_tiles,
    node_reader,
    split_hashes,
)
from ledger.tlogproof import TlogProof

if TYPE_CHECKING:
    import sqlite_utils

MIN_PREFIX: Final = 12
_CACHED_TILES = 512
_VERIFIED_AT_ONCE = 64

ROWS_SQL: Final = (
    "SELECT idx, id, leaf_hash, body FROM entry WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx"
)
"""Reads the entries [start, end) of a log as they are filed."""

INDEX_SQL: Final = "SELECT idx FROM entry WHERE log = ? AND leaf_hash = ? ORDER BY idx LIMIT 1"
"""Reads the first index of an entry in a log."""


class Log:
    """One log in a database.

    Raises:
        NotFoundError: if the database holds no log of that origin.
    """

    def __init__(self, database: Database, origin: str) -> None:
        row = next(database.query("SELECT id, key FROM log WHERE origin = ?", (origin,)), None)
        if row is None:
            raise NotFoundError(f"no log {origin} here")
        self.database = database
        self.origin = origin
        self.row_id: int = row[0]
        self.key = NoteKey.parse(row[1])
        # The least recently used tile comes first; what is read again moves to the end.
        self._tiles: OrderedDict[tuple[int, int], TileNodes] = OrderedDict()

    @property
    def size(self) -> int:
        """The number of entries stored."""
        sql = "SELECT coalesce(max(idx) + 1, 0) FROM entry WHERE log = ?"
        return int(next(self.database.query(sql, (self.row_id,)))[0])

    @property
    def count(self) -> int:
        """The number of rows of entries: less than `size` in a ledger that lost some."""
        sql = "SELECT count(*) FROM entry WHERE log = ?"
        return int(next(self.database.query(sql, (self.row_id,)))[0])

    def bodies(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes of the entries [start, end) in order."""
        sql = "SELECT body FROM entry WHERE log = ? AND idx >= ? AND idx < ? ORDER BY idx"
        last = self.size if end is None else end
        for (body,) in self.database.query(sql, (self.row_id, start, last)):
            yield body

    def accepted(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Return index and bytes of the entries [start, end) that are not rejected, in order."""
        sql = (
            "SELECT idx, body FROM entry WHERE log = ?1 AND idx >= ?2 AND idx < ?3"
            " AND NOT EXISTS (SELECT 1 FROM rejected WHERE log = ?1 AND idx = entry.idx)"
            " ORDER BY idx"
        )
        last = self.size if end is None else end
        rows = self.database.query(sql, (self.row_id, start, last))
        return ((index, body) for index, body in rows)

    def rejected(self) -> Iterator[int]:
        """Yield the indices of the entries that are not valid, in order."""
        sql = "SELECT idx FROM rejected WHERE log = ? ORDER BY idx"
        for (index,) in self.database.query(sql, (self.row_id,)):
            yield index

    def placed(self, end: int, start: int = 0) -> Iterator[Placed]:
        """Yield what stands in the places [start, end), as a view reads it."""
        bodies = ((row.place, row.body) for row in self.rows(start, end))
        return place_entries(self.origin, bodies, self.rejected())

    def rows(self, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """Yield the entries [start, end) as they are filed, for an audit."""
        last = self.size if end is None else end
        return map(Row._make, self.database.query(ROWS_SQL, (self.row_id, start, last)))

    def index_of(self, leaf: bytes) -> int | None:
        """Return the first index of an entry given by its leaf hash, if it is here."""
        row = next(self.database.query(INDEX_SQL, (self.row_id, leaf)), None)
        return None if row is None else int(row[0])

    def tile(self, tile: Tile) -> Sequence[bytes]:
        """Return the stored hashes of a tile, at least `tile.width` of them."""
        return self._nodes(tile).hashes

    def node(self, level: int, index: int) -> bytes:
        """Return the root of the perfect subtree (level, index), as `ledger.merkle` reads nodes."""
        tile_level, height = divmod(level, TILE_BITS)
        within = index & (TILE_WIDTH >> height) - 1
        tile = Tile(tile_level, index >> TILE_BITS - height, within + 1 << height)
        return self._nodes(tile).node(height, within)

    def _nodes(self, tile: Tile) -> TileNodes:
        """Return what is stored of a tile, from the cache if it was read lately."""
        key = (tile.level, tile.index)
        nodes = self._tiles.get(key)
        if nodes is not None and len(nodes.hashes) >= tile.width:
            self._tiles.move_to_end(key)
            return nodes
        sql = "SELECT hashes FROM tile WHERE log = ? AND level = ? AND idx = ?"
        row = next(self.database.query(sql, (self.row_id, *key)), None)
        stored = b"" if row is None else row[0]
        if len(stored) < tile.width * HASH_SIZE:
            raise EvidenceError(f"{self.origin}: {tile.path} is missing from the ledger")
        nodes = TileNodes(split_hashes(stored, Tile(*key, len(stored) // HASH_SIZE)))
        self._tiles[key] = nodes
        if len(self._tiles) > _CACHED_TILES:
            self._tiles.popitem(last=False)
        return nodes

    def forget_tiles(self) -> None:
        """Read tiles anew, because they have grown."""
        self._tiles.clear()

    def edge(self, size: int) -> CompactRange:
        """Return the compact range of the first `size` entries."""
        levels = [level for level in range(size.bit_length()) if size >> level & 1]
        roots = [self.node(level, (size >> level) - 1) for level in reversed(levels)]
        return CompactRange(size, roots)

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` entries, from the tiles."""
        return subtree_root(0, size, self.node)

    def notes(self) -> Iterator[tuple[int, bytes]]:
        """Yield the stored checkpoint notes, unparsed, with the size each is filed under."""
        sql = "SELECT size, note FROM checkpoint WHERE log = ? ORDER BY size"
        for row in self.database.query(sql, (self.row_id,)):
            yield int(row[0]), bytes(row[1])

    def checkpoint(self) -> tuple[Checkpoint, bytes] | None:
        """Return the largest stored checkpoint and its note."""
        sql = "SELECT note FROM checkpoint WHERE log = ? ORDER BY size DESC LIMIT 1"
        for (note,) in self.database.query(sql, (self.row_id,)):
            return Checkpoint.parse(Note.parse(note).text), note
        return None

    def prove_inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion path of an entry in the tree of `size` entries."""
        return inclusion_proof(index, size, self.node)

    def prove_consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the consistency path between two sizes."""
        return consistency_proof(old_size, new_size, self.node)

    def prove(self, index: int) -> TlogProof:
        """Return the proof file of an entry under the largest checkpoint.

        Raises:
            NotFoundError: if no checkpoint covers the entry yet.
        """
        latest = self.checkpoint()
        if latest is None or index >= latest[0].size:
            raise NotFoundError(
                f"entry {index} of {self.origin} is not covered by a checkpoint yet",
                hint="run any writing command, such as 'pnode init', to finish signing",
            )
        checkpoint, note = latest
        return TlogProof(index, tuple(self.prove_inclusion(index, checkpoint.size)), note)


def logs(database: Database) -> list[Log]:
    """Return all logs, sorted by origin."""
    rows = list(database.query("SELECT origin FROM log ORDER BY origin"))
    return [Log(database, origin) for (origin,) in rows]


def count_signed(database: Database) -> int:
    """Return how many logs have a checkpoint."""
    return int(next(database.query("SELECT count(DISTINCT log) FROM checkpoint"))[0])


def find_log(database: Database, origin: str) -> Log | None:
    """Return the log of an origin, or None if the database holds none."""
    try:
        return Log(database, origin)
    except NotFoundError:
        return None


def add_log(database: Database, key: NoteKey) -> Log:
    """Return the log of a key, adding it if it is new."""
    with database.transaction() as writer:
        writer.table("log").insert({"origin": key.name, "key": str(key)}, ignore=True)
    return Log(database, key.name)


def find_ids(database: Database, prefix: str) -> list[str]:
    """Return the ids that begin with a prefix (at most two: enough to see ambiguity)."""
    sql = "SELECT DISTINCT id FROM entry WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"
    return [row[0] for row in database.query(sql, (prefix, prefix + "\x7f"))]


def resolve_id(database: Database, prefix: str) -> str:
    """Return the one id that begins with `prefix`.

    Raises:
        UsageError: if the prefix is too short or ambiguous.
        NotFoundError: if no entry has it.
    """
    if len(prefix) < MIN_PREFIX:
        raise UsageError(
            f"'{prefix}' is too short for an id", hint=f"give at least {MIN_PREFIX} characters"
        )
    found = find_ids(database, prefix)
    if not found:
        raise NotFoundError(f"no entry '{prefix}' in this ledger")
    if len(found) > 1:
        raise UsageError(f"'{prefix}' is ambiguous", hint="give more characters of the id")
    return found[0]


def places(database: Database, id_: str) -> list[tuple[str, int, bytes]]:
    """Return every (origin, index, body) of an id, the place to name first.

    Places under a checkpoint come before those that are not signed yet; among them the log of the
    entry's author, then the others by origin and index.
    """
    Cid.parse(id_)
    sql = (
        "SELECT log.origin, entry.idx, entry.body, entry.idx < coalesce("
        " (SELECT max(size) FROM checkpoint WHERE checkpoint.log = entry.log), 0)"
        " FROM entry JOIN log ON log.id = entry.log WHERE entry.id = ?"
        " ORDER BY log.origin, entry.idx"
    )
    found = list(database.query(sql, (id_,)))
    if len(found) > 1:
        found.sort(key=lambda row: (not row[3], not _is_by_owner(Log(database, row[0]), row[2])))
    return [(origin, index, body) for origin, index, body, _ in found]


def _is_by_owner(log: Log, body: bytes) -> bool:
    """Whether the genesis of a log binds it to the author of an entry."""
    try:
        genesis = Entry.stored(next(log.bodies(0, 1)))
        bound = genesis.kind == "genesis" and genesis.statement.predicate["origin"] == log.origin
        return bound and genesis.author == Entry.stored(body).author
    except EvidenceError:
        return False  # damaged; whoever uses the entry reports it


@dataclass(frozen=True, slots=True)
class CheckedBodies(Sequence[bytes]):
    """Entries of a log that `check_bodies` has verified; `rejected` are the indices of others.

    Made there and nowhere else, so that whoever stores them need not verify them again.
    """

    origin: str
    start: int
    bodies: tuple[bytes, ...]
    leaves: tuple[bytes, ...]
    rejected: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.bodies)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[bytes, ...]: ...
    def __getitem__(self, index: int | slice) -> bytes | tuple[bytes, ...]:
        return self.bodies[index]

    @property
    def accepted(self) -> Iterator[bytes]:
        """The entries that are not rejected, in order."""
        skipped = frozenset(self.rejected)
        return (body for at, body in enumerate(self.bodies, self.start) if at not in skipped)


def check_bodies(
    origin: str, start: int, bodies: Iterable[bytes], *, threads: int = 1
) -> CheckedBodies:
    """Verify what stands in somebody else's log from index `start` on, and mark what is not valid.

    Args:
        origin: the log, for messages.
        start: the index of the first entry.
        bodies: the entries; if they come slowly, those that came are verified meanwhile.
        threads: how many verify. Libraries let go of the interpreter while they do.

    Raises:
        MalformedError, SignatureError: if entry 0 is among them and not valid.
    """
    kept: list[bytes] = []
    found: list[Future[list[int]]] = []
    readers: SimpleQueue[EntryReader] = SimpleQueue()
    for _ in range(threads):
        readers.put(EntryReader())
    pool = ThreadPoolExecutor(threads)
    try:
        iterator = iter(bodies)
        while part := list(islice(iterator, _VERIFIED_AT_ONCE)):
            found.append(pool.submit(_invalid, readers, start + len(kept), part))
            kept += part
        rejected = tuple(chain.from_iterable(each.result() for each in found))
    finally:
        pool.shutdown(cancel_futures=True)
    if 0 in rejected[:1]:
        try:
            EntryReader().read(kept[0])
        except EvidenceError as error:
            raise type(error)(f"entry 0 of {origin}: {error.message}") from None
    return CheckedBodies(origin, start, tuple(kept), tuple(map(leaf_hash, kept)), rejected)


def _invalid(readers: SimpleQueue[EntryReader], start: int, bodies: Sequence[bytes]) -> list[int]:
    """Verify entries with a reader that is free, and return the indices of those not valid."""
    reader = readers.get()
    found = []
    for index, body in enumerate(bodies, start):
        try:
            reader.read(body)
        except EvidenceError:
            found.append(index)
    readers.put(reader)
    return found


def store_rows(writer: sqlite_utils.Database, log: Log, bodies: Sequence[bytes]) -> bytes:
    """Insert entries and their tiles at the end of a log and return the new root.

    Call it inside a transaction.
    """
    size = log.size
    leaves = bodies.leaves if isinstance(bodies, CheckedBodies) else [*map(leaf_hash, bodies)]
    ids = cid_texts([hashlib.sha256(body).digest() for body in bodies])
    # One statement for all rows; making a dictionary of each takes longer than storing it.
    writer.conn.executemany(
        "INSERT INTO entry (log, idx, id, leaf_hash, body) VALUES (?, ?, ?, ?, ?)",
        zip(repeat(log.row_id), range(size, size + len(bodies)), ids, leaves, bodies),
    )
    if isinstance(bodies, CheckedBodies):
        rows = zip(repeat(log.row_id), bodies.rejected)
        writer.conn.executemany("INSERT INTO rejected (log, idx) VALUES (?, ?)", rows)
    tiles = _grown_tiles(log, size, leaves)
    writer.table("tile").upsert_all(
        (
            {"log": log.row_id, "level": level, "idx": index, "hashes": b"".join(hashes)}
            for (level, index), hashes in sorted(tiles.items())
        ),
        pk=("log", "level", "idx"),
    )
    log.forget_tiles()
    end = size + len(bodies)

    def read(tile: Tile) -> Sequence[bytes]:
        return tiles.get((tile.level, tile.index)) or log.tile(tile)

    return subtree_root(0, end, node_reader(end, read))


def _grown_tiles(
    log: Log, size: int, leaves: Sequence[bytes]
) -> dict[tuple[int, int], list[bytes]]:
    """Return every tile that changes when `leaves` are added to a tree of `size` entries."""
    grown: dict[tuple[int, int], list[bytes]] = {}
    for tile in changed_tiles(size, size + len(leaves)):
        start = tile.index * TILE_WIDTH
        old = max(0, min(TILE_WIDTH, (size >> (8 * tile.level)) - start))
        hashes = list(log.tile(Tile(tile.level, tile.index, old))[:old]) if old else []
        if tile.level == 0:
            hashes += leaves[start + old - size : start + tile.width - size]
        else:
            children = range(start + old, start + tile.width)
            hashes += [perfect_root(grown[tile.level - 1, child]) for child in children]
        grown[tile.level, tile.index] = hashes
    return grown
