"""Passing evidence on: what a node takes from peers, and what it hands to them.

A peer's list is read and what is missing fetched (`node.peering.evidencelist`). `POST /evidence`
hands a node a file to keep: 200, 400 if it proves nothing, 404 if the node does not hold the log.

Evidence proves itself, so it does not matter who brings it; what it can cost is bounded by its
size, by the logs that are held, and by how many pieces are kept of each.
"""

from __future__ import annotations

from typing import Final

from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.evidence import MAX_EVIDENCE_BYTES, Evidence
from ledger.heldevidence import held_evidence
from ledger.log import find_log
from node.home import Home
from node.peering.equivocation import keep
from node.peering.evidencelist import (
    EVIDENCE_FOLDER,
    EVIDENCE_LIST,
    MAX_EVIDENCE_LIST_BYTES,
    parse_evidence_list,
)
from node.peering.source import Poster, Source

MAX_ANSWER_BYTES: Final = 4_096


def accept_evidence(home: Home, data: bytes) -> Evidence:
    """Keep evidence that somebody brings, if it is about a log that is held here.

    Raises:
        EvidenceError: if it proves nothing.
        NotFoundError: if the log is not held.
        StorageError: if this home cannot be written.
    """
    evidence = Evidence.parse(data)
    with home.reading() as database:
        if find_log(database, evidence.origin) is None:
            raise NotFoundError(f"log {evidence.origin} is not held here")
    return keep(home, data)


def take_evidence(home: Home, source: Source, errors: list[PnodeError]) -> frozenset[str] | None:
    """Keep what a peer has of evidence about logs held here.

    Args:
        home: the home.
        source: the peer.
        errors: gets what is wrong with the peer's evidence.

    Returns:
        The ids the peer lists; None if it could not be asked.
    """
    try:
        return _take(home, source)
    except (NotFoundError, UnavailableError, IncompleteError):
        return None  # the next sync asks again
    except EvidenceError as error:
        errors.append(error)
        return None


def _take(home: Home, source: Source) -> frozenset[str]:
    try:
        listed = parse_evidence_list(source.read(EVIDENCE_LIST, max_bytes=MAX_EVIDENCE_LIST_BYTES))
    except NotFoundError:
        return frozenset()
    with home.reading() as database:
        known = {each.id for each in held_evidence(database)}
        wanted = [
            id_
            for id_, origin in listed.items()
            if id_ not in known and find_log(database, origin) is not None
        ]
    for id_ in wanted:
        data = source.read(EVIDENCE_FOLDER + id_, max_bytes=MAX_EVIDENCE_BYTES)
        if Evidence.parse(data).origin != listed[id_]:
            raise MalformedError(f"{source.address}: evidence {id_} is about another log")
        keep(home, data)
    return frozenset(listed)


def give_evidence(home: Home, peer: Poster, listed: frozenset[str]) -> int:
    """Hand a peer the evidence it does not list, and return how many pieces it took."""
    with home.reading() as database:
        missing = [bytes(each) for each in held_evidence(database) if each.id not in listed]
    taken = 0
    for data in missing:
        try:
            answer = peer.post(EVIDENCE_LIST, data, max_bytes=MAX_ANSWER_BYTES)
        except (UnavailableError, EvidenceError):
            break
        taken += answer.status == 200
    return taken
