"""Fetching: an artifact from blocks to a folder that other tools load.

Blocks that are not here are gathered from peers, an IPFS daemon and gateways
(`node.storage.gathering`). The files are written from verified blocks, and must build the root
again; then the root is pinned.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.cid import Cid
from ledger.errors import DigestError, IncompleteError, MalformedError, NotFoundError, UsageError
from ledger.log import resolve_id
from ledger.statement import artifact_cids
from node.artifacts import extract, is_document, read_document
from node.durable import make_folder, write_atomic
from node.home import Home
from node.reading import load_view
from node.storage.gathering import Gathering, Progress
from node.storage.providers import providers_of


@dataclass(frozen=True, slots=True)
class Used:
    """A provider: how many blocks it gave, and why it was asked no more, if it was."""

    provider: str
    blocks: int
    dropped: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A folder that holds a verified artifact or document, with a warning if it was withdrawn.

    `providers` are those that gave blocks or were dropped.
    """

    cid: str
    files: list[str]
    warning: str = ""
    providers: tuple[Used, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """What a text names, whether an entry here names it too, and a warning about that entry."""

    cid: Cid
    named: bool = False
    warning: str = ""


def fetch(
    home: Home, text: str, directory: Path, *, offline: bool = False, progress: Progress
) -> Fetched:
    """Write the artifact of an entry, or of a CID, to a new directory; every block is verified.

    Args:
        home: where blocks are kept.
        text: the id of an entry, or the CID of an artifact that no entry here needs to name.
        directory: to be created.
        offline: contact nobody over the network.
        progress: told how many blocks have arrived.

    Raises:
        UsageError: if the directory exists already or the entry has no artifact.
        NotFoundError: if nobody has the CID.
        UnavailableError: if it is not here, and not everybody could be asked.
        IncompleteError: if a block is missing.
        EvidenceError: if what it names is damaged here and nowhere else to be had, or unacceptable.
    """
    if directory.exists():
        raise UsageError(f"{directory}: exists already", hint="give a new directory to -o")
    found = find_artifact(home, text)
    cid = found.cid
    with providers_of(home, offline=offline) as providers:
        gathering = Gathering(home.store, providers, progress)
        gather(gathering, found)
        try:
            files = _extract(home, cid, directory)
        except DigestError as damage:
            files = _repaired(gathering, home, cid, directory, damage)
        home.store.pin(cid)
        used = [Used(each.address, each.blocks, each.dropped) for each in providers]
    return Fetched(str(cid), files, found.warning, tuple(u for u in used if u.blocks or u.dropped))


def gather(gathering: Gathering, found: Named) -> None:
    """Bring everything below what was named; raises as `Gathering.gather` does.

    Raises:
        IncompleteError: if nobody has what an entry names.
    """
    try:
        gathering.gather(found.cid)
    except NotFoundError as error:
        if not found.named:
            raise
        raise IncompleteError(f"artifact {found.cid}: {error.message}") from None


def _repaired(
    gathering: Gathering, home: Home, cid: Cid, directory: Path, damage: DigestError
) -> list[str]:
    """Extract again after what is damaged on this disk was replaced by what others have."""
    try:
        gathering.gather(cid, recheck=True)
    except IncompleteError:
        raise damage from None
    return _extract(home, cid, directory)


def _extract(home: Home, cid: Cid, directory: Path) -> list[str]:
    if not is_document(cid, home.store):
        return [file.path for file in extract(cid, home.store, directory).files]
    data = read_document(cid, home.store, what="document")
    make_folder(directory)
    write_atomic(directory / str(cid), data)
    return [str(cid)]


def find_artifact(home: Home, text: str) -> Named:
    """Return the artifact of an entry, given by its id or its beginning, or the CID itself.

    Raises:
        UsageError: if the entry names no artifact.
        NotFoundError: if the text is neither the id of an entry nor a CID.
    """
    cid = _parse(text)
    if cid is not None and home.store.has(cid):
        return Named(cid)
    with home.reading() as database:
        try:
            id_ = resolve_id(database, text)
        except NotFoundError:
            if cid is None:
                raise
            return Named(cid)
        ledger = load_view(database)
    placed = ledger.entries.get(id_)
    cids = artifact_cids(placed.entry.statement) if placed else ()
    if not cids:
        raise UsageError(f"{id_} names no artifact", hint="see 'pnode list' for contributions")
    offered = ledger.contributions.get(id_)
    gone = offered is not None and offered.status != "active"
    return Named(
        cids[0], named=True, warning=f"{id_} is {offered.status}" if offered and gone else ""
    )


def _parse(text: str) -> Cid | None:
    try:
        return Cid.parse(text)
    except MalformedError:
        return None
