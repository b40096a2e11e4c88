"""Gathering: every block below a root into the local store, from wherever they are to be had.

The local store is asked first, then the providers in their order. Nodes come before leaves, so
that size, number and depth of all there is are known, and within the limits, before the bulk is
read. Each block is hashed before it is parsed or kept, and kept at once: what arrived before an
interruption is not read again. Nothing is pinned: the caller checks the whole and pins its root.
Until then what was gathered is kept as long as `node.storage.garbage` spares what is new.

A provider that lies or stalls is not asked again in this run. What a provider does not have is
asked of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from ledger.blocks import BlockStore, DagReader
from ledger.cid import RAW, Cid
from ledger.dagpb import parse_node
from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.unixfs import Limits, checked_block, is_directory
from node.peering.published import dag_cids
from node.storage.local import LocalStore

Progress = Callable[[str, int, int], None]

CAR_BLOCKS: Final = 4
"""From how many missing blocks on, if they are half of all, a CAR is asked for."""
MAX_NODE_BYTES: Final = 16 << 20
"""For the nodes of one DAG together; those of 8 GiB have half a megabyte."""
_HINT = "run it again when more peers can be reached: what arrived is kept"


def is_worth_a_car(missing: int, leaves: int) -> bool:
    """Whether so many are missing that all are better asked for at once."""
    return missing >= CAR_BLOCKS and 2 * missing >= leaves


def missing_blocks(
    store: BlockStore, root: Cid, missing: Collection[Cid], total: int
) -> Iterator[tuple[Cid, bytes]]:
    """Yield, verified, what is missing and comes with a DAG; what else comes is passed over.

    Args:
        store: whom to ask; nothing is yielded unless it hands out DAGs.
        root: of the DAG.
        missing: the CIDs that are; once the caller has removed all, this ends.
        total: how many bytes its leaves have.

    Raises:
        DigestError: if a block is not what its CID names.
        MalformedError: if it sends what is no DAG, or far more than this one.
        NotFoundError, UnavailableError, IncompleteError: if it does not have it, or breaks off.
    """
    if not isinstance(store, DagReader):
        return
    surplus = 0
    with closing(store.get_dag(root)) as blocks:
        for cid, block in blocks:
            if cid in missing:
                cid.check(block)
                yield cid, block
            else:
                surplus += len(block)
            if not missing:
                return
            if surplus > total + MAX_NODE_BYTES:
                raise MalformedError("it sends more than was asked for")


class Provider:
    """A store to ask besides the local one, opened when it is first asked."""

    def __init__(self, address: str, open_store: Callable[[], BlockStore]) -> None:
        self.address = address
        self.blocks = 0
        self.dropped = ""
        self._open_store = open_store
        self._opened: BlockStore | None = None

    @property
    def store(self) -> BlockStore:
        """The store behind the address.

        Raises:
            UnavailableError: if it cannot be opened.
        """
        if self._opened is None:
            self._opened = self._open_store()
        return self._opened

    def drop(self, error: PnodeError) -> None:
        """Ask no more in this run, for this reason."""
        self.dropped = error.message


@dataclass(slots=True)
class _Outline:
    """What the nodes of a DAG announce: the size of each leaf, and how much there is in all."""

    root: Cid
    limits: Limits
    leaves: dict[Cid, int] = field(default_factory=dict)
    entries: int = 0
    directories: int = 0
    node_bytes: int = 0
    total: int = 0

    def take_in(self, node: bytes) -> None:
        """Note what a verified node links to.

        Raises:
            MalformedError: if it is not dag-pb, or all of it is more than this node accepts.
        """
        links, _ = parse_node(node)
        for link in links:
            if link.cid.codec == RAW and link.cid not in self.leaves:
                self.leaves[link.cid] = link.tsize
                self.total += link.tsize
        if is_directory(node):
            self.directories += 1
            self.entries += len(links)
        self.node_bytes += len(node)
        files = self.entries - max(self.directories - 1, 0)
        # Before the nodes below are read, their parent says how much there is, nodes included.
        size = max(self.total, sum(link.tsize for link in links) - MAX_NODE_BYTES)
        most = self.limits
        if files > most.files or size > most.total_bytes or self.node_bytes > MAX_NODE_BYTES:
            raise MalformedError(
                f"{self.root} announces {files} files and {size} bytes, more than this node accepts"
            )


class Gathering:
    """One run of it: which providers there are, and what they turned out to be worth."""

    def __init__(
        self,
        store: LocalStore,
        providers: Sequence[Provider],
        progress: Progress,
        limits: Limits | None = None,
    ) -> None:
        self.providers = tuple(providers)
        self._store = store
        self._limits = limits or Limits()
        self._progress = progress

    def gather(self, root: Cid, *, recheck: bool = False) -> None:
        """Bring everything below a root.

        Args:
            root: of an artifact or a document.
            recheck: hash the leaves that are here too, and replace damaged ones.

        Raises:
            NotFoundError: if nobody has the root.
            UnavailableError: if the root is not here and not everybody could be asked.
            IncompleteError: if another block is not to be had.
            MalformedError: if it announces, or is, more than this node accepts.
        """
        outline = self._outline(root)
        have = self._is_intact if recheck else self._store.renew
        missing = {cid: size for cid, size in outline.leaves.items() if not have(cid)}
        wanted = len(missing)
        with self._store.batch() as batch:
            for provider in self._live():
                for cid, block in self._blocks(provider, outline, missing):
                    batch.put(cid, block)
                    provider.blocks += 1
                    if len(block) != missing.pop(cid):
                        raise MalformedError(f"{root}: block {cid} has another size than announced")
                    self._progress("blocks", wanted - len(missing), wanted)
        if missing:
            raise IncompleteError(
                f"{len(missing)} of {len(outline.leaves)} blocks of {root} are not to be had"
                f"{self._reasons()}",
                hint=_HINT,
            )

    def _outline(self, root: Cid) -> _Outline:
        outline = _Outline(root, self._limits)
        if root.codec == RAW:
            outline.leaves[root] = len(self._block(root, root))
            return outline

        def read(cid: Cid) -> bytes:
            node = self._block(cid, root)
            outline.take_in(node)
            return node

        for _ in dag_cids(root, read):
            pass
        return outline

    def _block(self, cid: Cid, root: Cid) -> bytes:
        """Return a block, from here if it is intact, else from the first that has it."""
        damage = None
        try:
            held = checked_block(cid, self._store.get_block)
            if self._store.renew(cid):
                return held
        except NotFoundError:
            pass
        except EvidenceError as error:
            damage = error
        for provider in self._live():
            block = self._ask(provider, cid)
            if block is not None:
                self._store.put_block(cid, block)
                provider.blocks += 1
                return block
        if damage is not None:
            raise damage
        reasons = self._reasons()
        if cid != root:
            raise IncompleteError(f"block {cid} of {root} is not to be had{reasons}", hint=_HINT)
        if reasons:
            raise UnavailableError(f"{root} is not here{reasons}")
        whom = "no peer has it" if self.providers else "there is no peer to ask"
        raise NotFoundError(f"{root} is not here, and {whom}")

    def _blocks(
        self, provider: Provider, outline: _Outline, missing: Mapping[Cid, int]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Yield what a provider has of what is missing, verified."""
        yield from self._by_car(provider, outline, missing)
        yield from self._one_by_one(provider, missing)

    def _by_car(
        self, provider: Provider, outline: _Outline, missing: Mapping[Cid, int]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Yield verified blocks that are missing, from one CAR, if that is worth it."""
        if not is_worth_a_car(len(missing), len(outline.leaves)):
            return
        try:
            yield from missing_blocks(provider.store, outline.root, missing, outline.total)
        except (NotFoundError, UnavailableError, IncompleteError):
            return  # It may have single blocks, and is asked for them next.
        except EvidenceError as error:
            provider.drop(error)

    def _one_by_one(
        self, provider: Provider, missing: Mapping[Cid, int]
    ) -> Iterator[tuple[Cid, bytes]]:
        """Yield verified blocks that are missing."""
        for cid in list(missing):
            block = None if provider.dropped else self._ask(provider, cid)
            if block is not None:
                yield cid, block

    def _ask(self, provider: Provider, cid: Cid) -> bytes | None:
        """Return a verified block, or None if this provider does not have it."""
        try:
            return checked_block(cid, provider.store.get_block)
        except NotFoundError:
            return None
        except (UnavailableError, EvidenceError) as error:
            provider.drop(error)
            return None

    def _is_intact(self, cid: Cid) -> bool:
        try:
            checked_block(cid, self._store.get_block)
        except (NotFoundError, EvidenceError):
            return False
        return self._store.renew(cid)

    def _live(self) -> Iterator[Provider]:
        return (provider for provider in self.providers if not provider.dropped)

    def _reasons(self) -> str:
        dropped = [each for each in self.providers if each.dropped]
        return "".join(f"; {each.address}: {each.dropped}" for each in dropped)
