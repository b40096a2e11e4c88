"""How much a sample finds is counted exactly, and never rounded up to certainty."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.detection import (
    Detection,
    detection_probability,
    false_items,
    parse_part,
    sample_size,
)
from ledger.errors import UsageError


@given(st.integers(0, 7), st.integers(0, 7))
def test_detection_probability_counts_samples(false: int, sampled: int) -> None:
    drawn = list(combinations(range(7), sampled))
    found = sum(any(item < false for item in each) for each in drawn)
    assert detection_probability(7, false, sampled) == Fraction(found, len(drawn))


@pytest.mark.parametrize(
    ("false", "sampled", "probability"),
    [(1280, 32, 0.966), (256, 128, 0.926), (128, 512, 0.995), (64, 1024, 0.995), (13, 2048, 0.896)],
)
def test_detection_probability_of_the_reference_table(
    false: int, sampled: int, probability: float
) -> None:
    assert float(detection_probability(12_800, false, sampled)) == pytest.approx(
        probability, abs=0.006
    )


def test_more_than_there_is_makes_no_sense() -> None:
    with pytest.raises(UsageError, match="makes no sense"):
        detection_probability(5, 6, 1)
    for false, probability in ((0, Fraction(1, 2)), (6, Fraction(1, 2)), (1, Fraction(2))):
        with pytest.raises(UsageError, match="no sample of 5 items"):
            sample_size(5, false, probability)


@given(st.integers(1, 60), st.data())
def test_a_sample_size_is_enough_and_one_less_is_not(items: int, data: st.DataObject) -> None:
    false = data.draw(st.integers(1, items))
    probability = data.draw(st.fractions(0, 1, max_denominator=1000))
    size = sample_size(items, false, probability)
    assert detection_probability(items, false, size) >= probability
    assert size == 0 or detection_probability(items, false, size - 1) < probability


def test_the_sample_sizes_of_the_reference_table() -> None:
    sizes = [sample_size(12_800, false_items(12_800, Fraction(part)), Fraction("0.99"))
             for part in ("0.1", "0.02", "0.01")]  # fmt: skip
    assert all(abs(size - about) <= 10 for size, about in zip(sizes, (44, 228, 459), strict=True))
    assert sample_size(12_800, 128, Fraction(1)) == 12_800 - 128 + 1


def test_a_million_items_are_no_harder() -> None:
    assert sample_size(1_000_000, 10_000, Fraction(99, 100)) == 459
    assert Detection(1_000_000, 500_000).rounded() == "0.9999"


def test_a_detection_is_said_in_words() -> None:
    assert Detection(12_800, 459).describe() == (
        "if 1 % of the 12,800 items were false (128), checking 459 would find one "
        "with probability 0.9908"
    )
    assert Detection(18, 4, Fraction("0.25")).describe() == (
        "if 25 % of the 18 items were false (5), checking 4 would find one with probability 0.7663"
    )
    assert Detection(18, 18).describe().startswith("all 18 items were checked")


def test_a_probability_is_rounded_down_never_up_to_certainty() -> None:
    nearly = Detection(100_000, 5_000)
    assert Fraction(99_999, 100_000) < nearly.probability < 1
    assert nearly.rounded() == "0.9999"
    assert Detection(10, 10).rounded() == "1.0000"
    assert (Detection(0, 0).rounded(), Detection(0, 0).describe()) == (
        "0.0000",
        "no outcomes are claimed",
    )


def test_a_part_is_a_plain_decimal_between_0_and_1() -> None:
    assert parse_part("0.99", what="--detect") == Fraction(99, 100)
    assert parse_part(".5", what="--detect") == Fraction(1, 2)
    for text in ("", "0", "1", "1.0", "0.0", "-0.5", "0.9999999", "1e-3", "nan", "50%", "\u0660.5"):
        with pytest.raises(UsageError, match=r"--detect .* is not a decimal between 0 and 1"):
            parse_part(text, what="--detect")
