"""CARv1 streams against a published file and against their own definition."""

from __future__ import annotations

from io import BytesIO

from published import load

from ledger.car import car_header, write_car
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import parse_node
from ledger.unixfs import Limits, build_directory, walk


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
