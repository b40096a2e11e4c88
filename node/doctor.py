"""Checks of an installation and a home, each with what to do about it.

Nothing is changed, but that a peer which holds more of the own log than this home is put on record
(`node.peering.guard`).

Packages are looked up by their metadata and never imported, so a broken torch cannot break the
command that is meant to find that out.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from ledger.errors import LogFrozenError, PnodeError, UnavailableError
from ledger.log import Log
from node.home import Home
from node.identity.keyfile import SealedSeed
from node.identity.keyring import holds_recovery_key
from node.identity.seeds import read_key_file
from node.location import MARKER
from node.peering.guard import ask_peers
from node.storage.pinning import open_daemon

OK: Final = "ok"
WARN: Final = "warn"
FAIL: Final = "fail"

_PYTHON: Final = (3, 11)
_SQLITE: Final = (3, 37, 0)
"""The first SQLite with STRICT tables."""
_FREE_BYTES: Final = 1 << 30
_NOT_BEFORE: Final = 1_790_000_000
"""2026-09-21: a clock before that has lost its battery, not its accuracy."""
_FUTURE_SECONDS: Final = 600

EXTRAS: Final = {
    "compose": ("torch", "transformers", "peft", "safetensors", "tokenizers"),
    "ipfs": ("ipfshttpclient", "multiaddr", "requests", "urllib3"),
    "report": ("matplotlib",),
}
"""Packages of each extra, as distribution names."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check: what was found, and what to do unless that is fine."""

    name: str
    status: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """All checks; `ok` unless one failed."""

    ok: bool
    checks: list[Diagnosis]


def diagnose(
    home: Path,
    state: Path,
    *,
    offline: bool = True,
    ipfs: str | None = None,
    clock: Callable[[], float] = time.time,
) -> Diagnosed:
    """Run every check on this installation and the home at a path, which need not exist."""
    checks = [*_installation(), *_clock(home, clock), *_home(home, state)]
    if (home / MARKER).is_file():
        checks += _peers(home, state, offline=offline)
        checks += _daemon(home, state, ipfs, offline=offline)
    return Diagnosed(all(check.status != FAIL for check in checks), checks)


def _installation() -> Iterator[Diagnosis]:
    yield Diagnosis("pnode", OK, _version("pnode") or "not installed as a package")
    found = ".".join(str(part) for part in sys.version_info[:3])
    new_enough = sys.version_info >= _PYTHON
    yield Diagnosis("python", OK if new_enough else FAIL, found, "" if new_enough else "use 3.11")
    strict = sqlite3.sqlite_version_info >= _SQLITE
    fix = "" if strict else "use a Python built with SQLite 3.37 or newer"
    yield Diagnosis("sqlite", OK if strict else FAIL, sqlite3.sqlite_version, fix)
    yield _requirements()
    for extra, packages in EXTRAS.items():
        yield _extra(extra, packages)


def _requirements() -> Diagnosis:
    """Look for the packages pnode cannot work without, as its own metadata names them."""
    try:
        declared = metadata.requires("pnode") or []
    except metadata.PackageNotFoundError:
        return Diagnosis("packages", WARN, "cannot tell", "install pnode with pip")
    names = [_name(line) for line in declared if "extra ==" not in line]
    versions = {name: _version(name) for name in sorted(names)}
    missing = [name for name, version in versions.items() if version is None]
    if missing:
        fix = "reinstall pnode: pip install --force-reinstall pnode"
        return Diagnosis("packages", FAIL, f"missing: {', '.join(missing)}", fix)
    return Diagnosis("packages", OK, _joined(versions))


def _extra(extra: str, packages: tuple[str, ...]) -> Diagnosis:
    versions = {name: _version(name) for name in packages}
    missing = [name for name, version in versions.items() if version is None]
    name = f"extra {extra}"
    if not missing:
        return Diagnosis(name, OK, _joined(versions))
    fix = f"pip install 'pnode[{extra}]', if you want the commands that need it"
    return Diagnosis(name, WARN, f"not installed: {', '.join(missing)}", fix)


def _clock(home: Path, clock: Callable[[], float]) -> Iterator[Diagnosis]:
    """Compare the clock with this release and with the files of the home."""
    now = clock()
    shown = datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fix = "set the clock; the times in what you sign come from it"
    if now < _NOT_BEFORE:
        yield Diagnosis("clock", FAIL, f"{shown} is before this release was made", fix)
        return
    ledger = home / "ledger.db"
    written = ledger.stat().st_mtime if ledger.is_file() else 0.0
    if written > now + _FUTURE_SECONDS:
        yield Diagnosis("clock", WARN, f"{shown} is before the ledger was last written", fix)
    else:
        yield Diagnosis("clock", OK, shown)


def _home(path: Path, state: Path) -> Iterator[Diagnosis]:
    if not (path / MARKER).is_file():
        yield Diagnosis("home", WARN, f"none at {path}", "create it: pnode init")
        yield _disk(path)
        return
    try:
        home = replace(Home.open(path, state), untouched=True)
    except PnodeError as error:
        yield Diagnosis("home", FAIL, error.message, error.hint)
        yield _disk(path)
        return
    yield _access(home)
    yield _keys(home)
    yield _recovery(home)
    yield _disk(path)
    yield from _log(home)


def _access(home: Home) -> Diagnosis:
    if not os.access(home.ledger_path, os.R_OK):
        fix = "check the owner and permissions of the folder"
        return Diagnosis("home", FAIL, f"{home.ledger_path} cannot be read", fix)
    if not os.access(home.path, os.W_OK):
        return Diagnosis("home", WARN, f"{home.path} is read-only", "fine for reading and auditing")
    return Diagnosis("home", OK, f"{home.path}, readable and writable")


def _keys(home: Home) -> Diagnosis:
    seed = home.path / "keys" / "seed"
    if not seed.is_file():
        fix = "a copy has no keys on purpose; create your own home with 'pnode init'"
        return Diagnosis("keys", WARN, "no seed: this home can be read, not signed with", fix)
    if seed.stat().st_mode & 0o077:
        return Diagnosis("keys", FAIL, f"{seed} is open to others", f"chmod 600 {seed}")
    if home.next_seed_path.exists():
        fix = "finish it by running it again: 'pnode key rotate' or 'pnode key recover'"
        return Diagnosis("keys", WARN, "a change of keys was interrupted", fix)
    try:
        if home.is_protected:
            SealedSeed.parse(read_key_file(seed))  # opening it would ask for the passphrase
            return Diagnosis("keys", OK, f"{home.author}, protected by a passphrase")
        home.keys()
    except PnodeError as error:
        return Diagnosis("keys", FAIL, error.message, error.hint)
    return Diagnosis("keys", OK, home.author)


def _recovery(home: Home) -> Diagnosis:
    if not holds_recovery_key(home):
        return Diagnosis("recovery key", OK, "not in this home")
    fix = "move it offline: pnode key recovery --move FILE"
    return Diagnosis("recovery key", WARN, "still in this home, where a thief finds it", fix)


def _disk(path: Path) -> Diagnosis:
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / (1 << 30):.1f} GiB free at {existing}"
    if free < _FREE_BYTES:
        return Diagnosis("disk", WARN, detail, "free some space, or choose another --home")
    return Diagnosis("disk", OK, detail)


def _log(home: Home) -> Iterator[Diagnosis]:
    """Compare the ledger with the signing lock, as every append does before it signs."""
    try:
        with home.reading() as database:
            log = Log(database, home.origin)
            size = log.size
            latest = log.checkpoint()
            signed = latest[0].size if latest is not None else 0
            yield _signed(size, signed)
            if (home.path / "keys" / "seed").is_file():
                yield _lock(home, log, size, signed)
    except PnodeError as error:
        yield Diagnosis("log", FAIL, error.message, error.hint)


def _signed(size: int, signed: int) -> Diagnosis:
    if signed < size:
        detail = f"{size} entries, {size - signed} not signed yet"
        return Diagnosis("log", WARN, detail, "run 'pnode init' to finish signing")
    return Diagnosis("log", OK, f"{size} entries, all signed")


def _lock(home: Home, log: Log, size: int, signed: int) -> Diagnosis:
    name = "signing lock"
    lock = home.signing_lock()
    try:
        locked = lock.read()
    except LogFrozenError as error:
        fix = f"bring the original file back; {error.hint}"
        return Diagnosis(name, FAIL, error.message, fix)
    where = f"at {locked.size}, the ledger holds {size} entries and signed {signed}"
    if locked.size > size or locked.size < signed:
        return Diagnosis(name, FAIL, where, LogFrozenError.default_hint)
    if locked.size and log.root(locked.size) != locked.root:
        detail = f"the first {locked.size} entries are not those that were signed"
        return Diagnosis(name, FAIL, detail, LogFrozenError.default_hint)
    if locked.size < size or signed < locked.size:
        return Diagnosis(name, WARN, where, "run 'pnode init' to finish what was interrupted")
    return Diagnosis(name, OK, f"equals the log: {lock.path}")


def _peers(path: Path, state: Path, *, offline: bool) -> Iterator[Diagnosis]:
    """Ask peers for the own log: one that holds more of it means that signing would fork it."""
    try:
        home = replace(Home.open(path, state), untouched=True)
        for asked in ask_peers(home, offline=offline):
            name = f"peer {asked.peer}"
            if asked.error is None:
                yield Diagnosis(name, OK, f"holds {asked.size} entries of this home's log")
            elif isinstance(asked.error, UnavailableError):
                yield Diagnosis(name, WARN, asked.error.message, asked.error.hint)
            else:
                yield Diagnosis(name, FAIL, asked.error.message, asked.error.hint)
    except PnodeError as error:
        yield Diagnosis("peers", FAIL, error.message, error.hint)


def _daemon(path: Path, state: Path, ipfs: str | None, *, offline: bool) -> Iterator[Diagnosis]:
    """Ask the IPFS daemon of this home how it is; publishing works without it."""
    try:
        home = replace(Home.open(path, state), untouched=True, ipfs=ipfs)
        daemon = open_daemon(home, offline=offline)
        if daemon is None:
            return
        health = daemon.health()
        fix = "" if health.ok else "start it, or correct its address in store.toml"
        detail = f"{daemon.address}: {health.detail}" if health.ok else health.detail
        yield Diagnosis("ipfs", OK if health.ok else WARN, detail, fix)
    except UnavailableError as error:
        yield Diagnosis("ipfs", WARN, error.message, error.hint)
    except PnodeError as error:
        yield Diagnosis("ipfs", FAIL, error.message, error.hint)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _name(requirement: str) -> str:
    """Return the distribution name at the beginning of a requirement (PEP 508)."""
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement)
    return match.group() if match else requirement


def _joined(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
