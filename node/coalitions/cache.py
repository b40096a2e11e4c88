"""Coalition outcomes by digest, so that nothing is evaluated twice. Safe to delete.

The key of a coalition is the digest of everything that determines its outcomes, so a row is valid
for every lock that contains the same coalition under the same method, suites and software. Where a
method fits its state on all members once, the whole lock is part of the key.

A row ends with a checksum over key and outcomes: SQLite does not notice a flipped bit, and what a
cache says is about to be signed. A damaged row counts as missing, a damaged file is begun anew.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.database import storage_errors
from ledger.errors import EvidenceError
from node.durable import make_folder

if TYPE_CHECKING:
    from compose.lock import Lock

_TABLE = "CREATE TABLE IF NOT EXISTS coalition (key TEXT PRIMARY KEY, outcomes BLOB) STRICT"
_CHECKSUM_SIZE = 16


class CoalitionCache:
    """Packed outcomes of coalitions in `cache/coalitions.db`; close it when done."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / "coalitions.db"
        try:
            self._connection = _open(self._path)
        except EvidenceError:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._connection = _open(self._path)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def get(self, key: str) -> bytes | None:
        """Return a row if it is there and undamaged."""
        sql = "SELECT outcomes FROM coalition WHERE key = ?"
        with storage_errors(self._path):
            row = self._connection.execute(sql, (key,)).fetchone()
        stored = b"" if row is None else bytes(row[0])
        outcomes = stored[:-_CHECKSUM_SIZE]
        return outcomes if outcomes and stored == _sealed(key, outcomes) else None

    def put(self, key: str, outcomes: bytes) -> None:
        """Add a row."""
        with storage_errors(self._path):
            sql = "INSERT OR REPLACE INTO coalition VALUES (?, ?)"
            self._connection.execute(sql, (key, _sealed(key, outcomes)))


def _open(path: Path) -> sqlite3.Connection:
    with storage_errors(path):
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_TABLE)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise EvidenceError(f"{path} is damaged: {verdict}")
        except BaseException:
            connection.close()
            raise
        return connection


def _sealed(key: str, outcomes: bytes) -> bytes:
    return outcomes + hashlib.sha256(key.encode() + outcomes).digest()[:_CHECKSUM_SIZE]


def coalition_key(lock: Lock, mask: int, *, fitted_once: bool) -> str:
    """Return the key of the coalition whose members are the set bits of `mask`."""
    if fitted_once:
        return hashlib.sha256(f"{lock.coalition_key()}/{mask:x}".encode()).hexdigest()
    members = [member.id for bit, member in enumerate(lock.members) if mask >> bit & 1]
    return lock.restrict(members).coalition_key()
