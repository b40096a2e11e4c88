"""CARv1 files: a DAG as one stream (IPLD CARv1 specification), written only.

    varint(len) || DAG-CBOR {"roots": [root], "version": 1}
    then per block: varint(len(cid) + len(block)) || cid || block

Subset: exactly one root, CIDs of 36 bytes. The order of the blocks is the caller's; trustless
gateways announce `order=dfs; dups=n`, which is what `ledger.unixfs.walk` yields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.cid import Cid
from ledger.dagpb import varint

# DAG-CBOR: a map of two; the text "roots"; an array of one; tag 42 and 37 bytes, the first zero.
_BEFORE_ROOT = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
_AFTER_ROOT = b"\x67version\x01"


def car_header(root: Cid) -> bytes:
    """Return the header of a CAR with one root, its length in front."""
    return _frame(_BEFORE_ROOT + bytes(root) + _AFTER_ROOT)


def write_car(root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> Iterator[bytes]:
    """Yield the bytes of a CAR, one piece per block; blocks are taken as verified."""
    yield car_header(root)
    for cid, block in blocks:
        yield _frame(bytes(cid) + block)


def _frame(data: bytes) -> bytes:
    return varint(len(data)) + data
