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
from node.peering.peers import list_peers
from node.peering.peerstate import PeerRecord, read_records

PEERS_SCHEMA: Final = "pnode.page.peers/1"
FOLDER: Final = "a folder on this machine"
NOT_TRIED: Final = "not tried"
REACHED: Final = "reached"
FAILED: Final = "failed"
PRIVATE: Final = "an address in a private network"

_PRIVATE_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".onion")


def peers_page(home: Home, *, shown: bool) -> dict[str, Any]:
    """Return the peers in the order in which they were added, or none if they are not shown."""
    peers = list_peers(home) if shown else []
    records = read_records(home.path) if peers else {}
    return {
        "schema": PEERS_SCHEMA,
        "shown": shown,
        "peers": [_peer(records.get(address, PeerRecord(address))) for address in peers],
    }


def _peer(record: PeerRecord) -> dict[str, str]:
    state = NOT_TRIED
    if record.contact:
        # What went wrong is for the keeper alone: it may name files and hosts of this machine.
        state = FAILED if record.error else REACHED
    return {
        "peer": public_address(record.address),
        "state": state,
        "contact": record.contact,
        "success": record.success,
    }


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
