"""`merge.ties`: trim, elect signs, average those who agree (Yadav et al. 2023, 2306.01708).

Version 1, per linear layer, on deltas:

1. Trim: of each member keep the ceil(density * size) entries of largest absolute value, the lower
   flat index first among equals; the others become zero.
2. Elect: the sign of the sum of the trimmed entries over members in id order (`sign` "total").
   Where the sum is zero the result is zero.
3. Merge: the mean over the members whose trimmed entry has the elected sign; times `scale`.

Members have equal weight. A member that does not touch a layer takes no part there. Two copies of
an adapter count twice in 2 and 3. The merged delta is dense.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np

from compose.delta import Array, Deltas
from compose.errors import MethodError
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters


class MergeTies(Method):
    """Trimmed, sign-elected mean of the members' deltas."""

    name = "merge.ties"
    version = "1"
    level = "weight"
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "density": Number("0.2", "0.000001", "1", "share of entries kept"),
        "scale": Number("1", "-16", "16", "factor on the merged delta"),
        "sign": Option("total", ("total",)),
    }

    def assemble(self, context: Context) -> Assembly:
        """Merge the members into one model."""
        merged = ties(
            [member.deltas for member in context.members],
            density=context.number("density"),
            scale=context.number("scale"),
        )
        return context.merged(merged)


def ties(members: Sequence[Deltas], *, density: Fraction, scale: Fraction) -> Deltas:
    """Return the merged deltas.

    Raises:
        MethodError: if a density of zero would keep nothing.
    """
    if not 0 < density <= 1:
        raise MethodError(f"merge.ties: density {density} is not in 0..1 (share of entries kept)")
    layers = {}
    for name in sorted({layer for deltas in members for layer in deltas}):
        trimmed = [trim(deltas[name], density) for deltas in members if name in deltas]
        layers[name] = agreeing(trimmed) * float(scale)
    return Deltas(layers)


def trim(delta: Array, density: Fraction) -> Array:
    """Keep the ceil(density * size) entries of largest absolute value."""
    sizes = np.abs(delta).reshape(-1)
    kept = math.ceil(density * sizes.size)
    if kept >= sizes.size:
        return delta
    threshold = np.partition(sizes, sizes.size - kept)[sizes.size - kept]
    keep = sizes > threshold
    # The entries equal to the threshold fill what is left, lowest flat index first.
    equal = np.flatnonzero(sizes == threshold)
    keep[equal[: kept - int(keep.sum())]] = True
    return np.where(keep.reshape(delta.shape), delta, 0.0)


def agreeing(deltas: Sequence[Array], *, average: bool = True) -> Array:
    """Return the mean, or the sum, of the entries that have the elected sign.

    The sign is that of the sum over all; where the sum is zero, so is the result.
    """
    total = np.zeros_like(deltas[0])
    for delta in deltas:
        total += delta
    elected = np.sign(total)
    agreed = np.zeros_like(total)
    count = np.zeros_like(total)
    for delta in deltas:
        agrees = delta * elected > 0
        np.add(agreed, delta, out=agreed, where=agrees)
        count += agrees
    return agreed / np.maximum(count, 1.0) if average else agreed
