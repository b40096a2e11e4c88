"""Bringing a home up to date from one peer: logs first, then the blocks their entries name.

The peer is asked for its frontier once; a log is contacted only if its note is new. Every log is
verified and stored in one transaction of its own (`node.peering.mirroring`), so a sync that is
interrupted keeps what was finished and the next one continues. One bad log does not stop the
others. What the peer offered and what could not be taken over is remembered in `peers.db`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ledger.cid import Cid
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    PnodeError,
    UnavailableError,
)
from ledger.heldevidence import frozen_origins
from ledger.log import find_log
from node.clock import Clock as WallClock
from node.clock import utc_now
from node.home import Home
from node.peering.blockpull import BlockPull, Progress, pull_blocks, silent
from node.peering.budget import Clock, MeteredSource, SyncLimits
from node.peering.cursor import cursor_of
from node.peering.equivocation import learn_again, notice, publish_evidence
from node.peering.gossip import give_evidence, take_evidence
from node.peering.mirroring import NEW, OWN, REFUSED, UNCHANGED, LogReport, take_log
from node.peering.offers import read_offers
from node.peering.peers import read_settings
from node.peering.peerstate import PeerState
from node.peering.pushing import Pushed, push_own_log
from node.peering.quota import Quota
from node.peering.source import Poster, Source
from node.peering.witnessing import request_cosignature

COMPLETE: Final = "complete"
ENTRIES_ONLY: Final = "entries only"

_GRAVEST_FIRST = (
    EquivocationError,
    LogFrozenError,
    EvidenceError,
    IncompleteError,
    UnavailableError,
    PnodeError,
)


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
    pushed: Pushed = field(default_factory=Pushed)

    @property
    def added(self) -> int:
        """The entries added to all logs."""
        return sum(log.added for log in self.logs)

    @property
    def rejected(self) -> int:
        """How many of the entries added are not valid."""
        return sum(log.rejected for log in self.logs)

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
    push: bool = True,
    repair: bool = False,
    progress: Progress = silent,
    clock: Clock = time.monotonic,
    now: WallClock = utc_now,
) -> SyncReport:
    """Take over everything new a peer offers, verified, and report on every log.

    Errors of single logs and blocks are in the report (`raise_gravest`), not raised here.

    Args:
        home: the home to bring up to date.
        source: the peer.
        limits: what to accept of it at most; by default what peers.toml says.
        push: bring it what it lacks of this home's own log, and ask it for a cosignature.
        repair: hash every block held again, and fetch those that are damaged or gone.
        progress: told how far each step is.
        clock: seconds that only grow, for the caps on time.
        now: the time of day, for what is remembered of the peer.

    Raises:
        UnavailableError: if the peer cannot be read at all.
        MalformedError: if one of its lists is not in the accepted form.
        StorageError: if this home cannot be written.
    """
    limits = limits or read_settings(home).limits
    metered = MeteredSource(source, limits, clock)
    with PeerState.opened(home.path) as state:
        try:
            quota = Quota(state, limits, now)
            poster = source if push and isinstance(source, Poster) else None
            report = _sync(home, metered, state, quota, limits, progress, poster, repair=repair)
        except PnodeError as error:
            state.tried(source.address, now(), error.message)
            raise
        state.tried(source.address, now(), report.gravest.message if report.gravest else "")
        return report


def _sync(
    home: Home,
    source: Source,
    state: PeerState,
    quota: Quota,
    limits: SyncLimits,
    progress: Progress,
    poster: Poster | None,
    *,
    repair: bool,
) -> SyncReport:
    followed = {home.origin, *(key.name for key in read_settings(home).log_keys())}
    with home.reading() as database:
        offers = read_offers(source, database, state, limits, followed)
        frozen = frozen_origins(database)
    reports: list[LogReport] = []
    # The own log, then those followed: room for new logs is theirs first.
    ranked = sorted(offers.logs, key=lambda log: log.origin not in followed)
    for log in sorted(ranked, key=lambda log: log.origin != home.origin):
        progress("logs", len(reports), len(offers.logs))
        reports.append(take_log(home, source, log, quota))
        # A peer that does not answer would fail in the same way for every other log.
        if isinstance(reports[-1].error, UnavailableError):
            break
    else:
        _remember(home, source.address, state, reports, offers.tag)
    errors: list[PnodeError] = [report.error for report in reports if report.error is not None]
    if offers.surplus:
        errors.append(_left_out(source.address, offers.surplus, limits))
    told = {log.origin for log in reports if isinstance(log.error, EquivocationError)}
    if any(log.state == NEW for log in reports):
        learn_again(home)
    listed = take_evidence(home, source, errors) if offers.changed else None
    publish_evidence(home, source)
    if listed is not None and poster is not None:
        give_evidence(home, poster, listed)
    errors += notice(home, frozen, told)
    reports += _unchanged(home, source.address, state, reports)
    pull, pushed = BlockPull(source, home.store, limits, trust_pins=not repair), Pushed()
    if not any(isinstance(error, UnavailableError) for error in errors):
        origins = [report.origin for report in reports if report.state != REFUSED]
        pull_blocks(home, state, origins, pull, quota, progress)
        if poster is not None:
            pushed = _push(home, poster, state, reports, errors, progress)
    blocks = pull.report
    return SyncReport(
        source.address,
        tuple(sorted(reports, key=lambda report: report.origin)),
        blocks.stored,
        tuple(dict.fromkeys(blocks.missing)),
        tuple(blocks.refused),
        (*errors, *blocks.errors, *([pushed.error] if pushed.error else [])),
        pushed,
    )


def _left_out(address: str, surplus: int, limits: SyncLimits) -> IncompleteError:
    return IncompleteError(
        f"{address}: {surplus} logs beyond the {limits.logs} looked at were left out (limit logs)",
        hint="follow the logs you want with 'pnode peer add VKEY', or raise 'logs' in peers.toml",
    )


def _push(
    home: Home,
    peer: Poster,
    state: PeerState,
    reports: Sequence[LogReport],
    errors: Sequence[PnodeError],
    progress: Progress,
) -> Pushed:
    """Push the own log and ask for its cosignature: never into a quarrel about that very log."""
    if any(isinstance(error, EquivocationError | LogFrozenError) for error in errors):
        return Pushed()
    pushed = push_own_log(home, peer, state, progress)
    # What it holds of our log is most likely what it has cosigned of it.
    held = (report.offered for report in reports if report.state == OWN)
    if not isinstance(pushed.error, UnavailableError):
        request_cosignature(home, peer, old_size=next(held, 0))
    return pushed


def _remember(
    home: Home, address: str, state: PeerState, reports: Sequence[LogReport], tag: str
) -> None:
    """Keep what was offered, so that the next sync asks only for what is new since."""
    state.offered(
        address,
        # What the log itself did wrong stays wrong; anything else may come right.
        [(log.origin, log.offered, log.error is not None) for log in reports],
    )
    if tag:
        with home.reading() as database:
            state.taken_over(address, tag, cursor_of(database))


def _unchanged(
    home: Home, address: str, state: PeerState, reports: Sequence[LogReport]
) -> list[LogReport]:
    """Report the logs a peer was seen to hold before and did not name again."""
    named = {report.origin for report in reports}
    rest = []
    with home.reading() as database:
        for origin, offered in state.offers(address).items():
            log = None if origin in named else find_log(database, origin)
            if log is not None:
                word = OWN if origin == home.origin else UNCHANGED
                rest.append(LogReport(origin, 0, log.size, word, offered))
    return rest
