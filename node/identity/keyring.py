"""The keys of a home: what they are, where they lie, and the passphrase that protects them.

Showing them reads the ledger and the names of files. It never needs a passphrase.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ledger.database import storage_errors
from ledger.entry import Entry
from ledger.errors import IdentityError, LogFrozenError, NotFoundError, StorageError, UsageError
from ledger.keys import PrivateKey, commitment
from ledger.log import Log
from node.durable import sync_folder, write_atomic
from node.home import Home
from node.identity.keyfile import COST, Unlock, encode_seed
from node.identity.seeds import read_key_file, read_seed, remove_leftovers
from node.reading import load_view


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One author key of a contributor; `closed_at` is the size at which its log was closed."""

    author: str
    origin: str
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class Keyring:
    """The keys of a home.

    `recovery` is the commitment to the recovery key and `recovery_here` whether that key still
    lies in this home; `pending` says that a change of keys was interrupted.
    """

    home: Path
    name: str
    author: str
    contributor: str
    origin: str
    log_key: str
    cosigner_key: str
    can_sign: bool
    protected: bool
    recovery: str
    recovery_here: bool
    pending: bool
    chain: list[ChainLink]


@dataclass(frozen=True, slots=True)
class Protected:
    """Whether the seed of a home has a passphrase now."""

    home: Path
    protected: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the recovery key lies now, and the commitment it answers to."""

    file: Path
    recovery: str


def show_keys(home: Home) -> Keyring:
    """Return what is known of the keys of a home."""
    with home.reading() as database:
        genesis = Entry.stored(next(Log(database, home.origin).bodies(0, 1)))
        keys = load_view(database).keys
    origins = {author: origin for origin, author in keys.authors.items()}
    chain = []
    for author in keys.chain(home.author):
        origin = home.origin if author == home.author else origins[author]
        closed = keys.successions.get(origin)
        chain.append(ChainLink(author, origin, closed.size if closed else None))
    said = genesis.statement.predicate
    return Keyring(
        home=home.path.absolute(),
        name=home.name,
        author=home.author,
        contributor=keys.identity(home.author),
        origin=home.origin,
        log_key=said["log_key"],
        cosigner_key=said["cosigner_key"],
        can_sign=home.seed_path.is_file(),
        protected=home.is_protected,
        recovery=said["recovery"],
        recovery_here=holds_recovery_key(home),
        pending=home.next_seed_path.exists(),
        chain=chain,
    )


def holds_recovery_key(home: Home) -> bool:
    """Whether a recovery key, or one of an earlier log, still lies in the home."""
    return any((home.path / "keys").glob("recovery*"))


def change_passphrase(home: Home, ask: Unlock | None, *, cost: int = COST) -> Protected:
    """Set, change or remove the passphrase of a home; the old file stays until the new is whole.

    Args:
        home: its `unlock` gives the passphrase that holds now, if there is one.
        ask: gives the new one; None removes it.
        cost: of the new one.

    Raises:
        LogFrozenError: while a change of keys is under way.
    """
    with home.locked():
        remove_leftovers(home.path / "keys")
        if home.next_seed_path.exists():
            raise LogFrozenError(
                f"a change of keys in {home.path} was interrupted",
                hint="finish it first: 'pnode key rotate' or 'pnode key recover'",
            )
        if not home.seed_path.is_file():
            raise IdentityError(f"{home.seed_path} is missing: there is nothing to protect")
        seed = read_seed(home.seed_path, home.unlock)
        passphrase = None if ask is None else ask()
        data = encode_seed(seed, passphrase, cost=cost)
        write_atomic(home.seed_path, data, mode=0o600)
    return Protected(home.path.absolute(), passphrase is not None)


def move_recovery_key(home: Home, file: Path) -> Moved:
    """Move the recovery key out of the home; it is removed here only when the copy is whole.

    Raises:
        NotFoundError: if it is not here.
        UsageError: if the file exists already, or lies in the home.
    """
    source = home.recovery_path
    if not source.is_file():
        raise NotFoundError(
            f"{source} is not here any more", hint="look where you have moved the recovery key to"
        )
    if file.exists():
        raise UsageError(f"{file}: exists already", hint="name a new file")
    if home.path.resolve() in file.absolute().resolve().parents:
        raise UsageError(f"{file} lies in the home", hint="name a file on another medium")
    with home.locked():
        data = read_key_file(source)
        key = PrivateKey(read_seed(source, home.unlock))
        write_atomic(file, data, mode=0o600)
        if read_key_file(file) != data:
            raise StorageError(f"{file} does not hold what was written", hint="use another medium")
        with storage_errors(source):
            source.unlink()
            sync_folder(source.parent)
    return Moved(file.absolute(), commitment(key.public))
