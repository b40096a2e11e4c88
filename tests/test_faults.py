"""The storage fault injector breaks what it says it breaks, and nothing else."""

# The functions of os are named like the system calls that are meant.
# ruff: noqa: PTH102, PTH104, PTH108
from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import threading
from itertools import count as numbers
from pathlib import Path

import pytest

from tests.faults import count, fail_at, kill_at, ptrace, trace

__all__ = ["ptrace"]
pytestmark = pytest.mark.usefixtures("ptrace")

OLD, NEW = b"old contents", b"new contents, longer"


def replace(target: Path) -> None:
    """Replace a file as one should: write aside, sync, rename, sync the directory."""
    aside = target.with_name(target.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, NEW)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(aside, target)
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "state" / "file"
    path.parent.mkdir()
    path.write_bytes(OLD)
    return path


def test_calls_are_seen_in_order(target: Path) -> None:
    assert trace(lambda: replace(target), target.parent) == (
        "openat file.new",
        "write file.new",
        "fsync file.new",
        "rename file.new",
        "fsync state",
    )


def test_calls_elsewhere_are_not_counted(target: Path, tmp_path: Path) -> None:
    other = tmp_path / "state-of-another"
    other.mkdir()
    assert count(lambda: replace(target), other) == 0


def test_several_directories_can_be_watched(target: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()

    def both() -> None:
        replace(target)
        (second / "note").write_bytes(b"x")

    assert count(both, [target.parent, second]) == count(both, tmp_path) == 7


def test_relative_paths_and_directory_descriptors_are_resolved(target: Path) -> None:
    def relative() -> None:
        os.chdir(target.parent)
        os.mkdir("inner")
        directory = os.open("inner", os.O_RDONLY)
        os.mkdir("deeper", dir_fd=directory)
        os.unlink("file")

    assert trace(relative, target.parent) == ("mkdir inner", "mkdirat deeper", "unlink file")


def test_the_killed_call_has_no_effect(target: Path) -> None:
    states = []
    for n in numbers(1):
        target.write_bytes(OLD)
        if kill_at(n, lambda: replace(target), target.parent):
            break
        states.append((target.read_bytes(), (target.with_name("file.new")).exists()))
        target.with_name("file.new").unlink(missing_ok=True)
    assert states == [(OLD, False), (OLD, True), (OLD, True), (OLD, True), (NEW, False)]
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_call_raises_in_the_action(target: Path, number: int) -> None:
    for n in range(1, 6):
        target.write_bytes(OLD)
        outcome = fail_at(n, number, lambda: replace(target), target.parent)
        assert outcome.exit_status == 1
        assert outcome.error is not None
        assert os.strerror(number) in outcome.error
        assert len(outcome.calls) == n
        assert target.read_bytes() == (NEW if n == 5 else OLD)


def test_a_failed_call_is_not_executed(target: Path) -> None:
    def write_twice() -> None:
        with target.open("ab", buffering=0) as file:
            try:
                file.write(b"first")
            except OSError:
                file.write(b"second")

    outcome = fail_at(2, errno.ENOSPC, write_twice, target.parent)
    assert outcome.exit_status == 0
    assert target.read_bytes() == OLD + b"second"


def test_a_full_disk_stays_full(target: Path) -> None:
    def stubborn() -> None:
        for _ in range(5):
            try:
                target.write_bytes(NEW)
            except OSError:
                continue
            return
        raise RuntimeError("gave up")

    outcome = fail_at(1, errno.ENOSPC, stubborn, target.parent, onwards=True)
    assert outcome.error == "RuntimeError: gave up"
    assert target.read_bytes() == OLD


def test_an_action_that_never_gets_there_ends_by_itself(target: Path) -> None:
    assert kill_at(6, lambda: replace(target), target.parent)
    assert fail_at(6, errno.EIO, lambda: replace(target), target.parent).exit_status == 0


def test_an_action_that_fails_on_its_own_is_not_taken_for_a_fault(tmp_path: Path) -> None:
    def broken() -> None:
        raise ValueError("wrong from the start")

    with pytest.raises(AssertionError, match="wrong from the start"):
        count(broken, tmp_path)
    with pytest.raises(AssertionError, match="wrong from the start"):
        kill_at(1, broken, tmp_path)


def test_threads_and_processes_of_the_action_are_followed(target: Path) -> None:
    def with_help() -> None:
        thread = threading.Thread(target=target.write_bytes, args=(NEW,))
        thread.start()
        thread.join()
        program = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(b'from a process')"
        subprocess.run([sys.executable, "-I", "-c", program, str(target)], check=True)

    assert trace(with_help, target.parent) == ("openat file", "write file") * 2


def test_a_killed_sqlite_transaction_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    def prepare() -> None:
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        with sqlite3.connect(path, isolation_level=None) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("CREATE TABLE balance(name TEXT PRIMARY KEY, amount INTEGER)")
            database.execute("INSERT INTO balance VALUES ('a', 10), ('b', 0)")
        database.close()

    def transfer() -> None:
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE balance SET amount = amount - 7 WHERE name = 'a'")
        database.execute("UPDATE balance SET amount = amount + 7 WHERE name = 'b'")
        database.execute("COMMIT")
        database.close()

    seen = set()
    for n in numbers(1):
        prepare()
        ended = kill_at(n, transfer, tmp_path)
        database = sqlite3.connect(path)
        rows = dict(database.execute("SELECT name, amount FROM balance").fetchall())
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        assert rows in ({"a": 10, "b": 0}, {"a": 3, "b": 7})
        seen.add(rows["a"])
        if ended:
            assert rows["a"] == 3
            break
    assert seen == {10, 3}
    assert n > 4
