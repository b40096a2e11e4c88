"""The peers of a home: addresses to sync with, in `peers.toml`.

    peers = [
        "https://ledger.example",
        "/media/usb/pnode",
    ]

Whom one follows is local configuration, never a statement.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from ledger.database import storage_errors
from ledger.errors import MalformedError, NotFoundError, PnodeError, UsageError
from node.durable import write_atomic
from node.home import Home
from node.source import parse_address

PEERS_FILE = "peers.toml"
MAX_PEERS = 1_000
_MAX_BYTES = 4 << 20
_HINT = "correct or delete the file, then add the peers again with 'pnode peer add'"


def list_peers(home: Home) -> list[str]:
    """Return the addresses in the order in which they were added.

    Raises:
        MalformedError: if the file is not in the accepted form.
    """
    path = home.path / PEERS_FILE
    with storage_errors(path):
        if not path.exists():
            return []
        content = path.read_bytes()
    try:
        return _parse(content)
    except (ValueError, RecursionError, PnodeError) as error:
        raise MalformedError(f"{path}: {error}", hint=_HINT) from None


def add_peer(home: Home, text: str) -> str:
    """Add a peer and return its address; adding it again changes nothing.

    Raises:
        UsageError: if it is not an address, or there are too many.
    """
    address = parse_address(text)
    with home.locked():
        peers = list_peers(home)
        if address not in peers:
            if len(peers) >= MAX_PEERS:
                raise UsageError(f"a home has at most {MAX_PEERS} peers")
            _write(home.path / PEERS_FILE, [*peers, address])
    return address


def remove_peer(home: Home, text: str) -> str:
    """Remove a peer and return its address; what was mirrored from it stays.

    Raises:
        NotFoundError: if it is not a peer of this home.
    """
    address = parse_address(text)
    with home.locked():
        peers = list_peers(home)
        if address not in peers:
            raise NotFoundError(f"{address} is not a peer", hint="see 'pnode peer list'")
        _write(home.path / PEERS_FILE, [peer for peer in peers if peer != address])
    return address


def _parse(content: bytes) -> list[str]:
    if len(content) > _MAX_BYTES:
        raise MalformedError(f"{len(content)} bytes are too many")
    value = tomllib.loads(content.decode("utf-8"))
    peers = value.get("peers")
    if set(value) != {"peers"} or not isinstance(peers, list) or len(peers) > MAX_PEERS:
        raise MalformedError("needs exactly one list, 'peers'")
    for peer in peers:
        if not isinstance(peer, str) or parse_address(peer) != peer:
            raise MalformedError(f"{peer!r} is not an address in its one form")
    if len(set(peers)) != len(peers):
        raise MalformedError("a peer is listed twice")
    return peers


def _write(path: Path, peers: list[str]) -> None:
    # A JSON string of printable characters is a TOML basic string.
    lines = "".join(f"    {json.dumps(peer, ensure_ascii=False)},\n" for peer in peers)
    write_atomic(path, f"peers = [\n{lines}]\n".encode())
