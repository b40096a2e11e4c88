"""CARv1 streams against a published file and against their own definition."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import load

from ledger.car import MAX_HEADER_BYTES, car_header, read_car, write_car
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import parse_node, varint
from ledger.errors import IncompleteError, MalformedError
from ledger.unixfs import MAX_BLOCK_BYTES, Limits, build_directory, walk


def test_the_published_car_is_written_byte_for_byte() -> None:
    published = bytes.fromhex(load("unixfs", "unixfs-vectors.json")["car"]["hex"])
    length, header_end = published[0], 1 + published[0]
    root = Cid.from_bytes(published[14:50])
    first = published[header_end + 2 + 36 :]
    directory_length = int.from_bytes(published[header_end : header_end + 1], "little") & 0x7F
    directory_length += (published[header_end + 1] & 0x7F) << 7
    directory = first[: directory_length - 36]
    leaf = Cid.of(b"abc")
    assert length == 0x3A
    assert root == Cid.of(directory, DAG_PB)
    assert b"".join(write_car(root, [(root, directory), (leaf, b"abc")])) == published


def test_blocks_follow_the_header_depth_first_each_once() -> None:
    blocks: dict[Cid, bytes] = {}
    files = {"a": BytesIO(b"same"), "b": BytesIO(b"same"), "c/d": BytesIO(b"other")}
    root = build_directory(files, blocks.__setitem__).cid
    pieces = list(write_car(root, walk(root, blocks.__getitem__, Limits())))
    assert pieces[0] == car_header(root)
    carried = [Cid.from_bytes(piece[1 if piece[0] < 0x80 else 2 :][:36]) for piece in pieces[1:]]
    links, _ = parse_node(blocks[root])
    assert carried[0] == root
    assert carried[1] == links[0].cid
    assert len(carried) == len(set(carried)) == len(blocks)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    root = Cid.of(b"root")
    stream = write_car(root, iter([(root, b"root"), (root, b"never")]))
    assert next(stream) == car_header(root)
    assert next(stream).endswith(b"root")


# --- reading ------------------------------------------------------------------------------------

A, B = (Cid.of(data) for data in (b"a", b"b"))
HEADER = car_header(A)
NO_ROOTS = b"\x11\xa2\x65roots\x80\x67version\x01"


def section(name: bytes, block: bytes) -> bytes:
    return varint(len(name) + len(block)) + name + block


class Trickle:
    """A stream that gives one byte at a time, however many are asked for."""

    def __init__(self, data: bytes) -> None:
        self._stream = BytesIO(data)

    def read(self, size: int, /) -> bytes:
        return self._stream.read(min(size, 1))


def test_the_published_car_is_read() -> None:
    published = bytes.fromhex(load("unixfs", "unixfs-vectors.json")["car"]["hex"])
    root, leaf = read_car(BytesIO(published))
    assert root[0] == Cid.from_bytes(published[14:50])
    assert root[0].codec == DAG_PB
    assert leaf == (Cid.of(b"abc"), b"abc")


@given(st.lists(st.binary(max_size=300)))
def test_what_is_written_is_read_in_any_order_and_as_often(contents: list[bytes]) -> None:
    blocks = [(Cid.of(data), data) for data in contents]
    car = b"".join(write_car(A, blocks))
    assert list(read_car(BytesIO(car))) == list(read_car(Trickle(car))) == blocks


def test_blocks_are_not_verified_and_roots_are_ignored() -> None:
    assert list(read_car(BytesIO(NO_ROOTS + section(bytes(A), b"lie")))) == [(A, b"lie")]


@pytest.mark.parametrize(
    "name",
    [
        b"\x12\x20" + bytes(32),
        b"\x01\x71\x12\x20" + bytes(32),
        b"\x01\x55\x13\x40" + bytes(64),
        b"\x01\x55\x00\x00",
        bytes(A)[:-1],
        b"\x00",
    ],
    ids=["v0", "dag-cbor", "sha2-512", "identity", "cut", "nonsense"],
)
def test_blocks_under_names_we_never_use_are_passed_over(name: bytes) -> None:
    # The cut name would swallow a byte of its block, so its section holds nothing else.
    block = b"" if len(name) == 35 else b"other"
    assert list(read_car(BytesIO(HEADER + section(name, block) + section(bytes(B), b"b")))) == [
        (B, b"b")
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x0a\xa1\x67version\x02",
        HEADER[:-1] + b"\x02",
        varint(MAX_HEADER_BYTES + 1) + bytes(MAX_HEADER_BYTES + 1),
        HEADER + b"\x00",
        HEADER + b"\xa4\x80\x00" + bytes(A),
        HEADER + b"\xff" * 10,
        HEADER + varint(1 << 40),
        HEADER + section(bytes(A), bytes(MAX_BLOCK_BYTES + 1)),
    ],
    ids=[
        "no-header",
        "version-2",
        "other-version",
        "huge-header",
        "empty-section",
        "long-form",
        "endless-length",
        "huge-section",
        "huge-block",
    ],
)
def test_what_is_no_car_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="CAR"):
        list(read_car(BytesIO(data)))


def test_what_is_cut_is_incomplete_wherever_the_cut_is() -> None:
    car = HEADER + section(bytes(A), b"a" * 200)
    for end in range(len(car)):
        if end != len(HEADER):
            with pytest.raises(IncompleteError, match="CAR"):
                list(read_car(BytesIO(car[:end])))


def test_a_huge_length_reserves_nothing() -> None:
    class Endless:
        asked = 0

        def read(self, size: int, /) -> bytes:
            self.asked = max(self.asked, size)
            return b"\xff" * size

    stream = Endless()
    with pytest.raises(MalformedError):
        list(read_car(stream))
    assert stream.asked == 1


def test_one_block_is_in_memory_at_a_time() -> None:
    stream = BytesIO(HEADER + section(bytes(A), b"a") + b"\xff" * 10)
    blocks = read_car(stream)
    assert next(blocks) == (A, b"a")
    with pytest.raises(MalformedError):
        next(blocks)
