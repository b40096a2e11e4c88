"""Homes with fixed keys and a fixed clock, and a small version of the demo world in one of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock  # noqa: F401 - imported lazily by the home; forked children then have it
import sqlite_utils  # noqa: F401 - likewise

from ledger.entry import Entry
from ledger.statement import Statement, Subject
from node.api import Node
from node.demo.world import World as DemoWorld
from node.demo.world import task, write_suites
from node.home import Home

DATA = Path(__file__).parents[2] / "node" / "demo" / "data"
BASE, ADAPTERS = DATA / "base", DATA / "adapters"
MEMBERS = ("ada", "bo", "cy", "dee", "eve", "fay", "gus", "hal")
TASKS = ("own0", "cover0", "pub1")
ITEMS = 6
TIME = "2026-11-22T20:00:00Z"


def clock() -> str:
    """Return the time at which everything in these tests happens."""
    return TIME


def seed_of(name: str) -> bytes:
    """Return the seed of a node, from its name."""
    return hashlib.sha256(f"test node {name}".encode()).digest()


@dataclass(frozen=True)
class Place:
    """Where a node lives: a folder with its home and, beside it, its state."""

    folder: Path

    @property
    def home(self) -> Path:
        """The home."""
        return self.folder / "home"

    @property
    def state(self) -> Path:
        """The folder of the signing lock."""
        return self.folder / "state"

    @property
    def both(self) -> list[Path]:
        """Everything a writing command may write to."""
        return [self.home, self.state]

    def init(self, name: str) -> Node:
        """Create the home of a node with this name."""
        return Node.init(self.home, self.state, name=name, seed=seed_of(name), clock=clock)

    def open(self) -> Node:
        """Open it."""
        return Node.open(self.home, self.state, clock=clock)

    def copy_to(self, folder: Path) -> Place:
        """Copy home and state, as they are, to a folder that may hold an older copy."""
        copy = Place(folder)
        for ours, theirs in zip(self.both, copy.both, strict=True):
            shutil.rmtree(theirs, ignore_errors=True)
            if ours.exists():
                shutil.copytree(ours, theirs)
        return copy


@dataclass(frozen=True)
class World:
    """A home with the base, the adapters and small suites; `ids` by member or TASK-SPLIT."""

    place: Place
    ids: Mapping[str, str]
    suites: Path
    compositions: dict[str, str] = field(default_factory=dict)

    def copy_to(self, folder: Path) -> World:
        """Return the same world in another place, to be changed at will."""
        return World(self.place.copy_to(folder), self.ids, self.suites, dict(self.compositions))

    @property
    def node(self) -> Node:
        """The node, opened."""
        return self.place.open()

    @property
    def tests(self) -> list[str]:
        """The ids of the test suites."""
        return [self.ids[f"{name}-test"] for name in TASKS]


def build_world(folder: Path) -> World:
    """Publish the world in a new home."""
    place = Place(folder)
    node = place.init("carol")
    node.add_base(str(BASE), "cipher-tiny")
    ids = {name: publish_adapter(node, name) for name in MEMBERS}
    tasks = [task(name) for name in TASKS]
    suites = folder / "suites"
    written = write_suites(DemoWorld(2606), suites, dev=ITEMS, test=ITEMS, tasks=tasks)
    for (name, split), directory in written.items():
        ids[f"{name}-{split}"] = str(node.publish(directory).id)
    return World(place, ids, suites)


def publish_adapter(node: Node, name: str) -> str:
    """Publish one of the shipped adapters and return its id."""
    published = node.publish(ADAPTERS / name, license="Apache-2.0", base="cipher-tiny")
    assert published.id is not None
    return published.id


def write_suite(folder: Path, name: str = "tiny", **changes: str) -> Path:
    """Write a suite directory of two items; nothing published is smaller."""
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "name": name,
        "license": "CC0-1.0",
        "scorer": "exact",
        "description": "two items",
        **changes,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in header.items()]
    (folder / "suite.toml").write_text("\n".join([*lines, "max_tokens = 5", ""]))
    rows = [{"id": f"i{n}", "prompt": f"P0 {c} >", "answer": c} for n, c in enumerate("ab")]
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_recipe(
    path: Path,
    *,
    members: str | Sequence[str] | Mapping[str, Sequence[str]] = "all",
    method: str = "merge.linear",
    suites: Sequence[str] = (),
    parameters: Mapping[str, str] | None = None,
    dev: str | None = None,
    extra: str = "",
) -> Path:
    """Write a recipe; a JSON string or list of strings is also TOML."""
    if isinstance(members, Mapping):
        pairs = ", ".join(f"{key} = {json.dumps(list(v))}" for key, v in members.items())
        chosen = f"{{{pairs}}}"
    else:
        chosen = json.dumps(members)
    lines = [
        'base = "cipher-tiny"',
        f"members = {chosen}",
        f"method = {json.dumps(method)}",
        f"suites = {json.dumps(list(suites))}",
    ]
    if parameters:
        pairs = ", ".join(f"{key} = {json.dumps(v)}" for key, v in parameters.items())
        lines.append(f"parameters = {{{pairs}}}")
    if dev is not None:
        lines.append(f"dev = {json.dumps(dev)}")
    path.write_text("\n".join([*lines, extra, ""]))
    return path


def snapshot(folder: Path) -> dict[str, str]:
    """Return every path below a folder with the hash of its bytes (a folder has none).

    An empty write-ahead log and its index say nothing; every reader of SQLite leaves them.
    """
    return {
        name: digest
        for name, digest in strict_snapshot(folder).items()
        if not name.endswith("-shm")
        and not (name.endswith("-wal") and (folder / name).stat().st_size == 0)
    }


def strict_snapshot(folder: Path) -> dict[str, str]:
    """Return every path below a folder, without exception, with the hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        )
        for path in sorted(folder.rglob("*"))
    }


def block_path(home: Home, cid: str) -> Path:
    """Return the file that holds a block."""
    (path,) = (home.path / "store" / "blocks").rglob(cid)
    return path


def flip(path: Path, position: int = -1) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


@contextmanager
def forging(home: Home) -> Iterator[sqlite3.Connection]:
    """Open the ledger behind the back of its triggers, as somebody with a hex editor does."""
    with closing(sqlite3.connect(home.ledger_path)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in names.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        yield connection
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def say(home: Home, kind: str, predicate: Mapping[str, Any], subjects: Mapping[str, bytes]) -> str:
    """Sign and append a statement as the owner of a home; liars hold valid keys too."""
    named = tuple(
        Subject(name, hashlib.sha256(data).hexdigest()) for name, data in subjects.items()
    )
    fields = {**predicate, "author": home.author, "created": TIME}
    entry = Entry.sign(Statement(kind, named, fields), home.keys().author)
    with home.writing() as log:
        log.append([entry])
    return entry.id


def predicate_of(node: Node, id_: str) -> dict[str, Any]:
    """Return what an entry says."""
    return dict(node.show(id_).statement["predicate"])


def check_home(node: Node) -> None:
    """What every test that writes ends with: an audit that finds nothing at all."""
    audited = node.audit()
    assert audited.findings == []
    assert audited.exit_code == 0
