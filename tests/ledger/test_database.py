"""Evidence is never changed, and a damaged or foreign file is a typed error."""

from __future__ import annotations

import os
import sqlite3
from itertools import count as numbers
from pathlib import Path

import pytest

from ledger.append import OwnLog
from ledger.database import Database
from ledger.errors import (
    EvidenceError,
    HomeBusyError,
    MalformedError,
    NotFoundError,
    PnodeError,
    StorageError,
)
from ledger.log import Log, logs
from ledger.rules import check_log
from tests.faults import kill_at
from tests.ledger.homes import ENTRIES, ORIGIN, Home, check_everything, home, ptrace
from tests.ledger.makers import ALICE, evidence_of

__all__ = ["home", "ptrace"]


@pytest.mark.parametrize("table", ["log", "entry", "checkpoint"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {column} = {column}",
        "UPDATE OR REPLACE {table} SET {column} = {column}",
        "DELETE FROM {table}",
        "INSERT OR REPLACE INTO {table} SELECT * FROM {table}",
        "REPLACE INTO {table} SELECT * FROM {table}",
    ],
)
def test_evidence_is_never_changed(home: Home, table: str, statement: str) -> None:
    home.append(ENTRIES[:2])
    column = {"log": "key", "entry": "body", "checkpoint": "note"}[table]
    with Database.open(home.ledger) as database:
        before = list(database.query(f"SELECT * FROM {table}"))
        with pytest.raises(EvidenceError):
            list(database.query(statement.format(table=table, column=column)))
        assert list(database.query(f"SELECT * FROM {table}")) == before
    check_everything(home, ENTRIES[:2])


def test_a_second_writer_is_refused(home: Home) -> None:
    home.append(ENTRIES[:1])
    with Database.open(home.ledger) as first, Database.open(home.ledger) as second:
        list(second.query("PRAGMA busy_timeout = 20"))
        log = OwnLog(second, ALICE.log, home.lock)
        with first.transaction() as writer:
            writer.execute("CREATE TABLE scratch (a)")
            with pytest.raises(HomeBusyError):
                log.append(ENTRIES[1:2])
        assert log.append(ENTRIES[1:2]) == [1]
    check_everything(home, ENTRIES[:2])


def test_creating_a_home_can_be_repeated_after_a_crash(tmp_path: Path, ptrace: None) -> None:
    for n in numbers(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        path = folder / "ledger.db"
        ended = kill_at(n, lambda path=path: Database.create(path).close(), folder)  # type: ignore[misc]
        Database.create(path).close()
        with Database.open(path) as database:
            assert logs(database) == []
        if ended:
            break
    assert n > 5


def leave_a_wal(home: Home) -> None:
    """Append and end without closing, so that commits stay in ledger.db-wal."""
    child = os.fork()
    if child == 0:
        try:
            OwnLog(Database.open(home.ledger), ALICE.log, home.lock).append(ENTRIES[3:4])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert home.ledger.with_name("ledger.db-wal").stat().st_size > 0


def test_read_only_changes_not_a_byte(home: Home) -> None:
    home.append(ENTRIES[:3])
    for size in (3, 4):
        if size == 4:
            leave_a_wal(home)
        before = {path.name: path.read_bytes() for path in home.ledger.parent.iterdir()}
        with Database.read_only(home.ledger) as database:
            assert Log(database, ORIGIN).size == size
        assert {path.name: path.read_bytes() for path in home.ledger.parent.iterdir()} == before


def test_a_read_only_ledger_cannot_be_written(home: Home) -> None:
    home.append(ENTRIES[:3])
    with Database.read_only(home.ledger) as database, pytest.raises(StorageError):
        list(database.query("CREATE TABLE scratch (a)"))


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for opener in (Database.open, Database.read_only):
        with pytest.raises(NotFoundError):
            opener(path)
    path.write_bytes(b"SQLite? No." * 1000)
    for opener in (Database.open, Database.read_only, Database.create):
        with pytest.raises(EvidenceError):
            opener(path)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    for opener in (Database.open, Database.read_only):
        with pytest.raises(MalformedError, match="99"):
            opener(path)


def test_a_damaged_ledger_is_a_typed_error(home: Home) -> None:
    home.append(ENTRIES)
    data = bytearray(home.ledger.read_bytes())
    noticed = 0
    for start in range(4096, len(data), 4096):
        damaged = bytearray(data)
        damaged[start : start + 2048] = b"\xa5" * 2048
        home.ledger.write_bytes(damaged)
        try:
            with Database.read_only(home.ledger) as database:
                log = Log(database, ORIGIN)
                noticed += bool(list(check_log(evidence_of(log), [])))
        except PnodeError:
            noticed += 1
    assert noticed > 0
