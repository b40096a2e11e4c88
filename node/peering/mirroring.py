"""Taking over what a peer offers of one log, and saying what came of it.

The note is verified and compared with what is held before anything else is read of the log
(`node.peering.pull`). The network is read without the writer lock, which is held only while a
verified log is stored, in one transaction. The peer's copy of this home's own log is never taken;
if it holds what this home does not, the home was restored or copied, and signing on would fork the
log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.database import Database
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.heldevidence import frozen
from ledger.log import Log, count_signed, find_log
from ledger.mirror import extend
from node.home import Home
from node.peering.equivocation import learn, react
from node.peering.guard import check_own_offer
from node.peering.offers import OfferedLog
from node.peering.pull import Offer, is_new, open_offer, read_entries, read_offer
from node.peering.quota import Quota
from node.peering.resume import forget, resuming
from node.peering.source import Source
from node.peering.witnessing import cosign_mirror, keep_lines, take_over

NEW: Final = "new"
EXTENDED: Final = "extended"
UNCHANGED: Final = "unchanged"
FROZEN: Final = "frozen"
OWN: Final = "own"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True)
class LogReport:
    """What came of one log.

    Args:
        origin: the log.
        added: entries added now.
        size: entries now held.
        state: `new`, `extended`, `unchanged`, `frozen`, `own` or `refused`.
        offered: how many entries the peer holds, as far as that is verified.
        error: why it was refused.
        rejected: how many of the entries added are not valid, and so count for nothing.
    """

    origin: str
    added: int
    size: int
    state: str
    offered: int = 0
    error: PnodeError | None = None
    rejected: int = 0


def take_log(home: Home, source: Source, offered: OfferedLog, quota: Quota) -> LogReport:
    """Take over what is new of one log; what is wrong with it is in the report."""
    try:
        key = offered.key()
        offer = open_offer(key, offered.note) if offered.note else read_offer(source, key)
        if key.name == home.origin:
            return _check_own(home, source, offer)
        return _extend_mirror(home, source, offer, quota)
    except EquivocationError as error:
        react(home, error, source)
        return LogReport(offered.origin, 0, held_size(home, offered.origin), REFUSED, error=error)
    except (
        EvidenceError,
        LogFrozenError,
        NotFoundError,
        UnavailableError,
        IncompleteError,
    ) as error:
        return LogReport(offered.origin, 0, held_size(home, offered.origin), REFUSED, error=error)


def _check_own(home: Home, source: Source, offer: Offer) -> LogReport:
    """Require that a peer's copy of the home's own log is a prefix of what is here.

    Raises:
        LogFrozenError: if the peer holds more.
        EquivocationError: if it holds another tree, signed by this home's key.
    """
    size = check_own_offer(home, source.address, offer, source)
    take_over(home, offer)
    return LogReport(home.origin, 0, size, OWN, offer.checkpoint.size)


def _extend_mirror(home: Home, source: Source, offer: Offer, quota: Quota) -> LogReport:
    origin, offered = offer.key.name, offer.checkpoint.size
    with home.reading() as database:
        held = find_log(database, origin)
        size = held.size if held else 0
        if size and frozen(database, origin):
            return LogReport(origin, 0, size, FROZEN, offered)
        new = is_new(offer, held)
        if new:
            _check_room(database, origin, held, quota)
            with quota.admitting(origin, offered - size) as limits:
                bodies = resuming(
                    home, source, origin, lambda each: read_entries(each, offer, held, limits)
                )
    if not new:
        take_over(home, offer)
        return LogReport(origin, 0, size, UNCHANGED, offered)
    # Before the entries are kept: what is stored of them now would not be looked at again.
    learn(home, bodies.accepted)
    with home.locked() as database:
        held = find_log(database, origin)
        if (held.size if held else 0) != size:
            # Another sync of this home was faster; the next one compares again.
            return LogReport(origin, 0, held.size if held else 0, UNCHANGED, offered)
        _check_room(database, origin, held, quota)
        log = extend(database, offer.key, offer.note, bodies)
        cosign_mirror(home, database, log)
        keep_lines(home, database, log, offer)
    forget(home, origin)
    quota.used(origin, len(bodies), sum(map(len, bodies)))
    state, rejected = EXTENDED if size else NEW, len(bodies.rejected)
    return LogReport(origin, len(bodies), offered, state, offered, rejected=rejected)


def _check_room(database: Database, origin: str, held: Log | None, quota: Quota) -> None:
    if held is None or held.checkpoint() is None:
        quota.check_room(origin, count_signed(database))


def held_size(home: Home, origin: str) -> int:
    """Return how many entries of a log are here."""
    with home.reading() as database:
        log = find_log(database, origin)
        return log.size if log else 0
