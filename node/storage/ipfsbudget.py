"""How long a call to an IPFS daemon may take, and how many bytes its answer may have.

The HTTP client below counts its timeouts per receive, so a daemon that sends a byte now and then
would hold a call for ever. Everything that is received is therefore read through a `Budget`:
headers, the framing of chunks and the texts of errors too.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ledger.errors import MalformedError, UnavailableError

if TYPE_CHECKING:
    import socket

    from _typeshed import WriteableBuffer

_FRAMING_BYTES = 64 << 10
"""For the headers and the framing of an answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a daemon may take, in seconds.

    Args:
        connect: to connect, and to take the next MiB of an upload.
        silence: between two pieces of an answer.
        call: for a whole call, repeats included.
        search: for one block that the daemon has to look for at its peers.
        whole_dag: to pin a DAG; for an import, besides the time that its bytes are given.
        bytes_per_second: an upload that is slower than that on the whole is given up.
        waits: before each repeat of a call that was broken off.
    """

    connect: float = 10.0
    silence: float = 30.0
    call: float = 60.0
    search: float = 20.0
    whole_dag: float = 300.0
    bytes_per_second: int = 100_000
    waits: tuple[float, ...] = (0.25, 1.0)


class Budget:
    """What is left of the time and the bytes of one call; `what` names it in errors.

    Args:
        what: the daemon and what was asked of it.
        seconds: for the call in all, repeats included.
        silence: in seconds, between two pieces of an answer.
        max_bytes: of the body of an answer.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        what: str,
        *,
        seconds: float,
        silence: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = what
        self._seconds = seconds
        self._silence = silence
        self._max_bytes = max_bytes
        self._clock = clock
        self._end = clock() + seconds
        self._received = 0

    @property
    def left(self) -> float:
        """The seconds left; negative when there are none."""
        return self._end - self._clock()

    def begin(self) -> None:
        """Count the bytes of a new answer from zero."""
        self._received = 0

    def extend(self, seconds: float) -> None:
        """Give the call more time."""
        self._seconds += seconds
        self._end += seconds

    def wait(self) -> float:
        """Return how long the next piece may take.

        Raises:
            UnavailableError: if no time is left.
        """
        left = self.left
        if left <= 0:
            raise self.late()
        return min(left, self._silence)

    def late(self) -> UnavailableError:
        """Return the error of a call whose answer does not come."""
        if self.left > 0:
            return UnavailableError(f"{self.what}: not a byte came in {self._silence:g} s")
        return UnavailableError(f"{self.what}: no complete answer in {self._seconds:g} s")

    def received(self, count: int) -> None:
        """Take note of bytes of the answer.

        Raises:
            MalformedError: if there are too many.
        """
        self._received += count
        if self._received > self._max_bytes + _FRAMING_BYTES:
            raise MalformedError(f"{self.what}: more than the {self._max_bytes} bytes it may have")


class BudgetedReader(io.RawIOBase):
    """Reads an answer from a socket within a budget.

    Args:
        raw: the socket's own reader, which is closed with this one.
        sock: whose timeout is set before each read.
        budget: of the call.
    """

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, budget: Budget) -> None:
        super().__init__()
        self._raw = raw
        self._sock = sock
        self._budget = budget

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int | None:
        """Read what is there, or wait for it.

        Raises:
            UnavailableError: if it takes too long.
            MalformedError: if it is too much.
        """
        self._sock.settimeout(self._budget.wait())
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError:
            raise self._budget.late() from None
        self._budget.received(count or 0)
        return count

    def close(self) -> None:
        """Close the socket's reader too."""
        self._raw.close()
        super().close()
