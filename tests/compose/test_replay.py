"""A replay names the first item that is false, and a sample cannot be chosen by the claimant."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import ReplayMismatchError
from compose.outcomes import Outcome, Outcomes
from compose.replay import Verdict, combine, compare, sample
from ledger.errors import IncompleteError, UsageError

RIGHT, WRONG = True, False


def outcomes(suite: str = "own0", **changes: Outcome) -> Outcomes:
    rows = [Outcome(f"i{number}", f"a {number}", number % 2 == 0, 5000) for number in range(6)]
    return Outcomes(suite, tuple(changes.get(row.item, row) for row in rows))


def test_a_faithful_rerun_is_reproduced_whatever_the_margins() -> None:
    rerun = Outcomes("own0", tuple(replace(o, margin=7) for o in outcomes().outcomes))
    verdict = compare(outcomes(), rerun)
    verdict.require()
    assert (verdict.state, verdict.checked, verdict.mismatches) == ("reproduced", 6, ())


def test_the_first_false_item_is_named_with_both_answers() -> None:
    claim = outcomes(i3=Outcome("i3", "b", RIGHT, 900), i5=Outcome("i5", "c", RIGHT, 900))
    verdict = compare(claim, outcomes())
    assert verdict.state == "mismatch"
    assert [each.item for each in verdict.mismatches] == ["i3", "i5"]
    with pytest.raises(ReplayMismatchError) as caught:
        verdict.require()
    assert caught.value.message == (
        "suite own0: item i3: claimed 'b' (correct), recomputed 'a 3' (wrong)"
    )


def test_a_near_tie_of_the_rerun_is_inconclusive_and_says_so() -> None:
    verdict = compare(outcomes(), outcomes(i2=Outcome("i2", "b", WRONG, 0)))
    assert verdict.state == "inconclusive"
    with pytest.raises(IncompleteError, match="near tie: margin 0"):
        verdict.require()


def test_a_claimed_near_tie_does_not_excuse_a_false_answer() -> None:
    verdict = compare(outcomes(i2=Outcome("i2", "b", RIGHT, 0)), outcomes())
    assert verdict.state == "mismatch"
    assert "the claim calls it a near tie" in verdict.mismatches[0].describe()


def test_the_same_answer_judged_otherwise_is_never_a_near_tie() -> None:
    verdict = compare(outcomes(i1=Outcome("i1", "a 1", RIGHT, 0)), outcomes())
    assert verdict.state == "mismatch"
    lied = compare(
        outcomes(i1=Outcome("i1", "a 1", RIGHT, 0)),
        Outcomes("own0", (Outcome("i1", "a 1", WRONG, 0),)),
        [1],
    )
    assert lied.state == "mismatch"


def test_a_part_of_the_items_can_be_checked() -> None:
    part = Outcomes("own0", (outcomes().outcomes[4], outcomes().outcomes[1]))
    assert compare(outcomes(), part, [4, 1]) == Verdict("reproduced", 2, ())


def test_an_item_missing_from_the_claim_is_a_mismatch() -> None:
    claim = Outcomes("own0", outcomes().outcomes[:3])
    verdict = compare(claim, outcomes())
    assert verdict.mismatches[0].item == "i3"
    assert verdict.mismatches[0].claimed is None


def test_an_outcome_in_the_place_of_another_item_is_a_mismatch() -> None:
    """The root commits to the order of the suite; a near tie does not excuse another order."""
    first, second, *rest = (replace(outcome, margin=0) for outcome in outcomes().outcomes)
    verdict = compare(Outcomes("own0", (second, first, *rest)), outcomes())
    assert (verdict.state, [each.place for each in verdict.mismatches]) == ("mismatch", [0, 1])
    assert "item i0: claimed the outcome of item i1" in verdict.mismatches[0].describe()


def test_outcomes_of_another_suite_are_no_check() -> None:
    with pytest.raises(UsageError, match="own1"):
        compare(outcomes(), outcomes("own1"))


def test_several_suites_make_one_verdict() -> None:
    good = compare(outcomes(), outcomes())
    bad = compare(outcomes("own1"), outcomes("own1", i0=Outcome("i0", "x", RIGHT, 9)))
    assert combine([good, bad]).state == "mismatch"
    assert combine([good, bad]).checked == 12
    assert combine([]).state == "inconclusive"


@given(st.binary(max_size=40), st.lists(st.integers(0, 30), max_size=4), st.integers(0, 80))
def test_a_sample_has_distinct_items_within_their_suites(
    seed: bytes, sizes: list[int], count: int
) -> None:
    chosen = sample(seed, sizes, count)
    assert sum(map(len, chosen)) == min(count, sum(sizes))
    for numbers, size in zip(chosen, sizes, strict=True):
        assert sorted(set(numbers)) == numbers
        assert all(0 <= number < size for number in numbers)


def test_a_sample_is_frozen_and_follows_the_seed() -> None:
    assert sample(b"seed", [10, 20], 5) == [[9], [9, 13, 16, 17]]
    assert sample(b"seed", [100], 5) != sample(b"sees", [100], 5)


def test_every_item_is_equally_likely() -> None:
    counts = [0] * 5
    for number in range(4000):
        for item in sample(number.to_bytes(4, "big"), [5], 2)[0]:
            counts[item] += 1
    assert all(abs(count - 1600) < 160 for count in counts)
