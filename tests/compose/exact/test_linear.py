"""Products and solutions are near those of numpy, and no order of summing changes a bit."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from compose.exact.linear import product, solve, split

RNG = np.random.default_rng(4)
LEFT, RIGHT = RNG.normal(size=(30, 257)), RNG.normal(scale=1e3, size=(257, 9))


def test_a_product_is_near_that_of_numpy() -> None:
    bound = 257 * 2.0**-38 * np.abs(LEFT).max() * np.abs(RIGHT).max()
    assert np.abs(product(LEFT, RIGHT) - LEFT @ RIGHT).max() < bound
    assert np.array_equal(product(split(LEFT, terms=257), RIGHT), product(LEFT, RIGHT))


def test_the_order_of_what_is_summed_changes_no_bit() -> None:
    order = RNG.permutation(257)
    assert np.array_equal(product(LEFT[:, order], RIGHT[order]), product(LEFT, RIGHT))
    assert not np.array_equal(LEFT[:, order] @ RIGHT[order], LEFT @ RIGHT)
    for row in (0, 29):
        assert np.array_equal(product(LEFT[row : row + 1], RIGHT)[0], product(LEFT, RIGHT)[row])


def test_a_solution_is_near_that_of_numpy() -> None:
    matrix = LEFT @ LEFT.T + np.eye(30)
    right = RNG.normal(size=(30, 4))
    assert np.abs(solve(matrix, right) - np.linalg.solve(matrix, right)).max() < 1e-10
    matrix[3] = matrix[:, 3] = 0.0
    assert not solve(matrix, right)[3].any()
