"""What a node does when a log has signed two histories. The order of the steps is the argument.

1. The evidence is stored, in a transaction of its own, before anything else.
2. From then on the log is frozen (`ledger.heldevidence`): not extended, not cosigned, not signed.
3. The common prefix of both histories is searched in the tiles held here and those of the peer at
   hand, and proven; without either tree it is empty, until somebody proves a longer one.
4. What stands behind it is disputed and what was composed of it tainted: a pure function of the
   statements in the ledger (`ledger.dispute`, `node.peering.taint`).
5. An `evidence` statement is appended to the own log, which carries the proof to all who mirror
   it, and the file is handed to peers that take it (`node.peering.gossip`).

Steps 3 to 5 are repeated by the next sync if they were interrupted. A node that cannot sign, or
whose own log it is, keeps the evidence and serves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ledger.commonprefix import CommonPrefix, common_prefix
from ledger.database import Database
from ledger.dispute import evidence_statement, proven_prefix, stated_evidence
from ledger.encoding import search_base64
from ledger.entry import Entry
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    IdentityError,
    IncompleteError,
    LogFrozenError,
    NotFoundError,
    UnavailableError,
)
from ledger.evidence import Evidence
from ledger.heldevidence import frozen, held_evidence, hold
from ledger.log import Log, find_log, logs
from ledger.merkle import NodeReader, subtree_root
from node.clock import Clock, utc_now
from node.home import Home
from node.peering.pull import peer_tree
from node.peering.source import Source
from node.reading import load_view

OWN_HINT: Final = (
    "this home or a copy of it signed twice: stop publishing from every copy; "
    "see docs/how-to/equivocation.md"
)
_KIND: Final = b"urn:pnode:evidence:v1"


def keep(home: Home, data: bytes) -> Evidence:
    """Store evidence; its log is frozen from then on. Takes the writer lock.

    Returns:
        The evidence held about the same two trees.

    Raises:
        EvidenceError: if it proves nothing.
        StorageError: if this home cannot be written.
    """
    evidence = Evidence.parse(data)
    evidence.verify()
    with home.reading() as database:
        for each in held_evidence(database, evidence.origin):
            if each.contradiction == evidence.contradiction:
                return each
    with home.locked() as database:
        return hold(database, evidence)


def react(
    home: Home, error: EquivocationError, source: Source | None = None, *, clock: Clock = utc_now
) -> None:
    """Do everything that an equivocation asks for, as far as the error carries evidence.

    Args:
        home: whose node has noticed it.
        error: what was noticed.
        source: the peer that showed the other tree, if it is at hand.
        clock: gives the time that the statement claims.

    Raises:
        StorageError: if this home cannot be written.
    """
    if error.evidence is not None:
        keep(home, error.evidence)
        publish_evidence(home, source, clock=clock)


def learn(home: Home, bodies: Iterable[bytes]) -> None:
    """Store the evidence that new entries of any log state about logs held here.

    What proves nothing is passed over, and what is about other logs: origins cost nothing, so one
    log could fill the tables of all who mirror it.
    """
    for evidence, _ in _stated_in(bodies):
        with home.reading() as database:
            held = find_log(database, evidence.origin) is not None
        if held:
            keep(home, bytes(evidence))


def learn_again(home: Home) -> None:
    """Store the evidence that any entry held states: for logs that were not held when it came."""
    with home.reading() as database:
        for log in logs(database):
            learn(home, (body for _, body in log.accepted()))


def publish_evidence(
    home: Home, source: Source | None = None, *, clock: Clock = utc_now
) -> tuple[str, ...]:
    """State in the own log what evidence is held about logs held here, each piece once.

    A piece is stated again only by a node that can prove a longer common prefix than anybody has.

    Returns:
        The ids of the evidence stated now.

    Raises:
        StorageError: if this home cannot be written.
    """
    statable = []
    with home.reading() as database:
        held = [each for each in held_evidence(database) if each.origin != home.origin]
        if not held or frozen(database, home.origin):
            return ()
        own = _stated(Log(database, home.origin))
        found = [
            (evidence, _search_prefix(database, source, evidence))
            for evidence in held
            if not own.get(evidence.id) and find_log(database, evidence.origin) is not None
        ]
        found = [(each, common) for each, common in found if each.id not in own or common.size]
        # Reading the whole ledger takes long: only now, when there is something to say.
        others = list(load_view(database).of_kind("evidence")) if found else []
        for evidence, common in found:
            best = proven_prefix(evidence, others) or CommonPrefix()
            if evidence.id not in own or common.size > best.size:
                longest = max(best, common, key=lambda prefix: prefix.size)
                statable.append((evidence, longest))
    try:
        return _state(home, statable, clock) if statable else ()
    except (IdentityError, LogFrozenError, EquivocationError):
        return ()  # it cannot sign; the evidence is kept and served


def notice(home: Home, known: frozenset[str], reported: Iterable[str]) -> list[EquivocationError]:
    """Return an error for each log that is frozen now and was not among those `known` before.

    Args:
        home: the home.
        known: the frozen origins of before.
        reported: origins that the person is told of already.
    """
    passed = known | set(reported)
    errors = []
    with home.reading() as database:
        for evidence in held_evidence(database):
            if evidence.origin not in passed and find_log(database, evidence.origin) is not None:
                passed |= {evidence.origin}
                errors.append(equivocation(home, evidence))
    return errors


def equivocation(home: Home, evidence: Evidence) -> EquivocationError:
    """Return evidence as the error a person reads."""
    own = evidence.origin == home.origin
    whose = "this home's own log" if own else f"log {evidence.origin}"
    return EquivocationError(
        f"{whose} signed two histories (evidence {evidence.id})",
        hint=OWN_HINT if own else "see docs/how-to/equivocation.md",
        evidence=bytes(evidence),
    )


def _state(
    home: Home, statable: Iterable[tuple[Evidence, CommonPrefix]], clock: Clock
) -> tuple[str, ...]:
    keys = home.keys()
    with home.writing() as log:
        # Another process may have stated it meanwhile.
        done = _stated(log.log)
        entries = {
            evidence.id: Entry.sign(
                evidence_statement(evidence, common, author=home.author, created=clock()),
                keys.author,
            )
            for evidence, common in statable
            if common.size > done.get(evidence.id, -1)
        }
        if entries:
            log.append(list(entries.values()))
    return tuple(entries)


def _stated(log: Log) -> dict[str, int]:
    """Return the evidence that the own log states, with the longest prefix it gives.

    Only what is signed counts: a statement that a crash left unsigned is finished by writing again.
    """
    own: dict[str, int] = {}
    latest = log.checkpoint()
    for evidence, common in _stated_in(log.bodies(0, latest[0].size if latest else 0)):
        own[evidence.id] = max(common.size, own.get(evidence.id, 0))
    return own


def _stated_in(bodies: Iterable[bytes]) -> Iterator[tuple[Evidence, CommonPrefix]]:
    """Yield what entries state of evidence; what proves nothing is passed over."""
    for body in search_base64(bodies, _KIND):
        try:
            entry = Entry.stored(body)
            if entry.kind == "evidence":
                yield stated_evidence(entry)
        except EvidenceError:
            continue  # the audit names it


def _search_prefix(database: Database, source: Source | None, evidence: Evidence) -> CommonPrefix:
    """Return the longest common prefix that the trees at hand prove."""
    readers = [_held_reader(database, evidence, number) for number in (0, 1)]
    try:
        if None in readers and source is not None:
            size, read = peer_tree(source, evidence.key)
            for number, point in enumerate(evidence.checkpoints):
                if readers[number] is None and point.size <= size:
                    fits = subtree_root(0, point.size, read) == point.root
                    readers[number] = read if fits else None
        a, b = readers
        if a is not None and b is not None:
            return common_prefix(evidence, a, b)
    except (EvidenceError, NotFoundError, UnavailableError, IncompleteError):
        pass  # what is held or offered is damaged or gone; the empty prefix is always true
    return CommonPrefix()


def _held_reader(database: Database, evidence: Evidence, number: int) -> NodeReader | None:
    point = evidence.checkpoints[number]
    log = find_log(database, evidence.origin)
    if log is None or log.size < point.size:
        return None
    read = log.node
    try:
        return read if subtree_root(0, point.size, read) == point.root else None
    except EvidenceError:
        return None
