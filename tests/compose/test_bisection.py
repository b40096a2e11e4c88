"""Two roots that differ lead to one item, and a side that makes up subtrees is named."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.bisection import bisect, reader_of
from compose.outcomes import Outcome, Outcomes, first_difference, inclusion
from ledger.errors import ProofError
from ledger.merkle import leaf_hash, root_of, verify_inclusion

LEAVES = [leaf_hash(bytes([number])) for number in range(11)]


def run(size: int, wrong: frozenset[int] = frozenset()) -> Outcomes:
    rows = (Outcome(f"i{n}", "x", correct=n in wrong, margin=None) for n in range(size))
    return Outcomes("s", tuple(rows))


def hashes(outcomes: Outcomes) -> list[bytes]:
    return [leaf_hash(outcome.leaf()) for outcome in outcomes.outcomes]


@given(st.integers(1, 40), st.data())
def test_it_ends_at_the_first_difference_with_both_inclusion_proofs(
    size: int, data: st.DataObject
) -> None:
    wrong = data.draw(st.frozensets(st.integers(0, size - 1)))
    sides = run(size), run(size, wrong)
    asked = []

    def reader(number: int, start: int, end: int) -> bytes:
        asked.append(number)
        return reader_of(hashes(sides[number]))(start, end)

    found = bisect(
        size,
        (sides[0].root, sides[1].root),
        lambda start, end: reader(0, start, end),
        lambda start, end: reader(1, start, end),
    )
    expected = first_difference(*sides)
    if expected is None:
        assert found is None
        assert not asked
        return
    assert found is not None
    assert found.index == expected.index
    assert len(asked) <= 4 * math.ceil(math.log2(size))
    for side, leaf, path in zip(sides, found.leaves, found.paths, strict=True):
        assert path == inclusion(side, found.index).path
        verify_inclusion(leaf, found.index, size, path, side.root)


@pytest.mark.parametrize("liar", ["left", "right"])
def test_a_side_that_answers_with_another_tree_is_named(liar: str) -> None:
    """It cannot hide behind subtrees that are not those it signed."""
    false = [*LEAVES[:4], leaf_hash(b"false"), *LEAVES[5:]]
    roots = root_of(LEAVES), root_of(false)
    honest = reader_of(LEAVES), reader_of(false)
    made_up = reader_of([leaf_hash(b"made up")] * 11)
    readers = (made_up, honest[1]) if liar == "left" else (honest[0], made_up)
    with pytest.raises(ProofError, match=f"the {liar} side answers for items 0 to 10"):
        bisect(11, roots, *readers)


def test_a_lie_deeper_down_is_found_too() -> None:
    true = LEAVES[:8]
    false = [*LEAVES[:4], leaf_hash(b"false"), *LEAVES[5:8]]
    honest = reader_of(false)

    def later(start: int, end: int) -> bytes:
        return honest(start, end) if end - start >= 4 else leaf_hash(b"evasion")

    with pytest.raises(ProofError, match="the right side answers for items 4 to 7"):
        bisect(8, (root_of(true), root_of(false)), reader_of(true), later)
