"""Float64 arithmetic that every machine does alike: elementwise steps in a fixed order.

Libraries for matrices add in an order of their own, so their last bits depend on the machine. These
sums run from the first term to the last, and nothing is fused. Sizes are some hundreds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def total(values: Floats) -> float:
    """Return the sum of values, 0 for none."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def row_sums(values: Floats) -> Floats:
    """Return the sum of each row."""
    result: Floats = np.cumsum(values, axis=1)[:, -1]
    return result


def product(left: Floats, right: NDArray[np.float64] | NDArray[np.int64]) -> Floats:
    """Return the product of two matrices, or of a matrix and a vector."""
    result = np.zeros((len(left), *right.shape[1:]))
    for at in range(left.shape[1]):
        column = left[:, at] if right.ndim == 1 else left[:, at, None]
        result += column * right[at]
    return result


def solve(matrix: Floats, right: Floats) -> Floats:
    """Return X with matrix X = right, for a positive definite matrix, by elimination."""
    size = len(matrix)
    work = np.concatenate([matrix, right], axis=1)
    for at in range(size):
        # Columns before this one are done: they hold the identity and need no step.
        pivot = work[at, at:] / work[at, at]
        factors = work[:, at].copy()
        factors[at] = 0.0
        work[:, at:] -= factors[:, None] * pivot
        work[at, at:] = pivot
    return work[:, size:]
