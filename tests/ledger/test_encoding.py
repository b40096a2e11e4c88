"""Every value has one accepted text, and everything else is refused with a typed error."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.encoding import (
    MAX_JSON_DEPTH,
    MAX_SAFE_INTEGER,
    canonical_json,
    decode_base58,
    decode_base64,
    decode_hex,
    encode_base58,
    encode_base64,
    parse_canonical_json,
    parse_decimal,
    parse_json,
    search_base64,
)
from ledger.errors import MalformedError
from tests.ledger.published import VECTORS

ASCII = st.text(st.characters(max_codepoint=127), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ASCII, inner, max_size=5),
    max_leaves=30,
)


@given(JSON)
def test_canonical_json_is_what_rfc_8785_prescribes(value: Any) -> None:
    data = canonical_json(value)
    assert data == rfc8785.dumps(value)
    assert parse_canonical_json(data, what="test") == value


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_published_jcs_documents(name: str) -> None:
    source = (VECTORS / "jcs" / "input" / f"{name}.json").read_bytes()
    expected = (VECTORS / "jcs" / "output" / f"{name}.json").read_bytes()
    # The others have floating-point numbers or keys that are not ASCII.
    inside_the_profile = {"arrays", "unicode"}
    if name in inside_the_profile:
        assert canonical_json(parse_json(source, what=name)) == expected
        assert parse_canonical_json(expected, what=name) == json.loads(source)
    else:
        with pytest.raises(MalformedError):
            parse_json(source, what=name)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        MAX_SAFE_INTEGER + 1,
        -MAX_SAFE_INTEGER - 1,
        {"\u00e9": 1},
        {1: 1},
        "\ud800",
        {"key": ["\udfff"]},
        b"bytes",
        {"a set"},
        object(),
    ],
)
def test_values_without_a_canonical_form_are_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        canonical_json(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[1.5]",
        b"1e3",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'"\xff"',
        b'"\\ud800"',
        b"\xef\xbb\xbf1",
        b"9007199254740992",
        b"1" * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"\xc3\xa9":1}',
        b"1 2",
        b"'a'",
        b"[1,]",
    ],
)
def test_hostile_json_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="thing"):
        parse_json(data, what="thing")


def test_json_depth_is_bounded() -> None:
    deepest = b"[" * MAX_JSON_DEPTH + b"0" + b"]" * MAX_JSON_DEPTH
    assert canonical_json(parse_json(deepest, what="deep")) == deepest
    with pytest.raises(MalformedError, match="nested"):
        parse_json(b"[" + deepest + b"]", what="deep")


def test_json_size_is_bounded_before_it_is_parsed() -> None:
    assert parse_json(b"[1]", what="small", max_bytes=3) == [1]
    with pytest.raises(MalformedError, match="at most 2"):
        parse_json(b"[1]", what="small", max_bytes=2)


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b"[1, 2]",
        b"[1]\n",
        b'"\\u0041"',
        b'"\\/"',
        b"-0",
        b'"\\u001F"',
        '"\\u00e9"'.encode("ascii"),
    ],
)
def test_another_spelling_of_the_same_value_is_refused(data: bytes) -> None:
    parse_json(data, what="loose")
    with pytest.raises(MalformedError, match="canonical"):
        parse_canonical_json(data, what="strict")


@given(st.binary(max_size=200))
def test_any_bytes_parse_canonically_or_are_refused(data: bytes) -> None:
    try:
        value = parse_canonical_json(data, what="bytes")
    except MalformedError:
        return
    assert canonical_json(value) == data


@given(st.binary(max_size=100))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = encode_base64(data)
    assert decode_base64(text, what="test", length=len(data)) == data
    with pytest.raises(MalformedError):
        decode_base64(text, what="test", length=len(data) + 1)


@pytest.mark.parametrize(
    "text",
    ["A", "AB", "AB=", "AB==C", "AA=A", "QR==", "A-_B", " AAA", "AAA\n", "AAAA=", "\u00e9===", "="],
)
def test_base64_that_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_base64(text, what="test")


@given(st.text(max_size=40) | st.text("ABab01+/=-_", max_size=12))
def test_any_text_is_canonical_base64_or_refused(text: str) -> None:
    try:
        data = decode_base64(text, what="test")
    except MalformedError:
        return
    assert base64.b64encode(data).decode() == text


WORD = b"urn:pnode:evidence:v1"
HOLDING = st.tuples(st.binary(max_size=9), st.binary(max_size=9)).map(WORD.join)


@given(st.lists(st.binary(max_size=40) | HOLDING, max_size=200))
def test_a_word_inside_base64_is_found_wherever_it_begins(payloads: list[bytes]) -> None:
    texts = [b'{"a":"%b"}' % base64.b64encode(payload) for payload in payloads]
    holding = [text for text, payload in zip(texts, payloads, strict=True) if WORD in payload]
    assert list(search_base64(texts, WORD)) == holding


def test_a_short_word_is_found_in_every_one_of_many_texts() -> None:
    texts = [base64.b64encode(before + b'"baf') for before in (b"", b"x", b"xx") for _ in range(70)]
    assert list(search_base64(iter(texts), b'"baf')) == texts


@given(st.binary(max_size=64))
def test_base58_round_trips_with_leading_zeros(data: bytes) -> None:
    for value in (data, b"\0\0" + data):
        text = encode_base58(value)
        if text:
            assert decode_base58(text, what="test") == value


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (b"The quick brown fox jumps over the lazy dog.",
         "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
    ],
)  # fmt: skip
def test_base58_vectors_of_the_internet_draft(data: bytes, text: str) -> None:
    assert encode_base58(data) == text
    assert decode_base58(text, what="test") == data


@pytest.mark.parametrize("text", ["", "0", "O", "I", "l", "a b", "\u00e9", "1" * 129])
def test_base58_refuses_foreign_characters_and_excess(text: str) -> None:
    with pytest.raises(MalformedError):
        decode_base58(text, what="test")


@given(st.integers(0, 2**63 - 1))
def test_decimal_round_trips(value: int) -> None:
    assert parse_decimal(str(value), what="test") == value


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "01", "00", "1 ", " 1", "1\n", "1_000", "0x1", "1.0", "\u0661", "\u00b2",
     str(2**63), "9" * 10_000],
)  # fmt: skip
def test_decimal_in_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_decimal(text, what="test")


@pytest.mark.parametrize(
    "text", ["", "0", "000", "0G", "AB", "ab ", "ab\n", "\u0661\u0661", None, 7]
)
def test_hexadecimal_is_lower_case_and_exact(text: Any) -> None:
    assert decode_hex("0f", what="test", length=1) == b"\x0f"
    with pytest.raises(MalformedError):
        decode_hex(text, what="test", length=1)


def long_way(data: bytes) -> Any:
    value = parse_json(data, what="test")
    if canonical_json(value) != data:
        raise MalformedError("test: JSON is not in canonical form")
    return value


def agree(data: bytes) -> None:
    """The short way through `parse_canonical_json` takes nothing that the long way refuses."""
    try:
        expected = long_way(data)
    except MalformedError as error:
        with pytest.raises(MalformedError) as refused:
            parse_canonical_json(data, what="test")
        assert refused.value.message == error.message
        return
    found = parse_canonical_json(data, what="test")
    assert found == expected
    assert repr(found) == repr(expected)


FRAGMENTS = [
    b'"',
    b"\\",
    b" ",
    b"\n",
    b"\x00",
    b"\x7f",
    b"\xc3\xa9",
    b"\xff",
    b"-0",
    b"1.0",
    b"1e2",
]
FRAGMENTS += [
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"NaN",
    b"\\ud800",
    b"\\u0041",
    b"9007199254740992",
]
FRAGMENTS += [b'"a":1', b"[" * 33, b"true", b"null", b"-", b"0", b"99999999999999999999"]


@given(JSON, st.data())
def test_the_short_way_of_parsing_gives_the_same_verdict(value: Any, data: st.DataObject) -> None:
    document = canonical_json(value)
    agree(document)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document)))
        cut = data.draw(st.integers(0, 4))
        put = data.draw(st.sampled_from(FRAGMENTS) | st.binary(max_size=3))
        document = document[:at] + put + document[at + cut :]
    agree(document)


@given(st.binary(max_size=40) | st.lists(st.sampled_from(FRAGMENTS), max_size=12).map(b"".join))
def test_any_bytes_get_the_same_verdict_both_ways(document: bytes) -> None:
    agree(document)


@pytest.mark.parametrize(
    "data",
    [
        b"9007199254740991",
        b"-9007199254740991",
        b"9007199254740992",
        b"-9007199254740992",
        b"[" * 32 + b"]" * 32,
        b"[" * 33 + b"]" * 33,
        b'["' + b"[" * 40 + b'"]',
        b'{"a":"' + b"{" * 40 + b'"}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'"\x7f"',
        b'"\\u007f"',
        b"1" * 5000,
        b"-0",
    ],
)
def test_edge_cases_get_the_same_verdict_both_ways(data: bytes) -> None:
    agree(data)
