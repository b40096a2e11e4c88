"""A composed system as a folder: written by `compose -o`, opened again with a few lines of Python.

    lock.json          the lock, canonical JSON
    members/ID/        each member's adapter, as published
    entries/ID.json    the ledger entry of each member, whose hash is ID
    dev/               the dev suite, if the lock names one
    README.md          how to open it

The base is not in it. Whoever opens the folder checks everything against the lock: the base by its
digest, members and dev suite by the CIDs of their files, entries by their ids.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.entry import Entry
from ledger.errors import DigestError, UsageError
from node.artifacts import directory_root, extract
from node.durable import staging_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compose.lock import Lock, LockedEntry
    from compose.system import System
    from ledger.blocks import BlockStore

LOCK, MEMBERS, ENTRIES, DEV, README = "lock.json", "members", "entries", "dev", "README.md"

_README = """# A composed system

Composed with pnode by `{method}` from {members}. `lock.json` says of what; nothing here is run.
It needs the base model `{base}`, digest sha256:{digest}.

```python
from node.saving import open_system
system = open_system(".", base="PATH/TO/{base}")
print(system.write(["a prompt"], max_tokens=8))
```
"""


def save_system(
    lock: Lock, entries: Mapping[str, bytes], store: BlockStore, output: Path
) -> list[str]:
    """Write the folder of a lock and return its files, sorted.

    Args:
        lock: what was composed.
        entries: the bytes of each member's entry, by id.
        store: has the blocks of the members and of the dev suite.
        output: a folder that does not exist.

    Raises:
        UsageError: if it exists.
        IncompleteError, DigestError: if blocks are missing or damaged.
    """
    if output.exists():
        raise UsageError(f"{output}: exists already", hint="give a new folder to -o")
    with staging_folder(output.absolute()) as folder:
        (folder / LOCK).write_bytes(lock.encode())
        (folder / ENTRIES).mkdir()
        (folder / MEMBERS).mkdir()
        for member in lock.members:
            (folder / ENTRIES / f"{member.id}.json").write_bytes(entries[member.id])
            extract(member.cid, store, folder / MEMBERS / member.id)
        if lock.dev is not None:
            extract(lock.dev.cid, store, folder / DEV)
        count = len(lock.members)
        text = _README.format(
            method=lock.method.name,
            members=f"{count} member{'' if count == 1 else 's'}",
            base=lock.base.name,
            digest=lock.base.digest,
        )
        (folder / README).write_text(text, "utf-8")
    return sorted(str(Path(at, name)) for at, _, names in os.walk(output) for name in names)


def open_system(directory: Path | str, *, base: Path | str) -> System:
    """Open a folder that `compose -o` wrote for a method that needs its members.

    Args:
        directory: the folder.
        base: the folder of the base model.

    Raises:
        NotFoundError: if a file is missing.
        DigestError: if something is not what the lock names.
        MalformedError, UnfitAdapterError, UnfitBaseError: if a file is not what it should be.
    """
    from compose.adapter import inspect_adapter
    from compose.base import open_base
    from compose.errors import UnfitError
    from compose.lock import MAX_BYTES, Lock
    from compose.suite import open_suite
    from compose.system import assemble
    from compose.untrusted import read_regular

    folder = Path(directory)
    what = f"system {folder.name}"
    data = read_regular(folder / LOCK, what=what, max_bytes=MAX_BYTES, error=UnfitError)
    lock = Lock.parse(data, what=f"{what}: {LOCK}")
    opened = open_base(Path(base), name=lock.base.name)
    adapters = {
        member.id: inspect_adapter(_checked(folder / MEMBERS / member.id, member), opened)
        for member in lock.members
    }
    dev = None if lock.dev is None else open_suite(_checked(folder / DEV, lock.dev))
    titles = {member.id: _title(folder / ENTRIES, member.id) for member in lock.members}
    return assemble(lock, opened, adapters, dev, titles)


def _checked(folder: Path, named: LockedEntry) -> Path:
    if directory_root(folder) != named.cid:
        raise DigestError(f"{folder} is not the artifact {named.cid} that the lock names")
    return folder


def _title(folder: Path, id_: str) -> str:
    from compose.errors import UnfitError
    from compose.untrusted import read_regular
    from ledger.merkle import MAX_ENTRY_BYTES

    path = folder / f"{id_}.json"
    body = read_regular(path, what=str(path), max_bytes=MAX_ENTRY_BYTES, error=UnfitError)
    entry = Entry.parse(body)
    if entry.id != id_:
        raise DigestError(f"{path} is not the entry {id_}")
    return str(entry.statement.predicate["title"])
