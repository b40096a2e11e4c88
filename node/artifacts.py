"""Artifacts: directories and documents going into and out of the block store.

Reading is strict: every block is hashed before it is parsed, and the extracted files must build
the root again. Extraction happens under a temporary name, so a folder that exists is complete.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from ledger.blocks import BlockStore
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import parse_node
from ledger.database import storage_errors
from ledger.errors import DigestError, IncompleteError, NotFoundError, PnodeError, PolicyError
from ledger.unixfs import (
    Limits,
    Sink,
    build_directory,
    build_file,
    checked_block,
    discard,
    read_directory,
    read_file,
)
from node.durable import make_folder, staging_folder
from node.hashing import Hashing
from node.storage.local import LocalStore

# As much as the largest document, a coalition table, may have.
MAX_DOCUMENT_BYTES = 512 << 20
_UNIXFS_FILE = b"\x08\x02"
_intact: set[Path] = set()


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an artifact: relative path, hex SHA-256, size in bytes."""

    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A directory in the block store."""

    cid: Cid
    files: tuple[StoredFile, ...]


def scan(directory: Path, limits: Limits | None = None) -> list[str]:
    """Return the relative paths of the regular files of a directory, sorted.

    Raises:
        NotFoundError: if the directory does not exist.
        PolicyError: if it is empty or holds links, special or hidden files, or too much.
    """
    limits = limits or Limits()
    if not directory.is_dir():
        raise NotFoundError(f"{directory}: no such directory", hint="check the path")
    paths, total = [], 0
    for folder, folders, names in os.walk(directory):
        folders.sort()
        for name in [*names, *folders]:
            path = Path(folder, name)
            info = path.lstat()
            relative = path.relative_to(directory).as_posix()
            if name.startswith(".") or stat.S_ISLNK(info.st_mode):
                raise PolicyError(f"{path}: hidden files and links cannot be published")
            if stat.S_ISDIR(info.st_mode):
                continue
            if not stat.S_ISREG(info.st_mode):
                raise PolicyError(f"{path}: not a regular file")
            paths.append(relative)
            total += info.st_size
    if not paths:
        raise PolicyError(f"{directory}: empty, there is nothing to publish")
    if len(paths) > limits.files or total > limits.total_bytes:
        raise PolicyError(f"{directory}: {len(paths)} files, {total} bytes are too many")
    return sorted(paths)


def directory_root(directory: Path) -> Cid:
    """Return the root of a directory, computed as quickly as can be."""
    with Hashing() as hashing, _opened(directory, scan(directory)) as streams:
        return build_directory(streams, discard, leaves=hashing.leaves).cid


def store_directory(
    directory: Path, store: LocalStore | None, *, expected: Cid | None = None
) -> StoredArtifact:
    """Cut a directory into blocks, store and pin them; with no store only compute.

    Raises:
        DigestError: if the root is not the expected one; then nothing is pinned.
    """
    return store_files(directory, scan(directory), store, expected=expected)


def store_files(
    directory: Path,
    paths: Sequence[str],
    store: LocalStore | None,
    *,
    expected: Cid | None = None,
) -> StoredArtifact:
    """Do the same with some files of a directory only."""
    with Hashing() as hashing, _opened(directory, paths) as streams, _sink(store) as sink:
        hashed = {path: hashing.file(stream) for path, stream in streams.items()}
        root = build_directory(hashed, sink, leaves=hashing.leaves).cid
        files = [StoredFile(path, item.sha256, item.size) for path, item in sorted(hashed.items())]
    if expected is not None and root != expected:
        raise DigestError(
            f"{directory}: files changed while they were read",
            hint="wait until nothing writes there and publish again",
        )
    if store is not None:
        store.pin(root)
    return StoredArtifact(root, tuple(files))


def store_document(data: bytes, store: LocalStore | None) -> Cid:
    """Store one file and pin it; with no store only compute its CID.

    Raises:
        PolicyError: if it is larger than anybody would read back.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise PolicyError(
            f"a document of {len(data)} bytes, at most {MAX_DOCUMENT_BYTES} are accepted",
            hint="use fewer items, or attribute with a smaller --budget",
        )
    with _sink(store) as sink:
        cid = build_file(BytesIO(data), sink).cid
    if store is not None:
        store.pin(cid)
    return cid


def read_document(cid: Cid, store: BlockStore, *, what: str) -> bytes:
    """Return the verified bytes of a stored file.

    Raises:
        IncompleteError: if a block is missing.
        DigestError: if a block is damaged.
    """
    limits = Limits(files=1, total_bytes=MAX_DOCUMENT_BYTES)
    with _blocks_of(f"{what} {cid}"):
        return read_file(cid, store.get_block, limits)


def is_document(cid: Cid, store: BlockStore) -> bool:
    """Whether a CID names one file, by the type its root block states; else it is a directory.

    Raises:
        IncompleteError: if the root block is missing.
        DigestError: if it is damaged.
    """
    if cid.codec != DAG_PB:
        return True
    with _blocks_of(f"artifact {cid}"):
        _, data = parse_node(checked_block(cid, store.get_block))
    return data.startswith(_UNIXFS_FILE)


def extract(
    cid: Cid, store: BlockStore, target: Path, limits: Limits | None = None
) -> StoredArtifact:
    """Write an artifact to a new folder, verified completely before the folder appears.

    Raises:
        IncompleteError: if a block is missing.
        DigestError: if a block is damaged or the files do not build the root again.
    """
    with staging_folder(target) as folder:
        return read_artifact(cid, store, folder, limits)


def read_artifact(
    cid: Cid, store: BlockStore, folder: Path, limits: Limits | None = None
) -> StoredArtifact:
    """Write an artifact to an empty folder, verified; for use here and now, it is not synced.

    Raises:
        IncompleteError: if a block is missing.
        DigestError: if a block is damaged or the files do not build the root again.
    """
    with _blocks_of(f"artifact {cid}"):
        read_directory(cid, store.get_block, _writer(folder), limits or Limits())
    artifact = store_directory(folder, None)
    if artifact.cid != cid:
        raise DigestError(f"artifact {cid} is not in the one accepted form")
    return artifact


def extract_once(cid: Cid, store: BlockStore, target: Path) -> None:
    """Extract unless the folder holds the artifact already, which is checked once per process.

    Raises:
        IncompleteError: if a block is missing.
        DigestError: if a block is damaged or the files do not build the root again.
    """
    if target in _intact and target.is_dir():
        return
    if not _holds(target, cid):
        extract_again(cid, store, target)
    _intact.add(target)


def extract_again(cid: Cid, store: BlockStore, target: Path) -> None:
    """Extract in place of whatever the folder holds.

    Raises:
        IncompleteError: if a block is missing.
        DigestError: if a block is damaged or the files do not build the root again.
    """
    if target.exists():
        with storage_errors(target):
            shutil.rmtree(target)
    extract(cid, store, target)


def _holds(folder: Path, cid: Cid) -> bool:
    try:
        return directory_root(folder) == cid
    except PnodeError:
        return False


@contextmanager
def _opened(directory: Path, paths: Sequence[str]) -> Iterator[dict[str, BinaryIO]]:
    """Open some files of a directory; none of them is a link."""
    with ExitStack() as stack, storage_errors(directory):
        streams: dict[str, BinaryIO] = {}
        for path in paths:
            descriptor = os.open(directory / path, os.O_RDONLY | os.O_NOFOLLOW)
            streams[path] = stack.enter_context(os.fdopen(descriptor, "rb"))
        yield streams


@contextmanager
def _sink(store: LocalStore | None) -> Iterator[Sink]:
    """Yield where blocks go; when it ends they are durable."""
    if store is None:
        yield discard
        return
    with store.batch() as batch:
        yield batch.put


@contextmanager
def _blocks_of(what: str) -> Iterator[None]:
    try:
        yield
    except NotFoundError as error:
        raise IncompleteError(f"{what}: {error.message}") from None


def _writer(folder: Path) -> Callable[[str, Iterator[bytes]], None]:
    def write(path: str, chunks: Iterator[bytes]) -> None:
        target = folder / path
        make_folder(target.parent)
        with target.open("xb") as stream:
            for chunk in chunks:
                stream.write(chunk)

    return write
