"""Deltas are exact, ordered, and not a matter of factors."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.delta import (
    Array,
    Deltas,
    delta_of,
    parse_weight,
    weighted_sum,
)
from compose.errors import MethodError

VALUES = st.floats(-4, 4, allow_nan=False, width=32)
MATRICES = hnp.arrays(np.float64, (3, 4), elements=VALUES)


def deltas(array: Array, name: str = "layer") -> Deltas:
    return Deltas({name: array})


def test_delta_is_scale_times_the_product_summed_by_rank(
    tiny_base: Path, tiny_adapters: list[Path]
) -> None:
    base = open_base(tiny_base, name="tiny")
    for path in tiny_adapters:
        adapter = inspect_adapter(path, base)
        result = delta_of(adapter)
        assert sorted(result) == sorted(adapter.factors())
        for name, (a, b) in adapter.factors().items():
            total = b[:, :1] * a[:1, :]
            for k in range(1, len(a)):
                total = total + b[:, k : k + 1] * a[k : k + 1, :]
            assert np.array_equal(result[name], total * adapter.scale + 0.0)
            assert np.allclose(result[name], adapter.scale * (b @ a), rtol=0, atol=1e-13)


@given(MATRICES)
def test_one_member_at_weight_one_is_that_member_bit_for_bit(array: Array) -> None:
    assert weighted_sum([(deltas(array), Fraction(1))]).digest() == deltas(array).digest()


@given(st.lists(MATRICES, min_size=1, max_size=4))
def test_the_mean_of_equal_deltas_is_the_delta(arrays: list[Array]) -> None:
    copies = [(deltas(arrays[0]), Fraction(1, len(arrays)))] * len(arrays)
    merged = weighted_sum(copies)["layer"]
    assert np.allclose(merged, arrays[0], rtol=1e-15, atol=0)


@given(MATRICES, MATRICES, st.integers(-8, 8), st.integers(-8, 8))
def test_sum_equals_sum_of_weighted_products_and_keeps_the_sign(
    first: Array, second: Array, p: int, q: int
) -> None:
    terms = [(deltas(first), Fraction(p, 4)), (deltas(second), Fraction(q, 4))]
    merged = weighted_sum(terms).get("layer", np.zeros((3, 4)))
    negated = weighted_sum([(each, -weight) for each, weight in terms])
    assert np.array_equal(merged, (first * p + second * q) / 4)
    assert np.array_equal(merged, -negated.get("layer", np.zeros((3, 4))))


def test_a_member_of_weight_zero_changes_nothing() -> None:
    first, other = deltas(np.ones((2, 2))), deltas(np.ones((2, 2)), "other")
    merged = weighted_sum([(first, Fraction(1)), (other, Fraction(0))])
    assert merged.digest() == first.digest()


def test_weights_without_a_common_denominator_below_2_53_are_refused() -> None:
    weights = [Fraction(1, 10**12 - 1), Fraction(1, 10**12 - 11)]
    with pytest.raises(MethodError, match="common denominator"):
        weighted_sum([(deltas(np.ones((1, 1))), weight) for weight in weights])


def test_digest_names_layers_shapes_and_values() -> None:
    one = np.arange(6.0)
    digests = {
        Deltas({"a": one.reshape(2, 3)}).digest(),
        Deltas({"a": one.reshape(3, 2)}).digest(),
        Deltas({"b": one.reshape(2, 3)}).digest(),
        Deltas({"a": one.reshape(2, 3) + 1e-15}).digest(),
    }
    assert len(digests) == 4


def test_digest_is_frozen() -> None:
    value = Deltas({"b": np.array([[0.5, -0.0]]), "a": np.array([[1.0], [2.0]])})
    assert value.digest() == ("bb1c55a0c2289788209deb97426bb9d6de4e5897944d94468a90981d87158077")


def test_minus_zero_is_zero() -> None:
    assert deltas(np.array([[-0.0]])).digest() == deltas(np.array([[0.0]])).digest()


def test_deltas_cannot_be_written_and_do_not_follow_their_source() -> None:
    source = np.ones((2, 2))
    held = deltas(source)
    source[0, 0] = 9.0
    assert held["layer"][0, 0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        held["layer"][0, 0] = 2.0


@pytest.mark.parametrize("text", ["", "1e3", "0x1", " 1", "nan", "1.", ".5", "1" * 13, "+1"])
def test_only_plain_decimals_are_weights(text: str) -> None:
    with pytest.raises(MethodError, match="weight"):
        parse_weight(text, what="weight")


def test_weights_are_exact() -> None:
    assert parse_weight("-0.1", what="weight") == Fraction(-1, 10)
