"""Logs that fork, as hashes only: trees of any size in the time that hashing takes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.keys import PrivateKey
from ledger.merkle import NodeReader, inclusion_proof, node_hash, root_of
from ledger.note import Note, NoteKey, NoteSignature
from ledger.tlogproof import TlogProof

SIGNER = PrivateKey(bytes(range(32)))
ORIGIN = log_origin(SIGNER.public)
KEY = log_key(ORIGIN, SIGNER.public)


def leaves(count: int, branch: str = "", start: int = 0) -> list[bytes]:
    """Return leaf hashes; those of different branches differ."""
    names = (f"{branch} {number}" for number in range(start, start + count))
    return [hashlib.sha256(name.encode()).digest() for name in names]


def fork(prefix: int, size: int, branch: str) -> list[bytes]:
    """Return the leaves of a tree whose first `prefix` are shared by all branches."""
    return leaves(prefix) + leaves(size - prefix, branch, prefix)


def reader(tree: Sequence[bytes]) -> NodeReader:
    """Return a reader of a tree given by its leaves, made without the code under test."""

    def node(level: int, index: int) -> bytes:
        hashes = list(tree[index << level : (index + 1) << level])
        while len(hashes) > 1:
            hashes = [node_hash(a, b) for a, b in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    return node


def note(tree: Sequence[bytes], *lines: NoteSignature, key: PrivateKey = SIGNER) -> bytes:
    """Return the signed checkpoint of a tree, with further signature lines."""
    signed = sign_checkpoint(Checkpoint(log_origin(key.public), len(tree), root_of(tree)), key)
    return bytes(Note(signed.text, (*signed.signatures, *lines)))


def named_note(name: str, tree: Sequence[bytes]) -> tuple[NoteKey, bytes]:
    """Return the key and checkpoint of a log of any name."""
    signed = sign_checkpoint(Checkpoint(name, len(tree), root_of(tree)), SIGNER)
    return NoteKey(name, KEY.kind, SIGNER.public), bytes(signed)


def proof(tree: Sequence[bytes], index: int, signed: bytes | None = None) -> TlogProof:
    """Return the proof file of an entry."""
    path = inclusion_proof(index, len(tree), reader(tree))
    return TlogProof(index, tuple(path), signed or note(tree))
