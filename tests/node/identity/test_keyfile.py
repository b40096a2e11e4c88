"""Key files: what protects a seed, what is refused, and what a hostile file cannot make us do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import encode_base64
from ledger.errors import IdentityError, MalformedError, NotFoundError, PnodeError, UsageError
from node.identity.keyfile import COST, SealedSeed, decode_seed, encode_seed, is_sealed, normalised
from node.identity.passphrase import find_passphrase

SEED = bytes(range(32))
CHEAP = 16
VECTOR = b"""pnode-seed v1
scrypt n=16 r=8 p=1 salt=AAECAwQFBgcICQoLDA0ODw==
chacha20poly1305 nonce=AAECAwQFBgcICQoL
"""


def nobody() -> bytes:
    raise IdentityError("nobody is here to ask")


def opened(data: bytes, passphrase: str) -> bytes:
    return decode_seed(data, lambda: normalised(passphrase), what="seed")


def test_a_plain_file_is_read_without_asking() -> None:
    data = encode_seed(SEED, None)
    assert data == SEED.hex().encode() + b"\n"
    assert not is_sealed(data)
    assert decode_seed(data, nobody, what="seed") == SEED


def test_a_protected_file_opens_with_its_passphrase_only() -> None:
    data = encode_seed(SEED, normalised("correct horse"), cost=CHEAP)
    assert is_sealed(data)
    assert SEED not in data
    assert SEED.hex().encode() not in data
    assert opened(data, "correct horse") == SEED
    for wrong in ("correct hors", "Correct horse", " correct horse"):
        with pytest.raises(IdentityError, match="does not open") as caught:
            opened(data, wrong)
        assert caught.value.exit_code == 4
    with pytest.raises(IdentityError, match="nobody"):
        decode_seed(data, nobody, what="seed")


def test_the_real_cost_works() -> None:
    data = encode_seed(SEED, normalised("x"))
    assert f"n={COST} r=8 p=1".encode() in data
    assert COST == 131_072
    assert opened(data, "x") == SEED


def test_two_files_of_one_seed_and_passphrase_share_nothing() -> None:
    first, second = (encode_seed(SEED, b"x", cost=CHEAP) for _ in range(2))
    lines = [data.split(b"\n") for data in (first, second)]
    assert [a == b for a, b in zip(*lines, strict=True)] == [True, False, False, False, True]


def test_a_file_written_by_the_specification_opens() -> None:
    """Frozen: a change of format would no longer read it."""
    sealed = b"aGIT2Qj8TCSd/7n/aYZsfVvtuI1gdwq5CWF9YoRjgoIb7EQRhZZKhjHp+fvrw2ME"
    data = VECTOR + sealed + b"\n"
    assert opened(data, "caf\u00e9") == SEED
    assert opened(data, "cafe\u0301") == SEED


def test_the_format_is_its_primitives_and_nothing_else() -> None:
    key = Scrypt(salt=bytes(range(16)), length=32, n=16, r=8, p=1).derive(b"caf\xc3\xa9")
    sealed = ChaCha20Poly1305(key).encrypt(bytes(range(12)), SEED, VECTOR)
    assert opened(VECTOR + encode_base64(sealed).encode() + b"\n", "caf\u00e9") == SEED


GOOD = encode_seed(SEED, b"x", cost=CHEAP)
HOSTILE = {
    "a cost of gigabytes": GOOD.replace(b"n=16 ", b"n=1048576 "),
    "a cost of no end": GOOD.replace(b"n=16 ", b"n=99999999999999999999 "),
    "a cost that is no power of two": GOOD.replace(b"n=16 ", b"n=17 "),
    "a cost of one": GOOD.replace(b"n=16 ", b"n=1 "),
    "a leading zero": GOOD.replace(b"n=16 ", b"n=016 "),
    "another r": GOOD.replace(b"r=8", b"r=9"),
    "another p": GOOD.replace(b"p=1 ", b"p=64 "),
    "another version": GOOD.replace(b"v1", b"v2"),
    "one line more": GOOD + b"\n",
    "no last line feed": GOOD[:-1],
    "a long tail": GOOD + b"A" * 5_000,
    "the header alone": b"pnode-seed v1\n",
    "a base64 that is not canonical": re.sub(rb"salt=(.{21}).==", rb"salt=\1B==", GOOD),
    "not ASCII": GOOD.replace(b"pnode-seed v1\n", b"pnode-seed v1\xff\n"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_before_anything_is_computed(data: bytes) -> None:
    assert data != GOOD
    with pytest.raises(MalformedError, match="seed"):
        decode_seed(data, nobody, what="seed")


@pytest.mark.parametrize("position", range(len(GOOD) - 1))
def test_no_bit_of_a_file_can_be_changed(position: int) -> None:
    changed = bytearray(GOOD)
    changed[position] ^= 1
    with pytest.raises((MalformedError, IdentityError)):
        decode_seed(bytes(changed), lambda: b"x", what="seed")


def test_a_header_cannot_be_exchanged_for_one_of_the_same_key() -> None:
    """Another nonce or another salt makes another key; the tag covers the text as well."""
    other = encode_seed(SEED, b"x", cost=32)
    mixed = b"\n".join([*other.split(b"\n")[:3], *GOOD.split(b"\n")[3:]])
    with pytest.raises(IdentityError):
        opened(mixed, "x")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_seed_or_an_error_of_ours(data: bytes) -> None:
    try:
        decode_seed(b"pnode-seed v1" + data, nobody, what="seed")
        SealedSeed.parse(data)
    except PnodeError:
        return
    raise AssertionError(data)


def test_a_passphrase_comes_from_the_file_then_the_variables_then_the_person(
    tmp_path: Path,
) -> None:
    given_file, named = tmp_path / "given", tmp_path / "named"
    given_file.write_text("one\n")
    named.write_text("two\r\n")
    both = {"PNODE_PASSPHRASE": "three", "PNODE_PASSPHRASE_FILE": str(named)}

    def ask(_: str) -> str:
        return "four"

    assert find_passphrase(given_file, both, ask) == b"one"
    assert find_passphrase(None, both, ask) == b"two"
    assert find_passphrase(None, {"PNODE_PASSPHRASE": "three"}, ask) == b"three"
    assert find_passphrase(None, {"PNODE_PASSPHRASE": ""}, ask) == b"four"
    with pytest.raises(IdentityError, match="none is given") as caught:
        find_passphrase(None, {}, None)
    assert "PNODE_PASSPHRASE" in caught.value.hint


def test_a_new_passphrase_is_asked_for_twice() -> None:
    answers = iter(["one", "one", "one", "other"])
    asked: list[str] = []

    def ask(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    assert find_passphrase(None, {}, ask, twice=True) == b"one"
    with pytest.raises(IdentityError, match="differ"):
        find_passphrase(None, {}, ask, twice=True)
    assert len(asked) == 4


def test_a_passphrase_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, error in (
        (b"", UsageError),
        (b"\xff", MalformedError),
        (b"x" * 5_000, UsageError),
    ):
        path.write_bytes(content)
        with pytest.raises(error):
            find_passphrase(path, {}, None)
    with pytest.raises(NotFoundError):
        find_passphrase(tmp_path / "nowhere", {}, None)
