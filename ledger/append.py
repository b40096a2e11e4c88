"""Growing the node's own log. The order of the steps is the safety argument.

1. One durable transaction stores entries and tiles.
2. The rows are read back, re-hashed, and the root is rebuilt along another path: a bit that
   flipped in memory or on disk is noticed before it is signed (as ended CT's Yeti 2022 log). Each
   is read as others will read it, because what is in the log stays there, valid or not.
3. The signing lock moves to the new tree by compare-and-swap.
4. Only then the checkpoint is signed and stored.

A process that dies between two steps leaves a state from which `settle` continues: it runs before
every append. Whatever cannot be continued safely freezes the log instead of forking it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.database import Database
from ledger.entry import Entry, entry_id
from ledger.entryreader import EntryReader
from ledger.errors import EvidenceError, LogFrozenError, MalformedError
from ledger.heldevidence import check_not_frozen
from ledger.keys import PrivateKey
from ledger.log import Log, add_log, store_rows
from ledger.merkle import leaf_hash
from ledger.observations import sightings
from ledger.signinglock import SigningLock


class OwnLog:
    """The log this node signs. Hold the home's writer lock while using it."""

    def __init__(self, database: Database, key: PrivateKey, lock: SigningLock) -> None:
        self._key = key
        self._lock = lock
        self.log: Log = add_log(database, log_key(log_origin(key.public), key.public))

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Append entries, sign, and return their indices; entries already there keep theirs.

        Raises:
            LogFrozenError: if signing could fork the log.
            StorageError: if the disk refuses; nothing is then signed.
        """
        self.settle()
        new = {entry.leaf_hash: entry for entry in entries}
        missing = [entry.body for leaf, entry in new.items() if self.log.index_of(leaf) is None]
        if missing:
            with self.log.database.transaction() as writer:
                store_rows(writer, self.log, missing)
            self.settle()
        return [self._index(entry) for entry in entries]

    def settle(self) -> Checkpoint | None:
        """Sign whatever is stored and not signed yet; return the current checkpoint.

        Raises:
            EquivocationError: if this log has signed two histories; it never signs again.
            LogFrozenError: if signing could fork the log.
        """
        check_not_frozen(self.log.database, self.log.origin)
        stored = self.log.size
        locked = self._lock.read()
        self._check_not_restored(locked, stored)
        self._check_not_overtaken(stored)
        if stored > locked.size:
            tree = self._read_back(locked.size, stored)
            self._lock.advance(locked, tree)
            locked = tree
        latest = self.log.checkpoint()
        if locked.size and (latest is None or latest[0].size < locked.size):
            self._sign(locked)
        return locked if locked.size else None

    def _index(self, entry: Entry) -> int:
        index = self.log.index_of(entry.leaf_hash)
        if index is None:
            raise EvidenceError(f"entry {entry.id} was appended and cannot be read back")
        return index

    def _check_not_restored(self, locked: Checkpoint, stored: int) -> None:
        latest = self.log.checkpoint()
        signed = latest[0].size if latest else 0
        if locked.size > stored:
            raise LogFrozenError(
                f"this home holds {stored} entries of its own log, "
                f"but {locked.size} were already signed"
            )
        if signed > locked.size:
            raise LogFrozenError(
                f"the signing lock is at {locked.size}, older than the checkpoint at {signed}"
            )
        if locked.size and self.log.root(locked.size) != locked.root:
            raise LogFrozenError(f"the first {locked.size} entries are not those that were signed")

    def _check_not_overtaken(self, stored: int) -> None:
        """Require that nobody was seen to hold a checkpoint of this log that is not its own."""
        for seen, _ in sightings(self.log):
            if seen.size > stored:
                raise LogFrozenError(
                    f"a peer holds {seen.size} entries of this home's own log, here are {stored}: "
                    "this home was restored or copied"
                )
            if self.log.root(seen.size) != seen.root:
                raise LogFrozenError(
                    f"a peer holds another tree of {seen.size} entries, signed by this home's key",
                    hint="do not publish from this home; see docs/how-to/restore.md",
                )

    def _read_back(self, start: int, end: int) -> Checkpoint:
        edge = self.log.edge(start)
        bodies = list(self.log.bodies(start, end))
        edge.extend([leaf_hash(body) for body in bodies])
        if edge.size != end or edge.root() != self.log.root(end):
            raise EvidenceError(
                "entries read back from disk do not hash to the tree that was written",
                hint="check the disk and memory of this machine; nothing was signed",
            )
        self._require_valid(start, bodies)
        return Checkpoint(self.log.origin, end, edge.root())

    def _require_valid(self, start: int, bodies: Sequence[bytes]) -> None:
        """Require that stored entries are valid and new, before they are signed for good."""
        reader = EntryReader()
        for index, body in enumerate(bodies, start):
            where = f"entry {index} of {self.log.origin}"
            try:
                reader.read(body)
            except EvidenceError as error:
                raise type(error)(f"{where}: {error.message}") from None
            first = self.log.index_of(leaf_hash(body))
            if first != index:
                raise MalformedError(f"{where} ({entry_id(body)}) repeats entry {first}")

    def _sign(self, tree: Checkpoint) -> None:
        note = bytes(sign_checkpoint(tree, self._key))
        row = {"log": self.log.row_id, "size": tree.size, "root": tree.root, "note": note}
        with self.log.database.transaction() as writer:
            writer.table("checkpoint").insert(row)
