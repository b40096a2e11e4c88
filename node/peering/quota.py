"""How much of one log is taken per day, whichever peer brings it.

A log is spam for whoever follows it only because somebody it trusts does; a quota keeps it from
filling the disk meanwhile. Days are those of UTC. An offer that is larger than what is left of the
day is refused before it is read; nothing of it is kept, and the next day it is taken. Of the
blocks that its entries name, those that came before the limit are kept.

How many logs are held is limited too, because others look at no more of the list they get here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ledger.errors import IncompleteError
from node.clock import Clock
from node.peering.budget import SyncLimits
from node.peering.peerstate import PeerState, Usage


class QuotaError(IncompleteError):
    """A log that brought as much as it may on one day."""

    code = "quota"
    default_hint = "sync again then, or raise the limit in peers.toml"


class Quota:
    """The daily counters of all logs of a home."""

    def __init__(self, state: PeerState, limits: SyncLimits, now: Clock) -> None:
        self._state = state
        self._limits = limits
        self._now = now

    @contextmanager
    def admitting(self, origin: str, entries: int) -> Iterator[SyncLimits]:
        """Read new entries of a log within what is left of its day, given as limits.

        Raises:
            QuotaError: if the entries, or their bytes, are more than is left.
        """
        day = self._now()[:10]
        used = self._state.usage(origin, day)
        left = self._limits.entries_per_day - used.entries
        if entries > left:
            what = f"{entries} new entries, {max(left, 0)} of {self._limits.entries_per_day}"
            raise _exceeded(origin, f"{what} a day are left (limit entries_per_day)", day)
        left = max(self._limits.bytes_per_day - used.bytes, 0)
        try:
            yield replace(self._limits, log_bytes=min(self._limits.log_bytes, left))
        except IncompleteError:
            if left >= self._limits.log_bytes:
                raise
            what = f"more than the {left} of {self._limits.bytes_per_day} bytes"
            text = f"{what} a day that are left (limit bytes_per_day)"
            raise _exceeded(origin, text, day) from None

    def check_room(self, origin: str, held: int) -> None:
        """Require that one more log may be added to so many.

        Raises:
            IncompleteError: if as many logs are held as the limits allow.
        """
        if held >= self._limits.logs:
            raise IncompleteError(
                f"{origin}: not added, {held} logs are held of {self._limits.logs} (limit logs)",
                hint="to hold more logs, raise 'logs' in [limits] of peers.toml",
            )

    def used(self, origin: str, entries: int, size: int) -> None:
        """Count what was stored of a log."""
        self._state.used(origin, self._now()[:10], Usage(entries, size))

    @contextmanager
    def admitting_blocks(self, origin: str) -> Iterator[Callable[[int], None]]:
        """Give what is told the size of every new block before it is stored for a log.

        It raises:
            QuotaError: if the bytes are more than is left of the day.
        """
        day = self._now()[:10]
        most = self._limits.block_bytes_per_day
        left = most - self._state.usage(origin, day).blocks
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if taken + size > left:
                what = f"more than the {max(left, 0)} of {most} bytes of blocks"
                text = f"{what} a day that are left (limit block_bytes_per_day)"
                raise _exceeded(origin, text, day)
            taken += size

        try:
            yield take
        finally:
            self._state.used(origin, day, Usage(blocks=taken))


def _exceeded(origin: str, what: str, day: str) -> QuotaError:
    today = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    free = (today + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return QuotaError(f"{origin}: {what}; free again at {free}")
