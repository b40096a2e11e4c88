"""A node's files with a log of its own, and the check that ends every test that writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlite_utils  # noqa: F401 - imported lazily by the ledger; forked children then have it

from ledger.append import OwnLog
from ledger.checkpoint import Checkpoint, log_key, open_checkpoint
from ledger.database import Database
from ledger.entry import Entry
from ledger.keys import NodeKeys
from ledger.log import Log
from ledger.rules import check_log
from ledger.signinglock import SigningLock
from tests.faults import ptrace
from tests.ledger.makers import ALICE, evidence_of, note_entry, origin_of

__all__ = ["ptrace"]

ENTRIES = [note_entry(ALICE, number) for number in range(12)]
ORIGIN = origin_of(ALICE)
KEY = log_key(ORIGIN, ALICE.log.public)


@dataclass(frozen=True)
class Home:
    """The files of a node: a ledger and, elsewhere, its signing lock."""

    folder: Path
    keys: NodeKeys

    @classmethod
    def create(cls, folder: Path, keys: NodeKeys = ALICE) -> Home:
        """Make an empty home whose lock is in place."""
        home = cls(folder, keys)
        home.ledger.parent.mkdir(parents=True)
        home.lock.path.parent.mkdir()
        home.lock.create()
        Database.create(home.ledger).close()
        return home

    @property
    def ledger(self) -> Path:
        """The database file."""
        return self.folder / "home" / "ledger.db"

    @property
    def lock(self) -> SigningLock:
        """The signing lock, outside the home."""
        return SigningLock(self.folder / "lock" / "lock.db", origin_of(self.keys))

    def append(self, entries: Sequence[Entry]) -> list[int]:
        """Append entries with a connection of its own."""
        with Database.open(self.ledger) as database:
            return OwnLog(database, self.keys.log, self.lock).append(entries)

    def settle(self) -> Checkpoint | None:
        """Finish what an interrupted process began."""
        with Database.open(self.ledger) as database:
            return OwnLog(database, self.keys.log, self.lock).settle()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.create(tmp_path)


def check_everything(home: Home, expected: list[Entry]) -> None:
    """What every test that writes ends with: the log is exactly this, and flawless."""
    with Database.read_only(home.ledger) as database:
        log = Log(database, ORIGIN)
        assert list(log.bodies()) == [entry.body for entry in expected]
        # These logs start without a genesis, which is the business of `init`.
        findings = [f for f in check_log(evidence_of(log), []) if f.check != "log.genesis"]
        assert findings == []
        held = log.checkpoint()
        locked = home.lock.read()
        assert locked.size == len(expected)
        if expected:
            assert held is not None
            assert open_checkpoint(held[1], KEY) == locked
