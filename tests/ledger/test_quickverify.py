"""The quicker library: used where it is installed, and only if it is as strict."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from nacl import bindings

from ledger.keys import PrivateKey, PublicKey
from ledger.quickverify import COFACTORED, quick_verifier
from tests.ledger import edwards

KEY = PrivateKey(bytes(range(32)))
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    quick_verifier.cache_clear()
    yield
    quick_verifier.cache_clear()


def test_it_accepts_what_is_right_and_leaves_the_rest_open() -> None:
    quick = quick_verifier()
    assert quick is not None
    signature = KEY.sign(b"message")
    assert quick(KEY.public.raw, signature, b"message")
    assert not quick(KEY.public.raw, signature, b"another")
    assert not quick(KEY.public.raw, signature[:63], b"message")


def test_the_probe_satisfies_only_the_equation_times_eight() -> None:
    key, signature, message = COFACTORED
    torsion = edwards.small_order_points()
    scalar = int.from_bytes(signature[32:], "little")
    challenge = edwards.challenge(signature[:32], key, message)
    point, commitment = decode(key), decode(signature[:32])
    left, right = scalar * edwards.BASE, commitment + challenge * point
    assert left != right
    assert 8 * left == 8 * right
    assert any(8 * part == edwards.IDENTITY and left + part == right for part in torsion)
    PublicKey(key)  # acceptable as a key


def decode(encoding: bytes) -> edwards.Point:
    number = int.from_bytes(encoding, "little")
    point = edwards.point_with(number & (2**255 - 1))
    assert point is not None
    odd = point.x & 1 == number >> 255
    return point if odd else edwards.Point(edwards.P - point.x, point.y)


def test_a_library_that_verifies_with_the_cofactor_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bindings, "crypto_sign_open", lambda signed, _: signed[64:])
    assert quick_verifier() is None


def test_without_the_library_there_is_no_quick_verifier() -> None:
    assert importlib.util.find_spec("nacl") is not None
    code = (
        "import sys; sys.modules['nacl'] = None\n"
        "from ledger.quickverify import quick_verifier; assert quick_verifier() is None\n"
        "from ledger.keys import PrivateKey; from ledger.entryreader import EntryReader\n"
        "assert EntryReader()._quick is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
