"""UnixFS: the published CIDs come out, and what is written can be read."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any, BinaryIO, cast

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import RAW, Cid
from ledger.dagpb import parse_node
from ledger.errors import MalformedError, UnsafeNameError
from ledger.unixfs import (
    Limits,
    Profile,
    build_directory,
    build_file,
    read_file,
    walk,
)
from tests.ledger.dags import Blocks, directory, extract
from tests.ledger.published import load

VECTORS = load("unixfs", "unixfs-vectors.json")


class KeyStream:
    """The ChaCha20 key stream of IPIP-0499, as a file."""

    def __init__(self, seed: str, size: int) -> None:
        key = hashlib.sha256(seed.encode()).digest()
        self._cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
        self._left = size

    def read(self, size: int) -> bytes:
        size = min(size, self._left)
        self._left -= size
        return self._cipher.update(bytes(size))


def stream_of(case: dict[str, Any]) -> BinaryIO:
    if "chacha20" in case:
        return cast(BinaryIO, KeyStream(case["chacha20"], case["size"]))
    if "pattern" in case:
        return BytesIO(bytes(i % 251 for i in range(case["size"])))
    return BytesIO(case["utf8"].encode())


@pytest.mark.parametrize(
    "case",
    VECTORS["files"],
    ids=lambda case: f"{case['size']}-{case['chunk']}",
)
def test_published_files(case: dict[str, Any]) -> None:
    profile = Profile(case["chunk"], case["width"])
    node = build_file(stream_of(case), lambda cid, block: None, profile)
    assert str(node.cid) == case["cid"]
    assert node.size == case["size"]
    assert node.tsize == case.get("tsize", node.tsize)


@pytest.mark.parametrize("case", VECTORS["dirs"], ids=lambda case: case["source"])
def test_published_directories(case: dict[str, Any]) -> None:
    files = {path: cast(BinaryIO, BytesIO(t.encode())) for path, t in case["files_utf8"].items()}
    blocks = Blocks()
    node = build_directory(files, blocks.put)
    assert str(node.cid) == case["cid"]
    assert node.tsize == case["tsize"]
    expected = {path: text.encode() for path, text in case["files_utf8"].items()}
    assert extract(node.cid, blocks) == expected


def test_published_blocks() -> None:
    blocks = Blocks()
    build_file(BytesIO(b"abcdefg"), blocks.put, Profile(3, 174))
    build_directory({"a": BytesIO(b"abc"), "b": BytesIO(b"abc")}, blocks.put)
    for block in VECTORS["blocks"]:
        assert blocks.held[Cid.parse(block["cid"])].hex() == block["hex"]


NAMES = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and not set(name) & set("/\\:")
)


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=6))
def test_any_directory_round_trips(files: dict[str, bytes]) -> None:
    blocks = Blocks()
    assert extract(directory(files, blocks), blocks) == files


@given(st.integers(0, 400), st.integers(1, 9), st.integers(2, 4))
def test_a_file_of_any_shape_is_balanced(size: int, chunk: int, width: int) -> None:
    blocks = Blocks()
    data = bytes(i % 251 for i in range(size))
    root = build_file(BytesIO(data), blocks.put, Profile(chunk, width)).cid
    depths = set()

    def leaves(cid: Cid, depth: int) -> bytes:
        if cid.codec == RAW:
            depths.add(depth)
            return blocks.held[cid]
        links, _ = parse_node(blocks.held[cid])
        assert len(links) <= width
        return b"".join(leaves(link.cid, depth + 1) for link in links)

    assert leaves(root, 0) == data
    assert len(depths) == 1


def test_nested_directories_and_large_files_round_trip() -> None:
    blocks = Blocks()
    large = bytes(range(256)) * 4096 * 2 + b"end"
    files = {"a/b/c.txt": b"deep", "a/b.txt": b"", "large": large, "z": b"z"}
    root = directory(files, blocks)
    assert extract(root, blocks) == files
    assert {cid for cid, _ in walk(root, blocks.get, Limits())} == set(blocks.held)
    assert read_file(build_file(BytesIO(large), blocks.put).cid, blocks.get, Limits()) == large


@pytest.mark.parametrize("path", ["/a", "a/", "a//b", "../a", "a/../b", "./a", "a/."])
def test_an_unsafe_path_is_not_written(path: str) -> None:
    with pytest.raises(UnsafeNameError):
        build_directory({path: BytesIO(b"x")}, lambda cid, block: None)


def test_a_name_that_is_not_unicode_is_not_written() -> None:
    """A directory listing gives such names as lone surrogates."""
    with pytest.raises(UnsafeNameError):
        build_directory({"caf\udce9": BytesIO(b"x")}, lambda cid, block: None)


def test_a_file_cannot_be_a_directory_too() -> None:
    with pytest.raises(MalformedError):
        build_directory({"a": BytesIO(b""), "a/b": BytesIO(b"")}, lambda cid, block: None)


def test_what_no_reader_takes_is_not_written() -> None:
    deep = "/".join("abcdefgh") + "/file"
    with pytest.raises(MalformedError):
        build_directory({deep: BytesIO(b"x")}, lambda cid, block: None)


def test_a_directory_that_would_need_sharding_is_not_written() -> None:
    files = {f"{'n' * 200}-{i}": cast(BinaryIO, BytesIO(b"")) for i in range(1_200)}
    with pytest.raises(MalformedError, match="shard"):
        build_directory(files, lambda cid, block: None)
