"""A home: the folder that holds one node's identity, ledger and blocks.

    pnode.toml       marker, written last by `init`: a folder without it is not a home
    keys/            seed and recovery seed, mode 0600; see `node.identity.keyfile`
    ledger.db        evidence: logs, entries, tiles, checkpoints
    derived.db       listing tables, can be deleted
    store/           blocks and pins
    bases/           base models by name
    cache/           extracted artifacts and coalition values, can be deleted
    writer.lock      held by the one process that writes

The signing lock lies outside, in the state folder, because restoring a backup must not restore it.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.checkpoint import log_origin
from ledger.database import Database, storage_errors
from ledger.errors import (
    HomeBusyError,
    IdentityError,
    LogFrozenError,
    MalformedError,
    NotFoundError,
)
from ledger.keys import NodeKeys
from ledger.signinglock import SigningLock
from node.identity.keyfile import COST, Unlock, is_sealed
from node.identity.passphrase import from_environment
from node.identity.seeds import read_key_file, read_seed
from node.location import MARKER
from node.storage.local import LocalStore

if TYPE_CHECKING:
    from ledger.append import OwnLog

FORMAT = 1
_LOCK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Home:
    """An opened home; `origin` and `author` are its public identity.

    `unlock` gives the passphrase when protected keys are needed, never for reading. With
    `untouched`, reading works on a copy and changes not a byte of the folder. `ipfs` is the address
    of an IPFS daemon to use instead of the one in store.toml. `before_append` is called before the
    own log is opened for appending, while no lock is held.
    """

    path: Path
    state: Path
    name: str
    origin: str
    author: str
    untouched: bool = False
    unlock: Unlock = field(default=from_environment, compare=False, repr=False)
    ipfs: str | None = None
    before_append: Callable[[Home], None] | None = field(default=None, compare=False, repr=False)

    @classmethod
    def init(
        cls,
        path: Path,
        state: Path,
        *,
        name: str = "",
        seed: bytes | None = None,
        passphrase: bytes | None = None,
        cost: int = COST,
    ) -> Home:
        """Create a home, or finish one that was interrupted; an existing home is left alone.

        Args:
            path: the folder, created if missing.
            state: folder for the signing lock.
            name: display name recorded in the genesis.
            seed: 32 bytes to derive the keys from; random if not given.
            passphrase: protects the seed on disk.
            cost: of the passphrase, in scrypt's n.
        """
        if not (path / MARKER).exists():
            from node.founding import found

            found(path, state, name=name, seed=seed, passphrase=passphrase, cost=cost)
        home = cls.open(path, state)
        if not home.ledger_path.is_file():
            raise NotFoundError(
                f"{path} is a home without its ledger.db",
                hint="bring the file back from a backup, see docs/how-to/restore.md",
            )
        return home

    @classmethod
    def open(cls, path: Path, state: Path) -> Home:
        """Open an existing home.

        Raises:
            IdentityError: if the folder is not a home.
            MalformedError: if its marker cannot be read or is of another format.
        """
        marker = path / MARKER
        if not marker.is_file():
            raise IdentityError(f"{path} is not a pnode home (no {MARKER} in it)")
        try:
            value = tomllib.loads(marker.read_text("utf-8"))
            known = (value["name"], value["origin"], value["author"])
        except (OSError, ValueError, KeyError) as error:
            raise MalformedError(f"{marker}: cannot be read ({error})") from None
        if value.get("format") != FORMAT:
            raise MalformedError(f"{marker}: home format {value.get('format')}, need {FORMAT}")
        if not all(isinstance(text, str) for text in known):
            raise MalformedError(f"{marker}: name, origin and author must be text")
        return cls(path, state, *known)

    @property
    def ledger_path(self) -> Path:
        """The evidence database."""
        return self.path / "ledger.db"

    @property
    def derived_path(self) -> Path:
        """The listing tables."""
        return self.path / "derived.db"

    @property
    def cache(self) -> Path:
        """Extracted artifacts and values; safe to delete."""
        return self.path / "cache"

    @property
    def store(self) -> LocalStore:
        """The local block store."""
        return LocalStore(self.path / "store")

    def keys(self) -> NodeKeys:
        """Read the seed and derive the keys.

        Raises:
            IdentityError: if there is no readable seed.
        """
        path = self.seed_path
        if not path.is_file():
            raise IdentityError(
                f"{path} is missing: this home can be read, but it cannot sign",
                hint="a copied home has no keys on purpose; create your own with 'pnode init', "
                "or take over a lost key's log: pnode key recover",
            )
        return NodeKeys.from_seed(read_seed(path, self.unlock))

    @property
    def seed_path(self) -> Path:
        """The key file everything that signs is derived from."""
        return self.path / "keys" / "seed"

    @property
    def next_seed_path(self) -> Path:
        """The key file of a rotation or recovery that is under way (`node.identity.rotation`)."""
        return self.path / "keys" / "next"

    @property
    def recovery_path(self) -> Path:
        """The key file of the recovery key, until it is moved elsewhere."""
        return self.path / "keys" / "recovery"

    @property
    def is_protected(self) -> bool:
        """Whether the seed has a passphrase."""
        return self.seed_path.is_file() and is_sealed(read_key_file(self.seed_path))

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """Open the ledger for reading, consistently, while another process may write."""
        opened = Database.read_only if self.untouched else Database.live
        with opened(self.ledger_path) as database:
            yield database

    @contextmanager
    def locked(self) -> Iterator[Database]:
        """Open the ledger for writing as the only writer of this home.

        Raises:
            HomeBusyError: if another process writes to it.
        """
        with writer_lock(self.path), Database.open(self.ledger_path) as database:
            yield database

    @contextmanager
    def writing(self) -> Iterator[OwnLog]:
        """Open the node's own log for appending, finishing whatever was interrupted."""
        if self.before_append is not None:
            self.before_append(self)
        with self.locked() as database:
            if self.next_seed_path.exists():
                raise LogFrozenError(
                    f"a change of keys in {self.path} was interrupted",
                    hint="finish it by running it again: 'pnode key rotate' or 'pnode key recover'",
                )
            keys = self.keys()
            if log_origin(keys.log.public) != self.origin:
                raise HomeBusyError(f"the keys of {self.path} have changed meanwhile")
            yield own_log(self, database, keys)

    def signing_lock(self) -> SigningLock:
        """Return the lock that keeps this node from signing two histories."""
        name = hashlib.sha256(self.origin.encode("utf-8")).hexdigest()
        return SigningLock(self.state / "signing" / f"{name}.db", self.origin)


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Be the only process that writes to a home.

    Raises:
        HomeBusyError: if another process is.
    """
    import filelock

    lock = filelock.FileLock(path / "writer.lock", timeout=_LOCK_SECONDS)
    with storage_errors(path):
        try:
            lock.acquire()
        except filelock.Timeout:
            raise HomeBusyError(f"another pnode process is writing to {path}") from None
    try:
        yield
    finally:
        lock.release()


def own_log(home: Home, database: Database, keys: NodeKeys) -> OwnLog:
    """Return the log of some keys, settled; hold the writer lock while using it."""
    from ledger.append import OwnLog

    log = OwnLog(database, keys.log, home.signing_lock())
    log.settle()
    return log
