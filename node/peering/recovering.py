"""Rebuilding the own log from peers, after a restored backup, a lost ledger or a lost lock.

The order of the steps is the safety argument:

1. Every peer named is asked for its checkpoint of the own log; the largest one counts. It is
   signed by this home's log key, or it is not looked at.
2. The entries that are missing here are read like those of any peer: tiles that lead to the signed
   root, which must extend what was signed here, then every entry with its signature. Each must be
   by this home's author.
3. Entries and checkpoint are stored in one transaction. Nothing is signed for it: the checkpoint is
   the old one.
4. Only then the signing lock moves, by compare-and-swap, and never back. If the process dies in
   between, the lock is older than the log, which freezes it until `recover` is run again.
5. Every other checkpoint seen of the own log must lie on the same history.

What was signed and is held by no peer cannot be brought back: the lock then stays ahead of the log
and the home stays frozen. Two signed histories are an equivocation, and there is no way back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint, log_key
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    LogFrozenError,
    NotFoundError,
    PnodeError,
    SignatureError,
    UnavailableError,
)
from ledger.log import Log, find_log
from ledger.mirror import extend
from ledger.note import NoteKey
from ledger.observations import sightings
from node.durable import make_folder
from node.home import Home
from node.peering.budget import MeteredSource, SyncLimits
from node.peering.guard import Asked
from node.peering.peers import read_settings
from node.peering.pull import Offer, is_new, open_offer, read_entries, read_offer
from node.peering.resume import forget, resuming
from node.peering.source import Source, open_source

RECOVERED = "recovered"
INTACT = "intact"

Confirm = Callable[[str], None]
"""Asks a person a question, and raises UsageError unless the answer is yes."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came of it: entries held and brought back, what each peer said, and a word for it."""

    origin: str
    size: int
    added: int
    state: str
    asked: tuple[Asked, ...]


@dataclass(frozen=True, slots=True)
class _Copy:
    address: str
    offer: Offer


def recover(
    home: Home, addresses: Sequence[str], *, confirm: Confirm, offline: bool = False
) -> Recovered:
    """Bring back what peers hold of this home's own log, and make it fit to sign again.

    Args:
        home: the home; its keys are needed, its ledger may be missing.
        addresses: the peers to ask.
        confirm: asked before the signing lock is created or moved forward.
        offline: ask directories only.

    Raises:
        UnavailableError: if no peer answers.
        EquivocationError: if two histories were signed; the home stays frozen.
        LogFrozenError: if more was signed than any of these peers holds.
        UsageError: if the person says no.
    """
    key = log_key(home.origin, home.keys().log.public)
    if not home.ledger_path.is_file():
        Database.create(home.ledger_path).close()
    asked, copies = _ask(key, addresses, offline=offline)
    if all(each.error is not None for each in asked):
        raise UnavailableError(
            "no peer answered, so nothing is known of what this log has signed",
            hint="name a peer that has synced from you: pnode recover URL|DIR",
        )
    added = 0
    if copies:
        largest = max(copies, key=lambda copy: copy.offer.checkpoint.size)
        added = _bring_back(home, largest, offline=offline)
    _require_one_history(home, key, copies)
    moved = _fit_lock(home, confirm)
    with home.writing() as own:
        size = own.log.size
    state = RECOVERED if added or moved else INTACT
    return Recovered(home.origin, size, added, state, tuple(asked))


def _ask(
    key: NoteKey, addresses: Sequence[str], *, offline: bool
) -> tuple[list[Asked], list[_Copy]]:
    asked, copies = [], []
    for address in addresses:
        try:
            with open_source(address, offline=offline) as source:
                offer = read_offer(source, key)
        except NotFoundError:
            asked.append(Asked(address))
        except PnodeError as error:
            asked.append(Asked(address, error=error))
        else:
            asked.append(Asked(address, offer.checkpoint.size))
            copies.append(_Copy(address, offer))
    return asked, copies


def _bring_back(home: Home, copy: _Copy, *, offline: bool) -> int:
    """Store the entries a peer holds beyond those here, verified; return how many."""
    offer, limits = copy.offer, read_settings(home).limits
    with home.reading() as database:
        held = find_log(database, home.origin)
        size = held.size if held else 0
        if offer.checkpoint.size <= size:
            return 0
        with open_source(copy.address, offline=offline) as source:
            metered = _metered(source, limits)
            try:
                bodies = resuming(
                    home, metered, home.origin, lambda each: read_entries(each, offer, held, limits)
                )
            except EquivocationError:
                _check_unsigned_tail(held)
                raise
    for index, body in enumerate(bodies, size):
        if index in bodies.rejected or Entry.stored(body).author != home.author:
            raise SignatureError(f"{copy.address}: entry {index} is not by this home's author")
    with home.locked() as database:
        extend(database, offer.key, offer.note, bodies)
    forget(home, home.origin)
    return len(bodies)


def _metered(source: Source, limits: SyncLimits) -> MeteredSource:
    return MeteredSource(source, limits, time.monotonic)


def _check_unsigned_tail(held: Log | None) -> None:
    """Tell a log that forked from one that stored entries it never signed."""
    latest = held.checkpoint() if held else None
    if held is None or latest is None or held.size == latest[0].size:
        return
    raise LogFrozenError(
        f"{held.size - latest[0].size} entries stored here were never signed, and the log went on "
        "without them",
        hint="move ledger.db away and run 'pnode recover' again: it builds the ledger anew",
    ) from None


def _require_one_history(home: Home, key: NoteKey, copies: Sequence[_Copy]) -> None:
    """Require that every checkpoint seen of the own log is one of the log held.

    Raises:
        EquivocationError: if one contradicts it.
        LogFrozenError: if one is still larger.
    """
    with home.reading() as database:
        log = find_log(database, key.name)
        if log is None:
            raise NotFoundError(
                "no peer asked holds anything of this log, and neither does this home",
                hint="name a peer that has synced from you: pnode recover URL|DIR",
            )
        seen = [copy.offer for copy in copies]
        seen += [open_offer(key, note) for _, note in sightings(log)]
        for offer in seen:
            if is_new(offer, log):
                raise LogFrozenError(
                    f"this log has signed {offer.checkpoint.size} entries, the peers asked hold "
                    f"only {log.size}",
                    hint="name a peer that holds more: pnode recover URL|DIR",
                )


def _fit_lock(home: Home, confirm: Confirm) -> bool:
    """Move the signing lock to the log, forward only; say whether it moved."""
    with home.locked() as database:
        log = Log(database, home.origin)
        latest = log.checkpoint()
        if latest is None:
            raise EvidenceError("no checkpoint of this log was ever signed")
        signed = Checkpoint(home.origin, latest[0].size, log.root(latest[0].size))
        lock = home.signing_lock()
        warning = "one machine, one log: no other machine may sign with this seed"
        if not lock.path.is_file():
            confirm(f"create a signing lock at {signed.size} entries ({warning})")
            make_folder(lock.path.parent, mode=0o700)
            lock.create()
            lock.advance(lock.read(), signed)
            return True
        locked = lock.read()
        if locked.size > log.size:
            raise LogFrozenError(
                f"{locked.size} entries were signed, the peers asked and this home hold {log.size}",
                hint="name a peer that holds more: pnode recover URL|DIR",
            )
        if locked.size and log.root(locked.size) != locked.root:
            raise LogFrozenError(
                f"the first {locked.size} entries are not those the signing lock was moved to",
                hint="another history was about to be signed here; see docs/how-to/restore.md",
            )
        if locked.size >= signed.size:
            return False
        confirm(f"move the signing lock from {locked.size} to {signed.size} entries ({warning})")
        lock.advance(locked, signed)
        return True
