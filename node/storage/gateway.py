"""A peer's trustless gateway as a block store: another node, any IPFS gateway, or a directory.

Blocks are read one by one, and a whole DAG as a CAR where the peer offers one. Nothing can be kept
there: what a peer pins is up to the peer.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final, NoReturn

from ledger.blocks import Health
from ledger.car import read_car
from ledger.cid import Cid
from ledger.errors import NotFoundError, PnodeError, UnavailableError
from ledger.unixfs import MAX_BLOCK_BYTES
from node.peering.source import Source, Streamer

CAR: Final = "application/vnd.ipld.car"
_ACCEPT = f"{CAR}; version=1; order=dfs; dups=n"
_PROBE = "/ipfs/bafkqaaa"


class GatewayStore:
    """The blocks of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def address(self) -> str:
        """The URL or directory."""
        return self._source.address

    def get_block(self, cid: Cid) -> bytes:
        """Return the bytes filed under a CID, unverified."""
        return self._source.read(f"/ipfs/{cid}", max_bytes=MAX_BLOCK_BYTES)

    def get_dag(self, root: Cid) -> Generator[tuple[Cid, bytes]]:
        """Yield what the peer sends as the CAR of a root, unverified."""
        if not isinstance(self._source, Streamer):
            raise UnavailableError(f"{self.address} has no CARs")
        # A server may look at the parameters or at the header only.
        path = f"/ipfs/{root}?format=car&dag-scope=all"
        with self._source.stream(path, _ACCEPT) as stream:
            if stream.content_type.partition(";")[0].strip() != CAR:
                raise UnavailableError(f"{self.address} answers otherwise than with a CAR")
            yield from read_car(stream)

    def has(self, cid: Cid) -> bool:
        """Whether the peer has a block now; it is read to find out."""
        try:
            self.get_block(cid)
        except NotFoundError:
            return False
        return True

    def put_dag(self, root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Refuse: a peer takes nothing this way."""
        del root, blocks
        self._refuse()

    def pin(self, root: Cid) -> None:
        """Refuse: what a peer keeps is up to the peer."""
        del root
        self._refuse()

    def unpin(self, root: Cid) -> None:
        """Refuse: what a peer keeps is up to the peer."""
        del root
        self._refuse()

    def pins(self) -> Iterator[Cid]:
        """Yield nothing: a peer does not say what it keeps."""
        return iter(())

    def health(self) -> Health:
        """Say whether this is a gateway that answers."""
        if not isinstance(self._source, Streamer):
            return Health(ok=True, detail="a directory that can be read")
        try:
            self._source.read(_PROBE, max_bytes=0)
        except NotFoundError:
            return Health(ok=False, detail=f"{self.address} answers, but is no gateway")
        except PnodeError as error:
            return Health(ok=False, detail=error.message)
        return Health(ok=True, detail="a gateway that answers")

    def _refuse(self) -> NoReturn:
        raise UnavailableError(
            f"{self.address} only hands out blocks",
            hint="bring what you publish to peers with 'pnode sync'",
        )
