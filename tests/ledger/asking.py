"""Requests to a witness about a log of five entries, and about a fork of it."""

from __future__ import annotations

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.keys import NodeKeys
from ledger.merkle import consistency_proof, leaf_hash, root_of
from ledger.witness import AddCheckpoint
from tests.ledger.makers import ALICE, origin_of

LEAVES = [leaf_hash(f"entry-{number}".encode()) for number in range(5)]
FORKED = [leaf_hash(f"other-{number}".encode()) for number in range(5)]


def checkpoint(size: int, *, keys: NodeKeys = ALICE, fork: bool = False) -> Checkpoint:
    """The tree of the first entries, or of as many others."""
    return Checkpoint(origin_of(keys), size, root_of((FORKED if fork else LEAVES)[:size]))


def proof(old: int, new: int, *, fork: bool = False) -> tuple[bytes, ...]:
    """The consistency proof between two sizes."""
    leaves = FORKED if fork else LEAVES

    def read(level: int, index: int) -> bytes:
        return root_of(leaves[index << level : (index + 1) << level])

    return tuple(consistency_proof(old, new, read))


def request(
    old: int,
    new: int,
    *,
    path: tuple[bytes, ...] | None = None,
    keys: NodeKeys = ALICE,
    fork: bool = False,
) -> AddCheckpoint:
    """A request that is right unless told otherwise."""
    note = sign_checkpoint(checkpoint(new, keys=keys, fork=fork), keys.log)
    if path is None:
        path = proof(old, new, fork=fork) if old else ()
    return AddCheckpoint(old, path, note)
