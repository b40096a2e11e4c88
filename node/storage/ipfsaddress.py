"""The address of an IPFS daemon's RPC: a multiaddr in one form, without the multiaddr library.

    /ip4/127.0.0.1/tcp/5001          http
    /dns/ipfs.example/tcp/443/https  https

`http://HOST:PORT` and `https://HOST[:PORT]` are accepted and translated. Hosts are ip4, ip6, dns,
dns4 and dns6; a final `/http` says nothing and is left out (multiformats multiaddr specification).
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from ledger.errors import UsageError

_MAX_LENGTH = 512
_MULTIADDR = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>[1-9][0-9]{0,4})"
    r"(?:/(?P<scheme>https?))?/?",
    re.ASCII,
)
_NAME = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*",
    re.ASCII | re.IGNORECASE,
)
_HINT = "give the API address, for example /ip4/127.0.0.1/tcp/5001 or http://127.0.0.1:5001"


def parse_ipfs_address(text: str) -> str:
    """Return the one form of a daemon's address.

    Raises:
        UsageError: if it is neither a multiaddr of this kind nor an http or https URL.
    """
    if len(text) > _MAX_LENGTH:
        raise _refused(text)
    match = _MULTIADDR.fullmatch(_translated(text) if "://" in text else text)
    if match is None or int(match["port"]) > 65_535:
        raise _refused(text)
    host = _host(match["kind"], match["host"])
    if host is None:
        raise _refused(text)
    tls = "/https" if match["scheme"] == "https" else ""
    return f"/{match['kind']}/{host}/tcp/{match['port']}{tls}"


def _translated(url: str) -> str:
    """Return the multiaddr of a URL that is nothing but scheme, host and port."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = parts.hostname or ""
    except (ValueError, KeyError):
        raise _refused(url) from None
    if parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"):
        raise _refused(url)
    kind = "ip6" if ":" in host else "ip4" if _host("ip4", host) else "dns"
    return f"/{kind}/{host}/tcp/{port}/{parts.scheme}"


def _host(kind: str, text: str) -> str | None:
    """Return a host in its one form, None if it is none of its kind."""
    if kind.startswith("dns"):
        return text.lower() if _NAME.fullmatch(text) else None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(address) if kind == f"ip{address.version}" and "%" not in text else None


def _refused(text: str) -> UsageError:
    return UsageError(f"'{text[:80]}' is not the address of an IPFS daemon", hint=_HINT)
