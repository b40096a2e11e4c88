"""Reading the blocks behind published CIDs from a peer, each verified before it is stored.

Blocks that are here and intact are not read again, so an interrupted pull continues where it
stopped and one that was damaged on this disk is replaced.
What a peer does not have is reported as missing; that is no error. A block with other bytes than
its CID names is the peer's error. A DAG that hashes correctly and is still unacceptable is its
publisher's, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ledger.cid import RAW, Cid
from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.log import Log, find_log
from ledger.unixfs import MAX_BLOCK_BYTES, checked_block
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.peerstate import PeerState
from node.peering.published import dag_cids, log_roots
from node.peering.source import Source
from node.storage.local import LocalStore

Progress = Callable[[str, int, int], None]
"""Called with a step, how much of it is done and how much there is."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Report progress to nobody."""


@dataclass(slots=True)
class BlockReport:
    """What came of a pull: blocks stored, CIDs not to be had, artifacts refused, errors."""

    stored: int = 0
    missing: list[Cid] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    errors: list[PnodeError] = field(default_factory=list)


class BlockPull:
    """Completes artifacts in a local store from one peer.

    With `trust_pins` a pinned root counts as complete and is not looked at: whoever pinned it had
    verified every block. Without, every block held is hashed again.
    """

    def __init__(
        self, source: Source, store: LocalStore, limits: SyncLimits, *, trust_pins: bool = True
    ) -> None:
        self.report = BlockReport()
        self.repairs = not trust_pins
        self._source = source
        self._store = store
        self._limits = limits

    def pull(self, roots: Sequence[Cid], progress: Progress = silent) -> list[Cid]:
        """Complete the DAGs below some roots, pin those that are complete, and return them."""
        complete: list[Cid] = []
        try:
            for done, root in enumerate(roots):
                progress("artifacts and documents", done, len(roots))
                pinned = not self.repairs and self._store.is_pinned(root)
                if pinned or self._pull_root(root):
                    complete.append(root)
        except (UnavailableError, IncompleteError) as error:
            self.report.errors.append(error)
        return complete

    def _pull_root(self, root: Cid) -> bool:
        before = len(self.report.missing)
        try:
            for cid in dag_cids(root, self._block, self._limits.blocks):
                if cid.codec == RAW:
                    self._leaf(cid)
        except MalformedError as error:
            self.report.refused.append(f"artifact {root}: {error.message}")
            return False
        if len(self.report.missing) > before:
            return False
        self._store.pin(root)
        return True

    def _leaf(self, cid: Cid) -> None:
        """Complete a leaf. One that is here was hashed when it was stored; that is enough."""
        if self.repairs or not self._store.renew(cid):
            self._block(cid)

    def _block(self, cid: Cid) -> bytes | None:
        """Return a block, read from the peer unless it is here and intact."""
        try:
            block = checked_block(cid, self._store.get_block)
        except (NotFoundError, EvidenceError):
            return self._fetch(cid)
        return block if self._store.renew(cid) else self._fetch(cid)

    def _fetch(self, cid: Cid) -> bytes | None:
        try:
            block = checked_block(cid, self._read)
        except NotFoundError:
            self.report.missing.append(cid)
            return None
        except EvidenceError as error:
            text = f"{self._source.address}: {error.message}"
            self.report.missing.append(cid)
            self.report.errors.append(type(error)(text, hint=error.hint))
            return None
        self._store.put_block(cid, block)
        self.report.stored += 1
        return block

    def _read(self, cid: Cid) -> bytes:
        return self._source.read(f"/ipfs/{cid}", max_bytes=MAX_BLOCK_BYTES)


def pull_blocks(
    home: Home, state: PeerState, origins: Sequence[str], pull: BlockPull, progress: Progress
) -> None:
    """Complete what the entries held of some logs name; what is pinned is complete.

    New entries are searched once for what they name; what blocks are missing of is remembered.
    """
    wanted: dict[Cid, None] = {}
    with home.reading() as database:
        for origin in origins:
            log = find_log(database, origin)
            if log is None:
                continue
            try:
                _scan(log, 0 if pull.repairs else state.scanned(origin), state)
            except EvidenceError as error:
                pull.report.errors.append(error)
            wanted.update(dict.fromkeys(state.wanted(origin)))
    state.complete(pull.pull(list(wanted), progress))


def _scan(log: Log, start: int, state: PeerState) -> None:
    """Note what new entries of a log name; a ledger that has shrunk is searched from the start."""
    size = log.size
    if start != size:
        state.want(log.origin, size, log_roots(log, start if start < size else 0, size))
