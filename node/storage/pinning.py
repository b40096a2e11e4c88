"""What this node published, kept by the IPFS daemon of `store.toml` as well.

The local store comes first: an artifact is there, and its entry is in the log, before the daemon
hears of it. What the daemon lacks is computed: the roots that this node's own entries in force
name, less those it is known to keep. That knowledge is derived and may be deleted:

    HOME/cache/pinned/<first 16 digits of the SHA-256 of the address>/
        <cid>    an empty file for each root that the daemon said it keeps
        .last    canonical JSON: `address`, `tried` (when), and after a failure `error` and `hint`

Whatever the daemon does, the publication stands, and what is not pinned yet is sent again with the
next publication or sync.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ledger.cid import Cid
from ledger.encoding import canonical_json, parse_json
from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.statement import artifact_cids
from ledger.succession import REVOKED
from ledger.unixfs import Limits, walk
from ledger.view import NOT_IN_FORCE, LedgerView
from node.clock import Clock, utc_now
from node.durable import make_folder, write_atomic
from node.home import Home
from node.peering.blockpull import Progress, silent
from node.reading import load_view
from node.storage.ipfs import IpfsStore
from node.storage.local import LocalStore
from node.storage.pinset import PinSet
from node.storage.settings import read_store_settings

_MAX_LAST = 4 << 10


@dataclass(frozen=True, slots=True)
class Pending:
    """A root that the daemon is not known to keep, and the newest entry that names it."""

    cid: str
    entry: str


@dataclass(frozen=True, slots=True)
class DaemonPins:
    """How many roots a daemon keeps, which it does not keep yet, and how the last attempt ended.

    `tried` is empty before the first attempt; `error` and what to do about it, after a success.
    """

    daemon: str
    pinned: int
    pending: list[Pending]
    tried: str = ""
    error: str = ""
    hint: str = ""


def open_daemon(home: Home, *, offline: bool = False) -> IpfsStore | None:
    """Return the IPFS daemon of a home, None if it has none; nothing is sent yet.

    Raises:
        MalformedError: if `store.toml` is not in the accepted form.
        UsageError: if the address or the credentials given otherwise are not.
        UnavailableError: if there is one, and `offline` forbids to speak to it.
    """
    address = read_store_settings(home).ipfs
    if not address:
        return None
    if offline:
        raise UnavailableError(
            f"the IPFS daemon at {address} was not asked, because --offline was given",
            hint="run without --offline",
        )
    return IpfsStore(address)


def own_roots(ledger: LedgerView, author: str) -> dict[Cid, str]:
    """Return the roots that a contributor's entries in force name, each with the newest of them.

    The newest come first. Entries whose key was closed before them, and contributions that are
    withdrawn, revoked or disputed, name none.
    """
    contributor = ledger.identity(author)
    newest = sorted(
        ledger.entries.values(), key=lambda placed: (placed.index, placed.origin), reverse=True
    )
    roots: dict[Cid, str] = {}
    for placed in newest:
        entry = placed.entry
        offered = ledger.contributions.get(entry.id)
        gone = offered is not None and offered.status in NOT_IN_FORCE
        if gone or ledger.standings.get(entry.id) == REVOKED:
            continue
        if ledger.identity(entry.author) == contributor:
            for root in artifact_cids(entry.statement):
                roots.setdefault(root, entry.id)
    return roots


def own_pins(home: Home) -> dict[Cid, str]:
    """Return the roots that a daemon of this home is to keep, and the entry that names each."""
    with home.reading() as database:
        named = own_roots(load_view(database), home.author)
    # What was never whole here, such as a large base model, is not this node's to send.
    return {root: id_ for root, id_ in named.items() if home.store.is_pinned(root)}


def daemon_pins(home: Home) -> DaemonPins | None:
    """Return what is known of the daemon's pins, without asking it; None if there is no daemon."""
    address = read_store_settings(home).ipfs
    return _Known(home, address).report() if address else None


def pin_published(
    home: Home,
    *,
    offline: bool = False,
    seconds: float = math.inf,
    recheck: bool = False,
    progress: Progress = silent,
    now: Clock = utc_now,
) -> DaemonPins | None:
    """Send the daemon what it is not known to keep, newest first; None if there is no daemon.

    What goes wrong is in the report and not raised, so that nothing depends on the daemon. After an
    error that is not about one artifact alone, the others are left for the next time.

    Args:
        home: whose own entries count.
        offline: do not speak to the daemon.
        seconds: begin with no other artifact after that time.
        recheck: ask what the daemon keeps, instead of believing what it said earlier.
        progress: told how many artifacts are sent.
        now: the time of day, for what is remembered.

    Raises:
        MalformedError, UsageError: as `open_daemon` does.
    """
    address = read_store_settings(home).ipfs
    if not address:
        return None
    try:
        known = _Known(home, address)
        if not recheck and not known.pending():
            return known.report()
    except PnodeError as error:
        return DaemonPins(address, 0, [], now(), error.message, error.hint)
    until = time.monotonic() + seconds
    try:
        daemon = open_daemon(home, offline=offline)
        assert daemon is not None
        if recheck:
            known.replace(set(daemon.pins()))
        problem = _send(home.store, daemon, known, until, progress)
    except PnodeError as error:
        problem = error
    return known.remember(now(), problem)


def note_pin(home: Home, root: Cid, *, pinned: bool) -> None:
    """Note that the daemon of a home keeps a root now, or keeps it no longer."""
    pins = _pins_at(home, read_store_settings(home).ipfs)
    if pinned:
        pins.add(root)
    else:
        pins.discard(root)


def _pins_at(home: Home, address: str) -> PinSet:
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    return PinSet(home.cache / "pinned" / name)


def _send(
    store: LocalStore, daemon: IpfsStore, known: _Known, until: float, progress: Progress
) -> PnodeError | None:
    """Send what is pending, and return what is wrong with an artifact of this home, if one is."""
    problem = None
    waiting = known.pending()
    for done, root in enumerate(waiting):
        if done and time.monotonic() > until:
            break
        progress("IPFS", done, len(waiting))
        try:
            if not daemon.is_pinned(root):
                daemon.put_dag(root, HeldBlocks(store, root))
            known.add(root)
        except IncompleteError as damage:
            problem = problem or damage
    return problem


class HeldBlocks:
    """The verified blocks below a root of the local store, as often as they are asked for."""

    def __init__(self, store: LocalStore, root: Cid) -> None:
        self._store = store
        self._root = root

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        try:
            yield from walk(self._root, self._store.get_block, Limits())
        except (NotFoundError, EvidenceError) as error:
            raise IncompleteError(
                f"artifact {self._root} is damaged here: {error.message}"
            ) from None


class _Known:
    """What is known of one daemon, and what this node has for it."""

    def __init__(self, home: Home, address: str) -> None:
        self._address = address
        self._pins = _pins_at(home, address)
        self._last = self._pins.folder / ".last"
        self._named = own_pins(home)

    def pending(self) -> list[Cid]:
        """Return the roots the daemon is not known to keep."""
        return [root for root in self._named if root not in self._pins]

    def add(self, root: Cid) -> None:
        """Note that the daemon keeps a root."""
        self._pins.add(root)

    def replace(self, pins: set[Cid]) -> None:
        """Note which roots the daemon keeps, and that it keeps no others."""
        for root in self._named:
            if root in pins:
                self._pins.add(root)
            else:
                self._pins.discard(root)

    def remember(self, tried: str, error: PnodeError | None) -> DaemonPins:
        """Note how an attempt ended, and return what is known now."""
        last = {"address": self._address, "tried": tried}
        if error is not None:
            last |= {"error": error.message, "hint": error.hint}
        try:
            make_folder(self._pins.folder)
            write_atomic(self._last, canonical_json(last))
        except PnodeError as failure:
            error = error or failure
        return self._report(tried, error.message if error else "", error.hint if error else "")

    def report(self) -> DaemonPins:
        """Return what is known, and how the last attempt ended."""
        try:
            content = self._last.read_bytes()[:_MAX_LAST]
            last = parse_json(content, what=str(self._last))
            return self._report(*(str(last.get(name, "")) for name in ("tried", "error", "hint")))
        except (OSError, MalformedError, AttributeError):
            return self._report()

    def _report(self, tried: str = "", error: str = "", hint: str = "") -> DaemonPins:
        pending = [Pending(str(root), self._named[root]) for root in self.pending()]
        pinned = len(self._named) - len(pending)
        return DaemonPins(self._address, pinned, pending, tried, error, hint)
