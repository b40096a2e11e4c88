"""TIES and DARE as MergeKit 0.1.5 computes them, and where pnode differs on purpose."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from compose.delta import Array, Deltas
from compose.methods.merge_dare_ties import thin
from compose.methods.merge_ties import agreeing, ties
from tests.interop.partners import ask_beside

ROWS, COLUMNS, MEMBERS = 6, 10, 3


def deltas() -> list[Array]:
    """Return random deltas; no two entries and no sums of them are equal in size."""
    numbers = np.random.default_rng(5)
    return [numbers.normal(size=(ROWS, COLUMNS)) for _ in range(MEMBERS)]


def question(method: str, members: list[Array], **parameters: Any) -> dict[str, Any]:
    zero = np.zeros(members[0].shape)
    tensors = [each.tolist() for each in members]
    return {"method": method, "base": zero.tolist(), "tensors": tensors, "parameters": parameters}


def ask(*questions: dict[str, Any]) -> list[Array]:
    return [np.array(each) for each in ask_beside("mergekit", "ask_mergekit.py", list(questions))]


def our_ties(members: list[Array], density: str, scale: str = "1") -> Array:
    named = [Deltas({"x": each}) for each in members]
    return ties(named, density=Fraction(density), scale=Fraction(scale))["x"]


@pytest.fixture(scope="module")
def theirs() -> dict[str, Array]:
    """MergeKit's answers to all questions of this module, from one process."""
    cancelling = [np.array([[1.0, 2.0]]), np.array([[-1.0, 1.0]])]
    odd = [np.array([[3.0, 2.0, 1.0]])]
    ones = [np.ones((40, 50))]
    questions = {
        "ties 0.2": question("ties", deltas(), density=0.2),
        "ties 0.5": question("ties", deltas(), density=0.5, **{"lambda": 0.75}),
        "ties 1": question("ties", deltas()),
        "dare sum": question("dare_ties", deltas()),
        "dare mean": question("dare_ties", deltas(), normalize=True),
        "cancelling": question("ties", cancelling),
        "odd": question("ties", odd, density=0.5),
        "dare half": question("dare_ties", ones, density=0.5),
    }
    return dict(zip(questions, ask(*questions.values()), strict=True))


@pytest.mark.parametrize(
    ("name", "density", "scale"), [("0.2", "0.2", "1"), ("0.5", "0.5", "0.75"), ("1", "1", "1")]
)
def test_ties_is_the_same(theirs: dict[str, Array], name: str, density: str, scale: str) -> None:
    ours = our_ties(deltas(), density, scale)
    assert np.allclose(theirs[f"ties {name}"], ours, rtol=0, atol=1e-12)


def test_dare_without_dropping_is_the_same(theirs: dict[str, Array]) -> None:
    for name, average in (("dare sum", False), ("dare mean", True)):
        assert np.allclose(theirs[name], agreeing(deltas(), average=average), rtol=0, atol=1e-12)


def test_where_members_cancel_out_we_say_zero_and_they_take_the_positive(
    theirs: dict[str, Array],
) -> None:
    assert theirs["cancelling"].tolist() == [[1.0, 1.5]]
    ours = our_ties([np.array([[1.0, 2.0]]), np.array([[-1.0, 1.0]])], "1")
    assert ours.tolist() == [[0.0, 1.5]]


def test_half_of_three_entries_is_two_here_and_one_there(theirs: dict[str, Array]) -> None:
    assert theirs["odd"].tolist() == [[3.0, 0.0, 0.0]]
    assert our_ties([np.array([[3.0, 2.0, 1.0]])], "0.5").tolist() == [[3.0, 2.0, 0.0]]


def test_their_rescaling_keeps_the_sum_of_sizes_ours_the_expectation(
    theirs: dict[str, Array],
) -> None:
    """DARE divides by the density; MergeKit divides so that the L1 norm stays what it was."""
    (factor,) = np.unique(theirs["dare half"][theirs["dare half"] != 0])
    assert factor == pytest.approx(2000 / np.count_nonzero(theirs["dare half"]), rel=1e-5)
    assert factor != 2.0
    ours = thin(np.ones((40, 50)), "contribution", "layer", seed=0, density=Fraction(1, 2))
    assert set(np.unique(ours)) == {0.0, 2.0}
