"""Reading the ledger of a home: what is in force, one entry, a log, a proof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ledger import derived
from ledger.database import Database
from ledger.dsse import Envelope
from ledger.entry import Entry, entry_id
from ledger.errors import EvidenceError, IncompleteError, NotFoundError, StorageError
from ledger.frontier import Frontier
from ledger.log import Log, logs, places, resolve_id
from ledger.observations import cosigned_note
from ledger.placedentry import PlacedEntry
from ledger.rejected import Placed, RejectedEntry, reason
from ledger.verdicts import AuditorVerdict, verdicts_on
from ledger.view import LedgerView, view
from node.home import Home
from node.peering.policyfile import home_policy
from node.peering.states import WitnessedBy, best_proof, entry_state
from node.peering.taint import taint_of


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `pnode list`."""

    id: str
    kind: str
    author: str
    contributor: str
    name: str
    title: str
    cid: str
    license: str
    status: str
    origin: str
    index: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One entry, its place and what refers to it.

    `verdicts` are those of its auditors, each once (`ledger.verdicts`).

    `disputed` and `tainted` are the ids of the evidence that puts its place, or what it is
    composed of, in question.
    """

    id: str
    kind: str
    author: str
    name: str
    status: str
    statement: dict[str, Any]
    envelope: dict[str, Any]
    origin: str
    index: int
    size: int
    root: str
    state: str
    witnessed_since: str
    witnesses: list[WitnessedBy]
    proof: list[str]
    disputed: list[str]
    tainted: list[str]
    uses: list[str]
    verdicts: list[AuditorVerdict]
    credit: list[dict[str, Any]]
    raw: bytes


@dataclass(frozen=True, slots=True)
class LogLine:
    """One entry in log order; `rejected` says why it is not valid, else it is empty."""

    origin: str
    index: int
    id: str
    kind: str
    author: str
    created: str
    title: str
    rejected: str = ""


def current_frontier(database: Database) -> Frontier:
    """Return the largest checkpoint of every log held."""
    latest = (log.checkpoint() for log in logs(database))
    return Frontier.of(found[0] for found in latest if found is not None)


def load_view(database: Database, frontier: Frontier | None = None) -> LedgerView:
    """Return the ledger at a frontier, by default the current one.

    Raises:
        IncompleteError: if the frontier reaches beyond what is held here.
    """
    frontier = frontier or current_frontier(database)
    return view(frontier, _placed(database, frontier))


def _placed(database: Database, frontier: Frontier) -> Iterator[Placed]:
    for point in frontier.checkpoints:
        try:
            log = Log(database, point.origin)
        except NotFoundError:
            raise IncompleteError(f"log {point.origin} of the frontier is not held here") from None
        if log.size < point.size:
            raise IncompleteError(f"{point.origin}: only {log.size} of {point.size} entries here")
        yield from log.placed(point.size)


def list_entries(
    home: Home, *, kind: str | None, author: str | None, status: str | None
) -> list[Listed]:
    """Return the entries in force that match every filter given, in log order."""
    with home.reading() as database:
        frontier = current_frontier(database)
        rows = derived.listing(home.derived_path, frontier.digest)
        if rows is None:
            ledger = load_view(database, frontier)
            rows = derived.records(ledger)
            _refresh(home, ledger)
    listed = [_listed(row) for row in rows]
    # Any key and any name a contributor ever had leads to all of it.
    wanted = {
        line.contributor for line in listed if author in (line.author, line.contributor, line.name)
    }
    return [
        line
        for line in listed
        if (kind is None or line.kind == kind)
        and (author is None or line.contributor in wanted)
        and (status is None or line.status == status)
    ]


def _refresh(home: Home, ledger: LedgerView) -> None:
    try:
        try:
            derived.rebuild(home.derived_path, ledger)
        except EvidenceError:
            derived.discard(home.derived_path)
            derived.rebuild(home.derived_path, ledger)
    except StorageError:
        return  # a home that cannot be written is still read; the tables are only a shortcut


def _listed(row: dict[str, str | int]) -> Listed:
    values = {name: row[name] for name in row if name != "idx"}
    return Listed(**values, index=int(row["idx"]))  # type: ignore[arg-type]


def show_entry(home: Home, prefix: str) -> Shown:
    """Return everything about one entry.

    Raises:
        NotFoundError, UsageError: if the id is unknown or ambiguous.
    """
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
        placed = ledger.entries.get(id_) or _unsigned(database, id_)
        log = Log(database, placed.origin)
        latest = log.checkpoint()
        covered = latest is not None and placed.index < latest[0].size
        size = latest[0].size if latest and covered else 0
        proof = log.prove_inclusion(placed.index, size) if covered else []
        come = entry_state(log, placed.index, home_policy(home))
        entry = placed.entry
        offered = ledger.contributions.get(id_)
        dispute = ledger.disputes.of(placed.origin, placed.index)
        return Shown(
            id=id_,
            kind=offered.type if offered else entry.kind,
            author=entry.author,
            name=ledger.names.get(entry.author, ""),
            status=offered.status if offered else "",
            statement=json.loads(Envelope.parse(entry.body).payload),
            envelope=json.loads(entry.body),
            origin=placed.origin,
            index=placed.index,
            size=size,
            root=latest[0].root.hex() if latest and covered else "",
            state=come.state,
            witnessed_since=come.since,
            witnesses=come.witnesses,
            proof=[value.hex() for value in proof],
            disputed=list(dispute.evidence) if dispute else [],
            tainted=list(taint_of(entry, ledger, home.store)),
            uses=ledger.users_of(id_),
            verdicts=verdicts_on(ledger, id_) if id_ in ledger.entries else [],
            credit=list(_credit(ledger, id_)),
            raw=entry.body,
        )


def _unsigned(database: Database, id_: str) -> PlacedEntry:
    """Return an entry that no checkpoint covers yet.

    Raises:
        MalformedError, SignatureError: if it is one that is not valid.
    """
    origin, index, body = places(database, id_)[0]
    try:
        return PlacedEntry(origin, index, Entry.parse(body))
    except EvidenceError as error:
        raise type(error)(
            f"{id_} (entry {index} of {origin}) is not valid and counts for nothing: "
            f"{error.message}",
            hint=f"'pnode prove {id_[:16]}' proves that its log holds it",
        ) from None


def _credit(ledger: LedgerView, id_: str) -> Iterator[dict[str, Any]]:
    for placed in ledger.speaking("attribution"):
        for value in placed.entry.statement.predicate["values"]:
            if value["contribution"] == id_:
                yield {
                    "attribution": placed.entry.id,
                    "claimed_by": placed.entry.author,
                    "value": value["value"],
                }


def read_log(home: Home, *, origin: str | None, since: int) -> list[LogLine]:
    """Return the entries of one log (by default the node's own) from index `since` on."""
    with home.reading() as database:
        log = Log(database, _origin(database, origin or home.origin))
        return [_log_line(log, item) for item in log.placed(log.size, since)]


def _log_line(log: Log, item: Placed) -> LogLine:
    if isinstance(item, RejectedEntry):
        body = next(log.bodies(item.index, item.index + 1))
        return LogLine(log.origin, item.index, entry_id(body), "", "", "", "", reason(body))
    entry, statement = item.entry, item.entry.statement
    title = str(statement.predicate.get("title", ""))
    line = (entry.id, entry.kind, entry.author, statement.created, title)
    return LogLine(log.origin, item.index, *line)


def read_checkpoint(home: Home, *, origin: str | None) -> bytes:
    """Return the largest signed checkpoint note of one log, by default the node's own."""
    with home.reading() as database:
        log = Log(database, _origin(database, origin or home.origin))
        latest = log.checkpoint()
        if latest is None:
            raise NotFoundError(f"{log.origin} has no checkpoint yet")
        return cosigned_note(log, *latest)


def prove_entry(home: Home, prefix: str) -> bytes:
    """Return the tlog-proof file of an entry; it carries the entry and the key of its log.

    Under the largest witnessed checkpoint if the home's policy calls one so, else the largest.
    """
    with home.reading() as database:
        origin, index, body = places(database, resolve_id(database, prefix))[0]
        log = Log(database, origin)
        proof = best_proof(log, index, home_policy(home))
        return bytes(proof.carrying(body, log.key))


def _origin(database: Database, text: str) -> str:
    """Return the origin that is, or ends with the hash that begins with, `text`."""
    known = [log.origin for log in logs(database)]
    found = [origin for origin in known if origin == text or origin.split("/")[-1].startswith(text)]
    if len(found) != 1:
        raise NotFoundError(
            f"no single log '{text}' here", hint="see 'pnode status' for the logs held"
        )
    return found[0]
