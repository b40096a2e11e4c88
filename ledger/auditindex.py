"""What an audit keeps of all logs: outlines in a temporary file, and the questions asked of them.

A row is about 150 bytes on disk and nothing in memory, so the number of entries is bounded by the
disk. SQLite keeps the file in the system's folder for temporary files and removes it by itself.
Only what checking the entries gave is kept here; what a stored column says is never used.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Self

from ledger.entrycheck import Batch
from ledger.errors import StorageError
from ledger.outline import Outline

_TABLES = """
CREATE TABLE entry (id TEXT, log INT, idx INT, covered INT, kind TEXT, author INT, work BLOB);
CREATE TABLE author (code INTEGER PRIMARY KEY, did TEXT);
CREATE TABLE reference (log INT, id TEXT, field TEXT, target TEXT);
CREATE TABLE rejected (log INT, idx INT);
"""
_INDICES = """
CREATE INDEX entry_id ON entry (id);
CREATE INDEX reference_id ON reference (id);
CREATE INDEX rejected_place ON rejected (log, idx);
"""


class Work(NamedTuple):
    """An entry that names artifacts or documents, and one place where its bytes are.

    Two entries of equal `digest` name the same artifacts and list the same files.
    """

    id: str
    log: int
    place: int
    kind: str
    digest: bytes


class AuditIndex:
    """The outlines of all valid entries of all logs."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("", isolation_level=None)
        self._secret = secrets.token_bytes(16)
        self._author = lru_cache(maxsize=4096)(self._new_author)
        self._connection.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES} BEGIN;"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, log: int, covered: int, batch: Batch) -> None:
        """Keep a batch of one log, whose first `covered` entries belong to the ledger."""
        accepted = batch.accepted
        self._insert(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.id,
                    log,
                    each.place,
                    each.place < covered,
                    each.outline.kind,
                    self._author(each.outline.author),
                    work_digest(each.outline) if each.outline.artifacts else None,
                )
                for each in accepted
            ],
        )
        self._insert(
            "INSERT INTO reference VALUES (?, ?, ?, ?)",
            [
                (log, each.id, field, target)
                for each in accepted
                if each.outline.references and each.place < covered
                for field, target in each.outline.references
            ],
        )
        self._insert(
            "INSERT INTO rejected VALUES (?, ?)",
            [(log, each.place) for each in batch.problems if each.check != "entry.filed"],
        )

    def forget(self, log: int) -> None:
        """Drop everything of one log."""
        for table in ("entry", "reference", "rejected"):
            self._insert(f"DELETE FROM {table} WHERE log = ?", [(log,)])  # noqa: S608 - our words

    def complete(self) -> None:
        """Prepare for questions, when everything was added."""
        with _storage_errors():
            self._connection.executescript(_INDICES)

    def _new_author(self, did: str) -> int:
        """Return a number for an author, by a hash that nobody can foresee."""
        hashed = hashlib.blake2b(did.encode("utf-8"), key=self._secret, digest_size=8).digest()
        code = int.from_bytes(hashed, "big", signed=True)
        self._insert("INSERT OR IGNORE INTO author VALUES (?, ?)", [(code, did)])
        return code

    def _insert(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with _storage_errors():
            self._connection.executemany(sql, rows)

    def _query(self, sql: str, parameters: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with _storage_errors():
            for row in self._connection.execute(sql, parameters):  # noqa: UP028
                yield row

    def counts(self) -> dict[str, int]:
        """Return how many entries of each kind the ledger has, sorted by kind."""
        sql = (
            "SELECT kind, count(*) FROM (SELECT kind FROM entry WHERE covered GROUP BY id)"
            " GROUP BY kind ORDER BY kind"
        )
        return dict(self._query(sql))

    def repeated(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield (id, log, first index, index) of entries that a log holds again."""
        sql = (
            "SELECT again.id, again.log, first.idx, again.idx FROM"
            " (SELECT id, log, min(idx) AS idx FROM entry GROUP BY id, log HAVING count(*) > 1)"
            " AS first JOIN entry AS again ON again.id = first.id AND again.log = first.log"
            " AND again.idx > first.idx ORDER BY again.log, again.idx"
        )
        yield from self._query(sql)

    def dangling(self) -> Iterator[tuple[str, str, str]]:
        """Yield (id, field, target) of references to what the ledger does not have, by id."""
        sql = (
            "SELECT id, field, target FROM reference WHERE NOT EXISTS"
            " (SELECT 1 FROM entry WHERE entry.id = reference.target AND covered)"
            " GROUP BY id, field, target ORDER BY id, min(reference.rowid)"
        )
        yield from self._query(sql)

    def foreign_withdrawals(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (id, author, target, its author) of withdrawals by other authors, by id."""
        sql = (
            "SELECT DISTINCT own.id, by.did, target.id, other.did FROM reference"
            " JOIN entry AS own ON own.id = reference.id JOIN entry AS target"
            " ON target.id = reference.target AND target.covered"
            " JOIN author AS by ON by.code = own.author"
            " JOIN author AS other ON other.code = target.author"
            " WHERE own.kind = 'withdrawal' AND own.covered AND own.author <> target.author"
            " ORDER BY own.id"
        )
        yield from self._query(sql)

    def works(self) -> Iterator[Work]:
        """Yield the entries of the ledger that name artifacts or documents, by id."""
        sql = (
            "SELECT id, log, min(idx), kind, work FROM entry"
            " WHERE covered AND work IS NOT NULL GROUP BY id ORDER BY id"
        )
        yield from map(Work._make, self._query(sql))

    def rejected(self, log: int) -> Iterator[int]:
        """Yield the indices of the entries of a log that are not valid, in order."""
        sql = "SELECT idx FROM rejected WHERE log = ? ORDER BY idx"
        for (index,) in self._query(sql, (log,)):
            yield index


def work_digest(outline: Outline) -> bytes:
    """Return a digest of everything that decides how the artifacts of an entry are checked."""
    return _digest((outline.artifacts, outline.subjects, outline.resources))


@lru_cache(maxsize=1024)
def _digest(named: tuple[tuple[str, ...], ...]) -> bytes:
    return hashlib.blake2b(repr(named).encode("utf-8"), digest_size=16).digest()


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StorageError(
            f"the audit's temporary file: {error}",
            hint="free space in the folder for temporary files, or name another with TMPDIR",
        ) from error
