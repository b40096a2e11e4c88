"""A home that takes new keys: rotation, and recovery from a lost or stolen key.

New keys mean a new log. `keys/next` holds the new seed while the change is under way, and nothing
else is signed meanwhile. The order is the safety argument; whoever is killed between two steps runs
the same command again and goes on from there:

1. The new seed is stored, then the signing lock of the new log is created.
2. The new genesis is signed. It names the old log as it stands now, which cannot grow any more.
3. Rotation only: the old log's last entry names the new genesis, which closes the old key.
4. The marker names the new log.
5. The new seed replaces the old one, in one rename that also ends the change.

The old log stays in the ledger like any other and is served on.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.append import OwnLog
from ledger.checkpoint import Checkpoint, log_origin
from ledger.database import Database, storage_errors
from ledger.entry import Entry
from ledger.errors import (
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    NotFoundError,
    PolicyError,
    UsageError,
)
from ledger.keys import NodeKeys, PrivateKey, commitment
from ledger.log import Log, logs
from ledger.statement import Statement, Subject
from ledger.succession import Predecessor, recovery_fields
from node.clock import Clock, utc_now
from node.durable import sync_folder
from node.founding import create_lock, genesis_entry, write_marker
from node.home import Home, own_log
from node.identity.keyfile import COST
from node.identity.seeds import keep_seed, read_seed, remove_leftovers
from node.peering.policyfile import home_policy
from node.peering.states import largest_witnessed
from node.reading import load_view


@dataclass(frozen=True, slots=True)
class Renewed:
    """A home with new keys, and the log that its own log continues."""

    home: Path
    name: str
    origin: str
    author: str
    predecessor: str
    closed_at: int
    recovered: bool


def rotate(home: Home, *, clock: Clock = utc_now, cost: int = COST) -> Renewed:
    """Take a new seed, close the old log and continue it; finish a rotation that was interrupted.

    The commitment to the recovery key is kept, so that the key itself can stay offline.

    Raises:
        PolicyError: if the log is closed already.
        LogFrozenError: if a recovery was interrupted, or the log cannot be signed safely.
    """
    if home.before_append is not None:
        home.before_append(home)
    with home.locked() as database:
        remove_leftovers(home.path / "keys")
        _refuse_other(home, recovering=False)
        if not _is_marked(home):
            home = _rotate(home, database, clock, cost)
        return _finish(home, database)


def _rotate(home: Home, database: Database, clock: Clock, cost: int) -> Home:
    keys = home.keys()
    if log_origin(keys.log.public) != home.origin:
        raise EvidenceError(f"{home.seed_path} is not the key of {home.origin}")
    old = own_log(home, database, keys)
    if not home.next_seed_path.exists() and home.origin in load_view(database).keys.successions:
        raise PolicyError(
            f"{home.origin} is closed already",
            hint="'pnode key show' says by whom; take it over with 'pnode key recover'",
        )
    heir, new = _stage(home, database, cost)
    size = old.log.size if not new.log.size else _predecessor_of(new.log).size
    committed = genesis_of(old.log).statement.predicate["recovery"]
    point = Predecessor(home.origin, size, old.log.root(size))
    if not new.log.size:
        continued = {"predecessor": point.document()}
        new.append([genesis_entry(_staged_keys(home), committed, home.name, continued)])
    if old.log.size == size:
        old.append([_farewell(keys, genesis_of(new.log), heir.origin, clock())])
    write_marker(heir)
    return heir


def recover(
    home: Home,
    recovery: Path,
    *,
    predecessor: str | None = None,
    passphrase: bytes | None = None,
    cost: int = COST,
) -> Renewed:
    """Continue a log whose key is lost or stolen, by its recovery key, under new keys.

    The log is closed at the largest tree of it that is held and witnessed, or else signed.

    Args:
        recovery: the file of the recovery key.
        predecessor: the origin, or the beginning of its hash, if the key fits several logs.
        passphrase: protects the new seed.
        cost: of the passphrase.

    Raises:
        NotFoundError: if no log held here commits to the key.
        UsageError: if several do and none is named.
    """
    key = read_recovery(home, recovery)
    with home.locked() as database:
        remove_leftovers(home.path / "keys")
        _refuse_other(home, recovering=True)
        if not _is_marked(home):
            home = _recover(home, database, key, predecessor, passphrase, cost)
        return _finish(home, database)


def _recover(
    home: Home,
    database: Database,
    key: PrivateKey,
    predecessor: str | None,
    passphrase: bytes | None,
    cost: int,
) -> Home:
    old = recoverable_log(home, database, key, predecessor)
    point = closing_point(home, old)
    # Staged before the seed: whoever finds a new seed finds its recovery key too.
    next_recovery = PrivateKey(keep_seed(_next_recovery(home), None, None))
    if not home.next_seed_path.exists():
        keep_seed(home.next_seed_path, secrets.token_bytes(32), passphrase, cost=cost)
    name = str(genesis_of(old).statement.predicate.get("name", "")) or home.name
    heir, new = _stage(replace(home, name=name), database, cost)
    keys = _staged_keys(home)
    if not new.log.size:
        tree = Predecessor(old.origin, point.size, point.root)
        continued = recovery_fields(key, keys.author.public, heir.origin, tree)
        new.append([genesis_entry(keys, commitment(next_recovery.public), name, continued)])
    elif _predecessor_of(new.log).origin != old.origin:
        raise UsageError(
            f"an interrupted recovery continues {_predecessor_of(new.log).origin}",
            hint="finish that one first: name it with --predecessor",
        )
    write_marker(heir)
    return heir


def renewed_home(home: Home, renewed: Renewed) -> Home:
    """Return a home as it is opened after its keys were renewed."""
    return replace(home, name=renewed.name, origin=renewed.origin, author=renewed.author)


def recoverable_log(home: Home, database: Database, key: PrivateKey, named: str | None) -> Log:
    """Return the one log held that commits to a recovery key.

    Without a name it is the home's own, else the only one that no other log continues.

    Raises:
        NotFoundError: if there is none.
        UsageError: if there are several.
    """
    committed = commitment(key.public)
    found = [log for log in logs(database) if log.size and commits_to(log, committed)]
    if named is not None:
        found = [each for each in found if _is_named(each, named)]
    elif any(log.origin == home.origin for log in found):
        return Log(database, home.origin)
    elif len(found) > 1:
        continued = load_view(database).keys.successions
        found = [log for log in found if log.origin not in continued] or found
    if not found:
        raise NotFoundError(
            "no log held here has committed to this recovery key",
            hint="add a peer that holds it and run 'pnode sync', or check --recovery FILE",
        )
    if len(found) > 1:
        origins = ", ".join(log.origin for log in found)
        hint = "name one: --predecessor or --log, with its origin or the beginning of its hash"
        raise UsageError(f"the recovery key fits several logs: {origins}", hint=hint)
    return found[0]


def _is_named(log: Log, text: str) -> bool:
    return text == log.origin or log.origin.split("/")[-1].startswith(text)


def closing_point(home: Home, log: Log) -> Checkpoint:
    """Return the tree at which a log is closed by a recovery.

    It is the largest one that witnesses have seen, as many as the home's policy asks for; without
    a policy, or if they have seen none, the largest signed one that is held. Of a log that signed
    two histories it is at most what both share, as far as that is proven, so that readers of
    either find the tree named. If nothing is proven to be shared, the fork does not lower it.

    Raises:
        IncompleteError: if none is held.
    """
    point = largest_witnessed(log, home_policy(home))
    if point is None:
        latest = log.checkpoint()
        if latest is None:
            raise IncompleteError(f"no signed checkpoint of {log.origin} is held here")
        point = latest[0]
    sql = "SELECT min(common) FROM evidence WHERE origin = ?"
    (held,) = next(log.database.query(sql, (log.origin,)))
    dispute = load_view(log.database).disputes.logs.get(log.origin)
    # What others state and prove may be all that is known: evidence can come without entries.
    common = min(filter(None, (held, dispute and dispute.common)), default=None)
    if common and common < point.size:
        return Checkpoint(log.origin, common, log.root(common))
    return point


def read_recovery(home: Home, path: Path) -> PrivateKey:
    """Return the recovery key in a file.

    Raises:
        NotFoundError: if there is no such file.
    """
    if not path.is_file():
        raise NotFoundError(f"{path}: no such recovery key file", hint="check the path")
    return PrivateKey(read_seed(path, home.unlock))


def _stage(home: Home, database: Database, cost: int) -> tuple[Home, OwnLog]:
    """Store the new seed, unless that is done, and open the log it signs."""
    if not home.next_seed_path.exists():
        passphrase = home.unlock() if home.is_protected else None
        keep_seed(home.next_seed_path, secrets.token_bytes(32), passphrase, cost=cost)
    keys = _staged_keys(home)
    heir = replace(home, origin=log_origin(keys.log.public), author=keys.author.public.did)
    create_lock(heir)
    return heir, own_log(heir, database, keys)


def _staged_keys(home: Home) -> NodeKeys:
    return NodeKeys.from_seed(read_seed(home.next_seed_path, home.unlock))


def _is_marked(home: Home) -> bool:
    """Whether the marker names the new log already, so that only the renames are left."""
    if not home.next_seed_path.exists():
        return False
    return log_origin(_staged_keys(home).log.public) == home.origin


def _refuse_other(home: Home, *, recovering: bool) -> None:
    """Require that what was interrupted, if anything, is what is asked for now."""
    staged, other = home.next_seed_path, _next_recovery(home)
    if staged.exists() and other.exists() != recovering and not _is_marked(home):
        command = "rotate" if recovering else "recover --recovery FILE"
        raise LogFrozenError(
            f"another change of keys in {home.path} was interrupted",
            hint=f"finish it first: 'pnode key {command}'",
        )
    if not staged.exists() and not recovering:
        with storage_errors(other):
            other.unlink(missing_ok=True)  # of a recovery that died before it chose keys


def _finish(home: Home, database: Database) -> Renewed:
    keys, recovery, staged = home.path / "keys", home.recovery_path, _next_recovery(home)
    with storage_errors(keys):
        if staged.exists():
            if recovery.exists():
                # Still needed: it alone can revoke the key of the log that was closed.
                committed = commitment(PrivateKey(read_seed(recovery, home.unlock)).public)
                recovery.rename(keys / f"recovery-{committed[:16]}")
            staged.rename(recovery)
            sync_folder(keys)
        if home.next_seed_path.exists():
            home.next_seed_path.rename(home.seed_path)
            sync_folder(keys)
    genesis = genesis_of(Log(database, home.origin)).statement.predicate
    point = Predecessor.of(genesis)
    assert point is not None, home.origin
    recovered = "recovery_key" in genesis
    where = (home.path, home.name, home.origin, home.author)
    return Renewed(*where, point.origin, point.size, recovered)


def _next_recovery(home: Home) -> Path:
    return home.path / "keys" / "next-recovery"


def genesis_of(log: Log) -> Entry:
    """Return entry 0 of a log that has one."""
    return Entry.stored(next(log.bodies(0, 1)))


def _predecessor_of(log: Log) -> Predecessor:
    point = Predecessor.of(genesis_of(log).statement.predicate)
    if point is None:
        raise EvidenceError(f"the genesis of {log.origin} names no predecessor")
    return point


def commits_to(log: Log, committed: str) -> bool:
    """Say whether the genesis of a log commits to a recovery key, given by its commitment."""
    genesis = genesis_of(log)
    return genesis.kind == "genesis" and genesis.statement.predicate["recovery"] == committed


def _farewell(keys: NodeKeys, genesis: Entry, origin: str, created: str) -> Entry:
    subject = Subject(genesis.id, hashlib.sha256(genesis.body).hexdigest())
    said = {
        "author": keys.author.public.did,
        "created": created,
        "successor": genesis.id,
        "origin": origin,
    }
    return Entry.sign(Statement("succession", (subject,), said), keys.author)
