"""dag-pb nodes: links to blocks and some data, in the one canonical form (IPLD dag-pb).

All links (field 2) come before Data (field 1); a link is Hash, Name (present even when empty) and
Tsize. Parsing re-encodes and compares, so every node has exactly one accepted representation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ledger.cid import Cid
from ledger.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a dag-pb node: `tsize` is the size of everything below it, in bytes."""

    cid: Cid
    name: str
    tsize: int


def parse_node(block: bytes) -> tuple[list[Link], bytes]:
    """Parse a dag-pb block into its links and its UnixFS data.

    Raises:
        MalformedError: unless the block is in canonical dag-pb form.
    """
    links: list[Link] = []
    data: bytes | None = None
    for field, value in protobuf_fields(block):
        if field == 2 and data is None and isinstance(value, bytes):
            links.append(_parse_link(value))
        elif field == 1 and data is None and isinstance(value, bytes):
            data = value
        else:
            raise MalformedError("dag-pb: unknown, repeated or misplaced field")
    if data is None or encode_node(links, data) != block:
        raise MalformedError("dag-pb: node is not in canonical form")
    return links, data


def encode_node(links: Iterable[Link], data: bytes) -> bytes:
    """Return the canonical dag-pb block of some links and data."""
    parts = [_delimited(2, _encode_link(link)) for link in links]
    return b"".join(parts) + _delimited(1, data)


def _encode_link(link: Link) -> bytes:
    name = link.name.encode("utf-8")
    return _delimited(1, bytes(link.cid)) + _delimited(2, name) + b"\x18" + varint(link.tsize)


def _parse_link(data: bytes) -> Link:
    fields = list(protobuf_fields(data))
    if [field for field, _ in fields] != [1, 2, 3]:
        raise MalformedError("dag-pb: a link is not Hash, Name, Tsize")
    target, name, tsize = (value for _, value in fields)
    if not isinstance(target, bytes) or not isinstance(name, bytes) or not isinstance(tsize, int):
        raise MalformedError("dag-pb: a link is not Hash, Name, Tsize")
    try:
        return Link(Cid.from_bytes(target), name.decode("utf-8"), tsize)
    except UnicodeDecodeError:
        raise MalformedError("dag-pb: a link name is not UTF-8") from None


def _delimited(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + varint(len(value)) + value


def protobuf_fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the fields of a protobuf message: number, and bytes or integer."""
    position = 0
    while position < len(data):
        tag = data[position]
        number, position = _read_varint(data, position + 1)
        if tag & 7 == 0:
            yield tag >> 3, number
        elif tag & 7 == 2 and position + number <= len(data):
            yield tag >> 3, data[position : position + number]
            position += number
        else:
            raise MalformedError("protobuf: bad or truncated field")


def varint(value: int) -> bytes:
    """Return an unsigned LEB128 number."""
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedError("protobuf: bad or truncated number")
