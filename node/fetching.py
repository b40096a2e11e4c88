"""Fetching: an artifact from blocks to a folder that other tools load."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.cid import Cid
from ledger.errors import MalformedError, UsageError
from ledger.log import resolve_id
from ledger.statement import artifact_cids
from node.artifacts import extract, is_document, read_document
from node.durable import make_folder, write_atomic
from node.home import Home
from node.reading import load_view


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder that holds a verified artifact or document, with a warning if it was withdrawn."""

    cid: str
    files: list[str]
    warning: str = ""


def fetch(home: Home, text: str, directory: Path) -> Fetched:
    """Write the artifact of an entry, or of a CID, to a new directory; every block is verified.

    Raises:
        UsageError: if the directory exists already or the entry has no artifact.
        IncompleteError: if a block is missing.
    """
    if directory.exists():
        raise UsageError(f"{directory}: exists already", hint="give a new directory to -o")
    cid, warning = _artifact(home, text)
    if is_document(cid, home.store):
        data = read_document(cid, home.store, what="document")
        make_folder(directory)
        write_atomic(directory / str(cid), data)
        files = [str(cid)]
    else:
        files = [file.path for file in extract(cid, home.store, directory).files]
    return Fetched(str(cid), files, warning)


def _artifact(home: Home, text: str) -> tuple[Cid, str]:
    cid = _parse(text)
    if cid is not None and home.store.has(cid):
        return cid, ""
    with home.reading() as database:
        id_ = resolve_id(database, text)
        ledger = load_view(database)
    placed = ledger.entries.get(id_)
    cids = artifact_cids(placed.entry.statement) if placed else ()
    if not cids:
        raise UsageError(f"{id_} names no artifact", hint="see 'pnode list' for contributions")
    offered = ledger.contributions.get(id_)
    gone = offered is not None and offered.status != "active"
    return cids[0], f"{id_} is {offered.status}" if offered and gone else ""


def _parse(text: str) -> Cid | None:
    try:
        return Cid.parse(text)
    except MalformedError:
        return None
