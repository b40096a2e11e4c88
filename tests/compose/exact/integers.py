"""The exact engine, written a second time from docs/spec/exact-engine.md, for one row at a time.

No torch and no BLAS: operands are integers and products sums of integers, so this checks what the
engine claims of its float64 products. Between them are Python or numpy float64, one operation at
a time. It is slow, and only for tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache

import mpmath
import numpy as np
import numpy.typing as npt

from compose.llama import LlamaShape

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

POWER = (
    0.6931472253950111,
    0.24022651084117294,
    0.05550297314199325,
    0.009618030782505154,
    0.0013410000966100157,
    0.00015469731977475548,
)


def logits_of(shape: LlamaShape, weights: Mapping[str, Floats], row: Sequence[int]) -> Floats:
    """Return the logits of the exact engine at every position of one row, [length, vocabulary]."""
    states = [weights["model.embed_tokens.weight"][token] for token in row]
    for number in range(shape.layers):
        part = {
            name.removeprefix(f"model.layers.{number}."): weight
            for name, weight in weights.items()
            if name.startswith(f"model.layers.{number}.")
        }
        attended = _attention(shape, part, states)
        states = [x + y for x, y in zip(states, attended, strict=True)]
        states = [x + _mlp(shape, part, x) for x in states]
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    operand = rounded(head * weights["model.norm.weight"])
    return np.stack([_normed_product(shape, x, operand) for x in states]) + 0.0


def bits_for(terms: int) -> int:
    return min(20, (53 - math.ceil(math.log2(terms))) // 2)


def rounded(rows: Floats, bits: int | None = None) -> tuple[Integers, Integers]:
    """Return integers of at most 2^bits and the exponent of each row's grid."""
    bits = bits_for(rows.shape[-1]) if bits is None else bits
    exponents = [
        math.frexp(max(float(np.abs(row).max()), 2.0**-200))[1] - bits
        for row in rows.reshape(-1, rows.shape[-1])
    ]
    grid = np.array(exponents, dtype=np.int64).reshape(rows.shape[:-1])
    return units(rows, grid[..., None]), grid


def units(values: Floats, exponents: Integers) -> Integers:
    """Return values over 2^exponent as the nearest integers, halves to even."""
    return np.rint(np.ldexp(values, -exponents)).astype(np.int64)


def exp(x: float) -> float:
    x = x * 1.4426950408889634
    whole = round(x)
    rest = x - whole
    power = POWER[-1] * rest
    for coefficient in reversed(POWER[:-1]):
        power = (power + coefficient) * rest
    return math.ldexp(power + 1.0, whole)


def log_softmax(logits: Floats) -> Floats:
    """Return the log-softmax of one row."""
    shifted = [float(each) - float(logits.max()) for each in logits]
    bits = min(50, 53 - math.ceil(math.log2(len(logits))))
    total = sum(round(math.ldexp(exp(max(each, -40.0)), bits)) for each in shifted)
    mantissa, exponent = math.frexp(math.ldexp(float(total), -bits))
    if mantissa < 0.7071067811865476:
        mantissa, exponent = mantissa * 2, exponent - 1
    z = (mantissa - 1) / (mantissa + 1)
    series = (z * z) * (1 / 21)
    for term in range(19, 1, -2):
        series = (series + 1 / term) * (z * z)
    log = (series + 1.0) * z * 2.0 + exponent * 0.6931471805599453
    return np.array([each - log for each in shifted])


@cache
def rotary_units(theta: float, head_dim: int, position: int) -> list[tuple[int, int]]:
    """Return the cosine and sine of one position in units of 2^-24, for each frequency."""
    with mpmath.workdps(50):
        angles = [
            position * mpmath.mpf(theta) ** (mpmath.mpf(-2 * i) / head_dim)
            for i in range(head_dim // 2)
        ]
        return [
            (int(mpmath.nint(mpmath.cos(each) * 2**24)), int(mpmath.nint(mpmath.sin(each) * 2**24)))
            for each in angles
        ]


def _normed_product(shape: LlamaShape, x: Floats, operand: tuple[Integers, Integers]) -> Floats:
    integers, grid = rounded(x)
    squares = math.ldexp(float(sum(int(q) ** 2 for q in integers)), 2 * int(grid))
    inverse = 1.0 / math.sqrt(squares * (1.0 / len(x)) + shape.rms_norm_eps)
    return _product(integers, int(grid), operand) * inverse


def _product(integers: Integers, grid: int, operand: tuple[Integers, Integers]) -> Floats:
    sums = (operand[0] * integers).sum(axis=1)
    return np.ldexp(sums.astype(np.float64), operand[1] + grid)


def _plain_product(x: Floats, weight: Floats) -> Floats:
    integers, grid = rounded(x)
    return _product(integers, int(grid), rounded(weight))


def _attention(
    shape: LlamaShape, part: Mapping[str, Floats], states: Sequence[Floats]
) -> list[Floats]:
    norm, dim = part["input_layernorm.weight"], shape.head_dim
    scale = 1.0 / math.sqrt(dim)
    query = rounded(part["self_attn.q_proj.weight"] * norm * scale)
    key = rounded(part["self_attn.k_proj.weight"] * norm)
    value = rounded(part["self_attn.v_proj.weight"] * norm)
    grid = _value_grid(shape, *value)
    queries, keys, values = [], [], []
    for position, x in enumerate(states):
        queries.append(_turned(shape, _normed_product(shape, x, query), position))
        keys.append(_turned(shape, _normed_product(shape, x, key), position))
        values.append(units(_normed_product(shape, x, value), grid))
    result = []
    for position in range(len(states)):
        heads = []
        for head in range(shape.heads):
            group = head // (shape.heads // shape.kv_heads)
            integers, exponents = queries[position]
            scores = [
                math.ldexp(
                    float(
                        sum(int(a) * int(b) for a, b in zip(integers[head], k[group], strict=True))
                    ),
                    int(exponents[head] + e[group]),
                )
                for k, e in keys[: position + 1]
            ]
            shares = [round(math.ldexp(exp(max(s - max(scores), -20.0)), 20)) for s in scores]
            span = slice(group * dim, (group + 1) * dim)
            sums = sum(p * v[span] for p, v in zip(shares, values, strict=False))
            mixed = np.ldexp(np.asarray(sums, dtype=np.float64), grid[span] - 20)
            heads.append(mixed / math.ldexp(float(sum(shares)), -20))
        result.append(_plain_product(np.concatenate(heads), part["self_attn.o_proj.weight"]))
    return result


def _value_grid(shape: LlamaShape, integers: Integers, grid: Integers) -> Integers:
    positions = min(shape.max_positions, 2**15)
    bits = min(22, 33 - math.ceil(math.log2(positions)))
    exponents = []
    for row, exponent in zip(integers, grid, strict=True):
        squares = math.ldexp(float(sum(int(q) ** 2 for q in row)), 2 * int(exponent))
        bound = math.sqrt(squares * len(row)) * (1.0 + 2.0**-20)
        exponents.append(math.frexp(max(bound, 2.0**-200))[1] - bits)
    return np.array(exponents, dtype=np.int64)


def _turned(shape: LlamaShape, x: Floats, position: int) -> tuple[Integers, Integers]:
    half = shape.head_dim // 2
    turns = np.array(rotary_units(shape.rope_theta, shape.head_dim, position)) / 2.0**24
    cosine, sine = turns[:, 0], turns[:, 1]
    heads = x.reshape(-1, shape.head_dim)
    first, second = heads[:, :half], heads[:, half:]
    turned = [first * cosine - second * sine, second * cosine + first * sine]
    return rounded(np.concatenate(turned, axis=1))


def _mlp(shape: LlamaShape, part: Mapping[str, Floats], x: Floats) -> Floats:
    norm = part["post_attention_layernorm.weight"]
    gate = _normed_product(shape, x, rounded(part["mlp.gate_proj.weight"] * norm))
    up = _normed_product(shape, x, rounded(part["mlp.up_proj.weight"] * norm))
    inner = [g / (exp(min(max(-g, -64.0), 64.0)) + 1.0) * u for g, u in zip(gate, up, strict=True)]
    return _plain_product(np.array(inner), part["mlp.down_proj.weight"])
