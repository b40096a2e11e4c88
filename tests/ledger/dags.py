"""Blocks in memory, honest or not, and the reader that every DAG must get past."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import BinaryIO, cast

import pytest

from ledger.cid import DAG_PB, RAW, Cid
from ledger.dagpb import Link, encode_node
from ledger.errors import EvidenceError, MalformedError, NotFoundError, PnodeError
from ledger.unixfs import (
    Limits,
    build_directory,
    read_directory,
)


class Blocks:
    """Blocks in memory that may lie, and that count how often they are asked."""

    def __init__(self) -> None:
        self.held: dict[Cid, bytes] = {}
        self.reads = 0

    def put(self, cid: Cid, block: bytes) -> None:
        self.held[cid] = block

    def add(self, block: bytes, codec: int = DAG_PB) -> Cid:
        cid = Cid.of(block, codec)
        self.held[cid] = block
        return cid

    def get(self, cid: Cid) -> bytes:
        self.reads += 1
        # Generous for honest artifacts; a hostile one must be refused long before.
        assert self.reads < 20_000, "a small hostile DAG makes the reader work for ever"
        if cid not in self.held:
            raise NotFoundError(f"no block {cid}")
        return self.held[cid]


def extract(root: Cid, blocks: Blocks, limits: Limits | None = None) -> dict[str, bytes]:
    """Read a directory as an honest caller does: collect the files and build the root again."""
    files: dict[str, bytes] = {}

    def write(path: str, chunks: Iterator[bytes]) -> None:
        files[path] = b"".join(chunks)

    read_directory(root, blocks.get, write, limits or Limits())
    streams = {path: cast(BinaryIO, BytesIO(data)) for path, data in files.items()}
    if build_directory(streams, lambda cid, block: None).cid != root:
        raise MalformedError("another DAG than the canonical one")
    return files


def directory(files: dict[str, bytes], blocks: Blocks) -> Cid:
    return build_directory({path: BytesIO(data) for path, data in files.items()}, blocks.put).cid


def refused(
    root: Cid,
    blocks: Blocks,
    limits: Limits | None = None,
    error: type[PnodeError] = EvidenceError,
) -> None:
    with pytest.raises(error):
        extract(root, blocks, limits)


def refused_links(
    names: list[tuple[str, bytes]],
    data: bytes = b"\x08\x01",
    error: type[PnodeError] = EvidenceError,
) -> None:
    blocks = Blocks()
    links = [Link(blocks.add(body, RAW), name, len(body)) for name, body in names]
    refused(blocks.add(encode_node(links, data)), blocks, error=error)
