"""How far a reader has seen a ledger grow: the cursor of `/frontier?since=`.

A cursor is opaque to whoever gets it. It names the last checkpoint and the last cosignature
stored, and a digest of those two rows: rows are never deleted, so everything stored later has a
larger row number. A ledger that does not know a cursor, because it was restored from a backup or
is another one, sees that by the digest and answers with everything.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ledger.database import Database

_FORM: Final = re.compile(r"(0|[1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})-[0-9a-f]{16}", re.ASCII)
_LAST_CHECKPOINT = "SELECT coalesce(max(rowid), 0) FROM checkpoint"
_LAST_COSIGNATURE = "SELECT coalesce(max(rowid), 0) FROM cosignature"
_CHECKPOINT = "SELECT note FROM checkpoint WHERE rowid = ?"
_COSIGNATURE = "SELECT size, root, key, line FROM cosignature WHERE rowid = ?"
_CHANGED = (
    "SELECT origin FROM log WHERE id IN (SELECT log FROM checkpoint WHERE rowid > ?"
    " UNION SELECT log FROM cosignature WHERE rowid > ?)"
)
_NEWEST_FIRST = (
    "SELECT origin FROM log JOIN checkpoint ON checkpoint.log = log.id"
    " GROUP BY log.id ORDER BY max(checkpoint.rowid) DESC"
)


def cursor_of(database: Database) -> str:
    """Return the cursor of a ledger as it is now."""
    (checkpoint,) = next(database.query(_LAST_CHECKPOINT))
    (cosignature,) = next(database.query(_LAST_COSIGNATURE))
    return _cursor(database, checkpoint, cosignature)


def knows(database: Database, cursor: str) -> bool:
    """Say whether a cursor was given out by this ledger, or by one this is a continuation of."""
    place = _place(cursor)
    return place is not None and _cursor(database, *place) == cursor


def changed_since(database: Database, cursor: str) -> list[str]:
    """Return the origins with a checkpoint or cosignature newer than a cursor, newest first.

    A cursor this ledger does not know gives all of them.
    """
    ordered = [origin for (origin,) in database.query(_NEWEST_FIRST)]
    place = _place(cursor)
    if place is None or not knows(database, cursor):
        return ordered
    changed = {origin for (origin,) in database.query(_CHANGED, place)}
    return [origin for origin in ordered if origin in changed]


def _place(cursor: str) -> tuple[int, int] | None:
    match = _FORM.fullmatch(cursor)
    return (int(match[1]), int(match[2])) if match else None


def _cursor(database: Database, checkpoint: int, cosignature: int) -> str:
    rows = [
        next(database.query(_CHECKPOINT, (checkpoint,)), None),
        next(database.query(_COSIGNATURE, (cosignature,)), None),
    ]
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
    return f"{checkpoint}-{cosignature}-{digest}"
