"""Reading the blocks behind published CIDs from a peer, each verified before it is stored.

Blocks that are here and intact are not read again, so an interrupted pull continues where it
stopped and one that was damaged on this disk is replaced.
What a peer does not have is reported as missing; that is no error. A block with other bytes than
its CID names is the peer's error. A DAG that hashes correctly and is still unacceptable is its
publisher's, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, groupby

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
from node.peering.quota import Quota, QuotaError
from node.peering.source import Source
from node.storage.gateway import GatewayStore
from node.storage.gathering import is_worth_a_car, missing_blocks
from node.storage.local import LocalStore

Progress = Callable[[str, int, int], None]
"""Called with a step, how much of it is done and how much there is."""


def silent(_step: str, _done: int, _total: int) -> None:
    """Report progress to nobody."""


def _unlimited(_size: int) -> None:
    """Take a block of any size."""


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
        self._take: Callable[[int], None] = _unlimited

    def complete(self, root: Cid, take: Callable[[int], None] = _unlimited) -> bool:
        """Complete the DAG below a root and pin it; say whether it is complete.

        Args:
            root: of an artifact or a document.
            take: told the size of every new block before it is stored; what it raises ends this.

        Raises:
            UnavailableError, IncompleteError: if the peer gives no more; what came is kept.
        """
        self._take = take
        return (not self.repairs and self._store.is_pinned(root)) or self._pull_root(root)

    def _pull_root(self, root: Cid) -> bool:
        before = len(self.report.missing)
        try:
            leaves = [
                cid for cid in dag_cids(root, self._block, self._limits.blocks) if cid.codec == RAW
            ]
            self._pull_leaves(root, leaves)
        except MalformedError as error:
            self.report.refused.append(f"artifact {root}: {error.message}")
            return False
        if len(self.report.missing) > before:
            return False
        self._store.pin(root)
        return True

    def _pull_leaves(self, root: Cid, leaves: Sequence[Cid]) -> None:
        """Complete leaves. One that is here was hashed when it was stored; that is enough."""
        here = self._is_intact if self.repairs else self._store.renew
        missing = {cid for cid in leaves if not here(cid)}
        with self._store.batch() as batch:
            if is_worth_a_car(len(missing), len(leaves)):
                for cid, block in self._by_car(root, missing):
                    self._take(len(block))
                    batch.put(cid, block)
                    missing.discard(cid)
                    self.report.stored += 1
            for cid in leaves:
                read = self._read(cid) if cid in missing else None
                if read is not None:
                    self._take(len(read))
                    batch.put(cid, read)
                    missing.discard(cid)
                    self.report.stored += 1

    def _by_car(self, root: Cid, missing: Collection[Cid]) -> Iterator[tuple[Cid, bytes]]:
        """Yield what comes at once; what does not is asked for by itself."""
        most = len(missing) * MAX_BLOCK_BYTES
        try:
            yield from missing_blocks(GatewayStore(self._source), root, missing, most)
        except (NotFoundError, UnavailableError, IncompleteError):
            return
        except EvidenceError as error:
            self._blame(error)

    def _is_intact(self, cid: Cid) -> bool:
        try:
            checked_block(cid, self._store.get_block)
        except (NotFoundError, EvidenceError):
            return False
        return self._store.renew(cid)

    def _block(self, cid: Cid) -> bytes | None:
        """Return a block, read from the peer unless it is here and intact."""
        return self._store.get_block(cid) if self._is_intact(cid) else self._fetch(cid)

    def _fetch(self, cid: Cid) -> bytes | None:
        block = self._read(cid)
        if block is not None:
            self._take(len(block))
            self._store.put_block(cid, block)
            self.report.stored += 1
        return block

    def _read(self, cid: Cid) -> bytes | None:
        """Return a verified block of the peer, or note that it is missing."""
        try:
            return checked_block(cid, GatewayStore(self._source).get_block)
        except NotFoundError:
            self.report.missing.append(cid)
            return None
        except EvidenceError as error:
            self.report.missing.append(cid)
            self._blame(error)
            return None

    def _blame(self, error: EvidenceError) -> None:
        text = f"{self._source.address}: {error.message}"
        self.report.errors.append(type(error)(text, hint=error.hint))


def pull_blocks(
    home: Home,
    state: PeerState,
    origins: Sequence[str],
    pull: BlockPull,
    quota: Quota,
    progress: Progress,
) -> None:
    """Complete what the entries held of some logs name; what is pinned is complete.

    New entries are searched once for what they name; what blocks are missing of is remembered. A
    root that several logs name counts for the first of them.
    """
    wanted: dict[Cid, str] = {}
    with home.reading() as database:
        for origin in origins:
            log = find_log(database, origin)
            if log is None:
                continue
            try:
                _scan(log, 0 if pull.repairs else state.scanned(origin), state)
            except EvidenceError as error:
                pull.report.errors.append(error)
            for root in state.wanted(origin):
                wanted.setdefault(root, origin)
    complete: list[Cid] = []
    done = count()
    try:
        for origin, roots in groupby(wanted, key=wanted.__getitem__):
            with quota.admitting_blocks(origin) as take, _noting(pull.report.errors, QuotaError):
                for root in roots:
                    progress("artifacts and documents", next(done), len(wanted))
                    if pull.complete(root, take):
                        complete.append(root)
    except (UnavailableError, IncompleteError) as error:
        pull.report.errors.append(error)
    state.complete(complete)


@contextmanager
def _noting(errors: list[PnodeError], kind: type[PnodeError]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        errors.append(error)


def _scan(log: Log, start: int, state: PeerState) -> None:
    """Note what new entries of a log name; a ledger that has shrunk is searched from the start."""
    size = log.size
    if start != size:
        state.want(log.origin, size, log_roots(log, start if start < size else 0, size))
