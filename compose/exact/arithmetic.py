"""Rounding to integers, and exp and log of IEEE operations alone: what the exact engine is made of.

All functions take and return float64 tensors. A value "on the grid g" is an integer times g, g a
power of two. Never use an operation here that fuses a multiplication with an addition (`addcmul`,
`lerp`, `add` with an alpha), divide by a number (on some devices that multiplies by its inverse),
or call a function of a library: those are rounded differently from machine to machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import torch

MAX_BITS: Final = 20
SIGNIFICAND: Final = 53
NUMERATOR_BITS: Final = 20
"""Softmax numerators are on the grid 2^-20; the largest is 1."""
LARGEST, SMALLEST = 2.0**200, 2.0**-200
"""A row whose largest magnitude reaches `LARGEST` becomes NaN; one below `SMALLEST` keeps the grid
of `SMALLEST`. So no denormal is ever met, which some machines flush to zero."""

_ROUNDER = 1.5 * 2.0**52
_EXPONENT = 0x7FF << 52
_HALF = 1 << 51

# 2^r = 1 + r (c1 + r (c2 + ...)) for |r| <= 1/2, minimax; relative error below 4e-9.
_POWER = (
    0.6931472253950111,
    0.24022651084117294,
    0.05550297314199325,
    0.009618030782505154,
    0.0013410000966100157,
    0.00015469731977475548,
)
_LOG2_E = 1.4426950408889634
_LN_2 = 0.6931471805599453
_SQRT_HALF = 0.7071067811865476
_LOG_TERMS = 11


def bits_for(terms: int) -> int:
    """Return the bits of an operand whose products are summed over so many terms.

    Two magnitudes of at most 2^b give products of at most 2^2b; `terms` of them stay within 2^53.
    """
    return min(MAX_BITS, (SIGNIFICAND - (terms - 1).bit_length()) // 2)


def on_grid(values: torch.Tensor, grid: float) -> torch.Tensor:
    """Round in place to multiples of a power of two, halves to even; needs |value| <= 2^51 grid."""
    return rounded(values, _ROUNDER * grid)


def rounded(values: torch.Tensor, rounder: float | torch.Tensor) -> torch.Tensor:
    """Round in place to the grid of a rounder, 1.5 * 2^52 times the grid.

    The spacing of float64 there is the grid, so the addition does the rounding.
    """
    return values.add_(rounder).sub_(rounder)


def snap(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Round in place, each row (last axis) to integers of at most 2^bits times its own grid.

    With 2^e the smallest power of two above the row's largest magnitude, the grid is 2^(e - bits).
    """
    return rounded(values, _rounder_of(values.abs().amax(dim=-1, keepdim=True), bits))


def value_rounder(weight: torch.Tensor, positions: int) -> torch.Tensor:
    """Return the rounder of each output of an attention's value layer, [outputs].

    Normalised states have a norm of at most sqrt(K), so by Cauchy and Schwarz no value passes
    sqrt(K) times the norm of its weights: the grid follows from the weights alone, and no input
    can overflow it. A grid taken from a row's values would break causality.

    Args:
        weight: the layer's snapped weight, [outputs, K].
        positions: over how many values an attention may sum.
    """
    # The factor covers the roundings of the bound and of the values themselves.
    squares = (weight * weight).sum(dim=-1).mul_(weight.shape[-1])
    bound = square_root(squares).mul_(1.0 + 2.0**-20)
    bits = min(22, SIGNIFICAND - NUMERATOR_BITS - (positions - 1).bit_length())
    return _rounder_of(bound, bits)


def inverse_norm(snapped: torch.Tensor, eps: float) -> torch.Tensor:
    """Return 1 / sqrt(mean of squares + eps) of each row, [..., 1]; the sum of squares is exact."""
    squares = (snapped * snapped).sum(dim=-1, keepdim=True)
    return square_root(squares.mul_(1.0 / snapped.shape[-1]).add_(eps)).reciprocal_()


def square_root(values: torch.Tensor) -> torch.Tensor:
    """Return square roots, correctly rounded.

    `torch.sqrt` is not: with MKL it calls the vector mathematics library, which misses the nearest
    float64 about once in a hundred. numpy uses the instruction of the processor.
    """
    import torch

    return torch.from_numpy(np.sqrt(values.numpy()))


def exp(values: torch.Tensor) -> torch.Tensor:
    """Return e^x in place, relative error below 1e-8; needs |x| <= 700.

    x log2(e) = n + r with n an integer; 2^r is a polynomial, and 2^n is written into the exponent.
    """
    import torch

    values.mul_(_LOG2_E)
    # The low bits of n + 1.5 * 2^52 + 1023 are the biased exponent of 2^n.
    shifted = values + (_ROUNDER + 1023)
    rest = values.sub_(shifted - (_ROUNDER + 1023))
    power = rest * _POWER[-1]
    for coefficient in reversed(_POWER[:-1]):
        power.add_(coefficient).mul_(rest)
    power.add_(1.0)
    scale = shifted.view(torch.int64).bitwise_left_shift_(52).view(torch.float64)
    return power.mul_(scale)


def log(values: torch.Tensor) -> torch.Tensor:
    """Return the natural logarithm of normal positive numbers, error below 1e-15 (1 + |log x|).

    x = m 2^e with sqrt(1/2) <= m < sqrt(2); log m = 2 artanh((m - 1) / (m + 1)), its odd series.
    """
    import torch

    mantissa, exponent = torch.frexp(values)
    low = mantissa < _SQRT_HALF
    mantissa = torch.where(low, mantissa * 2, mantissa)
    exponent = torch.where(low, exponent - 1, exponent).to(torch.float64)
    z = (mantissa - 1) / (mantissa + 1)
    square = z * z
    series = square * (1 / (2 * _LOG_TERMS - 1))
    for term in range(2 * _LOG_TERMS - 3, 1, -2):
        series.add_(1 / term).mul_(square)
    series.add_(1.0).mul_(z).mul_(2.0)
    return series.add_(exponent.mul_(_LN_2))


def softmax_numerators(scores: torch.Tensor) -> torch.Tensor:
    """Return e^(score - largest of its row) in place, on the grid 2^-20; zero below e^-20."""
    scores.sub_(scores.amax(dim=-1, keepdim=True)).clamp_(min=-20.0)
    return on_grid(exp(scores), 2.0**-NUMERATOR_BITS)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Return the log-softmax of the last axis."""
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    return shifted.sub_(log_total(shifted))


def log_total(shifted: torch.Tensor) -> torch.Tensor:
    """Return the log of the summed exponentials of each row, [..., 1], whose largest must be zero.

    The sum is over integers. They are on as fine a grid as the number V of terms leaves, 2^-b with
    V 2^b at most 2^53: an error of at most V 2^(-b - 1) on top of that of `exp`.
    """
    bits = min(50, SIGNIFICAND - (shifted.shape[-1] - 1).bit_length())
    shares = on_grid(exp(shifted.clamp(min=-40.0)), 2.0**-bits)
    return log(shares.sum(dim=-1, keepdim=True))


def ordered_sum(values: torch.Tensor) -> torch.Tensor:
    """Return the sum over the last axis, [...]: the second half added to the first, and again.

    For terms that are no integers: the order is the same everywhere. Of an odd number the first
    half is the longer one.
    """
    while values.shape[-1] > 1:
        half = (values.shape[-1] + 1) // 2
        first = values[..., :half].clone()
        first[..., : values.shape[-1] - half].add_(values[..., half:])
        values = first
    return values[..., 0]


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) * up, silu(x) = x / (1 + e^-x)."""
    return (gate / exp(gate.neg().clamp_(-64.0, 64.0)).add_(1.0)).mul_(up)


def _rounder_of(magnitudes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return 1.5 * 2^52 * 2^(e - bits), 2^e being the smallest power of two above each magnitude.

    It is made of the magnitude's exponent; NaN for what is out of range.
    """
    import torch

    exponents = magnitudes.clamp(min=SMALLEST).view(torch.int64).bitwise_and_(_EXPONENT)
    rounders = exponents.add_((53 - bits << 52) + _HALF).view(torch.float64)
    return torch.where(magnitudes < LARGEST, rounders, torch.nan)
