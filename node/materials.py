"""What a lock refers to, fetched from blocks and inspected: base, adapters, suites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ledger.cid import Cid
from ledger.errors import IncompleteError, PnodeError
from node.artifacts import extract_once, read_document
from node.bases import KnownBase, bases, open_known, open_stored
from node.checking.claims import entry_of
from node.digestcache import DigestCache
from node.home import Home
from node.reading import load_view

if TYPE_CHECKING:
    from compose.adapter import Adapter
    from compose.base import BaseModel, HashFile
    from compose.lock import Lock
    from compose.suite import Suite


@dataclass(frozen=True, slots=True)
class Materials:
    """Everything needed to assemble and evaluate a lock; suites are in the lock's order.

    `titles` has those of the members' statements where the method needs them.
    """

    base: BaseModel
    adapters: Mapping[str, Adapter]
    suites: tuple[Suite, ...]
    dev: Suite | None
    titles: Mapping[str, str]


def cached_materials(home: Home, lock: Lock) -> Materials:
    """Load from the extraction cache, filling it where needed."""
    return _load(home, lock, home.cache / "artifacts", DigestCache(home.cache))


@contextmanager
def fresh_materials(home: Home, lock: Lock) -> Iterator[Materials]:
    """Load from verified blocks into a temporary folder; a replay trusts no cache."""
    with TemporaryDirectory(prefix="pnode-replay-") as folder:
        yield _load(home, lock, Path(folder), None)


def read_lock(home: Home, cid: str) -> Lock:
    """Return the lock behind a CID.

    Raises:
        IncompleteError: if its block is missing.
        MalformedError: if it is not a lock.
    """
    from compose.lock import Lock

    data = read_document(Cid.parse(cid), home.store, what="lock")
    return Lock.parse(data, what=f"lock {cid}")


def _load(home: Home, lock: Lock, folder: Path, hash_file: HashFile | None) -> Materials:
    from compose.adapter import inspect_adapter
    from compose.suite import open_suite

    base = _base(home, lock, folder, hash_file)
    adapters = {}
    for member in lock.members:
        with _naming(
            f"member {member.id}", f'leave it out: members = {{exclude = ["{member.id}"]}}'
        ):
            adapters[member.id] = inspect_adapter(_extracted(home, member.cid, folder), base)
    suites = []
    for suite in lock.suites:
        with _naming(f"suite {suite.id}", "leave it out of suites"):
            suites.append(open_suite(_extracted(home, suite.cid, folder)))
    dev = None if lock.dev is None else open_suite(_extracted(home, lock.dev.cid, folder))
    return Materials(base, adapters, tuple(suites), dev, _titles(home, lock))


def _titles(home: Home, lock: Lock) -> dict[str, str]:
    """Return the members' titles, each from the statement that the member's id is the hash of."""
    from compose.methods import find_method

    if not find_method(lock.method.name, version=lock.method.version).needs_titles:
        return {}
    with home.reading() as database:
        ledger = load_view(database)
    entries = [entry_of(ledger, member.id, "contribution") for member in lock.members]
    return {entry.id: entry.statement.predicate["title"] for entry in entries}


@contextmanager
def _naming(what: str, hint: str) -> Iterator[None]:
    """Say whose fault an error is: with many members, a CID alone helps nobody."""
    try:
        yield
    except PnodeError as error:
        raise error.about(what, hint=hint) from None


def _base(home: Home, lock: Lock, folder: Path, hash_file: HashFile | None) -> BaseModel:
    locked = KnownBase(lock.base.name, lock.base.digest, str(lock.base.cid))
    if home.store.has(lock.base.cid):
        return open_stored(home, locked, folder, hash_file)
    for known in bases(home):
        if known.digest == lock.base.digest:
            return open_known(home, known, hash_file)
    raise IncompleteError(
        f"the base model '{lock.base.name}' ({lock.base.digest[:12]}...) is not here",
        hint="add it with 'pnode base add DIR', or sync with a peer that has its blocks",
    )


def _extracted(home: Home, cid: Cid, folder: Path) -> Path:
    target = folder / str(cid)
    extract_once(cid, home.store, target)
    return target
