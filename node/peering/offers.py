"""What a peer offers: the notes of its frontier, and the keys that speak for them.

A peer is asked once, with the cursor it gave last time; if nothing changed, that is all. Notes of
logs that are new here need the peer's list of logs too, which has their keys. A tree without a
frontier, as an old export has, is read log by log. What was offered before and could not be taken
over is asked for again.

Of a peer that offers more logs than are accepted, the surplus is left out, and never the logs that
are followed or held here: identities cost nothing, so anybody can make a list long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ledger.database import Database
from ledger.errors import MalformedError, NotFoundError, UnavailableError
from ledger.log import find_log, logs
from ledger.note import NoteKey
from node.peering.budget import SyncLimits
from node.peering.cursor import knows
from node.peering.loglist import (
    MAX_FRONTIER_BYTES,
    MAX_LIST_BYTES,
    ListedLog,
    parse_logs,
    split_frontier,
)
from node.peering.peerstate import PeerState
from node.peering.source import Source


@dataclass(frozen=True, slots=True)
class OfferedLog:
    """One log a peer offers; without a note its checkpoint has to be read. Nothing is verified."""

    origin: str
    vkey: str
    note: bytes | None = None

    def key(self) -> NoteKey:
        """Return the key of the log.

        Raises:
            MalformedError, SignatureError: if it is none, or not the one the origin contains.
        """
        if not self.vkey:
            raise MalformedError(f"{self.origin[:200]} is offered, and no list of logs has its key")
        return ListedLog(self.origin, self.vkey).key()


@dataclass(frozen=True, slots=True)
class Offers:
    """Everything a peer offers that may be new, by origin, and the tag of its frontier.

    `tag` is empty where a peer gives none, and where `surplus` logs were left out: they have to be
    offered again. `changed` says whether it may have anything new.
    """

    logs: tuple[OfferedLog, ...]
    tag: str = ""
    changed: bool = True
    surplus: int = 0


def read_offers(
    source: Source,
    database: Database,
    state: PeerState,
    limits: SyncLimits,
    followed: Collection[str] = (),
) -> Offers:
    """Ask a peer what it holds that it did not hold, or that was not taken over, last time.

    Args:
        source: the peer.
        database: the ledger, open for reading.
        state: what is remembered of the peer.
        limits: how many logs are looked at.
        followed: origins to look at first, before those that are held.

    Raises:
        UnavailableError: if the peer cannot be read or is none.
        MalformedError: if its lists are not in the accepted form or have too many bytes.
    """
    known = state.peer(source.address)
    since = known.cursor if known.cursor and knows(database, known.mark) else ""
    try:
        answer = source.poll("/frontier", max_bytes=MAX_FRONTIER_BYTES, since=since)
    except NotFoundError:
        listed = {log.origin: log.vkey for log in _listed(source)}
        chosen = _choose(listed, database, limits, followed)
        offers = tuple(OfferedLog(origin, listed[origin]) for origin in chosen)
        return Offers(offers, surplus=len(listed) - len(chosen))
    notes: dict[str, bytes | None] = {}
    if since:
        notes.update(dict.fromkeys(state.pending(source.address)))
    if answer.body is not None:
        notes.update({each.origin: each.note for each in split_frontier(answer.body)})
    chosen = _choose(notes, database, limits, followed)
    surplus = len(notes) - len(chosen)
    keys = _keys(source, database, chosen)
    return Offers(
        tuple(OfferedLog(origin, keys.get(origin, ""), notes[origin]) for origin in chosen),
        "" if surplus else answer.tag,
        changed=answer.body is not None,
        surplus=surplus,
    )


def _choose(
    origins: Collection[str], database: Database, limits: SyncLimits, followed: Collection[str]
) -> list[str]:
    """Return the origins to look at, sorted: first those followed, then those held."""
    if len(origins) <= limits.logs:
        return sorted(origins)
    held = {log.origin for log in logs(database)}

    def rank(origin: str) -> tuple[bool, bool, str]:
        return origin not in followed, origin not in held, origin

    return sorted(sorted(origins, key=rank)[: limits.logs])


def _keys(source: Source, database: Database, origins: Iterable[str]) -> dict[str, str]:
    """Return the verifier keys of logs: those held here, else those the peer lists."""
    held = {origin: find_log(database, origin) for origin in origins}
    keys = {origin: str(log.key) for origin, log in held.items() if log is not None}
    if len(keys) == len(held):
        return keys
    return {log.origin: log.vkey for log in _listed(source)} | keys


def _listed(source: Source) -> tuple[ListedLog, ...]:
    try:
        data = source.read("/logs", max_bytes=MAX_LIST_BYTES)
    except NotFoundError:
        raise UnavailableError(
            f"{source.address} has no list of logs; it is not a pnode peer or export",
            hint="give the address that 'pnode serve' prints, or a directory it was exported to",
        ) from None
    return parse_logs(data)
