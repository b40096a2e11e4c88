"""A content identifier has one text and one binary form."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import DAG_PB, RAW, Cid
from ledger.errors import DigestError, MalformedError, PnodeError
from tests.ledger.published import load

HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
EMPTY_DIRECTORY = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"


def test_known_identifiers() -> None:
    assert str(Cid.of(b"hello world")) == HELLO
    assert str(Cid.of(bytes.fromhex("0a020801"), DAG_PB)) == EMPTY_DIRECTORY


def test_published_blocks_have_their_identifiers() -> None:
    blocks = load("unixfs", "unixfs-vectors.json")["blocks"]
    assert len(blocks) == 5
    for block in blocks:
        Cid.parse(block["cid"]).check(bytes.fromhex(block["hex"]))


@given(st.binary(min_size=32, max_size=32), st.sampled_from([RAW, DAG_PB]))
def test_text_and_bytes_round_trip(digest: bytes, codec: int) -> None:
    cid = Cid(codec, digest)
    assert Cid.parse(str(cid)) == cid
    assert Cid.from_bytes(bytes(cid)) == cid
    assert len(str(cid)) == 59


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        HELLO.upper(),
        HELLO[:-1],
        HELLO + "a",
        HELLO + "=",
        HELLO[:-1] + "f",  # the padding bits of the last letter are not zero
        "z" + HELLO[1:],
        HELLO[:-1] + "1",
        HELLO[:10] + "\u0131" + HELLO[11:],
        " " + HELLO[:-1],
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        "b" + "a" * 58,
    ],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Cid.parse(text)


@pytest.mark.parametrize(
    "prefix", ["00551220", "02551220", "01711220", "01551320", "0155121f", "01551b20", "81551220"]
)
def test_other_versions_codecs_and_hashes_are_refused(prefix: str) -> None:
    with pytest.raises(MalformedError):
        Cid.from_bytes(bytes.fromhex(prefix) + bytes(32))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_cid_or_refused(data: bytes) -> None:
    try:
        assert bytes(Cid.from_bytes(data)) == data
    except PnodeError as error:
        assert isinstance(error, MalformedError)


@given(st.text(max_size=70) | st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=58, max_size=60))
def test_any_text_is_a_cid_or_refused(text: str) -> None:
    for candidate in (text, "b" + text):
        try:
            assert str(Cid.parse(candidate)) == candidate
        except PnodeError as error:
            assert isinstance(error, MalformedError)


def test_a_changed_block_is_noticed() -> None:
    cid = Cid.of(b"block")
    cid.check(b"block")
    with pytest.raises(DigestError, match=str(cid)):
        cid.check(b"blocK")


def test_an_identifier_of_something_else_cannot_exist() -> None:
    with pytest.raises(MalformedError):
        Cid(0x71, hashlib.sha256(b"").digest())
    with pytest.raises(MalformedError):
        Cid(RAW, b"short")


@given(st.binary(min_size=32, max_size=32), st.sampled_from([RAW, DAG_PB]), st.data())
def test_texts_are_those_of_rfc_4648(digest: bytes, codec: int, data: st.DataObject) -> None:
    """The standard library's base32 agrees on every text, and on every text with one change."""

    def standard(candidate: str) -> bytes | None:
        try:
            raw = base64.b32decode(candidate[1:].upper() + "=" * 6)
        except ValueError:
            return None
        again = "b" + base64.b32encode(raw).decode().lower().rstrip("=")
        return raw if again == candidate else None

    cid = Cid(codec, digest)
    text = str(cid)
    assert standard(text) == bytes(cid)
    at = data.draw(st.integers(1, 58))
    changed = (
        text[:at]
        + data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567189A"))
        + text[at + 1 :]
    )
    raw = standard(changed)
    accepted = raw is not None and raw[:4] in (b"\x01\x55\x12\x20", b"\x01\x70\x12\x20")
    try:
        assert bytes(Cid.parse(changed)) == raw
        assert accepted
    except MalformedError:
        assert not accepted
