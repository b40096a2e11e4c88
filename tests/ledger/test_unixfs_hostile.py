"""A hostile DAG goes nowhere: no file outside, no endless work, no second form."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import RAW, Cid
from ledger.dagpb import Link, encode_node, parse_node, varint
from ledger.errors import (
    DigestError,
    EvidenceError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnsafeNameError,
)
from ledger.unixfs import (
    Limits,
    build_directory,
    build_file,
    read_directory,
    read_file,
    walk,
)
from tests.ledger.dags import Blocks, directory, extract, refused, refused_links

BAD_NAMES = ["", ".", "..", "a\\b", "a\x00b", "a\nb", "\x1f", "C:", "n" * 256, "\u00e9" * 128]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_an_unsafe_name_is_neither_written_nor_read(name: str) -> None:
    with pytest.raises(UnsafeNameError):
        build_directory({name: BytesIO(b"x")}, lambda cid, block: None)
    refused_links([(name, b"x")], error=UnsafeNameError)


def test_a_path_separator_in_a_link_name_is_refused() -> None:
    refused_links([("../../etc/passwd", b"x")], error=UnsafeNameError)
    refused_links([("a/b", b"x")], error=UnsafeNameError)


def test_names_out_of_order_or_repeated_are_refused() -> None:
    refused_links([("b", b"1"), ("a", b"2")])
    refused_links([("a", b"1"), ("a", b"2")])


def test_other_unixfs_types_are_refused() -> None:
    """Raw, metadata, symbolic link, HAMT shard; mode and modification time."""
    for data in (b"\x08\x00", b"\x08\x03", b"\x08\x04", b"\x08\x05", b"", b"\x08\x01\x38\x01",
                 b"\x08\x01\x18\x00", b"\x18\x00", b"\x08\x81\x00"):  # fmt: skip
        refused_links([("a", b"1")], data)


def file_message(sizes: list[int], total: int | None = None) -> bytes:
    assert all(size < 128 for size in sizes)
    announced = sum(sizes) if total is None else total
    assert announced < 128
    return b"\x08\x02\x18" + bytes([announced]) + b"".join(b"\x20" + bytes([s]) for s in sizes)


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"ab", b"c"], file_message([1, 2])),
        ([b"ab", b"c"], file_message([2, 1], 4)),
        ([b"ab", b"c"], file_message([3])),
        ([b"ab", b"c"], file_message([2, 1, 0])),
        ([], file_message([])),
        ([b"ab", b"c"], file_message([2, 1]) + b"\x28\x05"),
        ([b"ab", b"c"], file_message([2, 1]) + b"\x12\x01x"),
        ([b"ab", b"c"], b"\x08\x02\x12\x01x" + file_message([2, 1])[2:]),
        ([b"ab", b"c"], file_message([2, 1])),
        ([b"abc"], file_message([3])),
        ([b"abc", b""], file_message([3, 0])),
    ],
)
def test_a_file_cut_in_any_other_way_is_refused(chunks: list[bytes], message: bytes) -> None:
    """The last three are sound UnixFS, but not what the one profile makes of these bytes."""
    blocks = Blocks()
    links = [Link(blocks.add(chunk, RAW), "", len(chunk)) for chunk in chunks]
    node = blocks.add(encode_node(links, message))
    root = blocks.add(encode_node([Link(node, "file", 100)], b"\x08\x01"))
    refused(root, blocks)
    with pytest.raises(EvidenceError):
        read_file(node, blocks.get, Limits())


def test_a_wrong_tsize_is_refused() -> None:
    blocks = Blocks()
    leaf = blocks.add(b"abc", RAW)
    refused(blocks.add(encode_node([Link(leaf, "a", 4)], b"\x08\x01")), blocks)


def test_a_block_that_is_not_what_its_cid_names_is_refused() -> None:
    blocks = Blocks()
    root = directory({"a": b"x" * 10, "b/c": b"y"}, blocks)
    for cid in list(blocks.held):
        kept = blocks.held[cid]
        for forged in (kept + b"\0", b"", kept[::-1] if kept[::-1] != kept else b"z"):
            blocks.held[cid] = forged
            with pytest.raises(DigestError):
                extract(root, blocks)
            with pytest.raises(DigestError):
                list(walk(root, blocks.get, Limits()))
        blocks.held[cid] = kept


def test_a_missing_block_is_named() -> None:
    blocks = Blocks()
    root = directory({"a": b"x"}, blocks)
    del blocks.held[Cid.of(b"x")]
    with pytest.raises(NotFoundError, match=str(Cid.of(b"x"))):
        extract(root, blocks)


def test_a_block_over_the_limit_is_refused() -> None:
    blocks = Blocks()
    big = blocks.add(bytes((2 << 20) + 1), RAW)
    refused(blocks.add(encode_node([Link(big, "a", (2 << 20) + 1)], b"\x08\x01")), blocks)


def test_limits_on_files_bytes_and_depth() -> None:
    blocks = Blocks()
    root = directory({"a": b"12345", "b": b"67890", "c/d": b"x"}, blocks)
    assert len(extract(root, blocks, Limits(files=3, total_bytes=11))) == 3
    refused(root, blocks, Limits(files=2))
    refused(root, blocks, Limits(total_bytes=10))
    refused(root, blocks, Limits(depth=0))
    with pytest.raises(MalformedError):
        list(walk(root, blocks.get, Limits(depth=0)))


def test_bytes_are_refused_before_the_limit_is_passed() -> None:
    blocks = Blocks()
    root = directory({"a": bytes(range(256)) * 4096 * 8}, blocks)
    received = 0

    def write(_: str, chunks: Iterator[bytes]) -> None:
        nonlocal received
        for chunk in chunks:
            received += len(chunk)

    with pytest.raises(MalformedError):
        read_directory(root, blocks.get, write, Limits(total_bytes=3 << 20))
    assert received <= 3 << 20


def nested(blocks: Blocks, inner: Cid, width: int, message: bytes, levels: int) -> Cid:
    for _ in range(levels):
        names = [f"{i:06d}" if message == b"\x08\x01" else "" for i in range(width)]
        inner = blocks.add(encode_node([Link(inner, name, 0) for name in names], message))
    return inner


def test_a_bomb_of_empty_directories_is_refused_soon() -> None:
    blocks = Blocks()
    bomb = nested(blocks, blocks.add(encode_node([], b"\x08\x01")), 1_000, b"\x08\x01", 3)
    assert sum(len(block) for block in blocks.held.values()) < 200_000
    refused(bomb, blocks)


def test_a_bomb_of_empty_chunks_is_refused_soon() -> None:
    blocks = Blocks()
    message = b"\x08\x02\x18\x00" + b"\x20\x00" * 1_000
    bomb = nested(blocks, blocks.add(b"", RAW), 1_000, message, 3)
    refused(blocks.add(encode_node([Link(bomb, "file", 0)], b"\x08\x01")), blocks)
    blocks.reads = 0
    with pytest.raises(EvidenceError):
        read_file(bomb, blocks.get, Limits())


def test_a_bomb_of_tiny_chunks_is_refused_soon() -> None:
    """Every chunk but the last has the size of the profile, so reads are bounded by bytes."""
    blocks = Blocks()
    bomb, size = blocks.add(b"x", RAW), 1
    for _ in range(3):
        sizes = b"".join(b"\x20" + varint(size) for _ in range(1_000))
        message = b"\x08\x02\x18" + varint(1_000 * size) + sizes
        bomb = blocks.add(encode_node([Link(bomb, "", size)] * 1_000, message))
        size *= 1_000
    refused(blocks.add(encode_node([Link(bomb, "file", size)], b"\x08\x01")), blocks)
    blocks.reads = 0
    with pytest.raises(EvidenceError):
        read_file(bomb, blocks.get, Limits())


def test_a_directory_inside_a_file_is_refused() -> None:
    blocks = Blocks()
    empty = blocks.add(encode_node([], b"\x08\x01"))
    node = blocks.add(encode_node([Link(empty, "", 4)], file_message([0])))
    refused(blocks.add(encode_node([Link(node, "file", 4)], b"\x08\x01")), blocks)


def test_an_artifact_is_a_directory() -> None:
    blocks = Blocks()
    refused(blocks.add(b"just a file", RAW), blocks)
    refused(build_file(BytesIO(bytes(3 << 20)), blocks.put).cid, blocks)


def test_a_lenient_spelling_of_a_node_is_refused() -> None:
    leaf = bytes(Cid.of(b"x"))
    link = b"\x0a\x24" + leaf + b"\x12\x01a\x18\x01"
    good = b"\x12" + bytes([len(link)]) + link + b"\x0a\x02\x08\x01"
    assert parse_node(good)[0] == [Link(Cid.of(b"x"), "a", 1)]
    unnamed = b"\x0a\x24" + leaf + b"\x18\x01"
    for bad in (
        b"\x0a\x02\x08\x01" + good[:-4],  # Data first
        good + b"\x0a\x02\x08\x01",  # Data twice
        good + b"\x1a\x00",  # unknown field
        good[:-4],  # no Data
        good[:-1],  # cut off
        b"\x12\xac\x00" + good[2:],  # a number in more bytes than it needs
        b"\x12" + bytes([len(unnamed)]) + unnamed + b"\x0a\x02\x08\x01",  # no Name
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x12\xff\xff\xff\xff\x0f",
        b"",
    ):
        with pytest.raises(MalformedError):
            parse_node(bad)


@given(st.binary(max_size=120), st.integers(0, 60), st.integers(0, 255))
def test_any_bytes_are_a_node_or_refused(data: bytes, position: int, byte: int) -> None:
    good = encode_node([Link(Cid.of(b"x"), "a", 1)], b"\x08\x01")
    changed = good[:position] + bytes([byte]) + good[position + 1 :]
    for candidate in (data, changed, good[:position] + data):
        try:
            links, content = parse_node(candidate)
        except PnodeError as error:
            assert isinstance(error, MalformedError)
            continue
        assert encode_node(links, content) == candidate


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_any_unixfs_data_raises_only_typed_errors(data: bytes, chunk: bytes) -> None:
    blocks = Blocks()
    leaf = Link(blocks.add(chunk, RAW), "", len(chunk))
    for message in (data, b"\x08\x02" + data, b"\x08\x02\x18" + data):
        inner = blocks.add(encode_node([leaf, leaf], message))
        root = blocks.add(encode_node([Link(inner, "f", 1)], b"\x08\x01"))
        refused(root, blocks)
