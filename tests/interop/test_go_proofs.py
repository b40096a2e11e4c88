"""Proof verdicts against the Go reference: for more than 10^5 proofs, good and corrupted.

This fails when a proof is accepted here and refused there or the other way round, be it by a
missing length check, a wrong side of a sibling or an off-by-one in a size.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import cache

from ledger.errors import ProofError
from ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from tests.interop.partners import GoReference

SMALL = 256
LEAVES = [leaf_hash(b"entry-%d" % index) for index in range(SMALL)]
Case = tuple[int, bytes, int, bytes, list[bytes]]
"""Size and root of the tree; index and leaf hash, or old size and old root; the proof."""


@cache
def perfect(level: int, index: int) -> bytes:
    """The perfect subtrees of the small trees."""
    if level == 0:
        return LEAVES[index]
    return node_hash(perfect(level - 1, 2 * index), perfect(level - 1, 2 * index + 1))


@cache
def root(size: int) -> bytes:
    """The root of the first leaves."""
    return subtree_root(0, size, perfect)


@cache
def same(level: int, index: int = 0) -> bytes:
    """The subtrees of a tree whose leaves are all equal, which may be as large as one likes."""
    if index:
        return same(level)
    return LEAVES[0] if level == 0 else node_hash(same(level - 1), same(level - 1))


def inclusions() -> Iterator[Case]:
    """Every entry of every small tree, and some of trees up to 2^62."""
    for size in range(1, SMALL + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, perfect)
            yield size, root(size), index, LEAVES[index], proof
    draw = random.Random(1)
    for _ in range(3000):
        size = draw.randrange(1, 1 << draw.randrange(1, 63))
        index = draw.randrange(size)
        proof = inclusion_proof(index, size, same)
        yield size, subtree_root(0, size, same), index, LEAVES[0], proof


def consistencies() -> Iterator[Case]:
    """Every pair of small trees, and some up to 2^62."""
    for size in range(1, SMALL + 1):
        for old in range(1, size + 1):
            yield size, root(size), old, root(old), consistency_proof(old, size, perfect)
    draw = random.Random(2)
    for _ in range(3000):
        size = draw.randrange(1, 1 << draw.randrange(1, 63))
        old = draw.randrange(1, size + 1)
        proof = consistency_proof(old, size, same)
        yield size, subtree_root(0, size, same), old, subtree_root(0, old, same), proof


def corrupted(case: Case, draw: random.Random) -> Case:
    """Change one thing; it may by chance stay right, which is for the verdicts to say."""
    size, root_, place, known, proof = case
    proof = list(proof)
    at = draw.randrange(len(proof)) if proof else 0

    def flipped(value: bytes) -> bytes:
        position = draw.randrange(len(value))
        changed = value[position] ^ 1 << draw.randrange(8)
        return value[:position] + bytes([changed]) + value[position + 1 :]

    match draw.randrange(11):
        case 0 if proof:
            proof[at] = flipped(proof[at])
        case 1 if proof:
            del proof[at]
        case 2 if proof:
            proof.insert(at, proof[at])
        case 3 if len(proof) > 1:
            other = draw.randrange(len(proof))
            proof[at], proof[other] = proof[other], proof[at]
        case 4:
            proof.append(draw.choice([root_, known, bytes(32)]))
        case 5:
            proof.insert(0, draw.choice([root_, known, bytes(32)]))
        case 6:
            size = max(0, size + draw.choice([-2, -1, 1, 2, size]))
        case 7:
            place = max(-1, place + draw.choice([-2, -1, 1, 2, size - place]))
        case 8:
            root_ = flipped(root_)
        case 9:
            known = flipped(known)
        case _:
            size, place = place, size
    return size, root_, place, known, proof


def compare(go: GoReference, question: str, cases: list[Case]) -> Counter[bool]:
    """Require equal verdicts, and return how many there were of each."""
    verdicts = go.ask(
        (question, size, root_.hex(), place, known.hex(), b"".join(proof).hex())
        for size, root_, place, known, proof in cases
    )
    count: Counter[bool] = Counter()
    for case, (theirs, detail) in zip(cases, verdicts, strict=True):
        size, root_, place, known, proof = case
        try:
            if question == "inclusion":
                verify_inclusion(known, place, size, proof, root_)
            else:
                verify_consistency(place, size, known, root_, proof)
            ours, why = True, ""
        except ProofError as error:
            ours, why = False, str(error)
        assert ours == theirs, (question, case, why, detail)
        count[ours] += 1
    return count


def test_every_small_and_some_huge_proofs_are_right(go: GoReference) -> None:
    for question, good in (("inclusion", inclusions()), ("consistency", consistencies())):
        assert compare(go, question, list(good)) == {True: SMALL * (SMALL + 1) // 2 + 3000}


def test_corrupted_proofs_get_the_same_verdict(go: GoReference) -> None:
    draw = random.Random(3)
    for question, good in (("inclusion", inclusions()), ("consistency", consistencies())):
        count = compare(go, question, [corrupted(case, draw) for case in good])
        # A proof whose two swapped hashes are equal is still right; hardly any other is.
        assert count[False] > 0.9 * count.total() > 30_000
