"""Foreign bytes meet every parser: only our own errors escape, and nothing has two forms.

Raw bytes, valid documents with bytes changed, and JSON documents with values changed. This fails
when a parser lets a `TypeError`, `KeyError`, `RecursionError`, `OverflowError` or the like through,
accepts what it would not write, or the fast reader of statements says something else than the
slow one. PNODE_FUZZ_FACTOR=20 tries twenty times as much.
"""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import PnodeError
from tests.fuzz.mutation import mutate_bytes, mutate_json
from tests.fuzz.parsers import PARSERS, Parser

FACTOR = float(os.environ.get("PNODE_FUZZ_FACTOR", "1"))
EACH = pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
RANDOMS = st.integers(0, 2**64).map(Random)


def few(examples: int) -> settings:
    """A number of examples; the same ones in every run unless more are asked for."""
    return settings(
        max_examples=max(1, int(examples * FACTOR)),
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def accepts(parser: Parser, data: bytes) -> bool:
    """Parse; anything but a result or one of our errors fails the test."""
    try:
        parser.parse(data)
    except PnodeError as error:
        assert str(error)
        return False
    return True


@EACH
def test_the_documents_are_accepted(parser: Parser) -> None:
    assert all(accepts(parser, document) for document in parser.documents)


@EACH
def test_raw_bytes(parser: Parser) -> None:
    @few(60)
    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
    def check(data: bytes) -> None:
        accepts(parser, data)

    check()


@EACH
def test_changed_bytes(parser: Parser) -> None:
    @few(120)
    @given(st.sampled_from(parser.documents), RANDOMS)
    def check(document: bytes, random: Random) -> None:
        accepts(parser, mutate_bytes(document, random))

    check()


@pytest.mark.parametrize(
    "parser", [each for each in PARSERS if each.is_json], ids=lambda parser: parser.name
)
def test_changed_values(parser: Parser) -> None:
    @few(200)
    @given(st.sampled_from(parser.documents), RANDOMS)
    def check(document: bytes, random: Random) -> None:
        accepts(parser, mutate_json(document, random))

    check()
