"""The static tree of a home: every path that a peer can read, as a pure mapping to bytes.

    /logs                                    the logs held here       (`node.peering.loglist`)
    /frontier                                their checkpoint notes   (`node.peering.loglist`)
    /<h>/checkpoint                          the largest signed checkpoint of a log, cosigned
    /<h>/tile/<L>/<N>[.p/<W>]                hash tiles               (c2sp.org/tlog-tiles)
    /<h>/tile/entries/<N>[.p/<W>]            entry bundles
    /evidence                                the evidence held        (`node.peering.evidencelist`)
    /equivocation/<id>                       one piece of it          (docs/spec/evidence.md)
    /ipfs/<cid>                              published blocks         (`node.peering.published`)

<h> is the lower-case hex SHA-256 of the origin, for the home's own log and for mirrors alike. The
same tree is served over HTTP and written to a directory. Entries that no checkpoint covers yet are
not part of it. A partial tile is answered for every width up to the signed size, so that a reader
who holds an older checkpoint finds its tiles; only those of the largest checkpoint are listed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.database import Database
from ledger.errors import EvidenceError, MalformedError, NotFoundError, UsageError
from ledger.heldevidence import held_evidence
from ledger.log import Log, logs
from ledger.observations import cosigned_note
from ledger.tile import TILE_WIDTH, Tile, encode_bundle, tiles_of
from ledger.unixfs import checked_block
from node.peering.cursor import changed_since, cursor_of
from node.peering.evidencelist import (
    EVIDENCE_FOLDER,
    EVIDENCE_LIST,
    encode_evidence_list,
    evidence_file,
)
from node.peering.loglist import encode_frontier, encode_logs
from node.peering.published import Published
from node.storage.local import LocalStore

TEXT: Final = "text/plain; charset=utf-8"
BINARY: Final = "application/octet-stream"
RAW_BLOCK: Final = "application/vnd.ipld.raw"

_LOG_PATH = re.compile(r"/(?P<folder>[0-9a-f]{64})/(?P<rest>checkpoint|tile/.{1,80})", re.ASCII)
_BLOCK_PREFIX = "/ipfs/"


@dataclass(frozen=True, slots=True)
class Resource:
    """The answer to a path; an immutable one never changes under its path.

    A list that changes has a tag: equal tags mean equal lists.
    """

    body: bytes
    content_type: str
    immutable: bool
    tag: str = ""


def log_folder(origin: str) -> str:
    """Return the first path segment of a log: the hex SHA-256 of its origin."""
    return hashlib.sha256(origin.encode("utf-8")).hexdigest()


def resolve(
    database: Database, store: LocalStore, path: str, published: Published | None = None
) -> Resource:
    """Return what the tree holds under an absolute path.

    Args:
        database: the ledger, open for reading.
        store: the local block store.
        path: for example "/logs"; never a query or percent-encoding.
        published: kept between calls by a server, so that entries are read once.

    Raises:
        NotFoundError: if the tree has no such path now.
        UsageError: if no tree could ever have it (a malformed CID or tile path).
        DigestError: if a block on disk is damaged.
    """
    if path == "/logs":
        keys = (log.key for log, _, _ in signed_logs(database))
        return _tagged(encode_logs(keys))
    if path == EVIDENCE_LIST:
        return _tagged(encode_evidence_list(database))
    if path.startswith(EVIDENCE_FOLDER):
        body = evidence_file(database, path.removeprefix(EVIDENCE_FOLDER))
        return Resource(body, TEXT, immutable=True)
    if path == "/frontier":
        return frontier(database)
    if path.startswith(_BLOCK_PREFIX):
        return _block(database, store, path.removeprefix(_BLOCK_PREFIX), published or Published())
    match = _LOG_PATH.fullmatch(path)
    if match is None:
        raise _no_such(path)
    log, checkpoint, note = _find_log(database, match["folder"])
    if match["rest"] == "checkpoint":
        return _tagged(note)
    return _tile(log, checkpoint.size, match["rest"])


def frontier(database: Database, since: str = "") -> Resource:
    """Return the checkpoint notes of all logs, or of those that changed since a cursor.

    The tag of the answer is the cursor to ask with next time.
    """
    notes = {log.origin: note for log, _, note in signed_logs(database)}
    changed = [notes[origin] for origin in changed_since(database, since) if origin in notes]
    return Resource(encode_frontier(changed), TEXT, immutable=False, tag=cursor_of(database))


def paths(
    database: Database, store: LocalStore, published: Published | None = None
) -> Iterator[str]:
    """Yield every path of the tree, in the order in which a copy must be made.

    What others point to comes first: blocks, tiles, then each checkpoint, then the two lists. A
    copy that stops half-way is therefore still a consistent older tree.
    """
    published = published or Published()
    published.update(database, store)
    for cid in published.cids():
        if store.has(cid):
            yield f"{_BLOCK_PREFIX}{cid}"
    held = signed_logs(database)
    for log, checkpoint, _ in held:
        for tile in tiles_of(checkpoint.size):
            yield f"/{log_folder(log.origin)}/{tile.path}"
            if tile.level == 0:
                yield f"/{log_folder(log.origin)}/{Tile(-1, tile.index, tile.width).path}"
    for log, _, _ in held:
        yield f"/{log_folder(log.origin)}/checkpoint"
    accused = held_evidence(database)
    for evidence in accused:
        yield f"{EVIDENCE_FOLDER}{evidence.id}"
    if accused:
        yield EVIDENCE_LIST
    yield "/frontier"
    yield "/logs"


def signed_logs(database: Database) -> list[tuple[Log, Checkpoint, bytes]]:
    """Return every log that has a checkpoint, with the largest one and its note, by origin."""
    found = []
    for log in logs(database):
        latest = log.checkpoint()
        if latest is not None:
            found.append((log, latest[0], cosigned_note(log, *latest)))
    return found


def _tagged(body: bytes) -> Resource:
    tag = hashlib.sha256(body).hexdigest()[:32]
    return Resource(body, TEXT, immutable=False, tag=tag)


def _find_log(database: Database, folder: str) -> tuple[Log, Checkpoint, bytes]:
    for (origin,) in list(database.query("SELECT origin FROM log")):
        if log_folder(origin) == folder:
            log = Log(database, origin)
            latest = log.checkpoint()
            if latest is not None:
                return log, latest[0], cosigned_note(log, *latest)
    raise _no_such(f"/{folder}")


def _tile(log: Log, size: int, path: str) -> Resource:
    try:
        tile = Tile.parse(path)
    except MalformedError as error:
        raise UsageError(error.message) from None
    start = tile.index * TILE_WIDTH
    if start + tile.width > size >> (8 * max(tile.level, 0)):
        raise _no_such(f"{path} in {log.origin} at size {size}")
    if tile.level >= 0:
        return Resource(b"".join(log.tile(tile)[: tile.width]), BINARY, immutable=True)
    bodies = list(log.bodies(start, start + tile.width))
    if len(bodies) != tile.width:
        raise EvidenceError(f"{log.origin}: entries of {path} are missing from the ledger")
    return Resource(encode_bundle(bodies), BINARY, immutable=True)


def _block(database: Database, store: LocalStore, text: str, published: Published) -> Resource:
    try:
        cid = Cid.parse(text)
    except MalformedError as error:
        raise UsageError(error.message) from None
    if cid not in published:
        published.update(database, store)
    if cid not in published:
        raise _no_such(f"block {cid}")
    return Resource(checked_block(cid, store.get_block), RAW_BLOCK, immutable=True)


def _no_such(what: str) -> NotFoundError:
    return NotFoundError(f"nothing is published under {what[:120]}")
