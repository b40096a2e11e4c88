"""What the pages list, in a private SQLite file: searched and paged without holding it in memory.

Built once from a view of the ledger and never changed. SQLite keeps it in a temporary file that
has no name and is gone when the process is, however it ends. Nothing here is evidence: texts of
entries, proofs and notes are read from the ledger when a page needs them.

Order of entries: the node's own log first, then the others by origin; within a log the newest
first. Times that authors claim are shown and never used.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from threading import Lock
from typing import Any, Final

from ledger.errors import NotFoundError
from ledger.placedentry import PlacedEntry
from ledger.view import DISPUTED, LedgerView

PAGE_SIZE: Final = 50
MAX_FACETS: Final = 40
_CACHE_KIB = 8_192
_REFERENCE_FIELDS: Final = (
    "members",
    "suites",
    "composition",
    "target",
    "supersedes",
    "derived_from",
    "predecessor",
    "successor",
)
_ABOUT_FIELDS: Final = ("target", "composition")
_SCHEMA = """
CREATE TABLE log (n INTEGER PRIMARY KEY, folder TEXT UNIQUE, origin TEXT UNIQUE, name TEXT,
    author TEXT, size INTEGER, root BLOB, own INTEGER, note BLOB, witnessed INTEGER,
    frozen INTEGER, disputed INTEGER, evidence TEXT);
CREATE TABLE entry (n INTEGER PRIMARY KEY, id TEXT, kind TEXT, author TEXT, contributor TEXT,
    name TEXT, title TEXT, about TEXT, license TEXT, cid TEXT, status TEXT, log INTEGER,
    idx INTEGER, created TEXT);
CREATE TABLE mention (target TEXT, source INTEGER, role TEXT, detail TEXT);
"""
_INDEXES = """
CREATE UNIQUE INDEX entry_id ON entry (id);
CREATE INDEX entry_kind ON entry (kind);
CREATE INDEX entry_author ON entry (author);
CREATE INDEX entry_contributor ON entry (contributor);
CREATE INDEX entry_name ON entry (name);
CREATE INDEX entry_status ON entry (status);
CREATE INDEX mention_target ON mention (target, source);
"""
_ENTRY = (
    "SELECT entry.id, entry.kind, entry.author, entry.name, entry.title, entry.about,"
    " entry.license, entry.cid, entry.status, log.origin, entry.idx, entry.created,"
    " entry.idx < log.witnessed FROM entry JOIN log ON log.n = entry.log"
)
_LOG = (
    "SELECT folder, origin, name, author, size, root, own, note, witnessed, frozen, disputed,"
    " evidence FROM log"
)


@dataclass(frozen=True, slots=True)
class ListedLog:
    """A log as pages show it.

    `witnessed` is the number of entries under a tree that is cosigned as the node's policy asks.
    A log that signed two histories is `frozen` here, and its entries from index `disputed_from` on
    are disputed; `evidence` names the files that prove it.
    """

    folder: str
    origin: str
    name: str
    author: str
    size: int
    root: bytes
    own: bool
    note: bytes
    witnessed: int
    frozen: bool
    disputed_from: int | None
    evidence: tuple[str, ...]


_LOG_FIELDS: Final = tuple(field.name for field in fields(ListedLog))


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """An entry as pages list it; `status` is empty where a kind has none.

    `about` is the title or id of the one entry that an entry of its kind is about, if any.
    """

    id: str
    kind: str
    author: str
    name: str
    title: str
    about: str
    license: str
    cid: str
    status: str
    origin: str
    index: int
    created: str
    witnessed: bool


@dataclass(frozen=True, slots=True)
class Mention:
    """That one entry names another in a field of its statement."""

    entry: ListedEntry
    role: str
    detail: str


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is limited to; an empty text limits nothing."""

    kind: str = ""
    author: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Paging:
    """Which page of a list this is: pages are numbered from 1, and an empty list has one."""

    page: int
    pages: int
    total: int

    @classmethod
    def of(cls, total: int, page: int) -> Paging:
        """Return a page of `total` things.

        Raises:
            NotFoundError: if there is no such page.
        """
        pages = max(1, -(-total // PAGE_SIZE))
        if not 1 <= page <= pages:
            raise NotFoundError(f"there is no page {page}, the last one is {pages}")
        return cls(page, pages, total)

    @property
    def start(self) -> int:
        """How many things come before this page."""
        return (self.page - 1) * PAGE_SIZE


class PageIndex:
    """The lists of one view of the ledger; safe to share by threads."""

    def __init__(self, ledger: LedgerView, logs: Sequence[ListedLog]) -> None:
        # An empty name is SQLite's for a temporary file: memory up to the cache size, then disk.
        connection = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._connection = connection
        self._lock = Lock()
        weakref.finalize(self, connection.close)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA journal_mode = OFF")
        connection.executescript(_SCHEMA)
        ordered = sorted(logs, key=lambda log: (not log.own, log.origin))
        places = {log.origin: number for number, log in enumerate(ordered)}
        with self._built():
            self._insert("log", (_log_row(number, log) for number, log in enumerate(ordered)))
            entries = _in_order(ledger, places)
            numbers = {placed.entry.id: number for number, placed in enumerate(entries)}
            self._insert("entry", _entry_rows(ledger, entries, places))
            self._insert("mention", _mentions(entries, numbers))
        self.kinds = self._facets("kind")
        self.statuses = self._facets("status")

    def logs(self, page: int) -> tuple[list[ListedLog], Paging]:
        """Return one page of the logs, the node's own first."""
        paging = Paging.of(self._count("log"), page)
        sql = f"{_LOG} ORDER BY n LIMIT ? OFFSET ?"
        return [_log(row) for row in self._rows(sql, (PAGE_SIZE, paging.start))], paging

    def log(self, folder: str) -> ListedLog:
        """Return the log of a folder name.

        Raises:
            NotFoundError: if none has it.
        """
        for row in self._rows(f"{_LOG} WHERE folder = ?", (folder,)):
            return _log(row)
        raise NotFoundError(f"no log {folder[:70]} here")

    def log_of(self, origin: str) -> ListedLog:
        """Return the log of an origin.

        Raises:
            NotFoundError: if it is not here.
        """
        for row in self._rows(f"{_LOG} WHERE origin = ?", (origin,)):
            return _log(row)
        raise NotFoundError(f"no log {origin} here")

    def entries(self, wanted: Filter, page: int) -> tuple[list[ListedEntry], Paging]:
        """Return one page of the entries that match.

        Raises:
            NotFoundError: if there is no such page.
        """
        where, values = _where(wanted)
        paging = Paging.of(self._count(f"entry{where}", values), page)
        sql = f"{_ENTRY}{where} ORDER BY entry.n LIMIT ? OFFSET ?"
        rows = self._rows(sql, (*values, PAGE_SIZE, paging.start))
        return [_entry(row) for row in rows], paging

    def entry(self, id_: str) -> ListedEntry:
        """Return one entry.

        Raises:
            NotFoundError: if it is not in this view.
        """
        found = self.find(id_)
        if found is None:
            raise NotFoundError(f"no entry '{id_[:70]}' in this ledger")
        return found

    def find(self, id_: str) -> ListedEntry | None:
        """Return one entry, or None if it is not in this view."""
        for row in self._rows(f"{_ENTRY} WHERE entry.id = ?", (id_,)):
            return _entry(row)
        return None

    def mentions(self, id_: str) -> tuple[list[Mention], int]:
        """Return the first entries that name an entry, and how many do."""
        total = self._count("mention WHERE target = ?", (id_,))
        sql = (
            f"{_ENTRY.replace(' FROM entry', ', mention.role, mention.detail FROM entry')}"
            " JOIN mention ON mention.source = entry.n WHERE mention.target = ?"
            " ORDER BY entry.n, mention.role LIMIT ?"
        )
        rows = self._rows(sql, (id_, PAGE_SIZE))
        return [Mention(_entry(row[:-2]), row[-2], row[-1]) for row in rows], total

    def _facets(self, column: str) -> Mapping[str, int]:
        # A hostile peer can invent kinds without end; the commonest are enough to choose from.
        sql = (
            f"SELECT {column}, count(*) AS times FROM entry WHERE {column} != ''"  # noqa: S608
            f" GROUP BY {column} ORDER BY times DESC, {column} LIMIT {MAX_FACETS}"
        )
        return dict(sorted(self._rows(sql)))

    def _count(self, what: str, values: Sequence[Any] = ()) -> int:
        return int(self._rows(f"SELECT count(*) FROM {what}", values)[0][0])  # noqa: S608

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        columns = len(self._connection.execute(f"PRAGMA table_info({table})").fetchall())
        marks = ", ".join("?" * columns)
        self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608

    @contextmanager
    def _built(self) -> Iterator[None]:
        self._connection.execute("BEGIN")
        yield
        self._connection.execute("COMMIT")
        self._connection.executescript(_INDEXES)
        self._connection.execute("PRAGMA query_only = ON")


def _where(wanted: Filter) -> tuple[str, tuple[str, ...]]:
    conditions, values = [], []
    for column in ("kind", "status"):
        if value := getattr(wanted, column):
            conditions.append(f"entry.{column} = ?")
            values.append(value)
    if wanted.author:
        # A contributor is a chain of keys; the first of them stands for all.
        conditions.append("(entry.author = ? OR entry.contributor = ? OR entry.name = ?)")
        values += [wanted.author] * 3
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return where, tuple(values)


def _in_order(ledger: LedgerView, places: Mapping[str, int]) -> list[PlacedEntry]:
    return sorted(
        (placed for placed in ledger.entries.values() if placed.origin in places),
        key=lambda placed: (places[placed.origin], -placed.index),
    )


def _log_row(number: int, log: ListedLog) -> tuple[Any, ...]:
    named = (log.folder, log.origin, log.name, log.author, log.size, log.root)
    disputed = (log.frozen, log.disputed_from, " ".join(log.evidence))
    return (number, *named, log.own, log.note, log.witnessed, *disputed)


def _log(row: Sequence[Any]) -> ListedLog:
    values = dict(zip(_LOG_FIELDS, row, strict=True))
    own, frozen = bool(values.pop("own")), bool(values.pop("frozen"))
    evidence = tuple(values.pop("evidence").split())
    return ListedLog(**values, own=own, frozen=frozen, evidence=evidence)


def _entry(row: Sequence[Any]) -> ListedEntry:
    values = list(row)
    values[-1] = bool(values[-1])
    return ListedEntry(*values)


def _entry_rows(
    ledger: LedgerView, entries: Sequence[PlacedEntry], places: Mapping[str, int]
) -> Iterator[tuple[Any, ...]]:
    for number, placed in enumerate(entries):
        entry = placed.entry
        predicate = entry.statement.predicate
        offered = ledger.contributions.get(entry.id)
        yield (
            number,
            entry.id,
            offered.type if offered else entry.kind,
            entry.author,
            ledger.identity(entry.author),
            ledger.names.get(entry.author, ""),
            _title(predicate),
            _about(ledger, predicate),
            _text(predicate.get("license")),
            _text(predicate.get("cid")),
            status_of(ledger, entry.id),
            places[placed.origin],
            placed.index,
            entry.statement.created,
        )


def status_of(ledger: LedgerView, id_: str) -> str:
    """Return the status of an entry in a view, or an empty text where there is nothing to say."""
    offered = ledger.contributions.get(id_)
    if offered is not None:
        return offered.status
    standing = ledger.standings.get(id_, "")
    return standing or (DISPUTED if ledger.dispute_of(id_) is not None else "")


def _title(predicate: Mapping[str, Any]) -> str:
    return _text(predicate.get("title")) or _text(predicate.get("name"))


def _about(ledger: LedgerView, predicate: Mapping[str, Any]) -> str:
    for field in _ABOUT_FIELDS:
        placed = ledger.entries.get(_text(predicate.get(field)))
        if placed is not None:
            return _title(placed.entry.statement.predicate) or placed.entry.id
    return ""


def _text(value: Any) -> str:
    # Kinds this version does not know may hold anything under these names.
    return value if isinstance(value, str) else ""


def _mentions(
    entries: Sequence[PlacedEntry], numbers: Mapping[str, int]
) -> Iterator[tuple[str, int, str, str]]:
    for number, placed in enumerate(entries):
        found = {
            (target, role): detail
            for target, role, detail in references(placed.entry.statement.predicate)
            if target in numbers and target != placed.entry.id
        }
        for (target, role), detail in found.items():
            yield target, number, role, detail


def references(predicate: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield (id, field, detail) for every other entry that a statement may name."""
    for role in _REFERENCE_FIELDS:
        value = predicate.get(role)
        for target in value if isinstance(value, list) else [value]:
            if isinstance(target, str):
                yield target, role, ""
    for role, field, shown in (("scores", "suite", "correct"), ("values", "contribution", "value")):
        listed = predicate.get(role)
        for item in listed if isinstance(listed, list) else ():
            if isinstance(item, dict) and isinstance(item.get(field), str):
                yield item[field], role, _detail(item, shown)


def _detail(item: Mapping[str, Any], field: str) -> str:
    value = item.get(field, "")
    if field == "correct":
        return f"{value} of {item.get('total', '?')}"
    return _text(value)
