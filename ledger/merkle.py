"""The Merkle tree of RFC 6962 section 2.1 (the same tree in RFC 9162): pure hashing and proofs.

Leaves hash as SHA-256(0x00 || entry), interior nodes as SHA-256(0x01 || left || right); a tree of
n > 1 leaves splits at the largest power of two below n. Proof checks use the iterative forms of
RFC 9162 section 2.1.3 and 2.1.4 and are stricter than most: path lengths must be exact and a
consistency proof from the empty tree is refused, because it proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from ledger.errors import ProofError

HASH_SIZE = 32
MAX_ENTRY_BYTES = 65_535
"""The longest entry of a log: a bundle (`ledger.tile`) gives two bytes to its length."""

EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]
"""Returns the hash of the perfect subtree (level, index): leaves [index << level, ...)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the leaf hash of an entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an interior node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over 2^k sibling hashes."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above an even number of sibling hashes."""
    # The same as node_hash, without a call for each of the many nodes.
    sha256 = hashlib.sha256
    pairs = zip(hashes[::2], hashes[1::2], strict=True)
    return [sha256(b"\x01" + left + right).digest() for left, right in pairs]


class CompactRange:
    """The roots of the perfect subtrees of a growing tree, largest first.

    Everything needed to append and to know the root, in O(log n) memory.
    """

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count():
            raise ProofError(f"{len(roots)} subtree roots do not describe a tree of {size} leaves")
        self.size = size
        self._roots = list(roots)

    def append(self, root: bytes, level: int = 0) -> None:
        """Add one leaf hash, or the root of a perfect subtree of 2^level leaves.

        Raises:
            ProofError: if a subtree of that size cannot begin here.
        """
        size, rest = divmod(self.size, 1 << level)
        if rest:
            raise ProofError(f"no subtree of {1 << level} leaves begins at leaf {self.size}")
        carry = root
        while size & 1:
            carry = node_hash(self._roots.pop(), carry)
            size >>= 1
        self._roots.append(carry)
        self.size += 1 << level

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes in order; quicker than one after another."""
        start = 0
        while start < len(leaves):
            # The largest perfect subtree that begins here and has all its leaves.
            level = (len(leaves) - start).bit_length() - 1
            if self.size:
                level = min(level, (self.size & -self.size).bit_length() - 1)
            end = start + (1 << level)
            self.append(perfect_root(leaves[start:end]), level)
            start = end

    def root(self) -> bytes:
        """Return the root of the tree so far."""
        if not self._roots:
            return EMPTY_ROOT
        result = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            result = node_hash(left, result)
        return result


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    tree = CompactRange()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def subtree_root(start: int, end: int, read: NodeReader) -> bytes:
    """Return the root of the leaves [start, end), which must be a subtree of some RFC 6962 tree."""
    size = end - start
    if size == 0:
        return EMPTY_ROOT
    level = size.bit_length() - 1
    if size == 1 << level:
        return read(level, start >> level)
    middle = start + (1 << level)
    return node_hash(subtree_root(start, middle, read), subtree_root(middle, end, read))


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Return PATH(index, D[size]) of RFC 6962 section 2.1.1, leaf side first.

    Raises:
        ProofError: unless 0 <= index < size.
    """
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size} entries")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + split_point(end - start)
        if index < split:
            path.append(subtree_root(split, end, read))
            end = split
        else:
            path.append(subtree_root(start, split, read))
            start = split
    return path[::-1]


def consistency_proof(old_size: int, new_size: int, read: NodeReader) -> list[bytes]:
    """Return PROOF(old_size, D[new_size]) of RFC 6962 section 2.1.2.

    Raises:
        ProofError: unless 0 < old_size <= new_size.
    """
    if not 0 < old_size <= new_size:
        raise ProofError(f"no consistency proof from size {old_size} to {new_size}")
    path: list[bytes] = []
    start, end, known = 0, new_size, True
    while old_size != end:
        split = start + split_point(end - start)
        if old_size <= split:
            path.append(subtree_root(split, end, read))
            end = split
        else:
            path.append(subtree_root(start, split, read))
            start, known = split, False
    if not known:
        path.append(subtree_root(start, end, read))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> None:
    """Check an inclusion proof (RFC 9162 section 2.1.3.2).

    Raises:
        ProofError: if the leaf is not proven to be entry `index` of the tree.
    """
    _check_hashes([leaf, root, *path])
    if not 0 <= index < size:
        raise ProofError(f"index {index} is outside a tree of {size} entries")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border:
        raise ProofError(f"inclusion proof has {len(path)} hashes, needs {inner + border}")
    result = leaf
    for depth, sibling in enumerate(path):
        if depth < inner and not (index >> depth) & 1:
            result = node_hash(result, sibling)
        else:
            result = node_hash(sibling, result)
    if result != root:
        raise ProofError(f"inclusion proof of entry {index} does not lead to the root")


def verify_consistency(  # noqa: C901 - one algorithm of the RFC, step by step
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the tree `new` extends the tree `old` (RFC 9162 section 2.1.4.2).

    Raises:
        ProofError: if that is not proven; a proof from size 0 is always refused.
    """
    _check_hashes([old_root, new_root, *path])
    if not 0 < old_size <= new_size:
        raise ProofError(f"no consistency proof from size {old_size} to {new_size}")
    if old_size == new_size:
        if path or old_root != new_root:
            raise ProofError(f"two different trees of {old_size} entries")
        return
    hashes = [old_root, *path] if old_size & (old_size - 1) == 0 else list(path)
    if not hashes:
        raise ProofError("empty consistency proof")
    old_edge, new_edge = old_size - 1, new_size - 1
    while old_edge & 1:
        old_edge, new_edge = old_edge >> 1, new_edge >> 1
    old_result = new_result = hashes[0]
    for sibling in hashes[1:]:
        if new_edge == 0:
            raise ProofError("consistency proof is too long")
        if old_edge & 1 or old_edge == new_edge:
            old_result = node_hash(sibling, old_result)
            new_result = node_hash(sibling, new_result)
            while not old_edge & 1 and old_edge:
                old_edge, new_edge = old_edge >> 1, new_edge >> 1
        else:
            new_result = node_hash(new_result, sibling)
        old_edge, new_edge = old_edge >> 1, new_edge >> 1
    if new_edge or old_result != old_root or new_result != new_root:
        raise ProofError(f"the tree of {new_size} entries does not extend that of {old_size}")


def split_point(size: int) -> int:
    """Return where a tree of `size` > 1 leaves splits: the largest power of two below it."""
    return 1 << ((size - 1).bit_length() - 1)


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise ProofError("a hash in the proof is not 32 bytes")
