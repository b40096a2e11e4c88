"""What an audit keeps of all logs: outlines in a temporary file, and the questions asked of them.

A row is about 150 bytes on disk and nothing in memory, so the number of entries is bounded by the
disk. Only what checking the entries gave is kept here; what a stored column says is never used.
Processes that check side by side fill an index each, and one takes in the others.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from ledger.entrycheck import Batch
from ledger.errors import StorageError
from ledger.outline import Outline

_TABLES = """
CREATE TABLE entry (id TEXT, log INT, idx INT, covered INT, kind TEXT, author BLOB);
CREATE TABLE counted (log INT, kind TEXT, number INT, PRIMARY KEY (log, kind));
CREATE TABLE author (code BLOB PRIMARY KEY, did TEXT) WITHOUT ROWID;
CREATE TABLE reference (id TEXT, log INT, kind TEXT, author BLOB, field TEXT, target TEXT);
CREATE TABLE work (digest BLOB, id TEXT, log INT, idx INT, kind TEXT);
CREATE TABLE rejected (log INT, idx INT);
"""
_OF_A_LOG = ("entry", "counted", "reference", "work", "rejected")
_COMPLETE = """
CREATE INDEX entry_id ON entry (id, covered);
CREATE TABLE again AS SELECT id FROM entry GROUP BY id HAVING count(*) > 1;
CREATE INDEX rejected_place ON rejected (log, idx);
CREATE INDEX withdrawn ON reference (target) WHERE kind = 'withdrawal';
"""
_COUNT = (
    "INSERT INTO counted {} ON CONFLICT (log, kind) DO UPDATE SET number = number + excluded.number"
)


class Work(NamedTuple):
    """An entry that names artifacts or documents, and one place where its bytes are.

    Two entries of equal `digest` name the same artifacts and list the same files.
    """

    digest: bytes
    id: str
    log: int
    place: int
    kind: str


class AuditIndex:
    """The outlines of all valid entries of all logs.

    Args:
        path: a new file; without it the system's folder for temporary files holds a nameless one.
    """

    def __init__(self, path: Path | None = None) -> None:
        with _storage_errors():
            self._connection = sqlite3.connect(path or "", isolation_level=None)
            self._connection.executescript(
                f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES} BEGIN;"
            )
        self._author = lru_cache(maxsize=4096)(self._new_author)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, which then holds everything that was added."""
        with _storage_errors():
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
            self._connection.close()

    def add(self, log: int, covered: int, batch: Batch) -> None:
        """Keep a batch of one log, whose first `covered` entries belong to the ledger."""
        entries: list[tuple[Any, ...]] = []
        references: list[tuple[Any, ...]] = []
        works: list[tuple[Any, ...]] = []
        counted: Counter[str] = Counter()
        for place, id_, outline in batch.accepted:
            author = self._author(outline.author)
            within = place < covered
            entries.append((id_, log, place, within, outline.kind, author))
            if not within:
                continue
            counted[outline.kind] += 1
            for field, target in outline.references:
                references.append((id_, log, outline.kind, author, field, target))
            if outline.artifacts:
                works.append((work_digest(outline), id_, log, place, outline.kind))
        self._insert("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?)", entries)
        self._insert("INSERT INTO reference VALUES (?, ?, ?, ?, ?, ?)", references)
        self._insert("INSERT INTO work VALUES (?, ?, ?, ?, ?)", works)
        self._insert(_COUNT.format("VALUES (?, ?, ?)"), [(log, *each) for each in counted.items()])
        self._insert(
            "INSERT INTO rejected VALUES (?, ?)",
            [(log, each.place) for each in batch.problems if each.check != "entry.filed"],
        )

    def take(self, path: Path) -> None:
        """Take in the index that another process has left in a file."""
        with _storage_errors():
            self._connection.execute("COMMIT")
            self._connection.execute("ATTACH ? AS other", (str(path),))
            self._connection.execute("BEGIN")
            for table in ("entry", "reference", "work", "rejected"):
                sql = f"INSERT INTO {table} SELECT * FROM other.{table}"  # noqa: S608 - our words
                self._connection.execute(sql)
            self._connection.execute("INSERT OR IGNORE INTO author SELECT * FROM other.author")
            self._connection.execute(_COUNT.format("SELECT * FROM other.counted WHERE true"))
            self._connection.execute("COMMIT")
            self._connection.execute("DETACH other")
            self._connection.execute("BEGIN")

    def forget(self, log: int) -> None:
        """Drop everything of one log."""
        for table in _OF_A_LOG:
            self._insert(f"DELETE FROM {table} WHERE log = ?", [(log,)])  # noqa: S608 - our words

    def complete(self) -> None:
        """Prepare for questions, when everything was added."""
        with _storage_errors():
            self._connection.executescript(_COMPLETE)

    def _new_author(self, did: str) -> bytes:
        """Return a short name of an author, the same in every index."""
        code = hashlib.blake2b(did.encode("utf-8"), digest_size=16).digest()
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
        # Few entries are in several places; all the others were counted when they were added.
        sql = (
            "SELECT kind, sum(number) FROM (SELECT kind, number FROM counted UNION ALL"
            " SELECT kind, 1 - count(*) FROM again JOIN entry USING (id) WHERE covered GROUP BY id)"
            " GROUP BY kind ORDER BY kind"
        )
        return dict(self._query(sql))

    def repeated(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield (id, log, first index, index) of entries that a log holds again."""
        sql = (
            "SELECT later.id, later.log, first.idx, later.idx FROM"
            " (SELECT id, log, min(idx) AS idx FROM again JOIN entry USING (id)"
            "  GROUP BY id, log HAVING count(*) > 1)"
            " AS first JOIN entry AS later ON later.id = first.id AND later.log = first.log"
            " AND later.idx > first.idx ORDER BY later.log, later.idx"
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
            "SELECT DISTINCT own.id, by.did, target.id, other.did FROM reference AS own"
            " JOIN entry AS target ON target.id = own.target AND target.covered"
            " JOIN author AS by ON by.code = own.author"
            " JOIN author AS other ON other.code = target.author"
            " WHERE own.kind = 'withdrawal' AND own.author <> target.author ORDER BY own.id"
        )
        yield from self._query(sql)

    def withdrawers(self, id_: str) -> Iterator[str]:
        """Yield the authors of withdrawals of an entry."""
        sql = (
            "SELECT DISTINCT did FROM reference JOIN author ON code = author"
            " WHERE kind = 'withdrawal' AND target = ? ORDER BY did"
        )
        for (did,) in self._query(sql, (id_,)):
            yield did

    def works(self) -> Iterator[Work]:
        """Yield the entries of the ledger that name artifacts or documents, by digest and id."""
        sql = (
            "SELECT digest, id, log, min(idx), kind FROM work"
            " GROUP BY digest, id ORDER BY digest, id"
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
