"""The record behind `/peers`: whom a node follows, if its keeper chose to show that.

Whom one follows is one's own setting. It stays off the page unless `serve` runs with
`--show-peers`, and even then an address that only means something here, a folder or a host in a
private network, is not told.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final
from urllib.parse import urlsplit

from node.home import Home
from node.peers import list_peers

PEERS_SCHEMA: Final = "pnode.page.peers/1"
FOLDER: Final = "a folder on this machine"
PRIVATE: Final = "an address in a private network"

_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".onion")


def peers_page(home: Home, *, shown: bool) -> dict[str, Any]:
    """Return the peers in the order in which they were added, or none if they are not shown."""
    peers = list_peers(home) if shown else []
    return {
        "schema": PEERS_SCHEMA,
        "shown": shown,
        "peers": [_peer(address) for address in peers],
    }


def _peer(address: str) -> dict[str, Any]:
    return {"peer": public_address(address)}


def public_address(address: str) -> str:
    """Return an address as strangers may see it, or words in its place."""
    if not address.startswith(("http://", "https://")):
        return FOLDER
    parts = urlsplit(address)
    host = (parts.hostname or "").rstrip(".")
    return PRIVATE if _is_private(host) or parts.username is not None else address


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(_PRIVATE_SUFFIXES)
