"""Keeping artifacts and letting them go: here, and at the IPFS daemon of this home."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.blocks import Health
from ledger.cid import Cid
from ledger.errors import PnodeError, UsageError
from ledger.statement import artifact_cids
from ledger.view import NOT_IN_FORCE, WITHDRAWN, LedgerView
from node.fetching import find_artifact
from node.home import Home
from node.reading import load_view
from node.storage.gathering import Gathering, Progress
from node.storage.pinning import (
    DaemonPins,
    HeldBlocks,
    daemon_pins,
    note_pin,
    open_daemon,
    own_roots,
)
from node.storage.providers import providers_of
from node.storage.settings import read_store_settings


@dataclass(frozen=True, slots=True)
class Absent:
    """An artifact of a contribution in force that is not kept here."""

    cid: str
    entry: str
    title: str


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What the local store holds, what contributions in force it lacks, and the daemon.

    `daemon` is what is known of its pins, `daemon_health` what it says now; both are None where
    there is no daemon, the second also offline.
    """

    blocks: int
    bytes: int
    pins: int
    health: Health
    absent: list[Absent]
    daemon: DaemonPins | None
    daemon_health: Health | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A root that was pinned or let go, with what went wrong at the daemon, if anything did."""

    cid: str
    daemon: str
    error: str = ""


def store_status(home: Home, *, offline: bool = False) -> StoreStatus:
    """Count what is here, and compare it with what contributions in force offer."""
    blocks = size = 0
    for _, bytes_, _ in home.store.blocks():
        blocks += 1
        size += bytes_
    with home.reading() as database:
        ledger = load_view(database)
    absent = [
        Absent(offered.cid, offered.id, offered.title)
        for offered in ledger.contributions.values()
        if offered.status not in NOT_IN_FORCE and not home.store.is_pinned(Cid.parse(offered.cid))
    ]
    daemon = None if offline else open_daemon(home)
    return StoreStatus(
        blocks=blocks,
        bytes=size,
        pins=sum(1 for _ in home.store.pins()),
        health=home.store.health(),
        absent=absent,
        daemon=daemon_pins(home),
        daemon_health=None if daemon is None else daemon.health(),
    )


def pin(home: Home, text: str, *, offline: bool = False, progress: Progress) -> Kept:
    """Bring everything below an entry's artifact, or a CID, and keep it here and at the daemon.

    Raises:
        NotFoundError, UnavailableError, IncompleteError: if it is not here and not to be had.
        UsageError: if the entry names no artifact.
    """
    root = find_artifact(home, text).cid
    with providers_of(home, offline=offline) as providers:
        Gathering(home.store, providers, progress).gather(root)
    home.store.pin(root)
    return _at_daemon(home, root, keep=True, offline=offline)


def own_offer(home: Home, text: str) -> tuple[Cid, str]:
    """Return what an id or CID names, and the entry of this home in force that counts on it."""
    root = find_artifact(home, text).cid
    with home.reading() as database:
        ledger = load_view(database)
    return root, own_roots(ledger, home.author).get(root, "")


def unpin(home: Home, root: Cid, *, offline: bool = False) -> Kept:
    """Stop keeping a root, here and at the daemon; the blocks go with the next collection.

    Raises:
        UsageError: if it is not pinned here.
    """
    if not home.store.is_pinned(root):
        raise UsageError(f"{root} is not pinned here", hint="see 'pnode store status --pins'")
    home.store.unpin(root)
    return _at_daemon(home, root, keep=False, offline=offline)


def release_withdrawn(home: Home, ledger: LedgerView, *, offline: bool = False) -> list[Kept]:
    """Stop keeping what was withdrawn under terms that ask for it and nothing in force names."""
    wanted = {
        root
        for placed in ledger.entries.values()
        if not _is_let_go(ledger, placed.entry.id)
        for root in artifact_cids(placed.entry.statement)
    }
    gone = {
        Cid.parse(offered.cid)
        for id_, offered in ledger.contributions.items()
        if _is_let_go(ledger, id_)
    }
    return [
        unpin(home, root, offline=offline)
        for root in sorted(gone - wanted)
        if home.store.is_pinned(root)
    ]


def _is_let_go(ledger: LedgerView, id_: str) -> bool:
    offered = ledger.contributions.get(id_)
    if offered is None or offered.status != WITHDRAWN:
        return False
    return ledger.entries[id_].entry.statement.predicate.get("on_withdrawal") == "unpin"


def _at_daemon(home: Home, root: Cid, *, keep: bool, offline: bool) -> Kept:
    """Do the same at the daemon; what it does not do is told, and undoes nothing."""
    if not read_store_settings(home).ipfs:
        return Kept(str(root), "")
    try:
        daemon = open_daemon(home, offline=offline)
        assert daemon is not None
        if keep:
            daemon.put_dag(root, HeldBlocks(home.store, root))
        else:
            daemon.unpin(root)
        note_pin(home, root, pinned=keep)
    except PnodeError as error:
        return Kept(str(root), read_store_settings(home).ipfs, error.message)
    return Kept(str(root), daemon.address)
