"""Revocation of a stolen key: a statement by the recovery key, in the log that continues it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import UsageError
from ledger.keys import PrivateKey, commitment
from ledger.log import Log, find_log
from ledger.statement import Statement, Subject
from ledger.succession import Predecessor
from node.clock import Clock, utc_now
from node.home import Home
from node.identity.keyfile import COST
from node.identity.rotation import (
    Renewed,
    commits_to,
    genesis_of,
    read_recovery,
    recover,
    recoverable_log,
    renewed_home,
)
from node.reading import load_view


@dataclass(frozen=True, slots=True)
class Revoked:
    """A revocation; `renewed` if the log had to be taken over first."""

    id: str
    origin: str
    start: int
    renewed: Renewed | None


def revoke(
    home: Home,
    recovery: Path,
    start: int,
    *,
    log: str | None = None,
    reason: str = "",
    passphrase: bytes | None = None,
    clock: Clock = utc_now,
    cost: int = COST,
) -> Revoked:
    """Say that a key is not to be trusted from an index of its log on.

    If this home does not continue that log yet, it takes it over first.

    Args:
        recovery: the file of the recovery key that the log commits to.
        start: the first index that is in doubt.
        log: the origin, or the beginning of its hash; by default this home's own log if the key
            fits it, else the one that it continues.
        reason: said publicly.
        passphrase: protects the new seed, if the log is taken over.
        clock: gives the time that the statement claims.
        cost: of the passphrase.

    Raises:
        UsageError: if the log has no such index.
    """
    key = read_recovery(home, recovery)
    renewed = None
    if home.next_seed_path.exists():
        renewed = recover(home, recovery, predecessor=log, passphrase=passphrase, cost=cost)
        home, log = renewed_home(home, renewed), log or renewed.predecessor
    with home.reading() as database:
        target = _revocable_log(home, database, key, log)
        if start >= target.size:
            raise UsageError(
                f"{target.origin} has {target.size} entries, none at index {start}",
                hint=f"see 'pnode log --origin {target.origin.split('/')[-1][:16]}'",
            )
        ledger = load_view(database)
        ours = ledger.identity(ledger.keys.authors[target.origin]) == ledger.identity(home.author)
        ours = ours and target.origin != home.origin
    if not ours:
        renewed = recover(
            home, recovery, predecessor=target.origin, passphrase=passphrase, cost=cost
        )
        home = renewed_home(home, renewed)
    with home.writing() as own:
        revoked = Log(own.log.database, target.origin)
        entry = _revocation(key, revoked, start, reason, clock())
        held = _held_revocation(own.log, entry)
        if held is None:
            own.append([entry])
    return Revoked((held or entry).id, target.origin, start, renewed)


def _revocable_log(home: Home, database: Database, key: PrivateKey, named: str | None) -> Log:
    """Return the log named, else this home's own, else the one it continues, by its commitment."""
    own = find_log(database, home.origin)
    if named is None and own is not None and own.size:
        point = Predecessor.of(genesis_of(own).statement.predicate)
        old = find_log(database, point.origin) if point is not None else None
        for log in (own, old):
            if log is not None and log.size and commits_to(log, commitment(key.public)):
                return log
    return recoverable_log(home, database, key, named)


def _revocation(key: PrivateKey, log: Log, start: int, reason: str, created: str) -> Entry:
    subject = Subject(log.origin, hashlib.sha256(log.key.key.raw).hexdigest())
    said: dict[str, Any] = {
        "author": key.public.did,
        "created": created,
        "origin": log.origin,
        "from": start,
    }
    if reason:
        said["reason"] = reason
    return Entry.sign(Statement("revocation", (subject,), said), key)


def _held_revocation(log: Log, wanted: Entry) -> Entry | None:
    """Return the entry that says the same already, apart from its time and reason."""
    for held in _revocations(log):
        same: Iterator[bool] = (
            held.statement.predicate[name] == wanted.statement.predicate[name]
            for name in ("author", "origin", "from")
        )
        if all(same):
            return held
    return None


def _revocations(log: Log) -> Iterator[Entry]:
    entries = (Entry.stored(body) for body in log.bodies())
    return (entry for entry in entries if entry.kind == "revocation")
