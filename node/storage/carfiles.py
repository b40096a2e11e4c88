"""CAR files: a DAG out of the local store as one file, and back in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.car import read_rooted_car, write_car
from ledger.cid import Cid
from ledger.database import storage_errors
from ledger.errors import (
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from ledger.unixfs import Limits, walk
from node.durable import write_pieces
from node.storage.gathering import MAX_NODE_BYTES, Gathering, Progress
from node.storage.local import LocalStore


@dataclass(frozen=True, slots=True)
class CarFile:
    """A CAR that was written or read: its root, its blocks, and its size in bytes."""

    cid: str
    blocks: int
    bytes: int


def export_car(store: LocalStore, root: Cid, path: Path) -> CarFile:
    """Write everything below a root to a new file: depth first, each block once and verified.

    Raises:
        UsageError: if the file exists.
        IncompleteError: if a block is missing or damaged; then no file is left.
    """
    if path.exists():
        raise UsageError(f"{path}: exists already", hint="give a new file to -o")
    count = 0

    def blocks() -> Iterator[tuple[Cid, bytes]]:
        nonlocal count
        for cid, block in walk(root, store.get_block, Limits()):
            count += 1
            yield cid, block

    try:
        size = write_pieces(path, write_car(root, blocks()))
    except (NotFoundError, EvidenceError) as error:
        raise IncompleteError(
            f"artifact {root}: {error.message}", hint="bring it here with 'pnode store pin'"
        ) from None
    return CarFile(str(root), count, size)


def import_car(
    store: LocalStore, path: Path, progress: Progress, limits: Limits | None = None
) -> CarFile:
    """Store the blocks of a CAR file and pin its root; what is here already may be left out.

    Every block is hashed before it is stored. Nothing is pinned unless everything below the root is
    here, and within the limits.

    Raises:
        NotFoundError: if there is no such file.
        MalformedError: if it is no CAR with one root, or larger than an artifact may be.
        DigestError: if a block is not what its CID names.
        IncompleteError: if it ends early, or lacks a block that is not here either.
    """
    limits = limits or Limits()
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", hint="check the path")
    try:
        with storage_errors(path), path.open("rb") as stream:
            root, blocks = read_rooted_car(stream)
            count = total = 0
            with store.batch() as batch:
                for cid, block in blocks:
                    total += len(block)
                    if total > limits.total_bytes + MAX_NODE_BYTES:
                        raise MalformedError("more bytes than an artifact may have")
                    cid.check(block)
                    batch.put(cid, block)
                    count += 1
                    progress("blocks", count, 0)
            size = stream.tell()
        Gathering(store, (), progress, limits).gather(root)
    except (EvidenceError, IncompleteError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from None
    except NotFoundError as error:
        raise IncompleteError(f"{path}: {error.message}") from None
    store.pin(root)
    return CarFile(str(root), count, size)
