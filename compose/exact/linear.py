"""Products and solutions of small linear systems, with the same bits everywhere, for numpy.

A product splits both operands into two parts of at most 20 bits per row and column: high ones and
what the high ones leave. Three of the four products of the parts are sums of integers, exact in any
order; the fourth is below 2^-40 of the largest and left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from compose.exact import arithmetic

Array = npt.NDArray[np.float64]


class Split(NamedTuple):
    """A matrix as the sum of two whose rows are integers of few bits times a power of two."""

    high: Array
    low: Array


def split(matrix: Array, terms: int) -> Split:
    """Return the parts of a matrix, row by row, for sums of so many terms."""
    import torch

    bits = arithmetic.bits_for(terms)
    high = arithmetic.snap(torch.from_numpy(matrix.copy()), bits).numpy()
    low = arithmetic.snap(torch.from_numpy(matrix - high), bits).numpy()
    return Split(high, low)


def product(left: Array | Split, right: Array) -> Array:
    """Return left @ right, [n, m].

    The error of a sum over k is below k 2^-38 of its largest row times its largest column value.

    Args:
        left: [n, k], or its parts if it is used again.
        right: [k, m].
    """
    terms = len(right)
    rows = left if isinstance(left, Split) else split(left, terms)
    columns = split(right.T, terms)
    low = rows.high @ columns.low.T + rows.low @ columns.high.T
    result: Array = rows.high @ columns.high.T + low
    return result


def solve(matrix: Array, right: Array) -> Array:
    """Return X with matrix @ X = right, [n, m], by elimination in the order of the rows.

    Elementwise, in one order, without pivoting. The matrix is symmetric and positive definite, but
    for rows that are zero; X is zero there.
    """
    matrix, right = matrix.copy(), right.copy()
    size = len(matrix)
    for k in range(size):
        if matrix[k, k] > 0:
            factors = (matrix[k + 1 :, k] / matrix[k, k])[:, None]
            matrix[k + 1 :, k + 1 :] -= factors * matrix[k, k + 1 :]
            right[k + 1 :] -= factors * right[k]
    for k in reversed(range(size)):
        right[k] = right[k] / matrix[k, k] if matrix[k, k] > 0 else 0.0
        right[:k] -= matrix[:k, k][:, None] * right[k]
    return right
