r"""Deltas: what an adapter adds to each linear layer, dW = s * B @ A, in exact order.

Every method works on deltas and never on A and B apart: adding factors is not adding products,
is quadratic in the weights and loses their signs (Hu et al. 2021, section 4.1, defines the update
as the product). Arithmetic here is float64 by elementwise numpy operations in one fixed order: no
BLAS, whose order of summation depends on the machine, no fused multiply-add. IEEE 754 rounds each
of these operations correctly, so all machines get the same bits and a digest names the result.

    delta        rank index k in increasing order: ((B_0 A_0 + B_1 A_1) + B_2 A_2) + ..., times s
    weighted sum members in the order given (by id): (p_1 D_1 + p_2 D_2 + ...) / q, where
                 p_i / q are the weights as fractions over their least common denominator, so one
                 member at weight one is that member, bit for bit
    digest       sha256 of "pnode-deltas/1\n", then for each layer name in sorted order:
                 "NAME ROWS COLUMNS\n" and rows * columns little-endian float64; no -0.0
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from compose.adapter import Adapter
from compose.errors import MethodError, UnfitAdapterError

Array = npt.NDArray[np.float64]

MAX_EXACT = 2**53
_DECIMAL = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)


class Deltas(Mapping[str, Array]):
    """Deltas by linear layer name; the arrays, [out_features, in_features], are read-only."""

    __slots__ = ("_layers",)

    def __init__(self, layers: Mapping[str, Array]) -> None:
        self._layers = {name: _frozen(layers[name]) for name in sorted(layers)}

    def __getitem__(self, name: str) -> Array:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def digest(self) -> str:
        """Return the sha256 of names, shapes and values, in lower-case hexadecimal."""
        state = hashlib.sha256(b"pnode-deltas/1\n")
        for name, delta in self._layers.items():
            rows, columns = delta.shape
            state.update(f"{name} {rows} {columns}\n".encode())
            state.update(np.ascontiguousarray(delta, dtype="<f8").tobytes())
        return state.hexdigest()


def delta_of(adapter: Adapter, *, name: str = "adapter") -> Deltas:
    """Return the deltas of one adapter, its scale included.

    Raises:
        UnfitAdapterError: if a product is too large for float64.
    """
    scale = float(adapter.scale)
    layers = {}
    for layer, (a, b) in adapter.factors().items():
        with np.errstate(over="ignore", invalid="ignore"):
            delta = product(a, b) * scale
        if not np.isfinite(delta).all():
            raise UnfitAdapterError(
                f"{name}: the delta of {layer} is not finite",
                hint="its factors are too large",
                check="not-finite",
            )
        layers[layer] = delta
    return Deltas(layers)


def weighted_sum(terms: Sequence[tuple[Deltas, Fraction]]) -> Deltas:
    """Return the sum of weight times deltas, in the order given; callers sort by member id.

    A layer that a member does not touch counts as zero there. A member of weight zero changes
    nothing, not even which layers the result has.

    Raises:
        MethodError: if the weights over their common denominator pass 2^53, or the sum overflows.
    """
    terms = [(deltas, weight) for deltas, weight in terms if weight]
    denominator = math.lcm(*(weight.denominator for _, weight in terms))
    factors = [int(weight * denominator) for _, weight in terms]
    if max(map(abs, (denominator, *factors))) > MAX_EXACT:
        raise MethodError(
            "the weights have no common denominator below 2^53",
            hint="use fewer decimals",
        )
    layers: dict[str, Array] = {}
    with np.errstate(over="ignore", invalid="ignore"):
        for (deltas, _), factor in zip(terms, factors, strict=True):
            for name, delta in deltas.items():
                part = delta * float(factor)
                layers[name] = layers[name] + part if name in layers else part
        result = {name: total / float(denominator) for name, total in layers.items()}
    if not all(np.isfinite(delta).all() for delta in result.values()):
        raise MethodError("the weighted sum is not finite", hint="use smaller weights")
    return Deltas(result)


def parse_weight(text: str, *, what: str) -> Fraction:
    """Return the exact value of a decimal string such as "0.25" or "-1".

    Raises:
        MethodError: for any other text, or more than 12 digits on a side of the point.
    """
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise MethodError(f"{what}: {str(text)[:40]!r} is not a decimal number such as '0.25'")
    return Fraction(text)


def product(a: Array, b: Array) -> Array:
    """Return B @ A, [out, in], adding the rank-one terms in order, without BLAS."""
    total = np.multiply(b[:, :1], a[:1, :])
    term = np.empty_like(total)
    for k in range(1, a.shape[0]):
        np.multiply(b[:, k : k + 1], a[k : k + 1, :], out=term)
        np.add(total, term, out=total)
    return total


def _frozen(array: Array) -> Array:
    # Adding 0.0 turns -0.0 into 0.0, so that equal deltas have equal bytes; it also copies.
    copy = np.asarray(array, dtype=np.float64) + 0.0
    copy.flags.writeable = False
    return copy
