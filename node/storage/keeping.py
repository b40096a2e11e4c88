"""Keeping artifacts and letting them go: here, and at the IPFS daemon of this home."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.blocks import Health
from ledger.cid import Cid
from ledger.errors import PnodeError, UsageError
from ledger.statement import artifact_cids
from ledger.view import NOT_IN_FORCE, WITHDRAWN, LedgerView
from node.fetching import find_artifact, gather
from node.home import Home
from node.reading import load_view
from node.storage.garbage import Collected, collect
from node.storage.gathering import Gathering, Progress
from node.storage.pinning import (
    DaemonPins,
    HeldBlocks,
    daemon_pins,
    note_pin,
    open_daemon,
    own_pins,
    own_roots,
    pin_published,
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


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is kept no longer, because it was withdrawn so, and what was removed."""

    released: list[Kept]
    collected: Collected


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
    found = find_artifact(home, text)
    with providers_of(home, offline=offline) as providers:
        gather(Gathering(home.store, providers, progress), found)
    home.store.pin(found.cid)
    return _at_daemon(home, found.cid, keep=True, offline=offline)


def pin_own(home: Home, *, offline: bool = False, progress: Progress) -> list[Kept]:
    """Ask the daemon what it keeps of the offers of this home in force, and send it the others.

    Raises:
        UsageError: if this home has no daemon.
    """
    pins = pin_published(home, offline=offline, recheck=True, progress=progress)
    if pins is None:
        raise UsageError(
            "this home has no IPFS daemon to ask",
            hint="name one in store.toml, or the artifacts to bring here and keep",
        )
    pending = {each.cid for each in pins.pending}
    roots = map(str, own_pins(home))
    return [Kept(root, pins.daemon, pins.error if root in pending else "") for root in roots]


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
        raise UsageError(f"{root} is not pinned here", hint="see 'pnode store status'")
    home.store.unpin(root)
    return _at_daemon(home, root, keep=False, offline=offline)


def release_withdrawn(home: Home, *, offline: bool = False) -> list[Kept]:
    """Stop keeping what was withdrawn under terms that ask for it and nothing else names.

    It cannot be undone for others: what they hold, they hold, and the entry stays.
    """
    return [unpin(home, root, offline=offline) for root in _to_release(home)]


def clean(
    home: Home,
    *,
    before: float,
    dry_run: bool = False,
    offline: bool = False,
    progress: Progress,
) -> Cleaned:
    """Let go of what was withdrawn under such terms, then remove the blocks nothing pinned has.

    Args:
        home: whose store is cleaned.
        before: blocks stored or used since then stay, in seconds since the epoch.
        dry_run: change nothing; what would be let go counts as kept.
        offline: do not speak to the IPFS daemon.
        progress: told how many pins were followed.

    Raises:
        IncompleteError: as `collect` does.
    """
    if dry_run:
        released = [Kept(str(root), "") for root in _to_release(home)]
    else:
        released = release_withdrawn(home, offline=offline)
    done = collect(home.store, before=before, dry_run=dry_run, progress=progress)
    return Cleaned(released, done)


def _to_release(home: Home) -> list[Cid]:
    with home.reading() as database:
        ledger = load_view(database)
    let_go = {id_ for id_ in ledger.contributions if _is_let_go(ledger, id_)}
    gone = {Cid.parse(ledger.contributions[id_].cid) for id_ in let_go}
    if not gone:
        return []
    for id_, placed in ledger.entries.items():
        if id_ not in let_go:
            gone.difference_update(artifact_cids(placed.entry.statement))
    return sorted(root for root in gone if home.store.is_pinned(root))


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
