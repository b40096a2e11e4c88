"""What two contradicting trees of one log share: the entries before the fork, with proof.

Evidence alone says that a log forked, not where. The common prefix says how many entries stand in
both trees, so that these stay valid. It is proven by two consistency proofs of RFC 6962, from the
prefix to A and to B; nobody can prove a longer one than there is, and whoever proves a shorter one
is outdone by the next reader who holds both trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ledger.encoding import decode_hex
from ledger.errors import MalformedError, ProofError
from ledger.evidence import Evidence
from ledger.merkle import (
    EMPTY_ROOT,
    HASH_SIZE,
    NodeReader,
    consistency_proof,
    subtree_root,
    verify_consistency,
)

_MAX_PATH = 64


@dataclass(frozen=True, slots=True)
class CommonPrefix:
    """The first `size` entries of both trees, their root, and the proofs to A and to B."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    to_a: tuple[bytes, ...] = ()
    to_b: tuple[bytes, ...] = ()

    def verify(self, evidence: Evidence) -> None:
        """Check that both trees of some evidence begin with it; the empty prefix needs no proof.

        Raises:
            ProofError: if that is not proven.
        """
        if self.size == 0:
            if self != CommonPrefix():
                raise ProofError("the empty prefix has a root and proofs of something else")
            return
        for point, path in zip(evidence.checkpoints, (self.to_a, self.to_b), strict=True):
            verify_consistency(self.size, point.size, self.root, point.root, path)

    def record(self) -> dict[str, Any]:
        """Return it as JSON types."""
        proofs = [[value.hex() for value in path] for path in (self.to_a, self.to_b)]
        return {"size": self.size, "root": self.root.hex(), "proofs": proofs}

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Return it from its record.

        Raises:
            MalformedError: if it is not one.
        """
        if not isinstance(value, Mapping) or set(value) != {"size", "root", "proofs"}:
            raise MalformedError("not an object with size, root and proofs")
        size, proofs = value["size"], value["proofs"]
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise MalformedError("size is not a count")
        if not isinstance(proofs, list) or len(proofs) != 2:
            raise MalformedError("proofs are not two lists of hashes")
        root = decode_hex(value["root"], what="root", length=HASH_SIZE)
        return cls(size, root, _path(proofs[0]), _path(proofs[1]))


def common_prefix(evidence: Evidence, read_a: NodeReader, read_b: NodeReader) -> CommonPrefix:
    """Return the longest common prefix of the two trees of some evidence, found by bisection.

    Args:
        evidence: verified evidence.
        read_a: reads the tree of A, not trusted.
        read_b: reads the tree of B, not trusted.

    Raises:
        ProofError: if what was read does not lead to the roots that the log has signed.
    """
    a, b = evidence.checkpoints
    low, high = 0, min(a.size, b.size)
    while low < high:
        middle = (low + high + 1) // 2
        if subtree_root(0, middle, read_a) == subtree_root(0, middle, read_b):
            low = middle
        else:
            high = middle - 1
    if low == 0:
        return CommonPrefix()
    found = CommonPrefix(
        low,
        subtree_root(0, low, read_a),
        tuple(consistency_proof(low, a.size, read_a)),
        tuple(consistency_proof(low, b.size, read_b)),
    )
    found.verify(evidence)
    return found


def _path(value: Any) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > _MAX_PATH:
        raise MalformedError(f"a proof is not a list of at most {_MAX_PATH} hashes")
    return tuple(decode_hex(item, what="hash", length=HASH_SIZE) for item in value)
