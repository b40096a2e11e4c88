"""Derived tables: the ledger's view written out for quick listing, in `derived.db`.

Nothing here is evidence. The file can be deleted at any time; `rebuild` writes identical content
again, because it is a pure function of the view, and replaces the old tables in one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ledger.database import storage_errors
from ledger.encoding import canonical_json
from ledger.entry import Entry
from ledger.view import LedgerView

# Part of the key the tables are filed under: raise it when their columns or meaning change.
_SCHEMA = 2
_COLUMNS = (
    "id",
    "kind",
    "author",
    "contributor",
    "name",
    "title",
    "cid",
    "license",
    "status",
    "origin",
    "idx",
)


def rebuild(path: Path, ledger: LedgerView) -> None:
    """Write the tables of a view, replacing whatever was there."""
    import sqlite_utils

    with storage_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        database = sqlite_utils.Database(connection)
        with database.atomic():
            database.table("record").drop(ignore=True)
            database.table("frontier").drop(ignore=True)
            types = dict.fromkeys(_COLUMNS, str) | {"idx": int}
            database.table("record").create(types, pk="id", strict=True)
            database.table("record").insert_all(
                dict(zip(_COLUMNS, row, strict=True)) for row in _rows(ledger)
            )
            database.table("frontier").insert(
                {"key": _key(ledger.frontier.digest), "text": ledger.frontier.text}, strict=True
            )


def discard(path: Path) -> None:
    """Remove the tables, for example because they are damaged."""
    with storage_errors(path):
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def content(path: Path) -> bytes:
    """Return everything the tables say, in canonical form."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT * FROM record ORDER BY id").fetchall()
        frontier = connection.execute("SELECT * FROM frontier").fetchall()
    finally:
        connection.close()
    tables = {"record": rows, "frontier": frontier}
    return canonical_json({name: [list(row) for row in table] for name, table in tables.items()})


def listing(path: Path, frontier_digest: str) -> list[dict[str, str | int]] | None:
    """Return the records if the tables are those of this frontier and schema, else None."""
    if not path.is_file():
        return None
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            (key,) = connection.execute("SELECT key FROM frontier").fetchone()
            if key != _key(frontier_digest):
                return None
            rows = connection.execute("SELECT * FROM record ORDER BY origin, idx")
            return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
        finally:
            connection.close()
    except (sqlite3.Error, TypeError, ValueError):
        return None  # damaged or half-copied: it is only derived, so compute the view instead


def records(ledger: LedgerView) -> list[dict[str, str | int]]:
    """Return what the tables would hold, in listing order."""
    rows = sorted(_rows(ledger), key=lambda row: (str(row[-2]), int(row[-1])))
    return [dict(zip(_COLUMNS, row, strict=True)) for row in rows]


def _name(ledger: LedgerView, entry: Entry) -> str:
    """Return the name of a contributor; a genesis keeps the one it gave, so that old names lead."""
    given = entry.statement.predicate.get("name") if entry.kind == "genesis" else None
    return str(given or ledger.names.get(entry.author, ""))


def _key(frontier_digest: str) -> str:
    return f"{_SCHEMA} {frontier_digest}"


def _rows(ledger: LedgerView) -> Iterator[tuple[str | int, ...]]:
    for id_, placed in ledger.entries.items():
        entry = placed.entry
        offered = ledger.contributions.get(id_)
        predicate = entry.statement.predicate
        kind = offered.type if offered else entry.kind
        yield (
            id_,
            kind,
            entry.author,
            ledger.identity(entry.author),
            _name(ledger, entry),
            str(predicate.get("title", "")),
            str(predicate.get("cid", "")),
            str(predicate.get("license", "")),
            offered.status if offered else "",
            placed.origin,
            placed.index,
        )
