"""Whom a home exchanges with, and how much it takes: `peers.toml`.

    peers = [
        "https://ledger.example",
        "/media/usb/pnode",
    ]
    logs = [
        "pnode.example/log/v1/5d0e...+1a2b3c4d+AX...",
    ]

    [limits]
    entries_per_day = 100000

`peers` are addresses to sync with. `logs` are verifier keys whose owners may push to this home.
`[limits]` overrides single limits (`node.peering.budget.SyncLimits`). Whom one follows is local
configuration, never a statement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final

from ledger.checkpoint import ORIGIN_PREFIX, log_key
from ledger.errors import EvidenceError, MalformedError, NotFoundError, UsageError
from ledger.note import NoteKey
from node.configfile import check_names, distinct_texts, read_config
from node.durable import write_atomic
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.peerstate import PeerState
from node.peering.source import parse_address

PEERS_FILE = "peers.toml"
MAX_PEERS = 1_000
LIMITS: Final = tuple(each.name for each in fields(SyncLimits))
_KEYS: Final = ("peers", "logs", "limits")
_HINT = "correct or delete the file, then add the peers again with 'pnode peer add'"


@dataclass(frozen=True, slots=True)
class PeerSettings:
    """What `peers.toml` says: addresses, verifier keys of logs that may be pushed, limits."""

    peers: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    limits: SyncLimits = field(default_factory=SyncLimits)
    changed_limits: tuple[str, ...] = ()

    def having(self, kind: str, values: tuple[str, ...]) -> PeerSettings:
        """Return the same settings with other `peers` or `logs`."""
        if kind == "logs":
            return replace(self, logs=values)
        return replace(self, peers=values)

    def log_keys(self) -> list[NoteKey]:
        """Return the keys of the logs that may be pushed."""
        return [parse_log_key(text) for text in self.logs]


def read_settings(home: Home) -> PeerSettings:
    """Return what `peers.toml` says; without the file there are no peers.

    Raises:
        MalformedError: if the file is not in the accepted form.
    """
    return read_config(home.path / PEERS_FILE, _parse, hint=_HINT) or PeerSettings()


def list_peers(home: Home) -> list[str]:
    """Return the addresses in the order in which they were added.

    Raises:
        MalformedError: if the file is not in the accepted form.
    """
    return list(read_settings(home).peers)


def add_peer(home: Home, text: str) -> str:
    """Add an address to sync with, or the key of a log that may be pushed, and return it.

    Adding it again changes nothing.

    Raises:
        UsageError: if it is neither, or there are too many.
    """
    kind, value = _kind(text)
    with home.locked():
        settings = read_settings(home)
        present: tuple[str, ...] = getattr(settings, kind)
        if kind == "logs" and parse_log_key(value).name == home.origin:
            raise UsageError("this is the key of this home's own log", hint="give a peer's key")
        if value not in present:
            if len(present) >= MAX_PEERS:
                raise UsageError(f"a home has at most {MAX_PEERS} {kind}")
            _write(home.path / PEERS_FILE, settings.having(kind, (*present, value)))
    return value


def remove_peer(home: Home, text: str) -> str:
    """Remove an address or a key and return it; what was mirrored stays.

    Raises:
        NotFoundError: if this home does not know it.
    """
    kind, value = _kind(text)
    with home.locked():
        settings = read_settings(home)
        present: tuple[str, ...] = getattr(settings, kind)
        if value not in present:
            raise NotFoundError(f"{value} is not a peer", hint="see 'pnode peer list'")
        rest = tuple(each for each in present if each != value)
        _write(home.path / PEERS_FILE, settings.having(kind, rest))
    with PeerState.opened(home.path) as state:
        state.forget(value)
    return value


def parse_log_key(text: str) -> NoteKey:
    """Parse the verifier key of a pnode log.

    Raises:
        MalformedError, SignatureError: if it is none.
    """
    key = NoteKey.parse(text)
    if log_key(key.name, key.key) != key:
        raise MalformedError(f"{text[:120]} is not the key of a log")
    return key


def _kind(text: str) -> tuple[str, str]:
    if not text.startswith(ORIGIN_PREFIX):
        return "peers", parse_address(text)
    try:
        return "logs", str(parse_log_key(text))
    except EvidenceError as error:
        hint = "its owner finds it after 'vkey' in the file 'logs' of 'pnode export'"
        raise UsageError(f"'{text[:120]}': {error.message}", hint=hint) from None


def _parse(value: dict[str, Any]) -> PeerSettings:
    check_names(value, _KEYS)
    if "peers" not in value:
        raise MalformedError("needs a list, 'peers'")
    peers = distinct_texts(value, "peers", at_most=MAX_PEERS)
    logs = distinct_texts(value, "logs", at_most=MAX_PEERS)
    for peer in peers:
        if parse_address(peer) != peer:
            raise MalformedError(f"{peer!r} is not an address in its one form")
    for log in logs:
        parse_log_key(log)
    limits = value.get("limits", {})
    if not isinstance(limits, dict):
        raise MalformedError("'limits' is a table")
    check_names(limits, LIMITS, "limits.")
    for name, limit in limits.items():
        if type(limit) is not int or not 0 < limit < 1 << 62:
            raise MalformedError(f"limits.{name} is not a positive whole number")
    return PeerSettings(peers, logs, SyncLimits(**limits), tuple(limits))


def _write(path: Path, settings: PeerSettings) -> None:
    text = _list("peers", settings.peers)
    if settings.logs:
        text += _list("logs", settings.logs)
    if settings.changed_limits:
        lines = (
            f"{name} = {int(getattr(settings.limits, name))}" for name in settings.changed_limits
        )
        text += "\n[limits]\n" + "\n".join(lines) + "\n"
    write_atomic(path, text.encode())


def _list(name: str, values: Sequence[str]) -> str:
    # A JSON string of printable characters is a TOML basic string.
    lines = "".join(f"    {json.dumps(value, ensure_ascii=False)},\n" for value in values)
    return f"{name} = [\n{lines}]\n"
