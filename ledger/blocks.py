"""The block store protocol: where the bytes behind a CID come from.

A backend is transport, never authority: whoever reads through `ledger.unixfs` has every block
hashed before it is parsed. Implementations live in `node.storage`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ledger.cid import Cid


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a backend answers now, and one line about it for people."""

    ok: bool
    detail: str


@runtime_checkable
class DagReader(Protocol):
    """A backend that hands out a whole DAG at once."""

    def get_dag(self, root: Cid) -> Generator[tuple[Cid, bytes]]:
        """Yield the blocks below a root as they come: unverified, in any order, perhaps not all.

        Raises:
            NotFoundError: if it does not have the root.
            MalformedError: if it sends what is no DAG.
            IncompleteError, UnavailableError: if it breaks off, or cannot tell now.
        """


class BlockStore(Protocol):
    """Holds blocks by CID and keeps those below pinned roots.

    A backend that only hands out blocks refuses to pin with an `UnavailableError`.
    """

    def put_dag(self, root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Store blocks and pin their root; return only when they are durable. Idempotent."""

    def get_block(self, cid: Cid) -> bytes:
        """Return the bytes filed under a CID, unverified.

        Raises:
            NotFoundError: if this store does not have it.
            UnavailableError: if it cannot tell now.
        """

    def has(self, cid: Cid) -> bool:
        """Whether the block is here."""

    def pin(self, root: Cid) -> None:
        """Keep everything below a root."""

    def unpin(self, root: Cid) -> None:
        """Stop keeping what is below a root."""

    def pins(self) -> Iterator[Cid]:
        """Yield the pinned roots."""

    def health(self) -> Health:
        """Say whether the backend answers; never raises for one that does not."""
