"""CARv1: a DAG as one stream of blocks (IPLD CARv1 specification).

    varint(len) || DAG-CBOR {"roots": [root, ...], "version": 1}
    then per block: varint(len(cid) + len(block)) || cid || block

Written with exactly one root, in the order of the caller; trustless gateways announce
`order=dfs; dups=n`. Reading is strict about the framing and indifferent to the rest: the roots of
the header are ignored, as the gateway specification asks, and blocks come in any order, several
times, or without anybody wanting them. A CAR cannot say that it is whole; whoever reads one has
to see that nothing is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ledger.cid import Cid
from ledger.dagpb import varint
from ledger.errors import IncompleteError, MalformedError
from ledger.unixfs import MAX_BLOCK_BYTES, Reader

MAX_HEADER_BYTES: Final = 8_192
CID_BYTES: Final = 36

# A section may hold a block under a CID of another kind, which is passed over.
_MAX_SECTION_BYTES = MAX_BLOCK_BYTES + 128
# DAG-CBOR: a map of two; the text "roots"; an array of one; tag 42 and 37 bytes, the first zero.
_BEFORE_ROOTS = b"\xa2\x65roots"
_BEFORE_ROOT = _BEFORE_ROOTS + b"\x81\xd8\x2a\x58\x25\x00"
_AFTER_ROOTS = b"\x67version\x01"
_OUR_CIDS = (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")


def car_header(root: Cid) -> bytes:
    """Return the header of a CAR with one root, its length in front."""
    return _frame(_BEFORE_ROOT + bytes(root) + _AFTER_ROOTS)


def car_frame(cid: Cid, size: int) -> bytes:
    """Return what stands before a block of `size` bytes: the length of its section, and its CID."""
    return varint(CID_BYTES + size) + bytes(cid)


def write_car(root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a CAR, one piece per block; blocks are taken as verified."""
    yield car_header(root)
    for cid, block in blocks:
        yield car_frame(cid, len(block)) + block


def read_car(stream: Reader) -> Iterator[tuple[Cid, bytes]]:
    """Yield CIDs and blocks as they come, unverified, one in memory at a time.

    A block under a CID that pnode never uses (another version, codec or hash) is passed over.

    Raises:
        MalformedError: if this is no CARv1, or a length is out of bounds.
        IncompleteError: if it ends in the middle of its header or a block.
    """
    _header(stream)
    yield from _blocks(stream)


def read_rooted_car(stream: Reader) -> tuple[Cid, Iterator[tuple[Cid, bytes]]]:
    """Return the one root that a CAR names, and its blocks as `read_car` yields them.

    Raises:
        MalformedError: as `read_car` does, and if it has no root, several, or one of another kind.
        IncompleteError: as `read_car` does.
    """
    header = _header(stream)
    name = header[len(_BEFORE_ROOT) : -len(_AFTER_ROOTS)]
    if not header.startswith(_BEFORE_ROOT) or len(name) != CID_BYTES:
        raise MalformedError("CAR: it does not name exactly one root of the kind used here")
    return Cid.from_bytes(name), _blocks(stream)


def _header(stream: Reader) -> bytes:
    length = _length(stream, MAX_HEADER_BYTES)
    if length is None:
        raise IncompleteError("CAR: it is empty")
    header = _exactly(stream, length)
    if not (header.startswith(_BEFORE_ROOTS) and header.endswith(_AFTER_ROOTS)):
        raise MalformedError("CAR: not a header of version 1")
    return header


def _blocks(stream: Reader) -> Iterator[tuple[Cid, bytes]]:
    while (length := _length(stream, _MAX_SECTION_BYTES)) is not None:
        if length == 0:
            raise MalformedError("CAR: an empty section")
        name = _exactly(stream, min(length, CID_BYTES))
        block = _exactly(stream, length - len(name))
        if name.startswith(_OUR_CIDS) and len(name) == CID_BYTES:
            if len(block) > MAX_BLOCK_BYTES:
                raise MalformedError(f"CAR: a block of {len(block)} bytes is too large")
            yield Cid.from_bytes(name), block


def _length(stream: Reader, limit: int) -> int | None:
    """Return the next length, or None at the end; unsigned LEB128 in its shortest form."""
    value = 0
    for shift in range(0, 63, 7):
        byte = stream.read(1)
        if not byte:
            if shift == 0:
                return None
            raise IncompleteError("CAR: it ends in the middle of a length")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            if value > limit or (byte == b"\0" and shift):
                break
            return value
    raise MalformedError(f"CAR: not a length of at most {limit}")


def _exactly(stream: Reader, size: int) -> bytes:
    data = stream.read(size)
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise IncompleteError("CAR: it ends in the middle of a block")
        data += more
    return data


def _frame(data: bytes) -> bytes:
    return varint(len(data)) + data
