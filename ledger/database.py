"""The file `ledger.db`: logs, entries, tiles, checkpoints and what peers said of them, in SQLite.

    log          id, origin, key
    entry        log, idx, id, leaf_hash, body
    rejected     log, idx                       entries that are not valid (`ledger.rejected`)
    tile         log, level, idx, hashes        (the only rows that grow)
    checkpoint   log, size, root, note          signed, and backed by the entries held
    sighting     log, size, root, note          signed, seen, and not backed: ahead or contradicting
    cosignature  log, size, root, key, line     one line of one cosigner under one tree
    evidence     id, origin, kind, common, body files that prove an equivocation

Rows are evidence: triggers refuse UPDATE and DELETE on all but tiles. Writes go through
sqlite-utils inside `atomic()`, with a write-ahead log and `synchronous=FULL`, because a commit
that is lost after it was signed would fork the log. Reads use plain SQL so that read-only
commands start fast.

Trap: a WAL database is more than one file. Copying `ledger.db` without its `-wal` file loses the
last commits, and a plain read creates files beside it. So there are two ways to read: `live`, safe
beside a writer and cheap, and `read_only`, which works on a private copy and changes nothing.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ledger.errors import (
    EvidenceError,
    HomeBusyError,
    MalformedError,
    NotFoundError,
    PnodeError,
    StorageError,
)

if TYPE_CHECKING:
    import sqlite_utils

SCHEMA_VERSION = 3
WRITER_CACHE_KIB = 32 << 10
APPEND_ONLY = ("log", "entry", "rejected", "checkpoint", "sighting", "cosignature", "evidence")
_BUSY_MILLISECONDS = 5_000
_COPY_ATTEMPTS = 50
_COPY_PAUSE = 0.05

_TRIGGER = """
CREATE TRIGGER IF NOT EXISTS {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} rows are evidence and never change'); END
"""


class Database:
    """An open `ledger.db`. Use `create`, `open` or `read_only`; close it when done."""

    def __init__(
        self,
        path: Path,
        connection: sqlite3.Connection,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        self.path = path
        self._connection = connection
        self._temporary = temporary

    @classmethod
    def create(cls, path: Path) -> Database:
        """Open a database for writing, creating file and tables where they are missing."""
        with storage_errors(path):
            database = cls(path, _connect(str(path)))
            _create_schema(database.writer())
        return database

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open an existing database for writing.

        Raises:
            NotFoundError: if there is no such file.
            MalformedError: if it is not a pnode ledger of this version.
        """
        _require_file(path)
        with storage_errors(path):
            database = cls(path, _connect(f"{path.resolve().as_uri()}?mode=rw", uri=True))
            database._checked()
        return database

    @classmethod
    def live(cls, path: Path) -> Database:
        """Open an existing database for reading, consistently, while others may write to it.

        Leaves `-wal` and `-shm` files beside the ledger; where that is impossible, for example on
        read-only media, it reads a copy as `read_only` does.
        """
        _require_file(path)
        try:
            database = cls(path, _connect_live(path))
            database._checked()
        except sqlite3.Error:
            return cls.read_only(path)
        return database

    @classmethod
    def read_only(cls, path: Path) -> Database:
        """Open a private copy of an existing database; not a byte of its folder changes."""
        _require_file(path)
        with storage_errors(path):
            folder = tempfile.TemporaryDirectory(prefix="pnode-read-")
            connection = sqlite3.connect(_stable_copy(path, Path(folder.name)))
            connection.execute("PRAGMA query_only = ON")
            database = cls(path, connection, folder)
            database._checked()
        return database

    @property
    def private_copy(self) -> Path | None:
        """The file of a database opened `read_only`: it changes no more until it is closed."""
        return None if self._temporary is None else Path(self._temporary.name) / self.path.name

    def close(self) -> None:
        """Close the connection.

        The last connection that could write completes the file and removes the `-wal` file beside
        it; one of `live` leaves both as they are.
        """
        self._connection.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a SELECT."""
        with storage_errors(self.path):
            # Not `yield from`: it would close the cursor of a reader that is dropped later than
            # the database, which SQLite refuses.
            for row in self._connection.execute(sql, parameters):  # noqa: UP028
                yield row

    def writer(self) -> sqlite_utils.Database:
        """Return the same connection as sqlite-utils sees it, for writes inside `atomic()`."""
        import sqlite_utils

        return sqlite_utils.Database(self._connection)

    @contextmanager
    def transaction(self) -> Iterator[sqlite_utils.Database]:
        """Run a block as one durable transaction: all of it or nothing."""
        with storage_errors(self.path):
            writer = self.writer()
            with writer.atomic():
                yield writer

    def _checked(self) -> None:
        """Require the format this code reads; close the database if it has another."""
        try:
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        except sqlite3.Error:
            self.close()
            raise
        if version != SCHEMA_VERSION:
            self.close()
            raise MalformedError(
                f"{self.path}: ledger format {version}, this pnode reads {SCHEMA_VERSION}",
                hint="use the pnode version that wrote this home",
            )


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Translate what SQLite and the file system complain about into our errors."""
    try:
        yield
    except PnodeError:
        raise
    except sqlite3.IntegrityError as error:
        raise EvidenceError(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise HomeBusyError(f"{path} is in use by another process") from error
        raise StorageError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise EvidenceError(
            f"{path} is damaged: {error}", hint="restore the file from a peer or a backup"
        ) from error
    except OSError as error:
        raise StorageError(f"{error.filename or path}: {error.strerror}") from error


def _connect(target: str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(target, uri=uri, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
    connection.execute("PRAGMA trusted_schema = OFF")
    # Without it, INSERT OR REPLACE deletes rows and no DELETE trigger hears of it.
    connection.execute("PRAGMA recursive_triggers = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    # Entries are filed by digest, so every insert meets another page of an index.
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    return connection


def _connect_live(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MILLISECONDS}")
        connection.execute("PRAGMA trusted_schema = OFF")
        # One transaction for as long as the database is open: one state of it.
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _stable_copy(path: Path, folder: Path) -> Path:
    """Copy a database and its write-ahead log; again if a writer changed them meanwhile."""
    files = (path, path.with_name(path.name + "-wal"))
    for _ in range(_COPY_ATTEMPTS):
        before = [_state(file) for file in files]
        for file, state in zip(files, before, strict=True):
            (folder / file.name).unlink(missing_ok=True)
            if state is not None:
                shutil.copyfile(file, folder / file.name)
        if before == [_state(file) for file in files]:
            return folder / path.name
        time.sleep(_COPY_PAUSE)
    raise HomeBusyError(f"{path} is being written all the time")


def _state(file: Path) -> tuple[int, int] | None:
    try:
        info = file.stat()
    except FileNotFoundError:
        return None
    return info.st_size, info.st_mtime_ns


def _require_file(path: Path) -> None:
    if not path.is_file():
        hint = "check --home DIR; a lost ledger.db comes back from a backup or a peer only"
        raise NotFoundError(f"{path}: no ledger there", hint=hint)


def _create_schema(writer: sqlite_utils.Database) -> None:
    with writer.atomic():
        _create_tables(writer)
        for table in APPEND_ONLY:
            for verb in ("UPDATE", "DELETE"):
                writer.execute(_TRIGGER.format(table=table, verb=verb))
        writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _create_tables(writer: sqlite_utils.Database) -> None:
    writer.table("log").create(
        {"id": int, "origin": str, "key": str}, pk="id", if_not_exists=True, strict=True
    )
    writer.table("log").create_index(["origin"], unique=True, if_not_exists=True)
    writer.table("entry").create(
        {"log": int, "idx": int, "id": str, "leaf_hash": bytes, "body": bytes},
        pk=("log", "idx"),
        not_null={"id", "leaf_hash", "body"},
        if_not_exists=True,
        strict=True,
    )
    # Not unique: a log may repeat an entry, and its copy is the same byte for byte.
    writer.table("entry").create_index(["log", "leaf_hash", "idx"], if_not_exists=True)
    writer.table("entry").create_index(["id"], if_not_exists=True)
    writer.table("rejected").create(
        {"log": int, "idx": int}, pk=("log", "idx"), if_not_exists=True, strict=True
    )
    writer.table("tile").create(
        {"log": int, "level": int, "idx": int, "hashes": bytes},
        pk=("log", "level", "idx"),
        not_null={"hashes"},
        if_not_exists=True,
        strict=True,
    )
    writer.table("checkpoint").create(
        {"log": int, "size": int, "root": bytes, "note": bytes},
        pk=("log", "size"),
        not_null={"root", "note"},
        if_not_exists=True,
        strict=True,
    )
    _create_observations(writer)


def _create_observations(writer: sqlite_utils.Database) -> None:
    writer.table("sighting").create(
        {"log": int, "size": int, "root": bytes, "note": bytes},
        pk=("log", "size", "root"),
        not_null={"note"},
        if_not_exists=True,
        strict=True,
    )
    writer.table("cosignature").create(
        {"log": int, "size": int, "root": bytes, "key": str, "line": str},
        pk=("log", "size", "root", "key"),
        not_null={"line"},
        if_not_exists=True,
        strict=True,
    )
    writer.table("evidence").create(
        {"id": str, "origin": str, "kind": str, "common": int, "body": bytes},
        pk="id",
        not_null={"origin", "kind", "common", "body"},
        if_not_exists=True,
        strict=True,
    )
    writer.table("evidence").create_index(["origin"], if_not_exists=True)
