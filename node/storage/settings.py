"""Where a home keeps and finds blocks besides its own store: `store.toml`.

    ipfs = "/ip4/127.0.0.1/tcp/5001"
    gateways = ["https://gateway.example"]

`ipfs` is the RPC of the one IPFS daemon that is contacted; it gets what this home publishes.
`gateways` are trustless gateways to read blocks from. Without the file there are neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.errors import MalformedError
from node.configfile import check_names, distinct_texts, read_config
from node.home import Home
from node.peering.source import parse_address
from node.storage.ipfsaddress import parse_ipfs_address

STORE_FILE: Final = "store.toml"
MAX_GATEWAYS: Final = 32
_KEYS: Final = ("ipfs", "gateways")
_HINT = "correct the file, or delete it to use the local store alone"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """The address of the IPFS daemon, empty if there is none, and the URLs of gateways."""

    ipfs: str = ""
    gateways: tuple[str, ...] = ()


def read_store_settings(home: Home) -> StoreSettings:
    """Return what `store.toml` says; a daemon that the home was opened with comes first.

    Raises:
        MalformedError: if the file is not in the accepted form.
        UsageError: if the home was opened with something that is no address.
    """
    said = read_config(home.path / STORE_FILE, _parse, hint=_HINT) or StoreSettings()
    if home.ipfs is None:
        return said
    return StoreSettings(parse_ipfs_address(home.ipfs), said.gateways)


def _parse(value: dict[str, Any]) -> StoreSettings:
    check_names(value, _KEYS)
    ipfs = value.get("ipfs", "")
    if not isinstance(ipfs, str):
        raise MalformedError("'ipfs' is a text")
    gateways = distinct_texts(value, "gateways", at_most=MAX_GATEWAYS)
    for gateway in gateways:
        if "://" not in gateway or parse_address(gateway) != gateway:
            raise MalformedError(f"{gateway[:80]!r} is not the URL of a gateway in its one form")
    return StoreSettings(parse_ipfs_address(ipfs) if ipfs else "", gateways)
