"""The signing lock moves forward, by itself never appears, and is durable in time."""

from __future__ import annotations

import pytest

from ledger.checkpoint import Checkpoint
from ledger.errors import (
    LogFrozenError,
    PnodeError,
)
from ledger.merkle import leaf_hash
from ledger.signinglock import SigningLock
from tests.faults import trace
from tests.ledger.homes import ENTRIES, ORIGIN, Home, home, ptrace
from tests.ledger.makers import BOB, origin_of

__all__ = ["home", "ptrace"]


def test_a_missing_lock_is_never_made_up(home: Home) -> None:
    home.append(ENTRIES[:1])
    home.lock.path.unlink()
    with pytest.raises(LogFrozenError, match="missing"):
        home.append(ENTRIES[1:2])
    assert not home.lock.path.exists()
    home.lock.create()
    with pytest.raises(LogFrozenError, match="older"):
        home.append(ENTRIES[1:2])


def test_a_restored_lock_is_noticed(home: Home) -> None:
    home.append(ENTRIES[:1])
    old = home.lock.path.read_bytes()
    home.append(ENTRIES[1:2])
    home.lock.path.write_bytes(old)
    with pytest.raises(LogFrozenError):
        home.append(ENTRIES[2:3])


def test_a_lock_of_another_log_is_refused(home: Home) -> None:
    with pytest.raises(LogFrozenError, match="does not know"):
        SigningLock(home.lock.path, origin_of(BOB)).read()


def test_the_lock_moves_only_forward_and_only_from_where_it_is(home: Home) -> None:
    one = Checkpoint(ORIGIN, 1, leaf_hash(b"1"))
    two = Checkpoint(ORIGIN, 2, leaf_hash(b"2"))
    start = home.lock.read()
    home.lock.advance(start, one)
    for old, new in ((start, two), (two, one), (one, start), (one, one),
                     (Checkpoint(ORIGIN, 1, leaf_hash(b"x")), two)):  # fmt: skip
        with pytest.raises(LogFrozenError):
            home.lock.advance(old, new)
        assert home.lock.read() == one
    home.lock.create()
    assert home.lock.read() == one
    home.lock.advance(one, two)
    assert home.lock.read() == two


def test_a_damaged_lock_is_a_typed_error(home: Home) -> None:
    home.lock.path.write_bytes(b"not a database" * 100)
    with pytest.raises(PnodeError):
        home.append(ENTRIES[:1])


def test_the_lock_is_durable_before_the_checkpoint_is_written(home: Home, ptrace: None) -> None:
    """A rollback journal whose removal is not synced comes back with a power failure.

    The lock would then be older than what was signed (SQLite: synchronous=EXTRA).
    """
    home.append(ENTRIES[:1])
    folders = [home.ledger.parent, home.lock.path.parent]
    calls = trace(lambda: home.append(ENTRIES[1:2]), folders)
    if "unlink lock.db-journal" in calls:
        assert calls[calls.index("unlink lock.db-journal") + 1] in ("fdatasync lock", "fsync lock")
    else:
        assert "fdatasync lock.db-wal" in calls
