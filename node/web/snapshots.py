"""What the pages rest on: one view of the ledger, read again only when the ledger has grown.

Reading a ledger takes time in proportion to its size, so it is done once for each state of it, in
a thread of its own. A request waits for it a moment; then it is answered from the state before, or
told to come back if there is none yet. At most two states are in memory at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Final

from ledger.checkpoint import Checkpoint
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import MalformedError, UnavailableError
from ledger.frontier import Frontier
from ledger.heldevidence import MAX_PER_LOG
from ledger.log import Log
from ledger.policy import Policy
from ledger.view import LedgerView
from node.home import Home
from node.peering.policyfile import home_policy
from node.peering.states import witnessed_size
from node.peering.tree import log_folder, signed_logs
from node.reading import load_view
from node.web.pageindex import ListedLog, PageIndex

PATIENCE: Final = 5.0
_GROWING = ("log", "checkpoint", "cosignature", "evidence")

Mark = tuple[int, ...]
"""A state of the ledger: rows are only ever added, so their numbers tell two states apart."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the ledger, ready to be listed."""

    mark: Mark
    frontier: Frontier
    index: PageIndex


def take(database: Database, own: str, policy: Policy | None = None) -> Snapshot:
    """Read the whole ledger.

    Args:
        database: the ledger, open for reading one state of it.
        own: the origin of the node's own log.
        policy: which witnesses it takes to call an entry witnessed.
    """
    mark = read_mark(database)
    ledger = load_view(database)
    frozen = {origin for (origin,) in database.query("SELECT DISTINCT origin FROM evidence")}
    logs = [
        _listed(
            log,
            checkpoint,
            note,
            ledger,
            policy,
            own=log.origin == own,
            frozen=log.origin in frozen,
        )
        for log, checkpoint, note in signed_logs(database)
    ]
    return Snapshot(mark, ledger.frontier, PageIndex(ledger, logs))


class Snapshots:
    """Keeps the newest snapshot of a home; safe to share by threads.

    Args:
        home: the home.
        patience: how many seconds a request waits at most.
        read: reads a ledger; `take`, but for tests of slow ones.
    """

    def __init__(
        self,
        home: Home,
        patience: float = PATIENCE,
        read: Callable[[Database, str], Snapshot] | None = None,
    ) -> None:
        self.patience = patience
        self._home = home
        self._take = read or self._taken
        self._changed = Condition()
        self._held: Snapshot | None = None
        self._held_since = 0.0
        self._failed: Exception | None = None
        self._busy = False

    def _taken(self, database: Database, own: str) -> Snapshot:
        return take(database, own, _policy(self._home))

    def current(self) -> Snapshot:
        """Return the newest snapshot that can be had without waiting for long.

        Raises:
            UnavailableError: if the ledger is still being read for the first time.
            PnodeError: whatever kept it from being read.
        """
        arrived = time.monotonic()
        with self._home.reading() as database:
            mark = read_mark(database)
        with self._changed:
            self._failed = None
            while not self._is_fresh(mark, arrived):
                if self._failed is not None:
                    raise self._failed
                if not self._busy:
                    self._busy = True
                    Thread(target=self._read, name="pnode-pages", daemon=True).start()
                left = arrived + self.patience - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    break
            if self._held is None:
                raise UnavailableError(
                    "this node is still reading its ledger", hint="come back in a few seconds"
                )
            return self._held

    def _is_fresh(self, mark: Mark, arrived: float) -> bool:
        if self._held is None:
            return False
        return self._held.mark == mark or self._held_since >= arrived

    def _read(self) -> None:
        since = time.monotonic()
        try:
            with self._home.reading() as database:
                snapshot = self._take(database, self._home.origin)
        except Exception as error:  # noqa: BLE001 - handed to the requests that wait for it
            with self._changed:
                self._failed, self._busy = error, False
                self._changed.notify_all()
            return
        with self._changed:
            self._held, self._held_since, self._busy = snapshot, since, False
            self._changed.notify_all()


def read_mark(database: Database) -> Mark:
    """Return the mark of the state a database is in; takes a moment however large it is."""
    latest = ", ".join(f"(SELECT coalesce(max(rowid), 0) FROM {table})" for table in _GROWING)  # noqa: S608
    return tuple(int(value) for value in next(database.query(f"SELECT {latest}")))


def _policy(home: Home) -> Policy | None:
    """Return the policy of a home; one that cannot be read calls nothing witnessed."""
    try:
        return home_policy(home)
    except MalformedError:
        return None


def _listed(
    log: Log,
    checkpoint: Checkpoint,
    note: bytes,
    ledger: LedgerView,
    policy: Policy | None,
    *,
    own: bool,
    frozen: bool,
) -> ListedLog:
    dispute = ledger.disputes.logs.get(log.origin)
    author = ""
    for body in log.bodies(0, min(1, checkpoint.size)):
        author = Entry.stored(body).author
    return ListedLog(
        folder=log_folder(log.origin),
        origin=log.origin,
        name=ledger.names.get(author, ""),
        author=author,
        size=checkpoint.size,
        root=checkpoint.root,
        own=own,
        note=note,
        witnessed=witnessed_size(log, policy),
        frozen=frozen,
        disputed_from=None if dispute is None else dispute.common,
        evidence=() if dispute is None else dispute.evidence[:MAX_PER_LOG],
    )
