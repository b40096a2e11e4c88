"""What a home remembers of its exchange with peers: `peers.db`, plain SQLite, safe to delete.

    peer      address, cursor, mark, contact, success, error
    offer     address, origin, size, pending      what each peer was last seen to hold
    usage     origin, day, entries, bytes, blocks what was taken of each log on a UTC day
    wanted    origin, root                        CIDs that entries name and blocks are missing of
    pushing   address                             a push that was begun and not finished
    scanned   origin, size                        up to where entries were searched for such CIDs

Nothing here is evidence and nothing is believed: it only saves work and counts quotas. A file that
is lost, damaged or of another version is begun anew, and the next sync asks for everything again.

The cursor of a peer is used only while this ledger still holds what it had taken when it was
given the cursor (`mark`, its own cursor then). Otherwise a ledger restored from a backup would
never hear again of what it lost.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.cid import Cid
from ledger.database import storage_errors

PEERS_DATABASE: Final = "peers.db"
_VERSION: Final = 3
_MAX_ERROR: Final = 500
_SCHEMA: Final = f"""
CREATE TABLE peer (address TEXT PRIMARY KEY, cursor TEXT NOT NULL, mark TEXT NOT NULL,
    contact TEXT NOT NULL, success TEXT NOT NULL, error TEXT NOT NULL) STRICT;
CREATE TABLE offer (address TEXT, origin TEXT, size INTEGER NOT NULL, pending INTEGER NOT NULL,
    PRIMARY KEY (address, origin)) STRICT;
CREATE TABLE usage (origin TEXT, day TEXT, entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
    blocks INTEGER NOT NULL, PRIMARY KEY (origin, day)) STRICT;
CREATE TABLE wanted (origin TEXT, root TEXT, PRIMARY KEY (origin, root)) STRICT;
CREATE TABLE pushing (address TEXT PRIMARY KEY) STRICT;
CREATE TABLE scanned (origin TEXT PRIMARY KEY, size INTEGER NOT NULL) STRICT;
PRAGMA user_version = {_VERSION};
"""


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """What is known of one peer; times are empty until there was one.

    Args:
        address: the peer.
        cursor: the tag of its frontier when it was last taken over.
        mark: the cursor of this ledger at that time.
        contact: when the peer was last tried.
        success: when a sync with it last ended without an error.
        error: the gravest error of the last sync, empty after a success.
    """

    address: str
    cursor: str = ""
    mark: str = ""
    contact: str = ""
    success: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was taken of one log on one day: entries, their bytes, and those of its blocks."""

    entries: int = 0
    bytes: int = 0
    blocks: int = 0


class PeerState:
    """An open `peers.db`; use `opened`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    @contextmanager
    def opened(cls, home: Path) -> Iterator[PeerState]:
        """Open the file of a home for writing, creating it where it is missing or unusable."""
        path = home / PEERS_DATABASE
        with storage_errors(path), closing(_open(path)) as connection:
            yield cls(connection, path)

    def peer(self, address: str) -> PeerRecord:
        """Return what is known of a peer."""
        sql = "SELECT * FROM peer WHERE address = ?"
        for row in self._query(sql, address):
            return PeerRecord(*row)
        return PeerRecord(address)

    def tried(self, address: str, now: str, error: str) -> None:
        """Remember that a peer was contacted, and how it ended; an empty error is a success."""
        known = self.peer(address)
        success = known.success if error else now
        self._change(
            "INSERT OR REPLACE INTO peer VALUES (?, ?, ?, ?, ?, ?)",
            [(address, known.cursor, known.mark, now, success, error[:_MAX_ERROR])],
        )

    def taken_over(self, address: str, cursor: str, mark: str) -> None:
        """Remember the tag of a frontier that was taken over, all but the pending logs."""
        sql = (
            "INSERT INTO peer VALUES (?, ?, ?, '', '', '') ON CONFLICT (address)"
            " DO UPDATE SET cursor = excluded.cursor, mark = excluded.mark"
        )
        self._change(sql, [(address, cursor, mark)])

    def forget(self, address: str) -> None:
        """Forget a peer; what was taken from it counts on."""
        self._change("DELETE FROM peer WHERE address = ?", [(address,)])
        self._change("DELETE FROM offer WHERE address = ?", [(address,)])

    def offers(self, address: str) -> dict[str, int]:
        """Return how many entries a peer was last seen to hold, by origin."""
        sql = "SELECT origin, size FROM offer WHERE address = ? ORDER BY origin"
        return dict(self._query(sql, address))

    def pending(self, address: str) -> list[str]:
        """Return the origins whose last offer could not be taken over."""
        sql = "SELECT origin FROM offer WHERE address = ? AND pending ORDER BY origin"
        return [origin for (origin,) in self._query(sql, address)]

    def offered(self, address: str, offers: Iterable[tuple[str, int, bool]]) -> None:
        """Remember offers: origin, size, and whether it still has to be taken over."""
        self._change(
            "INSERT OR REPLACE INTO offer VALUES (?, ?, ?, ?)",
            [(address, origin, size, int(pending)) for origin, size, pending in offers],
        )

    def push_unfinished(self, address: str) -> bool:
        """Whether a push to a peer was begun and not finished."""
        sql = "SELECT count(*) FROM pushing WHERE address = ?"
        return any(count for (count,) in self._query(sql, address))

    def push_begun(self, address: str) -> None:
        """Note that a push to a peer was begun."""
        self._change("INSERT OR IGNORE INTO pushing VALUES (?)", [(address,)])

    def push_finished(self, address: str) -> None:
        """Note that a peer has everything, or takes nothing."""
        self._change("DELETE FROM pushing WHERE address = ?", [(address,)])

    def usage(self, origin: str, day: str) -> Usage:
        """Return what was taken of a log on a day."""
        sql = "SELECT entries, bytes, blocks FROM usage WHERE origin = ? AND day = ?"
        for row in self._query(sql, origin, day):
            return Usage(*row)
        return Usage()

    def used(self, origin: str, day: str, usage: Usage) -> None:
        """Count what was taken of a log; counts of earlier days are dropped."""
        self._change("DELETE FROM usage WHERE origin = ? AND day < ?", [(origin, day)])
        sql = (
            "INSERT INTO usage VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin, day) DO UPDATE SET"
            " entries = entries + excluded.entries, bytes = bytes + excluded.bytes,"
            " blocks = blocks + excluded.blocks"
        )
        self._change(sql, [(origin, day, usage.entries, usage.bytes, usage.blocks)])

    def wanted(self, origin: str) -> list[Cid]:
        """Return the roots that entries of a log name and blocks are missing of, sorted."""
        sql = "SELECT root FROM wanted WHERE origin = ? ORDER BY root"
        return [Cid.parse(root) for (root,) in self._query(sql, origin)]

    def want(self, origin: str, size: int, roots: Iterable[Cid]) -> None:
        """Note the roots that the entries of a log up to a size name."""
        # The place last: a crash in between searches some entries twice, never none.
        rows = [(origin, str(root)) for root in roots]
        self._change("INSERT OR IGNORE INTO wanted VALUES (?, ?)", rows)
        self._change("INSERT OR REPLACE INTO scanned VALUES (?, ?)", [(origin, size)])

    def complete(self, roots: Iterable[Cid]) -> None:
        """Note that nothing is missing of some roots any more."""
        self._change("DELETE FROM wanted WHERE root = ?", [(str(root),) for root in roots])

    def scanned(self, origin: str) -> int:
        """Return up to where the entries of a log were searched for roots."""
        for (size,) in self._query("SELECT size FROM scanned WHERE origin = ?", origin):
            return int(size)
        return 0

    def _query(self, sql: str, *parameters: object) -> Iterator[tuple[Any, ...]]:
        with storage_errors(self._path):
            yield from self._connection.execute(sql, parameters)

    def _change(self, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
        with storage_errors(self._path), self._connection:
            self._connection.executemany(sql, rows)


def read_records(home: Path) -> dict[str, PeerRecord]:
    """Return what is known of every peer, without writing; an unusable file knows nothing."""
    path = home / PEERS_DATABASE
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as found:
            rows = found.execute("SELECT * FROM peer").fetchall()
            return {row[0]: PeerRecord(*row) for row in rows}
    except (sqlite3.Error, TypeError):
        return {}


def _open(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise  # the disk or a lock, not the content
    _discard(path)
    return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5.0)
    try:
        # Losing the last of it costs work, never evidence.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != _VERSION:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
            if names:
                raise sqlite3.DatabaseError(f"version {version}")
            connection.executescript(_SCHEMA)
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
