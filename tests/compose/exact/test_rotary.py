"""The rotary table is that of arithmetic with fifty digits, on the grid 2^-24."""

from __future__ import annotations

import numpy as np
import pytest

from compose.exact.rotary import rotary_table, table_digest
from tests.compose.exact.models import vectors

mpmath = pytest.importorskip("mpmath")

from tests.compose.exact.integers import rotary_units  # noqa: E402 - it needs mpmath


@pytest.mark.parametrize("theta", [0.01, 2.0, 10000.0, 500000.0])
def test_entries_are_correctly_rounded(theta: float) -> None:
    cosine, sine = rotary_table(theta, 12, 1000)
    assert cosine.shape == sine.shape == (1000, 6)
    for position in (0, 1, 2, 255, 256, 257, 511, 512, 999):
        rows = zip(cosine[position] * 2**24, sine[position] * 2**24, strict=True)
        assert [(int(c), int(s)) for c, s in rows] == rotary_units(theta, 12, position)


def test_a_shorter_table_is_the_beginning_of_a_longer_one() -> None:
    short, long = rotary_table(10000.0, 8, 70), rotary_table(10000.0, 8, 600)
    assert all(np.array_equal(a, b[:70]) for a, b in zip(short, long, strict=True))


def test_tables_have_the_published_digests() -> None:
    for table in vectors()["rotary"]:
        shape = float(table["theta"]), table["head_dim"], table["positions"]
        assert table_digest(*rotary_table(*shape)) == table["sha256"]
