"""The own log survives being killed anywhere, and it never forks."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from itertools import count as numbers
from pathlib import Path

import pytest

from ledger.append import OwnLog
from ledger.database import Database
from ledger.errors import (
    EvidenceError,
    LogFrozenError,
    MalformedError,
    StorageError,
)
from ledger.log import Log, store_rows
from tests.faults import fail_at, kill_at, trace
from tests.ledger.homes import ENTRIES, ORIGIN, Home, check_everything, home, ptrace
from tests.ledger.makers import ALICE

__all__ = ["home", "ptrace"]


def test_a_restored_backup_is_not_signed_over(home: Home) -> None:
    """The accident that forks logs: an old ledger.db comes back and the node goes on."""
    home.append(ENTRIES[:2])
    backup = home.ledger.read_bytes()
    home.append(ENTRIES[2:4])
    home.ledger.write_bytes(backup)
    with pytest.raises(LogFrozenError, match="4 were already signed"):
        home.append([ENTRIES[9]])
    with pytest.raises(LogFrozenError):
        home.settle()
    with Database.open(home.ledger) as database:
        held = Log(database, ORIGIN).checkpoint()
        assert held is not None
        assert held[0].size == 2


def test_a_copied_home_cannot_sign_another_tree(home: Home, tmp_path: Path) -> None:
    """Two folders, one lock: whoever signs second sees that the lock has moved."""
    home.append(ENTRIES[:1])
    shutil.copytree(home.ledger.parent, tmp_path / "copy" / "home")
    shutil.copytree(home.lock.path.parent, tmp_path / "copy" / "lock")
    copy = Home(tmp_path / "copy", ALICE)
    shutil.rmtree(copy.lock.path.parent)
    copy.lock.path.parent.symlink_to(home.lock.path.parent)
    home.append([ENTRIES[1]])
    with pytest.raises(LogFrozenError):
        copy.append([ENTRIES[2]])
    check_everything(home, ENTRIES[:2])


def test_the_same_number_of_other_entries_is_not_signed(home: Home, tmp_path: Path) -> None:
    home.append(ENTRIES[:2])
    other = Home.create(tmp_path / "other")
    other.append(ENTRIES[5:7])
    shutil.copyfile(other.ledger, home.ledger)
    with pytest.raises(LogFrozenError, match="not those that were signed"):
        home.append([ENTRIES[9]])


def test_a_longer_history_that_diverges_is_not_signed(home: Home, tmp_path: Path) -> None:
    home.append(ENTRIES[:2])
    other = Home.create(tmp_path / "other")
    with Database.open(other.ledger) as database:
        OwnLog(database, ALICE.log, other.lock).append(ENTRIES[5:9])
    shutil.copyfile(other.ledger, home.ledger)
    with pytest.raises(LogFrozenError):
        home.settle()


def flip_last_body_bit(path: Path) -> None:
    """Change a stored entry behind the back of the triggers, as a bad disk does."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER entry_no_UPDATE")
        (body,) = database.execute("SELECT body FROM entry ORDER BY idx DESC LIMIT 1").fetchone()
        changed = body[:-1] + bytes([body[-1] ^ 1])
        sql = "UPDATE entry SET body = ? WHERE idx = (SELECT max(idx) FROM entry)"
        database.execute(sql, (changed,))
    database.close()


def test_a_bit_that_flips_before_signing_is_not_signed(home: Home) -> None:
    """What ended the Yeti 2022 log: the tree was right, the entry on disk was not."""
    home.append(ENTRIES[:2])
    with Database.open(home.ledger) as database, database.transaction() as writer:
        store_rows(writer, Log(database, ORIGIN), [ENTRIES[2].body])
    flip_last_body_bit(home.ledger)
    with pytest.raises(EvidenceError, match="read back"):
        home.settle()
    assert home.lock.read().size == 2
    with Database.open(home.ledger) as database:
        held = Log(database, ORIGIN).checkpoint()
        assert held is not None
        assert held[0].size == 2


def test_a_row_that_no_peer_would_accept_is_not_signed(home: Home) -> None:
    """Signed once, it could never be taken back, and every reader would refuse the log."""
    home.append(ENTRIES[:2])
    with Database.open(home.ledger) as database, database.transaction() as writer:
        store_rows(writer, Log(database, ORIGIN), [b"no entry"])
    with pytest.raises(MalformedError, match="entry 2 of"):
        home.settle()
    assert home.lock.read().size == 2


def test_the_append_is_written_in_the_order_of_the_safety_argument(
    home: Home, ptrace: None
) -> None:
    """Entries durable, then the lock durable, and only then a checkpoint."""
    home.append(ENTRIES[:1])
    folders = [home.ledger.parent, home.lock.path.parent]
    calls = trace(lambda: home.append(ENTRIES[1:2]), folders)
    in_lock = [i for i, call in enumerate(calls) if call.split()[1].startswith("lock")]
    first, last = in_lock[0], in_lock[-1]
    assert calls[first - 1] == "fdatasync ledger.db-wal"
    assert not any("ledger" in call for call in calls[first : last + 1])
    assert any(call == "fdatasync ledger.db-wal" for call in calls[last + 1 :])


def rewind(home: Home, snapshot: Path) -> None:
    for folder in (home.ledger.parent, home.lock.path.parent):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(snapshot / folder.name, folder)


@pytest.fixture
def snapshot(home: Home, tmp_path: Path) -> Path:
    """A home with two entries, copied aside."""
    home.append(ENTRIES[:2])
    for folder in (home.ledger.parent, home.lock.path.parent):
        shutil.copytree(folder, tmp_path / "snapshot" / folder.name)
    return tmp_path / "snapshot"


def test_a_crash_at_any_step_of_an_append_is_recovered(
    home: Home, snapshot: Path, ptrace: None
) -> None:
    folders = [home.ledger.parent, home.lock.path.parent]
    stages = set()
    for n in numbers(1):
        rewind(home, snapshot)
        ended = kill_at(n, lambda: home.append(ENTRIES[2:4]), folders)
        with Database.read_only(home.ledger) as database:
            log = Log(database, ORIGIN)
            held = log.checkpoint()
            assert held is not None
            state = (log.size, home.lock.read().size, held[0].size)
        assert state in {(2, 2, 2), (4, 2, 2), (4, 4, 2), (4, 4, 4)}
        stages.add(state)
        settled = home.settle()
        assert settled is not None
        assert settled.size == state[0]
        # The process that comes next may have something else to say first.
        assert home.append([ENTRIES[7], *ENTRIES[2:4]])[0] == state[0]
        added = [ENTRIES[7], *ENTRIES[2:4]] if state[0] == 2 else [*ENTRIES[2:4], ENTRIES[7]]
        check_everything(home, [*ENTRIES[:2], *added])
        if ended:
            break
    assert stages == {(2, 2, 2), (4, 2, 2), (4, 4, 2), (4, 4, 4)}


@pytest.mark.parametrize("onwards", [False, True], ids=["once", "from-then-on"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_never_forks_or_loses_the_log(
    home: Home, snapshot: Path, ptrace: None, number: int, *, onwards: bool
) -> None:
    folders = [home.ledger.parent, home.lock.path.parent]
    total = len(trace(lambda: home.append(ENTRIES[2:4]), folders))
    for n in range(1, total + 1, 1 if onwards else 2):
        rewind(home, snapshot)
        outcome = fail_at(n, number, lambda: home.append(ENTRIES[2:4]), folders, onwards=onwards)
        if outcome.error is not None:
            name = outcome.error.partition(":")[0]
            assert name in {"StorageError", "HomeBusyError", "LogFrozenError"}, outcome
        home.append(ENTRIES[2:4])
        check_everything(home, ENTRIES[:4])


def test_a_full_disk_is_reported_as_such(home: Home, ptrace: None) -> None:
    home.append(ENTRIES[:1])
    folders = [home.ledger.parent, home.lock.path.parent]
    calls = trace(lambda: home.append(ENTRIES[1:2]), folders)
    first_write = calls.index("pwrite64 ledger.db-wal") + 1
    outcome = fail_at(
        first_write, errno.ENOSPC, lambda: home.append(ENTRIES[2:3]), folders, onwards=True
    )
    assert outcome.error is not None
    assert outcome.error.startswith(StorageError.__name__)
    assert home.append(ENTRIES[2:3]) == [2]
    check_everything(home, ENTRIES[:3])
