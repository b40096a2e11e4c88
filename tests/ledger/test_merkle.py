"""The Merkle tree agrees with RFC 6962 as written, and proofs fail in every way they should."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ProofError
from ledger.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.ledger.published import load

LARGEST = 256
LEAVES = tuple(leaf_hash(f"entry-{index}".encode()) for index in range(LARGEST + 1))


def split(size: int) -> int:
    """The largest power of two smaller than `size`, found by trying."""
    power = 1
    while power * 2 < size:
        power *= 2
    return power


@cache
def mth(start: int, end: int) -> bytes:
    """MTH(D[start:end]) exactly as RFC 6962 section 2.1 defines it."""
    if start == end:
        return hashlib.sha256(b"").digest()
    if end - start == 1:
        return LEAVES[start]
    k = split(end - start)
    return node_hash(mth(start, start + k), mth(start + k, end))


def path(m: int, start: int, end: int) -> list[bytes]:
    """PATH(m, D[start:end]) of RFC 6962 section 2.1.1."""
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*path(m, start, start + k), mth(start + k, end)]
    return [*path(m - k, start + k, end), mth(start, start + k)]


def subproof(m: int, start: int, end: int, *, complete: bool = True) -> list[bytes]:
    """SUBPROOF(m, D[start:end], b) of RFC 6962 section 2.1.2."""
    if m == end - start:
        return [] if complete else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, complete=complete), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, complete=False), mth(start, start + k)]


def read(level: int, index: int) -> bytes:
    """Perfect subtrees only, as a tile store has them."""
    return mth(index << level, (index + 1) << level)


def test_constants_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"").hex() == empty_leaf
    assert root_of([]) == EMPTY_ROOT
    assert root_of([leaf_hash(b"")]) == leaf_hash(b"")


def test_every_root_is_the_one_the_rfc_defines() -> None:
    tree = CompactRange()
    for size in range(LARGEST + 1):
        assert tree.size == size
        assert tree.root() == root_of(LEAVES[:size]) == mth(0, size)
        assert subtree_root(0, size, read) == mth(0, size)
        tree.append(LEAVES[size])


def test_a_compact_range_can_be_taken_up_again() -> None:
    for size in range(LARGEST):
        roots, start = [], 0
        for bit in reversed(range(size.bit_length())):
            if size >> bit & 1:
                roots.append(mth(start, start + (1 << bit)))
                start += 1 << bit
        tree = CompactRange(size, roots)
        assert tree.root() == mth(0, size)
        tree.append(LEAVES[size])
        assert tree.root() == mth(0, size + 1)
        with pytest.raises(ProofError):
            CompactRange(size, [*roots, LEAVES[0]])


def test_many_leaves_at_once_give_the_tree_the_rfc_defines() -> None:
    roots = [mth(0, size) for size in range(LARGEST)]
    for start in (0, 1, 2, 3, 7, 8, 100, 128, 255):
        for end in range(start, LARGEST):
            tree = CompactRange()
            tree.extend(LEAVES[:start])
            tree.extend(LEAVES[start:end])
            assert (tree.size, tree.root()) == (end, roots[end])


def test_every_inclusion_proof_up_to_size_256() -> None:
    for size in range(1, LARGEST + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, read)
            assert proof == path(index, 0, size)
            verify_inclusion(LEAVES[index], index, size, proof, mth(0, size))


def test_every_consistency_proof_up_to_size_256() -> None:
    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, read)
            assert proof == subproof(old, 0, new)
            verify_consistency(old, new, mth(0, old), mth(0, new), proof)


def refused_inclusion(*arguments: Any) -> None:
    with pytest.raises(ProofError):
        verify_inclusion(*arguments)


def test_an_inclusion_proof_serves_no_other_index_leaf_or_size() -> None:
    for size in range(1, 18):
        root = mth(0, size)
        for index in range(size):
            proof = path(index, 0, size)
            for other in range(-1, 20):
                if other != index:
                    refused_inclusion(LEAVES[index], other, size, proof, root)
                    refused_inclusion(LEAVES[other], index, size, proof, root)
                if abs(other) != size:
                    refused_inclusion(LEAVES[index], index, size, proof, mth(0, abs(other)))


def tampered(proof: Sequence[bytes]) -> list[list[bytes]]:
    """Every proof with one hash changed, dropped, doubled, cut short or swapped."""
    forms = [[*proof, bytes(32)], [bytes(32), *proof]]
    for i, value in enumerate(proof):
        rest = [*proof[:i], *proof[i + 1 :]]
        flipped = bytes([value[0] ^ 1]) + value[1:]
        changes = (flipped, value[:-1], value + b"\0", b"")
        forms += [[*proof[:i], changed, *proof[i + 1 :]] for changed in changes]
        forms += [rest, [*proof[:i], value, *proof[i:]]]
        if rest and rest[0] != value:
            forms.append([*rest, value] if i == 0 else [value, *rest])
    return [form for form in forms if form != list(proof)]


def test_a_tampered_inclusion_proof_is_refused() -> None:
    for size in range(1, 18):
        for index in range(size):
            for form in tampered(path(index, 0, size)):
                refused_inclusion(LEAVES[index], index, size, form, mth(0, size))


def test_a_tampered_consistency_proof_is_refused() -> None:
    for new in range(1, 18):
        for old in range(1, new + 1):
            for form in tampered(subproof(old, 0, new)):
                with pytest.raises(ProofError):
                    verify_consistency(old, new, mth(0, old), mth(0, new), form)


def test_a_consistency_proof_serves_no_other_pair_of_trees() -> None:
    for new in range(1, 14):
        for old in range(1, new + 1):
            proof = subproof(old, 0, new)
            for other in range(16):
                if other != old:
                    with pytest.raises(ProofError):
                        verify_consistency(old, new, mth(0, other), mth(0, new), proof)
                    with pytest.raises(ProofError):
                        verify_consistency(other, new, mth(0, other), mth(0, new), proof)
                if other != new:
                    with pytest.raises(ProofError):
                        verify_consistency(old, new, mth(0, old), mth(0, other), proof)


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (6, 5), (-1, 5)])
def test_no_consistency_proof_from_nothing_or_backwards(old: int, new: int) -> None:
    with pytest.raises(ProofError):
        consistency_proof(old, new, read)
    with pytest.raises(ProofError):
        verify_consistency(old, new, mth(0, 0), mth(0, new), [])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (2**40, 3)])
def test_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ProofError):
        inclusion_proof(index, size, read)
    refused_inclusion(LEAVES[0], index, size, [], mth(0, 1))


@given(st.integers(1, 2**62), st.data())
def test_proofs_of_huge_trees_verify(size: int, data: st.DataObject) -> None:
    """A tree of equal leaves has one hash per level, so its size does not matter."""
    level_hash = [leaf_hash(b"same")]
    for _ in range(63):
        level_hash.append(node_hash(level_hash[-1], level_hash[-1]))

    def same(level: int, index: int) -> bytes:
        assert index << level < size
        return level_hash[level]

    root = subtree_root(0, size, same)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, same)
    verify_inclusion(level_hash[0], index, size, proof, root)
    refused_inclusion(leaf_hash(b"other"), index, size, proof, root)
    old = data.draw(st.integers(1, size))
    steps = consistency_proof(old, size, same)
    verify_consistency(old, size, subtree_root(0, old, same), root, steps)
    with pytest.raises(ProofError):
        verify_consistency(old, size, bytes(32), root, steps)


HASHES = st.binary(min_size=31, max_size=33) | st.sampled_from(LEAVES[:4])


@given(st.integers(-2, 40), st.integers(-2, 40), HASHES, HASHES, st.lists(HASHES, max_size=8))
def test_arbitrary_proofs_raise_only_proof_errors(
    first: int, second: int, one: bytes, other: bytes, proof: list[bytes]
) -> None:
    for check in (verify_inclusion, verify_consistency):
        arguments: Any = (
            (one, first, second, proof, other)
            if check is verify_inclusion
            else (first, second, one, other, proof)
        )
        try:
            check(*arguments)
        except ProofError:
            continue
        # By chance only this can be proven: one leaf is a tree, a tree is itself.
        assert one == other
        assert proof == []


def unpack(value: str | None) -> bytes:
    return base64.b64decode(value or "")


def test_published_inclusion_proofs() -> None:
    cases = load("merkle", "inclusion.json")
    assert len(cases) == 98
    for name, case in cases.items():
        arguments = (
            unpack(case["leafHash"]),
            case["leafIdx"],
            case["treeSize"],
            [unpack(value) for value in case["proof"] or []],
            unpack(case["root"]),
        )
        if case["wantErr"]:
            refused_inclusion(*arguments)
        else:
            verify_inclusion(*arguments)
            assert arguments[2] > 0, name


def test_published_consistency_proofs() -> None:
    cases = load("merkle", "consistency.json")
    assert len(cases) == 98
    # Its placeholder roots have 12 bytes; every hash must have 32 here.
    looser = cases.pop("additional/sizes-are-equal-one-and-proof-is-empty.json")
    assert not looser["wantErr"]
    assert {len(unpack(looser[name])) for name in ("root1", "root2")} == {12}
    for case in cases.values():
        arguments = (
            case["size1"],
            case["size2"],
            unpack(case["root1"]),
            unpack(case["root2"]),
            [unpack(value) for value in case["proof"] or []],
        )
        if case["wantErr"]:
            with pytest.raises(ProofError):
                verify_consistency(*arguments)
        else:
            verify_consistency(*arguments)
