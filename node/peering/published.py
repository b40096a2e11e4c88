"""Which blocks a node hands out: those below the CIDs that entries of its logs name, no others.

The local store also holds drafts and the products of runs nobody published. A CID is published
when a signed entry names it (`ledger.statement.artifact_cids`) or a published dag-pb block links
to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import Final

from ledger.blocks import BlockStore
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import parse_node
from ledger.database import Database
from ledger.dsse import Envelope
from ledger.encoding import search_base64
from ledger.errors import EvidenceError, MalformedError, NotFoundError
from ledger.log import Log, logs
from ledger.statement import Statement, artifact_cids
from ledger.unixfs import checked_block

_QUOTED_CID: Final = b'"baf'
"""How every CID in a statement begins."""
MAX_DAG_DEPTH: Final = 8
MAX_DAG_BLOCKS: Final = 16_384

NodeBlockReader = Callable[[Cid], bytes | None]
"""Returns a verified dag-pb block, or None if it is not to be had."""


def log_roots(log: Log, start: int, end: int) -> Iterator[Cid]:
    """Yield what the valid entries [start, end) of a stored log name, in log order."""
    bodies = (body for _, body in log.accepted(start, end))
    # Most entries name none, and looking is cheaper than parsing.
    for body in search_base64(bodies, _QUOTED_CID):
        yield from artifact_cids(Statement.parse(Envelope.parse(body).payload))


def dag_cids(
    root: Cid, read: NodeBlockReader, max_blocks: int = MAX_DAG_BLOCKS, *, repeats: bool = False
) -> Iterator[Cid]:
    """Yield the CIDs of a DAG, depth first; only dag-pb blocks are read.

    Each is yielded once, or with `repeats` as often as it is linked to.

    Raises:
        MalformedError: for a block that is not dag-pb, or a DAG too deep or too large.
    """
    seen: set[Cid] = set()
    stack = [(root, 0)]
    count = 0
    while stack:
        cid, depth = stack.pop()
        if cid in seen and not repeats:
            continue
        seen.add(cid)
        count += 1
        if depth > MAX_DAG_DEPTH or count > max_blocks:
            raise MalformedError(f"{root}: deeper or with more blocks than this node accepts")
        yield cid
        block = read(cid) if cid.codec == DAG_PB else None
        if block is not None:
            links, _ = parse_node(block)
            stack += [(link.cid, depth + 1) for link in reversed(links)]


class Published:
    """The published CIDs of a home, kept up to date as its logs grow; safe to share by threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sizes: dict[str, int] = {}
        self._open: set[Cid] = set()
        self._cids: set[Cid] = set()

    def update(self, database: Database, store: BlockStore) -> None:
        """Take in entries that were signed, and blocks that arrived, since the last call."""
        with self._lock:
            for log in logs(database):
                latest = log.checkpoint()
                size = latest[0].size if latest else 0
                self._open.update(log_roots(log, self._sizes.get(log.origin, 0), size))
                self._sizes[log.origin] = size
            self._open = {root for root in self._open if not self._close(root, store)}

    def __contains__(self, cid: Cid) -> bool:
        with self._lock:
            return cid in self._cids

    def cids(self) -> list[Cid]:
        """Return every published CID, sorted; not all of them need be here."""
        with self._lock:
            return sorted(self._cids)

    def _close(self, root: Cid, store: BlockStore) -> bool:
        """Add a DAG as far as it is here; say whether nothing more can be learnt of it."""
        unread = []

        def read(cid: Cid) -> bytes | None:
            try:
                return checked_block(cid, store.get_block)
            except (NotFoundError, EvidenceError):
                unread.append(cid)
                return None

        try:
            self._cids.update(dag_cids(root, read))
        except MalformedError:
            return True
        return not unread
