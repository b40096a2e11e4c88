"""Watching one's own identity: what is under this node's keys and was not made by it.

It compares what is held of every log with the node's own logs, so it needs no secret and remembers
nothing. What it reports is signed by a key of this node: a copy of its seed is somewhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import open_checkpoint
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import EquivocationError, LogFrozenError, PnodeError, UnavailableError
from ledger.log import Log, find_log, logs
from ledger.succession import KeyHistory
from node.home import Home
from node.peering.sync import SyncReport
from node.reading import load_view

ENTRY: Final = "entry"
CHECKPOINT: Final = "checkpoint"
TAKEOVER: Final = "takeover"
EQUIVOCATION: Final = "equivocation"

_EXIT_CODES: Final = {EQUIVOCATION: 8, ENTRY: 3, CHECKPOINT: 3, TAKEOVER: 3}


@dataclass(frozen=True, slots=True)
class Alert:
    """Something under this node's keys that it did not make; `index` and `id` are an entry's."""

    what: str
    origin: str
    index: int | None
    id: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Watched:
    """What a watch found; `unread` are the peers that could not be asked, with the reason."""

    ok: bool
    alerts: list[Alert]
    unread: list[str]
    exit_code: int


@dataclass(frozen=True, slots=True)
class _OwnLogs:
    """The logs of this node's keys, each with how many entries of it are this node's own."""

    current: str
    held: dict[str, tuple[Log, int]]

    def made(self, origin: str, index: int, entry: Entry) -> bool:
        """Whether this node made an entry that stands at a place."""
        if origin in self.held and index < self.held[origin][1]:
            return True
        found = ((log.index_of(entry.leaf_hash), size) for log, size in self.held.values())
        return any(own is not None and own < size for own, size in found)


def watch(home: Home, reports: Sequence[SyncReport] = ()) -> Watched:
    """Look at everything held, and at what peers answered in a sync just before."""
    with home.reading() as database:
        keys = load_view(database).keys
        own = _own_logs(home, database, keys)
        alerts = [
            *_entries(home, database, keys, own),
            *_takeovers(home, keys),
            *_sightings(own),
            *_evidence(database, own),
            *_answers(reports, own),
        ]
    unique = list(dict.fromkeys(alerts))
    unread = [
        f"{report.peer}: {error.message}"
        for report in reports
        for error in report.errors
        if isinstance(error, UnavailableError)
    ]
    codes = [_EXIT_CODES[alert.what] for alert in unique]
    code = max(codes, default=UnavailableError.exit_code if unread else 0)
    return Watched(not unique and not unread, unique, unread, code)


def _own_logs(home: Home, database: Database, keys: KeyHistory) -> _OwnLogs:
    held = {}
    for author in keys.chain(home.author):
        origin = home.origin if author == home.author else keys.logs.get(author, "")
        log = find_log(database, origin)
        if log is None:
            continue
        size = log.size
        closed = keys.successions.get(origin)
        if closed is not None and origin != home.origin:
            # A rotation ends with the entry that names the successor.
            size = min(size, closed.size + (not closed.recovered))
        held[origin] = (log, size)
    return _OwnLogs(home.origin, held)


def _entries(home: Home, database: Database, keys: KeyHistory, own: _OwnLogs) -> Iterator[Alert]:
    authors = frozenset(keys.chain(home.author))
    for log in logs(database):
        for index, body in log.accepted():
            entry = Entry.stored(body)
            if entry.author in authors and not own.made(log.origin, index, entry):
                message = f"{entry.kind} signed by {entry.author}, which is not of this home's log"
                yield Alert(ENTRY, log.origin, index, entry.id, message)


def _takeovers(home: Home, keys: KeyHistory) -> Iterator[Alert]:
    closed = keys.successions.get(home.origin)
    if closed is not None:
        message = f"this home's log was closed at {closed.size}; {closed.successor} continues it"
        yield Alert(TAKEOVER, closed.successor, 0, closed.id, message)


def _sightings(own: _OwnLogs) -> Iterator[Alert]:
    """Yield the checkpoints of own logs that were seen elsewhere and are not backed here."""
    sql = "SELECT note FROM sighting WHERE log = ? ORDER BY size, root"
    for log, size in own.held.values():
        for (note,) in log.database.query(sql, (log.row_id,)):
            seen = open_checkpoint(note, log.key)
            if seen.size > log.size:
                message = f"a checkpoint of {seen.size} entries, of which {size} are this home's"
                yield Alert(CHECKPOINT, log.origin, None, None, message)
            elif log.root(seen.size) != seen.root:
                message = f"a checkpoint of another tree of {seen.size} entries"
                yield Alert(EQUIVOCATION, log.origin, None, None, message)


def _evidence(database: Database, own: _OwnLogs) -> Iterator[Alert]:
    for origin in own.held:
        rows = database.query("SELECT id, kind FROM evidence WHERE origin = ?", (origin,))
        for id_, kind in rows:
            message = f"evidence {id_} proves two histories ({kind})"
            yield Alert(EQUIVOCATION, origin, None, None, message)


def _answers(reports: Iterable[SyncReport], own: _OwnLogs) -> Iterator[Alert]:
    for report in reports:
        for log in report.logs:
            if log.origin in own.held and log.error is not None:
                what = _what(log.error)
                if what is not None:
                    yield Alert(what, log.origin, None, None, log.error.message)


def _what(error: PnodeError) -> str | None:
    if isinstance(error, EquivocationError):
        return EQUIVOCATION
    return CHECKPOINT if isinstance(error, LogFrozenError) else None
