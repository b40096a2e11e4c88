"""Bringing a home up to date from one peer: logs first, then the blocks their entries name.

Every log the peer lists is verified (`node.pull`) and stored in one transaction of its own, so a
sync that is interrupted keeps what was finished and the next one continues. One bad log does not
stop the others. The peer's copy of this home's own log is never taken; if it holds what this home
does not, the home was restored or copied, and signing on would fork the log.

The network is read without the writer lock, which is held only while a verified log is stored.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.cid import Cid
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.log import Log, find_log
from ledger.mirror import extend
from ledger.note import NoteKey
from node.blockpull import BlockPull, BlockReport, Progress, silent
from node.budget import Clock, MeteredSource, SyncLimits
from node.home import Home
from node.loglist import MAX_LIST_BYTES, ListedLog, parse_logs
from node.published import log_roots
from node.pull import is_new, read_entries, read_offer
from node.source import Source

COMPLETE: Final = "complete"
ENTRIES_ONLY: Final = "entries only"
REFUSED: Final = "refused"

NEW: Final = "new"
EXTENDED: Final = "extended"
UNCHANGED: Final = "unchanged"
OWN: Final = "own"

_GRAVEST_FIRST = (
    EquivocationError,
    LogFrozenError,
    EvidenceError,
    IncompleteError,
    UnavailableError,
    PnodeError,
)


@dataclass(frozen=True, slots=True)
class LogReport:
    """What came of one log: entries added, entries now held, and `error` if it was refused."""

    origin: str
    added: int
    size: int
    state: str
    error: PnodeError | None = None


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What came of a sync with one peer.

    `size` counts the entries now held of the logs the peer lists, `blocks` those stored now.
    `state` is `complete`, `entries only` (blocks are missing) or `refused` (see `errors`).
    """

    peer: str
    logs: tuple[LogReport, ...]
    blocks: int
    missing: tuple[Cid, ...]
    refused: tuple[str, ...]
    errors: tuple[PnodeError, ...]

    @property
    def added(self) -> int:
        """The entries added to all logs."""
        return sum(log.added for log in self.logs)

    @property
    def size(self) -> int:
        """The entries now held of all logs the peer lists."""
        return sum(log.size for log in self.logs)

    @property
    def state(self) -> str:
        """One word for a table."""
        if self.errors:
            return REFUSED
        return ENTRIES_ONLY if self.missing or self.refused else COMPLETE

    @property
    def gravest(self) -> PnodeError | None:
        """The gravest error: equivocation, then a frozen log, then bad evidence, then the rest."""
        for kind in _GRAVEST_FIRST:
            for error in self.errors:
                if isinstance(error, kind):
                    return error
        return None

    def raise_gravest(self) -> None:
        """Raise the gravest error, if there was one; call it after showing the report."""
        error = self.gravest
        if error is not None:
            raise error


def sync(
    home: Home,
    source: Source,
    *,
    limits: SyncLimits | None = None,
    progress: Progress = silent,
    clock: Clock = time.monotonic,
) -> SyncReport:
    """Take over everything new a peer offers, verified, and report on every log.

    Errors of single logs and blocks are in the report (`raise_gravest`), not raised here.

    Raises:
        UnavailableError: if the peer cannot be read at all.
        MalformedError: if its list of logs is not one.
        StorageError: if this home cannot be written.
    """
    limits = limits or SyncLimits()
    metered = MeteredSource(source, limits, clock)
    listed = _listed_logs(metered, limits)
    reports: list[LogReport] = []
    for log in listed:
        progress("logs", len(reports), len(listed))
        reports.append(_sync_log(home, metered, log, limits))
        # A peer that does not answer would fail in the same way for every other log.
        if isinstance(reports[-1].error, UnavailableError):
            break
    errors = [report.error for report in reports if report.error is not None]
    blocks = BlockReport()
    if not any(isinstance(error, UnavailableError) for error in errors):
        blocks = _sync_blocks(home, metered, reports, limits, progress)
    return SyncReport(
        metered.address,
        tuple(reports),
        blocks.stored,
        tuple(dict.fromkeys(blocks.missing)),
        tuple(blocks.refused),
        (*errors, *blocks.errors),
    )


def _listed_logs(source: Source, limits: SyncLimits) -> Sequence[ListedLog]:
    try:
        data = source.read("/logs", max_bytes=MAX_LIST_BYTES)
    except NotFoundError:
        raise UnavailableError(
            f"{source.address} has no list of logs; it is not a pnode peer or export",
            hint="give the address that 'pnode serve' prints, or a directory it was exported to",
        ) from None
    return parse_logs(data, max_logs=limits.logs)


def _sync_log(home: Home, source: Source, listed: ListedLog, limits: SyncLimits) -> LogReport:
    try:
        key = listed.key()
        if key.name == home.origin:
            return _check_own(home, source, key)
        return _extend_mirror(home, source, key, limits)
    except (
        EvidenceError,
        EquivocationError,
        LogFrozenError,
        NotFoundError,
        UnavailableError,
        IncompleteError,
    ) as error:
        return LogReport(listed.origin, 0, _held_size(home, listed.origin), REFUSED, error)


def _check_own(home: Home, source: Source, key: NoteKey) -> LogReport:
    """Require that a peer's copy of the home's own log is a prefix of what is here.

    Raises:
        LogFrozenError: if the peer holds more.
        EquivocationError: if it holds another tree, signed by this home's key.
    """
    offer = read_offer(source, key)
    hint = "do not publish from this home; see docs/how-to/restore.md"
    with home.reading() as database:
        log = Log(database, home.origin)
        try:
            larger = is_new(offer, log)
        except EquivocationError as error:
            text = f"{source.address}: this home's own {error.message}"
            raise EquivocationError(text, hint=hint) from None
        if larger:
            raise LogFrozenError(
                f"{source.address} holds {offer.checkpoint.size} entries of this home's own log, "
                f"here are only {log.size}: this home was restored or copied",
                hint=hint,
            )
        return LogReport(key.name, 0, log.size, OWN)


def _extend_mirror(home: Home, source: Source, key: NoteKey, limits: SyncLimits) -> LogReport:
    offer = read_offer(source, key)
    with home.reading() as database:
        held = find_log(database, key.name)
        size = held.size if held else 0
        if not is_new(offer, held):
            return LogReport(key.name, 0, size, UNCHANGED)
        bodies = read_entries(source, offer, held, limits)
    with home.locked() as database:
        held = find_log(database, key.name)
        if (held.size if held else 0) != size:
            # Another sync of this home was faster; the next one compares again.
            return LogReport(key.name, 0, held.size if held else 0, UNCHANGED)
        extend(database, key, offer.note, bodies)
    return LogReport(key.name, len(bodies), offer.checkpoint.size, EXTENDED if size else NEW)


def _sync_blocks(
    home: Home, source: Source, reports: Sequence[LogReport], limits: SyncLimits, progress: Progress
) -> BlockReport:
    """Complete what all entries held of these logs name, not only the new ones: so it resumes."""
    with home.reading() as database:
        roots: dict[Cid, None] = {}
        for report in reports:
            log = find_log(database, report.origin)
            if log is not None and report.state not in (OWN, REFUSED):
                roots.update(dict.fromkeys(log_roots(log, 0, report.size)))
    pull = BlockPull(source, home.store, limits)
    pull.pull(list(roots), progress)
    return pull.report


def _held_size(home: Home, origin: str) -> int:
    with home.reading() as database:
        log = find_log(database, origin)
        return log.size if log else 0
