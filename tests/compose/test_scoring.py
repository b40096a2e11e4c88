"""The two scorers and their tie rules, by example and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.scoring import (
    MAX_MARGIN,
    NORMALISATIONS,
    all_margin_units,
    choice_margin,
    choose,
    is_correct,
    margin_units,
    normalise,
)

SUMS = st.lists(st.floats(-1e4, 0), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "name", "wanted"),
    [
        (" a  b\n", "none", " a  b\n"),
        (" a \t\r\n\v\f b ", "whitespace", "a b"),
        ("a\u00a0b", "whitespace", "a\u00a0b"),
        ("A b", "whitespace", "A b"),
        ("a b | c  d", "last-segment", "c d"),
        ("a | b | ", "last-segment", ""),
        ("a  b", "last-segment", "a b"),
        ("a | b", "whitespace", "a | b"),
    ],
)
def test_normalisation(text: str, name: str, wanted: str) -> None:
    assert normalise(text, name) == wanted  # type: ignore[arg-type]


@given(text=st.text(), name=st.sampled_from(NORMALISATIONS))
def test_normalising_twice_changes_nothing(text: str, name: str) -> None:
    once = normalise(text, name)  # type: ignore[arg-type]
    assert normalise(once, name) == once  # type: ignore[arg-type]


def test_unknown_normalisation_is_an_error() -> None:
    with pytest.raises(ValueError, match="lower"):
        normalise("a", "lower")  # type: ignore[arg-type]


def test_exact_compares_both_sides_in_normal_form() -> None:
    assert is_correct("x y | a  b", "a b", "last-segment")
    assert is_correct("a b", "x | a b", "last-segment")
    assert not is_correct("a b | x", "a b", "last-segment")
    assert not is_correct(" a", "a", "none")
    assert not is_correct("A", "a", "whitespace")
    # One letter in two Unicode forms: texts that differ in a code point differ.
    assert not is_correct("\u00e9", "e\u0301", "whitespace")


def test_choice_takes_the_highest_and_the_lowest_index_of_a_tie() -> None:
    assert choose([-3.0, -1.0, -2.0]) == 1
    assert choose([-1.0, -1.0]) == 0
    assert choose([-2.0, -1.0, -1.0]) == 1


def test_noise_below_the_grid_does_not_decide() -> None:
    assert choose([-1.0, -1.0 + 1e-12]) == 0
    assert choose([-1.0, -1.0 + 1e-5]) == 1


@given(sums=SUMS)
def test_chosen_index_is_within_one_grid_step_of_the_best(sums: list[float]) -> None:
    index = choose(sums)
    assert sums[index] >= max(sums) - 1.1e-6
    # Whatever comes earlier is really worse, on the grid at least.
    assert all(value <= sums[index] + 1.1e-6 for value in sums[:index])


@given(sums=SUMS, offset=st.integers(1, 8))
def test_a_worse_choice_at_the_end_changes_nothing(sums: list[float], offset: int) -> None:
    assert choose([*sums, min(sums) - offset]) == choose(sums)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_sum_that_is_not_finite_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        choose([-1.0, value])


def test_no_choices_is_an_error() -> None:
    with pytest.raises(ValueError, match="no choices"):
        choose([])


def test_margins_are_floored_and_capped() -> None:
    assert margin_units(0.0) == 0
    assert margin_units(1.9999e-6) == 1
    assert margin_units(0.5) == 500_000
    assert margin_units(1e3) == margin_units(math.inf) == MAX_MARGIN
    assert choice_margin([-1.0, -1.5, -9.0]) == 500_000
    assert choice_margin([-1.0, -1.0]) == 0
    assert choice_margin([-1.0]) is None


@pytest.mark.parametrize("gap", [-1e-9, math.nan])
def test_negative_or_undefined_lead_is_an_error(gap: float) -> None:
    with pytest.raises(ValueError, match="makes no sense"):
        margin_units(gap)


@given(st.lists(st.floats(0, 2000) | st.just(math.inf), min_size=1))
def test_margins_of_an_array_are_those_of_its_numbers(gaps: list[float]) -> None:
    assert all_margin_units(np.array([gaps])) == [[margin_units(gap) for gap in gaps]]
    for wrong in (-1e-9, math.nan):
        with pytest.raises(ValueError, match="no sense"):
            all_margin_units(np.array([*gaps, wrong]))
