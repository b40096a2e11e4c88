"""Reading a home while another process may be writing to it.

`Home.reading` opens the ledger as if nobody ever wrote, which is right for a copy on read-only
media and wrong beside a writer: pages change under the reader. Here SQLite's own locks are used,
and one transaction gives a consistent view for as long as it is open. The price is a `-shm` and
a `-wal` file beside the ledger, so where the folder cannot be written `Home.reading` remains.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from ledger.database import SCHEMA_VERSION, Database
from node.home import Home

_BUSY_SECONDS = 5.0


@contextmanager
def live_reading(home: Home) -> Iterator[Database]:
    """Open the ledger of a home as it is now, for reading only.

    Raises:
        NotFoundError: if there is no ledger.
        StorageError: if it cannot be read.
    """
    connection = _connect(home)
    if connection is None:
        with home.reading() as database:
            yield database
        return
    with Database(home.ledger_path, connection) as database:
        yield database


def _connect(home: Home) -> sqlite3.Connection | None:
    """Return a connection inside a read transaction, or None if only a plain file can be read."""
    if not home.ledger_path.is_file():
        return None
    uri = f"{home.ledger_path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("BEGIN")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute("SELECT count(*) FROM log").fetchone()
    except sqlite3.Error:
        version = None
    if version != SCHEMA_VERSION:
        # Let the plain reader say what is wrong with the file, if anything is.
        connection.close()
        return None
    return connection
