"""The records behind the pages for people: each is the JSON twin of a page, and all it shows.

    /             /index.json          whose node this is, its logs and its newest entries
    /entries      /entries.json        entries, by kind, author and status
    /entry/<id>   /entry/<id>.json     one entry: statement, place, proof, what refers to it
    /log/<h>      /log/<h>.json        one log, <h> as in the tree (`node.peering.tree`)
    /peers        /peers.json          whom the node follows, if its keeper shows that

A record is a function of a snapshot and, for what a snapshot only lists, of the ledger itself.
Only entries under a signed checkpoint appear, as in the tree. Texts are as their authors wrote
them; whoever renders a record cleans and escapes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.checkpoint import Checkpoint
from ledger.cosignature import cosigned_at
from ledger.database import Database
from ledger.dsse import Envelope
from ledger.entry import Entry, entry_id
from ledger.errors import NotFoundError
from ledger.log import Log, places
from ledger.merkle import leaf_hash
from ledger.note import MAX_SIGNATURES
from ledger.observations import cosignatures
from ledger.rejected import Placed, RejectedEntry, reason
from ledger.statement import artifact_cids
from ledger.tlogproof import TlogProof
from node.clock import at
from node.home import Home
from node.peering.states import SIGNED, WITNESSED
from node.peering.tree import log_folder
from node.web.pageindex import PAGE_SIZE, Filter, ListedEntry, ListedLog, PageIndex, Paging
from node.web.snapshots import Snapshot

OVERVIEW_SCHEMA: Final = "pnode.page.overview/1"
ENTRIES_SCHEMA: Final = "pnode.page.entries/1"
ENTRY_SCHEMA: Final = "pnode.page.entry/1"
LOG_SCHEMA: Final = "pnode.page.log/1"

REJECTED: Final = "rejected"
_NEWEST = 8
_MOST_COPIES = 20


def overview(home: Home, snapshot: Snapshot, page: int = 1) -> dict[str, Any]:
    """Return whose node this is, one page of its logs, and the newest entries of its own."""
    index = snapshot.index
    logs, paging = index.logs(page)
    newest, entries = index.entries(Filter(), 1)
    return {
        "schema": OVERVIEW_SCHEMA,
        "name": home.name,
        "origin": home.origin,
        "author": home.author,
        "frontier": snapshot.frontier.digest,
        "entries": entries.total,
        "kinds": dict(index.kinds),
        "logs": [_log(log) for log in logs],
        "newest": [_entry(entry) for entry in newest if entry.origin == home.origin][:_NEWEST],
        **_paging(paging),
    }


def entries_page(snapshot: Snapshot, wanted: Filter, page: int = 1) -> dict[str, Any]:
    """Return one page of the entries that match a filter."""
    index = snapshot.index
    found, paging = index.entries(wanted, page)
    return {
        "schema": ENTRIES_SCHEMA,
        "frontier": snapshot.frontier.digest,
        "kind": wanted.kind,
        "author": wanted.author,
        "status": wanted.status,
        "kinds": dict(index.kinds),
        "statuses": dict(index.statuses),
        "entries": [_entry(entry) for entry in found],
        **_paging(paging),
    }


def log_page(snapshot: Snapshot, database: Database, folder: str, page: int = 1) -> dict[str, Any]:
    """Return one page of a log, the newest entries first, and the tree that covers them."""
    index = snapshot.index
    listed = index.log(folder)
    paging = Paging.of(listed.size, page)
    end = listed.size - paging.start
    start = max(0, end - PAGE_SIZE)
    log = Log(database, listed.origin)
    found = [_in_log(index, log, listed, item) for item in log.placed(end, start)]
    return {
        "schema": LOG_SCHEMA,
        "frontier": snapshot.frontier.digest,
        **_log(listed),
        "note": listed.note.decode("utf-8"),
        "cosignatures": _cosignatures(log, listed),
        "entries": found[::-1],
        **_paging(paging),
    }


@dataclass(frozen=True, slots=True)
class Located:
    """An entry of a snapshot with its bytes and its proof in the tree of that snapshot."""

    listed: ListedEntry
    log: ListedLog
    body: bytes
    proof: TlogProof
    path: tuple[bytes, ...]


def locate(snapshot: Snapshot, database: Database, id_: str) -> Located:
    """Return an entry and its proof; the proof file carries entry and log key.

    Raises:
        NotFoundError: if the entry is not in this snapshot.
    """
    listed = snapshot.index.entry(id_)
    kept = snapshot.index.log_of(listed.origin)
    log = Log(database, listed.origin)
    body = next(log.bodies(listed.index, listed.index + 1))
    path = tuple(log.prove_inclusion(listed.index, kept.size))
    proof = TlogProof(listed.index, path, kept.note).carrying(body, log.key)
    return Located(listed, kept, body, proof, path)


def entry_page(snapshot: Snapshot, database: Database, id_: str) -> dict[str, Any]:
    """Return everything about one entry."""
    located = locate(snapshot, database, id_)
    listed, kept, body = located.listed, located.log, located.body
    statement = Entry.stored(body).statement
    mentions, mentioned = snapshot.index.mentions(id_)
    return {
        "schema": ENTRY_SCHEMA,
        "frontier": snapshot.frontier.digest,
        **_entry(listed),
        "size": kept.size,
        "root": kept.root.hex(),
        "leaf_hash": leaf_hash(body).hex(),
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
        "proof": [value.hex() for value in located.path],
        "note": kept.note.decode("utf-8"),
        "cosignatures": _cosignatures(Log(database, kept.origin), kept),
        "disputed_from": kept.disputed_from,
        "log_path": f"/log/{kept.folder}",
        "proof_path": f"/entry/{id_}.tlog-proof",
        "envelope_path": f"/entry/{id_}.dsse.json",
        "copies": _copies(database, listed),
        "statement": json.loads(Envelope.parse(body).payload),
        "artifacts": [str(cid) for cid in artifact_cids(statement)],
        "references": list(_references(snapshot.index, statement.predicate, id_)),
        "mentions": [
            _entry(mention.entry) | {"role": mention.role, "detail": mention.detail}
            for mention in mentions
        ],
        "mentioned": mentioned,
    }


def _log(log: ListedLog) -> dict[str, Any]:
    return {
        "origin": log.origin,
        "name": log.name,
        "author": log.author,
        "own": log.own,
        "size": log.size,
        "witnessed": log.witnessed,
        "frozen": log.frozen,
        "disputed_from": log.disputed_from,
        "evidence": list(log.evidence),
        "root": log.root.hex(),
        "path": f"/{log.folder}",
        "page_path": f"/log/{log.folder}",
    }


def _entry(entry: ListedEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "kind": entry.kind,
        "author": entry.author,
        "name": entry.name,
        "title": entry.title,
        "about": entry.about,
        "license": entry.license,
        "cid": entry.cid,
        "status": entry.status,
        "state": WITNESSED if entry.witnessed else SIGNED,
        "origin": entry.origin,
        "index": entry.index,
        "created": entry.created,
    }


def _in_log(index: PageIndex, log: Log, kept: ListedLog, item: Placed) -> dict[str, Any]:
    """Return what stands in a log: an entry, a copy of one with its place elsewhere, or neither."""
    here = {"origin": item.origin, "index": item.index}
    if isinstance(item, RejectedEntry):
        body = next(log.bodies(item.index, item.index + 1))
        said = dict.fromkeys(("kind", "author", "name", "title", "about", "license", "cid"), "")
        state = WITNESSED if item.index < kept.witnessed else SIGNED
        shown = {"id": entry_id(body), "status": REJECTED, "state": state, "created": ""}
        return said | shown | here | {"copied": False, "rejected": reason(body)}
    listed = index.find(item.entry.id)
    if listed is None:
        raise NotFoundError(f"entry {item.entry.id} is not part of this view")
    copied = (listed.origin, listed.index) != (item.origin, item.index)
    return _entry(listed) | here | {"copied": copied, "rejected": ""}


def _paging(paging: Paging) -> dict[str, int]:
    return {"page": paging.page, "pages": paging.pages, "total": paging.total}


def _cosignatures(log: Log, kept: ListedLog) -> list[dict[str, Any]]:
    """Return who cosigned the tree that a page shows, and when, as verified on arrival."""
    tree = Checkpoint(log.origin, kept.size, kept.root)
    lines = sorted(cosignatures(log, tree).values(), key=lambda line: line.name)
    return [
        {"cosigner": line.name, "time": at(cosigned_at(line))} for line in lines[:MAX_SIGNATURES]
    ]


def _copies(database: Database, listed: ListedEntry) -> list[dict[str, Any]]:
    """Return the other places of an entry; copies of it change nothing."""
    here = (listed.origin, listed.index)
    others = [found[:2] for found in places(database, listed.id) if found[:2] != here]
    return [
        {"origin": origin, "index": index, "log_path": f"/log/{log_folder(origin)}"}
        for origin, index in others[:_MOST_COPIES]
    ]


def _references(
    index: PageIndex, predicate: Mapping[str, Any], own: str
) -> Iterator[dict[str, Any]]:
    """Yield the entries of this view that a statement names anywhere, each once."""
    for text in dict.fromkeys(_texts(predicate)):
        listed = index.find(text) if text != own else None
        if listed is not None:
            yield _entry(listed)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
