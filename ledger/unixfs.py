"""UnixFS directories: an artifact as one CID, in the profile `unixfs-v1-2025` (IPIP-0499).

CIDv1, sha2-256, raw leaves, 1 MiB chunks, at most 1,024 links per node, balanced, no mode or
mtime. Building and reading are each other's inverse, and reading is strict: a DAG is accepted only
if the files it yields build the very same root again, so every directory has one representation.
No I/O happens here beyond the streams and callables handed in.

UnixFS data: Type (1 = directory, 2 = file), then for files the size and the sizes of the children.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Final, Protocol

from ledger.cid import DAG_PB, RAW, Cid
from ledger.dagpb import Link, encode_node, parse_node, protobuf_fields, varint
from ledger.errors import DigestError, MalformedError, UnsafeNameError

CHUNK_SIZE: Final = 1 << 20
MAX_LINKS: Final = 1024
MAX_BLOCK_BYTES: Final = 2 << 20
MAX_NAME_BYTES: Final = 255
MAX_DIRECTORY_BYTES: Final = 262_144
MAX_DEPTH: Final = 4

_DIRECTORY = b"\x08\x01"


class Reader(Protocol):
    """A stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; empty at the end."""


Sink = Callable[[Cid, bytes], None]
BlockReader = Callable[[Cid], bytes]
FileWriter = Callable[[str, Iterator[bytes]], None]
Leaves = Callable[[Iterator[bytes]], Iterator[tuple[Cid, bytes]]]


@dataclass(frozen=True, slots=True)
class Profile:
    """How files are cut; entries use the default, others exist to check published vectors."""

    chunk_size: int = CHUNK_SIZE
    max_links: int = MAX_LINKS


@dataclass(frozen=True, slots=True)
class Limits:
    """What a reader is willing to take from a stranger."""

    files: int = 64
    total_bytes: int = 8 << 30
    depth: int = MAX_DEPTH


@dataclass(frozen=True, slots=True)
class Node:
    """A child while building or reading: its link target, total size and file size."""

    cid: Cid
    tsize: int
    size: int


def hash_leaves(chunks: Iterator[bytes]) -> Iterator[tuple[Cid, bytes]]:
    """Yield each chunk with its CID, in order; whoever has several cores may do it otherwise."""
    for chunk in chunks:
        yield Cid.of(chunk), chunk


def build_directory(
    files: Mapping[str, Reader],
    sink: Sink,
    profile: Profile | None = None,
    leaves: Leaves = hash_leaves,
) -> Node:
    """Write a directory of files, given by relative path, and return its root node.

    Raises:
        UnsafeNameError: for a file name that is not safe everywhere.
        MalformedError: for a path that a directory cannot hold.
    """
    tree: dict[str, object] = {}
    for path in sorted(files):
        *folders, name = path.split("/")
        if len(folders) > MAX_DEPTH:
            raise MalformedError(f"'{path}': more than {MAX_DEPTH} directories deep")
        place = tree
        for folder in folders:
            check_name(folder)
            below = place.setdefault(folder, {})
            if not isinstance(below, dict):
                raise MalformedError(f"'{path}': '{folder}' is a file and a directory")
            place = below
        check_name(name)
        place[name] = build_file(files[path], sink, profile, leaves)
    return _build_tree(tree, sink)


def build_file(
    stream: Reader, sink: Sink, profile: Profile | None = None, leaves: Leaves = hash_leaves
) -> Node:
    """Write one file and return its node."""
    profile = profile or Profile()
    width = profile.max_links
    nodes = []
    for cid, chunk in leaves(_chunks(stream, profile.chunk_size)):
        sink(cid, chunk)
        nodes.append(Node(cid, len(chunk), len(chunk)))
    while len(nodes) > 1:
        groups = [nodes[i : i + width] for i in range(0, len(nodes), width)]
        nodes = [_file_node(group, sink) for group in groups]
    return nodes[0]


def read_directory(root: Cid, read: BlockReader, write: FileWriter, limits: Limits) -> None:
    """Yield every file of a directory to `write`, each block verified, within the limits.

    The caller must still compare the root of what was written (`build_directory`) with `root`.

    Raises:
        MalformedError: for a DAG outside the profile or the limits.
        UnsafeNameError: for a file name that is not safe everywhere.
        DigestError: for a block that is not what its CID names.
    """
    budget = _Budget(limits)
    _read_directory(root, "", read, write, budget, 0)


def read_file(root: Cid, read: BlockReader, limits: Limits) -> bytes:
    """Return the bytes of one file and require that they build the same root again.

    Raises:
        MalformedError: for a DAG outside the profile or the limits.
        DigestError: for a block that is not what its CID names.
    """
    data = b"".join(_read_file(root, read, _Budget(limits), 0))
    if build_file(BytesIO(data), discard).cid != root:
        raise MalformedError(f"{root}: not in the one accepted form")
    return data


def discard(cid: Cid, block: bytes) -> None:
    """Accept a block and forget it: the sink for whoever only wants the root."""
    del cid, block


def walk(root: Cid, read: BlockReader, limits: Limits) -> Iterator[tuple[Cid, bytes]]:
    """Yield every block below a root, depth first, each once, verified, within the limits."""
    seen: set[Cid] = set()
    total = 0
    stack = [(root, 0)]
    while stack:
        cid, depth = stack.pop()
        if cid in seen:
            continue
        seen.add(cid)
        block = checked_block(cid, read)
        total += len(block)
        if total > limits.total_bytes + MAX_BLOCK_BYTES or depth > 2 * limits.depth:
            raise MalformedError(f"{root}: larger or deeper than this node accepts")
        yield cid, block
        if cid.codec == DAG_PB:
            links, _ = parse_node(block)
            stack += [(link.cid, depth + 1) for link in reversed(links)]


def checked_block(cid: Cid, read: BlockReader) -> bytes:
    """Read a block and require that it is small enough and what its CID names."""
    block = read(cid)
    if len(block) > MAX_BLOCK_BYTES:
        raise MalformedError(f"block {cid}: {len(block)} bytes are too many")
    cid.check(block)
    return block


def is_directory(block: bytes) -> bool:
    """Whether a dag-pb block is a directory.

    Raises:
        MalformedError: unless it is canonical dag-pb.
    """
    return parse_node(block)[1] == _DIRECTORY


def check_name(name: str) -> None:
    """Require a file name that is safe everywhere.

    Raises:
        UnsafeNameError: for empty, `.`, `..`, separators, control characters or too long a name.
    """
    bad = not name or name in (".", "..") or any(char in "/\\:" or ord(char) < 32 for char in name)
    # File systems report bytes that are not UTF-8 as lone surrogates.
    bad = bad or any("\ud800" <= char <= "\udfff" for char in name)
    if bad or len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES:
        raise UnsafeNameError(f"{name[:80]!r} is not an acceptable file name")


class _Budget:
    def __init__(self, limits: Limits) -> None:
        self.depth = limits.depth
        self._files = limits.files
        self._bytes = limits.total_bytes

    def take(self, *, files: int = 0, size: int = 0) -> None:
        self._files -= files
        self._bytes -= size
        if self._files < 0 or self._bytes < 0:
            raise MalformedError("artifact: more files or bytes than this node accepts")


def _read_directory(
    cid: Cid, prefix: str, read: BlockReader, write: FileWriter, budget: _Budget, depth: int
) -> None:
    if cid.codec != DAG_PB or depth > budget.depth:
        raise MalformedError(f"{cid}: not a directory, or nested too deep")
    links, data = parse_node(checked_block(cid, read))
    if data != _DIRECTORY:
        raise MalformedError(f"{cid}: not a plain UnixFS directory")
    # Without this, directories that hold nothing could multiply the work without any file.
    if depth and not links:
        raise MalformedError(f"{cid}: an empty directory inside another")
    names = [link.name.encode("utf-8") for link in links]
    if names != sorted(set(names)):
        raise MalformedError(f"{cid}: directory names are not sorted and unique")
    for link in links:
        check_name(link.name)
        if link.cid.codec == DAG_PB and is_directory(checked_block(link.cid, read)):
            _read_directory(link.cid, f"{prefix}{link.name}/", read, write, budget, depth + 1)
        else:
            budget.take(files=1)
            write(prefix + link.name, _read_file(link.cid, read, budget, 0))


def _read_file(
    cid: Cid, read: BlockReader, budget: _Budget, depth: int, *, last: bool = True
) -> Iterator[bytes]:
    block = checked_block(cid, read)
    if cid.codec == RAW:
        # Full chunks bound the number of reads by the number of bytes.
        if len(block) > CHUNK_SIZE or (len(block) < CHUNK_SIZE and not last):
            raise MalformedError(f"{cid}: not a chunk of this profile")
        budget.take(size=len(block))
        yield block
        return
    links, data = parse_node(block)
    sizes = _file_sizes(data)
    if not links or len(sizes) != len(links) or depth > budget.depth:
        raise MalformedError(f"{cid}: not a UnixFS file of this profile")
    for number, (link, expected) in enumerate(zip(links, sizes, strict=True), 1):
        size = 0
        final = last and number == len(links)
        for chunk in _read_file(link.cid, read, budget, depth + 1, last=final):
            size += len(chunk)
            yield chunk
        if size != expected:
            raise DigestError(f"{link.cid}: {size} bytes where {expected} were announced")


def _file_sizes(data: bytes) -> list[int]:
    fields = [(field, value) for field, value in protobuf_fields(data) if isinstance(value, int)]
    numbers = [field for field, _ in fields]
    if len(fields) < 2 or fields[0] != (1, 2) or numbers != [1, 3, *[4] * (len(fields) - 2)]:
        raise MalformedError("UnixFS: not a file message of this profile")
    sizes = [value for _, value in fields[2:]]
    if sum(sizes) != fields[1][1] or _file_message(sizes) != data:
        raise MalformedError("UnixFS: file sizes do not add up")
    return sizes


def _build_tree(tree: Mapping[str, object], sink: Sink) -> Node:
    links = []
    for name in sorted(tree, key=lambda text: text.encode("utf-8")):
        item = tree[name]
        node = item if isinstance(item, Node) else _build_tree(_mapping(item), sink)
        links.append(Link(node.cid, name, node.tsize))
    block = encode_node(links, _DIRECTORY)
    if len(block) > MAX_DIRECTORY_BYTES:
        raise MalformedError("a directory of this size would need sharding, which is not supported")
    return _emit(block, links, 0, sink)


def _mapping(item: object) -> Mapping[str, object]:
    assert isinstance(item, dict)
    return item


def _chunks(stream: Reader, size: int) -> Iterator[bytes]:
    """Yield the chunks of a file; one that is empty has one empty chunk."""
    chunk = stream.read(size)
    yield chunk
    while chunk and (chunk := stream.read(size)):
        yield chunk


def _file_node(children: list[Node], sink: Sink) -> Node:
    sizes = [child.size for child in children]
    links = [Link(child.cid, "", child.tsize) for child in children]
    return _emit(encode_node(links, _file_message(sizes)), links, sum(sizes), sink)


def _emit(block: bytes, links: list[Link], size: int, sink: Sink) -> Node:
    cid = Cid.of(block, DAG_PB)
    sink(cid, block)
    return Node(cid, len(block) + sum(link.tsize for link in links), size)


def _file_message(sizes: list[int]) -> bytes:
    return b"\x08\x02\x18" + varint(sum(sizes)) + b"".join(b"\x20" + varint(s) for s in sizes)
