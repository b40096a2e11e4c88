"""Asking peers for the own log before something is appended to it.

A home that was restored or copied would sign a second history without noticing; whoever holds a
longer one can tell. So every command that appends asks the peers of the home first, side by side
and for two seconds in all: a peer that does not answer in time keeps nobody from publishing. Who
has answered is not asked again for five minutes, who has not for one.

That is remembered beside the signing lock and never in the home, because a restored or copied home
would bring the memory along and not ask.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from ledger.errors import EquivocationError, LogFrozenError, PnodeError, UnavailableError
from node.durable import make_folder, write_atomic
from node.home import Home
from node.peering.guard import Asked, ask_peer, own_key
from node.peering.peers import list_peers

ALL_SECONDS: Final = 2.0
MOST_AT_ONCE: Final = 16
"""How many peers are asked before one append; the next append asks the others."""
_ANSWERED_SECONDS: Final = 300.0
_SILENT_SECONDS: Final = 60.0
_MAX_BYTES: Final = 4 << 20


def ask_before_append(
    home: Home,
    *,
    offline: bool,
    seconds: float = ALL_SECONDS,
    clock: Callable[[], float] = time.time,
) -> list[Asked]:
    """Ask the peers that were not asked lately, and say what came of it.

    Args:
        home: the home; its writer lock must be free.
        offline: ask only directories.
        seconds: how long to wait for all of them.
        clock: POSIX time, for what is remembered.

    Raises:
        LogFrozenError: if a peer holds more of the own log; that is then on record.
        EquivocationError: if a peer holds another history of it, likewise.
    """
    peers = list_peers(home)
    memory = _Memory.of(home)
    now = clock()
    rested = memory.read(now) if peers else {}
    due = [address for address in peers if address not in rested][:MOST_AT_ONCE]
    if not due:
        return []
    asked = _ask(home, due, offline=offline, seconds=seconds)
    for each in asked:
        if isinstance(each.error, LogFrozenError | EquivocationError):
            raise each.error
    until = {
        each.peer: now + (_ANSWERED_SECONDS if each.error is None else _SILENT_SECONDS)
        for each in asked
    }
    memory.write(rested | until)
    return asked


def _ask(home: Home, peers: Iterable[str], *, offline: bool, seconds: float) -> list[Asked]:
    key = own_key(home)
    answers: SimpleQueue[Asked] = SimpleQueue()

    def ask(address: str) -> None:
        answers.put(ask_peer(home, address, key, offline=offline, seconds=seconds))

    silent = dict.fromkeys(peers)
    for address in silent:
        # A look-up of a name cannot be ended; whoever is stuck in one is left behind.
        Thread(target=ask, args=(address,), name="pnode-ask", daemon=True).start()
    end = time.monotonic() + seconds
    asked: list[Asked] = []
    while silent:
        try:
            asked.append(answers.get(timeout=max(0.0, end - time.monotonic())))
        except Empty:
            break
        del silent[asked[-1].peer]
    late = UnavailableError(f"no answer in {seconds:g} s")
    return asked + [Asked(address, error=late) for address in silent]


class _Memory:
    """Until when each peer need not be asked again; a file that cannot be used knows nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def of(cls, home: Home) -> _Memory:
        name = hashlib.sha256(home.origin.encode("utf-8")).hexdigest()
        return cls(home.state / "asked" / f"{name}.json")

    def read(self, now: float) -> dict[str, float]:
        try:
            with self._path.open("rb") as stream:
                found = json.loads(stream.read(_MAX_BYTES))
            until = {str(peer): float(time) for peer, time in found.items()}
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return {}
        # What lies further ahead was written under another clock.
        return {peer: end for peer, end in until.items() if now < end <= now + _ANSWERED_SECONDS}

    def write(self, until: Mapping[str, float]) -> None:
        with suppress(OSError, PnodeError):  # then the next command asks again
            make_folder(self._path.parent, mode=0o700)
            write_atomic(self._path, json.dumps(dict(until)).encode("utf-8"))
