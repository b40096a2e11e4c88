"""Coalition outcomes by digest, so that nothing is evaluated twice. Safe to delete.

The key of a coalition is the digest of everything that determines its outcomes, so a row is valid
for every lock that contains the same coalition under the same method, suites and software. Where a
method fits its state on all members once, the whole lock is part of the key.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.database import storage_errors
from node.durable import make_folder

if TYPE_CHECKING:
    from compose.lock import Lock

_TABLE = "CREATE TABLE IF NOT EXISTS coalition (key TEXT PRIMARY KEY, outcomes BLOB) STRICT"


class CoalitionCache:
    """Packed outcomes of coalitions in `cache/coalitions.db`; close it when done."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / "coalitions.db"
        with storage_errors(self._path):
            self._connection = sqlite3.connect(self._path, timeout=10.0, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLE)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, key: str) -> bytes | None:
        """Return a row if it is there."""
        sql = "SELECT outcomes FROM coalition WHERE key = ?"
        with storage_errors(self._path):
            row = self._connection.execute(sql, (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, key: str, outcomes: bytes) -> None:
        """Add a row."""
        with storage_errors(self._path):
            sql = "INSERT OR REPLACE INTO coalition VALUES (?, ?)"
            self._connection.execute(sql, (key, outcomes))


def coalition_key(lock: Lock, mask: int, *, fitted_once: bool) -> str:
    """Return the key of the coalition whose members are the set bits of `mask`."""
    if fitted_once:
        return hashlib.sha256(f"{lock.coalition_key()}/{mask:x}".encode()).hexdigest()
    members = [member.id for bit, member in enumerate(lock.members) if mask >> bit & 1]
    return lock.restrict(members).coalition_key()
