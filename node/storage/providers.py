"""Whom a home asks for blocks that it does not have: only addresses that its owner wrote down.

In this order: the peers of `peers.toml`, the IPFS daemon and then the gateways of `store.toml`.
No entry and no artifact can name another. Offline, only directories are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.errors import NotFoundError, UnavailableError
from node.home import Home
from node.peering.peers import list_peers
from node.peering.source import open_source
from node.storage.gateway import GatewayStore
from node.storage.gathering import Provider
from node.storage.ipfs import IpfsStore
from node.storage.settings import read_store_settings


@contextmanager
def providers_of(home: Home, *, offline: bool) -> Iterator[list[Provider]]:
    """Yield the providers of a home; each is opened when it is first asked, and closed at the end.

    Raises:
        MalformedError: if `peers.toml` or `store.toml` is not in the accepted form.
    """
    settings = read_store_settings(home)
    peers = list_peers(home)
    with ExitStack() as opened:

        def provider(address: str) -> Provider:
            def open_store() -> BlockStore:
                source = open_source(address, offline=offline)
                opened.callback(source.close)
                return GatewayStore(source)

            return Provider(address, open_store)

        daemon = [Provider(f"IPFS daemon {settings.ipfs}", lambda: _SearchingDaemon(settings.ipfs))]
        yield [
            *(provider(each) for each in peers if not offline or "://" not in each),
            *(daemon if settings.ipfs and not offline else ()),
            *(provider(each) for each in settings.gateways if not offline and each not in peers),
        ]


class _SearchingDaemon(IpfsStore):
    """A daemon that looks for blocks at its own peers, which takes long: once in vain is enough."""

    def get_block(self, cid: Cid) -> bytes:
        """Return a block, verified.

        Raises:
            UnavailableError: also if the daemon does not find it, so that it is not asked again.
        """
        try:
            return super().get_block(cid)
        except NotFoundError as error:
            raise UnavailableError(error.message) from None
