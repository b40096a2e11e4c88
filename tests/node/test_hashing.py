"""Hashing in threads gives what hashing in order gives."""

from __future__ import annotations

import hashlib
import threading
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.unixfs import CHUNK_SIZE, build_directory, hash_leaves
from node.hashing import MIN_BYTES, Hashing

SIZES = st.sampled_from([0, 1, MIN_BYTES - 1, MIN_BYTES, CHUNK_SIZE, CHUNK_SIZE + 1])


@given(st.lists(SIZES | st.integers(0, 3 * MIN_BYTES), max_size=30))
def test_leaves_come_in_order_with_their_cids(sizes: list[int]) -> None:
    chunks = [bytes([number]) * size for number, size in enumerate(sizes)]
    with Hashing() as hashing:
        assert list(hashing.leaves(iter(chunks))) == list(hash_leaves(iter(chunks)))


@given(st.lists(SIZES, max_size=12))
def test_a_file_is_hashed_in_the_order_it_is_read(sizes: list[int]) -> None:
    data = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    with Hashing() as hashing:
        stream = hashing.file(BytesIO(data))
        assert b"".join(stream.read(size) for size in sizes) == data
        assert stream.sha256 == hashlib.sha256(data).hexdigest()
        assert stream.size == len(data)


def test_a_directory_has_the_same_root(tmp_path: object) -> None:
    files = {"a": bytes(CHUNK_SIZE * 20 + 5), "b/c": b"", "b/d": b"small"}

    def streams() -> dict[str, BytesIO]:
        return {name: BytesIO(content) for name, content in files.items()}

    plain: list[object] = []
    threaded: list[object] = []
    root = build_directory(streams(), lambda *block: plain.append(block))
    with Hashing() as hashing:
        same = build_directory(
            streams(), lambda *block: threaded.append(block), leaves=hashing.leaves
        )
    assert (same, threaded) == (root, plain)


def test_a_file_is_read_only_a_little_ahead() -> None:
    """Memory does not grow with a file: whoever takes no leaves, makes nothing be read."""
    read = 0

    def chunks() -> object:
        nonlocal read
        for number in range(1000):
            read += 1
            yield bytes([number % 256]) * MIN_BYTES

    with Hashing() as hashing:
        leaves = hashing.leaves(chunks())
        for _ in range(3):
            next(leaves)
        assert read < 20


def test_no_thread_is_left_when_reading_fails() -> None:
    class Broken:
        def read(self, size: int, /) -> bytes:
            raise OSError("disk")

    before = threading.active_count()
    with pytest.raises(OSError, match="disk"), Hashing() as hashing:
        list(hashing.leaves(iter([bytes(MIN_BYTES)] * 3)))
        hashing.file(Broken()).read(5)
    assert threading.active_count() == before
