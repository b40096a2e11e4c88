"""What a sync is willing to take from one peer, and the meter that enforces it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ledger.errors import IncompleteError, UnavailableError
from node.peering.published import MAX_DAG_BLOCKS
from node.peering.source import Answer, Source, Streamer
from node.peering.streaming import Stream

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class SyncLimits:
    """Hard caps per peer and sync; a cap that is reached ends the work, and nothing is undone.

    Args:
        logs: how many logs are looked at of those a peer lists, and held in all.
        entries: new entries of one log.
        log_bytes: bytes of new entries of one log (they are held in memory until verified).
        total_bytes: bytes read from the peer in all; exceeded by at most one resource.
        blocks: blocks of one artifact, held or new; each has at most 2 MiB.
        seconds: wall time for the peer, looked at before every read.
        entries_per_day: new entries of one log on a day, from any peer (`node.peering.quota`).
        bytes_per_day: their bytes.
        block_bytes_per_day: bytes of new blocks of what one log names, on a day, from any peer.
    """

    logs: int = 1_024
    entries: int = 1_000_000
    log_bytes: int = 512 << 20
    total_bytes: int = 16 << 30
    blocks: int = MAX_DAG_BLOCKS
    seconds: float = 3_600.0
    entries_per_day: int = 2_000_000
    bytes_per_day: int = 2 << 30
    block_bytes_per_day: int = 32 << 30


class MeteredStream:
    """The body of an answer whose bytes are counted."""

    def __init__(self, stream: Stream, count: Callable[[int], None]) -> None:
        self.content_type = stream.content_type
        self._stream = stream
        self._count = count

    def read(self, size: int, /) -> bytes:
        """Read, unless a cap is reached."""
        data = self._stream.read(size)
        self._count(len(data))
        return data


class MeteredSource:
    """A source that refuses to read on when a cap is reached."""

    def __init__(self, source: Source, limits: SyncLimits, clock: Clock) -> None:
        self.address = source.address
        self.bytes_read = 0
        self._source = source
        self._limits = limits
        self._clock = clock
        self._end = clock() + limits.seconds

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Read from the source within the caps of the whole sync.

        Raises:
            UnavailableError: if the time for this peer is over.
            IncompleteError: if the peer has sent as much as it may.
        """
        self._check()
        data = self._source.read(path, max_bytes=max_bytes)
        self.bytes_read += len(data)
        return data

    @contextmanager
    def stream(self, path: str, accept: str) -> Iterator[Stream]:
        """Hand over a long answer within the same caps.

        Raises:
            UnavailableError: if the source has none, too.
        """
        if not isinstance(self._source, Streamer):
            raise UnavailableError(f"{self.address} has no long answers")
        self._check()
        with self._source.stream(path, accept) as stream:
            yield MeteredStream(stream, self._count)

    def _count(self, size: int) -> None:
        self.bytes_read += size
        self._check()

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Poll the source within the same caps."""
        self._check()
        answer = self._source.poll(path, max_bytes=max_bytes, since=since)
        self.bytes_read += len(answer.body or b"")
        return answer

    def _check(self) -> None:
        if self._clock() >= self._end:
            raise UnavailableError(
                f"{self.address}: not done after {self._limits.seconds:g} s",
                hint="sync again: what was verified is kept, the rest follows",
            )
        if self.bytes_read >= self._limits.total_bytes:
            raise IncompleteError(
                f"{self.address}: {self.bytes_read} bytes were read, no more are accepted at once",
                hint="sync again: what was verified is kept, the rest follows",
            )
