"""Guarding the own log: a peer that holds more of it than this home means trouble, not help.

A home that was restored from a backup or copied would sign a second history without noticing. So
known peers are asked for the largest checkpoint of the own log: at every `sync`, before something
is appended (`node.peering.asking`), when `serve` starts and by `doctor`. A larger one, signed by
this home's key, is stored as a sighting, in a transaction of its own; while it goes beyond what is
held, nothing is signed (`ledger.append`), also after a restart and without any network, until
`pnode recover` has brought the entries back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.log import Log
from ledger.note import NoteKey
from ledger.observations import add_sighting
from node.home import Home
from node.peering.equivocation import OWN_HINT, keep
from node.peering.peers import list_peers
from node.peering.pull import Offer, check_extends, is_new, read_offer
from node.peering.source import DirectorySource, HTTPSource, Source, open_source, parse_address

ASK_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What one peer says of the own log: `size` entries, or an error."""

    peer: str
    size: int = 0
    error: PnodeError | None = None


def check_own_offer(home: Home, address: str, offer: Offer, source: Source | None = None) -> int:
    """Require that a peer's copy of the home's own log is a prefix of what is here.

    Args:
        home: the home.
        address: the peer, for messages.
        offer: the checkpoint it holds of the own log.
        source: the peer, to see whether a larger copy extends what is held.

    Returns:
        how many entries are held.

    Raises:
        LogFrozenError: if the peer holds more; that is then on record.
        EquivocationError: if it holds another tree, signed by this home's key; the evidence is
            then kept, and the own log is frozen.
    """
    try:
        with home.reading() as database:
            log = Log(database, home.origin)
            size = log.size
            larger = is_new(offer, log)
            if larger and source is not None:
                _require_one_history(source, offer, log)
    except EquivocationError as error:
        if error.evidence is not None:
            keep(home, error.evidence)
        text = f"{address}: this home's own {error.message}"
        raise EquivocationError(text, hint=OWN_HINT, evidence=error.evidence) from None
    if not larger:
        return size
    keep_sighting(home, offer)
    raise LogFrozenError(
        f"{address} holds {offer.checkpoint.size} entries of this home's own log, "
        f"here are only {size}: this home was restored or copied"
    )


def _require_one_history(source: Source, offer: Offer, log: Log) -> None:
    """Require that a larger copy extends what is held, as far as the peer shows its tree."""
    with suppress(EvidenceError, NotFoundError, UnavailableError, IncompleteError):
        check_extends(source, offer, log)


def keep_sighting(home: Home, offer: Offer) -> None:
    """Store a checkpoint of the own log that goes beyond what is held."""
    with home.locked() as database:
        log = Log(database, home.origin)
        with database.transaction() as writer:
            add_sighting(writer, log, offer.checkpoint, offer.note)


def ask_peers(home: Home, *, offline: bool) -> Iterator[Asked]:
    """Ask every peer of a home what it holds of the own log; offline, only directories."""
    peers = list_peers(home)
    if peers:
        key = own_key(home)
        yield from (ask_peer(home, address, key, offline=offline) for address in peers)


def ask_peer(
    home: Home, address: str, key: NoteKey, *, offline: bool, seconds: float = ASK_SECONDS
) -> Asked:
    """Ask one peer what it holds of the own log; each answer may take so many seconds."""
    try:
        with _open(address, offline=offline, seconds=seconds) as source:
            offer = read_offer(source, key)
            check_own_offer(home, address, offer, source)
    except NotFoundError:
        return Asked(address)
    except PnodeError as error:
        return Asked(address, error=error)
    return Asked(address, offer.checkpoint.size)


def own_key(home: Home) -> NoteKey:
    """Return the key of the own log."""
    with home.reading() as database:
        return Log(database, home.origin).key


def _open(address: str, *, offline: bool, seconds: float) -> HTTPSource | DirectorySource:
    if offline or "://" not in parse_address(address):
        return open_source(address, offline=offline)
    return HTTPSource(address, total_seconds=seconds)
