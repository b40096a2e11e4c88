"""The signing lock: the last tree this node has signed, in a file of its own.

A node that signs a tree, loses it (a restored backup, a copied home, a lost write) and signs
another one of the same size has forked its own log, and nobody can repair that. So the last signed
size and root live outside the home, are created once at `init` and never implicitly, and move
forward by compare-and-swap before a signature is made (the pattern of Sunlight).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ledger.checkpoint import Checkpoint
from ledger.database import storage_errors
from ledger.errors import LogFrozenError
from ledger.merkle import EMPTY_ROOT


class SigningLock:
    """The lock of one log, in one SQLite file."""

    def __init__(self, path: Path, origin: str) -> None:
        self.path = path
        self.origin = origin

    def create(self) -> None:
        """Create the lock of an empty log in a folder that exists; keep one that is there."""
        with storage_errors(self.path):
            with self._connect("rwc") as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS signing_lock"
                    " (origin TEXT PRIMARY KEY, size INTEGER, root BLOB) STRICT"
                )
                connection.execute(
                    "INSERT OR IGNORE INTO signing_lock VALUES (?, 0, ?)",
                    (self.origin, EMPTY_ROOT),
                )
            connection.close()

    def of_cosigned(self, origin: str) -> SigningLock:
        """Return the lock of what this node cosigns of another log, in the same file.

        A witness that forgets what it cosigned, because its ledger was restored, can be brought to
        cosign two histories of a log; so what it cosigned is remembered where a backup is not.

        Raises:
            LogFrozenError: if the file is missing.
        """
        lock = SigningLock(self.path, origin)
        self.read()
        with storage_errors(self.path), lock._connect("rw") as connection:
            connection.execute(
                "INSERT OR IGNORE INTO signing_lock VALUES (?, 0, ?)", (origin, EMPTY_ROOT)
            )
        connection.close()
        return lock

    def read(self) -> Checkpoint:
        """Return the last tree that was cleared for signing.

        Raises:
            LogFrozenError: if the lock is missing.
        """
        if not self.path.is_file():
            raise LogFrozenError(f"the signing lock {self.path} of {self.origin} is missing")
        with storage_errors(self.path), self._connect("rw") as connection:
            sql = "SELECT size, root FROM signing_lock WHERE origin = ?"
            row = connection.execute(sql, (self.origin,)).fetchone()
        connection.close()
        if row is None:
            raise LogFrozenError(f"the signing lock {self.path} does not know {self.origin}")
        return Checkpoint(self.origin, row[0], row[1])

    def advance(self, old: Checkpoint, new: Checkpoint) -> None:
        """Move from `old` to `new` atomically and durably.

        Raises:
            LogFrozenError: if the lock is not at `old`: somebody else signed meanwhile.
        """
        with storage_errors(self.path), self._connect("rw") as connection:
            changed = connection.execute(
                "UPDATE signing_lock SET size = ?, root = ?"
                " WHERE origin = ? AND size = ? AND root = ? AND size < ?",
                (new.size, new.root, self.origin, old.size, old.root, new.size),
            ).rowcount
        connection.close()
        if changed != 1:
            raise LogFrozenError(f"the signing lock of {self.origin} moved under this process")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=5.0)
        # EXTRA also syncs the folder after the rollback journal is removed. With FULL, a power
        # failure can bring the journal back and with it a lock older than what was signed.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("PRAGMA fullfsync = ON")
        return connection
