"""Every step of the exact engine: what it rounds to, how near it is, and that no order matters."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from tests.compose.exact import integers

torch = pytest.importorskip("torch")

from compose.exact import arithmetic  # noqa: E402 - it needs torch


@pytest.mark.parametrize("terms", [1, 2, 3, 64, 8191, 8192, 8193, 2**15, 2**18])
def test_sums_of_products_stay_integers_of_float64(terms: int) -> None:
    bits = arithmetic.bits_for(terms)
    assert terms * 2 ** (2 * bits) <= 2**53
    assert bits == 20 or terms * 2 ** (2 * bits + 2) > 2**53


def test_halves_go_to_the_even_neighbour() -> None:
    values = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 3.49999, -7.50001, 0.0]).double() / 1024
    expected = torch.tensor([0.0, 2.0, 2.0, 0.0, -2.0, 3.0, -8.0, 0.0]).double() / 1024
    rounded = arithmetic.on_grid(values, 1 / 1024)
    assert torch.equal(rounded, expected)
    assert not torch.signbit(rounded[expected == 0]).any()


def test_a_row_keeps_twenty_bits_below_its_largest() -> None:
    row = torch.tensor(
        [[0.9999, -1e-7, 3.3e-5, -0.123456789], [5e-301, 0.0, -1e-290, 0.0]]
    ).double()
    snapped = arithmetic.snap(row.clone(), 20)
    assert (snapped[0] - row[0]).abs().max() <= 2.0**-21
    assert torch.equal(snapped[0] * 2**20, (snapped[0] * 2**20).round())
    assert torch.equal(snapped[1], torch.zeros(4).double())
    expected, grid = integers.rounded(row.numpy(), 20)
    assert np.array_equal(np.ldexp(expected.astype(float), grid[:, None]), snapped.numpy())


@pytest.mark.parametrize("bad", [2.0**200, -(2.0**300), math.inf, math.nan])
def test_what_is_out_of_range_becomes_nan(bad: float) -> None:
    rows = torch.tensor([[1.0, bad], [1.0, 2.0]], dtype=torch.float64)
    snapped = arithmetic.snap(rows, 20)
    assert snapped[0].isnan().all()
    assert torch.equal(snapped[1], torch.tensor([1.0, 2.0]).double())


def test_every_order_of_a_product_gives_the_same_bits() -> None:
    generator = torch.Generator().manual_seed(5)
    a = torch.randn(1, 6, generator=generator, dtype=torch.float64) * 1e3
    b = torch.randn(6, 1, generator=generator, dtype=torch.float64)
    plain = {
        float((a[:, list(order)] @ b[list(order)]).item())
        for order in itertools.permutations(range(6))
    }
    a = arithmetic.snap(a, 20)
    b = arithmetic.snap(b.T.clone(), 20).T
    snapped = set()
    for order in itertools.permutations(range(6)):
        total = 0.0
        for k in order:
            total += float(a[0, k] * b[k, 0])
        snapped.add(total)
    assert len(snapped) == 1
    assert abs(snapped.pop() - plain.pop()) < 1e-2


def test_square_roots_are_correctly_rounded() -> None:
    """As `torch.sqrt` is not where it calls MKL's vector mathematics."""
    generator = torch.Generator().manual_seed(11)
    values = 100 * torch.rand(20000, generator=generator, dtype=torch.float64)
    assert arithmetic.square_root(values).tolist() == [math.sqrt(each) for each in values.tolist()]
    for value in values[:500].tolist():
        # The root is the nearest float64: the square lies between those of its two midpoints.
        root = math.sqrt(value)
        low, high = (Fraction(root) + Fraction(math.ulp(root)) * sign / 2 for sign in (-1, 1))
        assert low**2 <= Fraction(value) <= high**2


def test_exp_is_near_and_the_second_implementation_agrees() -> None:
    values = torch.linspace(-64, 64, 4001, dtype=torch.float64)
    ours = arithmetic.exp(values.clone())
    assert ((ours - values.exp()) / values.exp()).abs().max() < 1e-8
    assert arithmetic.exp(torch.zeros(1, dtype=torch.float64)).item() == 1.0
    assert ours.tolist() == [integers.exp(each) for each in values.tolist()]


def test_log_is_near() -> None:
    values = torch.cat(
        [
            torch.linspace(0.5, 3, 1001, dtype=torch.float64),
            2.0 ** torch.arange(-30, 22, dtype=torch.float64),
        ]
    )
    error = (arithmetic.log(values) - values.log()).abs() / (1 + values.log().abs())
    assert error.max() < 1e-15
    assert arithmetic.log(torch.ones(1, dtype=torch.float64)).item() == 0.0


def test_log_softmax_does_not_depend_on_the_order_of_the_vocabulary() -> None:
    generator = torch.Generator().manual_seed(7)
    logits = 9 * torch.randn(5, 1000, generator=generator, dtype=torch.float64)
    logits[0, 3] = -1e5
    ours = arithmetic.log_softmax(logits)
    assert (ours - logits.log_softmax(-1)).abs().max() < 1e-8
    order = torch.randperm(1000, generator=generator)
    assert torch.equal(arithmetic.log_softmax(logits[:, order]), ours[:, order])
    assert np.array_equal(
        ours.numpy(), np.stack([integers.log_softmax(row) for row in logits.numpy()])
    )


def test_an_ordered_sum_is_that_of_its_order() -> None:
    values = torch.tensor([[1e16, 1.0, -1e16, 1.0, 0.1]], dtype=torch.float64)
    assert arithmetic.ordered_sum(values).tolist() == [((1e16 + 1.0) + -1e16) + (1.0 + 0.1)]
    assert arithmetic.ordered_sum(values[:, :1]).tolist() == [1e16]


def test_no_state_passes_the_grid_of_its_values() -> None:
    """The worst state for a weight is the weight itself: Cauchy and Schwarz with equality."""
    generator = torch.Generator().manual_seed(9)
    weight = arithmetic.snap(torch.randn(7, 96, generator=generator, dtype=torch.float64), 20)
    for positions, bits in ((64, 22), (2048, 22), (2049, 21), (2**15, 18)):
        grid = arithmetic.value_rounder(weight, positions) / (1.5 * 2.0**52)
        norm = arithmetic.inverse_norm(weight, 0.0)
        values = (weight @ weight.T) * norm.T
        assert (values.diagonal().abs() <= grid * 2**bits).all()
        assert (values.diagonal().abs() > grid * 2 ** (bits - 1.01)).all()
        assert positions * 2 ** (arithmetic.NUMERATOR_BITS + bits) <= 2**53


def test_gating_is_that_of_silu() -> None:
    gate = torch.linspace(-90, 90, 1001, dtype=torch.float64)
    up = torch.linspace(-3, 5, 1001, dtype=torch.float64)
    expected = torch.nn.functional.silu(gate) * up
    assert (arithmetic.gated(gate, up) - expected).abs().max() < 1e-6
