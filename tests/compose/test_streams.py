"""Streams are what the module says, on every machine and with every numpy."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.streams import bell, below, draw, uniform
from tests.compose.merge_vectors import FILE, document

WORD = 2**64


def philox(key: int) -> list[int]:
    """The first three blocks by the definition of Salmon et al.: counters 1, 2, 3."""
    words = []
    for counter in (1, 2, 3):
        x = [counter, 0, 0, 0]
        k = [key % WORD, key // WORD]
        for _ in range(10):
            low, high = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
            x = [
                high // WORD ^ x[1] ^ k[0],
                high % WORD,
                low // WORD ^ x[3] ^ k[1],
                low % WORD,
            ]
            k = [(k[0] + 0x9E3779B97F4A7C15) % WORD, (k[1] + 0xBB67AE8584CAA73B) % WORD]
        words += x
    return words


def test_a_stream_is_philox_keyed_by_the_digest_of_its_name() -> None:
    name = b'["pnode-stream/1",7,"merge.dare_ties","bafk","model.layers.0.mlp.up_proj"]'
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    bits = draw(7, "merge.dare_ties", "bafk", "model.layers.0.mlp.up_proj", count=12)
    assert bits.tolist() == philox(key)


def test_any_part_of_the_name_changes_the_stream() -> None:
    names = [
        (0, "m", "a", "t"),
        (1, "m", "a", "t"),
        (0, "n", "a", "t"),
        (0, "m", "b", "t"),
        (0, "m", "a", "u"),
        (0, "m", "a", 1),
        (0, "m", "at"),
    ]
    streams = {tuple(draw(*name, count=4).tolist()) for name in names}
    assert len(streams) == len(names)


def test_a_longer_draw_begins_as_a_shorter_one() -> None:
    assert draw(0, "m", "a", count=9).tolist()[:5] == draw(0, "m", "a", count=5).tolist()


@given(st.fractions(0, 1), st.integers(0, WORD - 1))
def test_below_compares_integers(probability: Fraction, bit: int) -> None:
    bits = np.array([bit, 0, WORD - 1], dtype=np.uint64)
    expected = [Fraction(each, WORD) < probability for each in (bit, 0, WORD - 1)]
    assert below(bits, probability).tolist() == expected


def test_uniform_numbers_are_above_zero_and_at_most_one() -> None:
    assert uniform(np.array([0, WORD - 1], dtype=np.uint64)) == [Fraction(1, 2**32), 1]


def test_bell_numbers_have_mean_zero_and_variance_one() -> None:
    bits = draw(0, "m", "a", count=12 * 2000)
    values = [float(bell(each)) for each in np.split(bits, 2000)]
    assert abs(np.mean(values)) < 4 / 2000**0.5
    assert abs(np.var(values) - 1) < 4 * (2 / 2000) ** 0.5
    with pytest.raises(ValueError, match="12 are summed"):
        bell(bits[:11])


def test_frozen_streams_and_merges_stay_what_they_are() -> None:
    """What changes one of them is a new version of a method."""
    assert document() == json.loads(FILE.read_text("utf-8"))
