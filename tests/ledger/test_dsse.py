"""Envelopes: a second implementation agrees, and there is one accepted form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from ledger.dsse import PAYLOAD_TYPE, Envelope, pae
from ledger.encoding import canonical_json
from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.keys import PrivateKey

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
ENVELOPE = Envelope.sign(b'{"a":1}', KEY)


def document(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(bytes(ENVELOPE))
    return {**value, **changes}


def test_the_encoding_of_the_specification() -> None:
    encoded = pae("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


@given(st.text(max_size=20), st.binary(max_size=60))
def test_the_encoding_counts_bytes_and_is_injective(kind: str, body: bytes) -> None:
    assert pae(kind, body) == OtherEnvelope(body, kind, {}).pae()
    assert pae(kind + "1", body) != pae(kind, b"1" + body)


@given(st.binary(max_size=300), st.binary(min_size=32, max_size=32))
def test_a_second_implementation_verifies_ours(payload: bytes, seed: bytes) -> None:
    key = PrivateKey(seed)
    data = bytes(Envelope.sign(payload, key))
    theirs = OtherEnvelope.from_dict(json.loads(data))
    value = {"keyval": {"public": key.public.raw.hex()}, "scheme": "ed25519", "keytype": "ed25519"}
    verifier = SSlibKey.from_dict(key.public.did, value)
    assert theirs.payload == payload
    assert list(theirs.verify([verifier], 1)) == [key.public.did]
    theirs.payload += b"!"
    with pytest.raises(VerificationError):
        theirs.verify([verifier], 1)


@given(st.binary(max_size=300))
def test_an_envelope_round_trips(payload: bytes) -> None:
    envelope = Envelope.sign(payload, KEY)
    parsed = Envelope.parse(bytes(envelope))
    assert parsed == envelope
    assert parsed.payload == payload
    parsed.verify()


def test_signing_twice_gives_the_same_bytes() -> None:
    assert bytes(Envelope.sign(b"x", KEY)) == bytes(Envelope.sign(b"x", KEY))


def test_a_changed_payload_or_author_is_refused() -> None:
    for forged in (
        Envelope(b'{"a":2}', KEY.public, ENVELOPE.signature),
        Envelope(ENVELOPE.payload, OTHER.public, ENVELOPE.signature),
        Envelope(ENVELOPE.payload, KEY.public, OTHER.sign(pae(PAYLOAD_TYPE, ENVELOPE.payload))),
        Envelope(ENVELOPE.payload, KEY.public, KEY.sign(ENVELOPE.payload)),
        Envelope(ENVELOPE.payload, KEY.public, KEY.sign(pae("text/plain", ENVELOPE.payload))),
    ):
        with pytest.raises(SignatureError):
            forged.verify()
        with pytest.raises(SignatureError):
            Envelope.parse(bytes(forged)).verify()


SIGNATURE = document()["signatures"][0]


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        None,
        "text",
        document(extra=1),
        {key: value for key, value in document().items() if key != "payloadType"},
        document(payloadType="text/plain"),
        document(payload=7),
        document(payload="e30"),
        document(payload="-_-_"),
        document(signatures=[]),
        document(signatures=None),
        document(signatures=[SIGNATURE, SIGNATURE]),
        document(signatures={"0": SIGNATURE}),
        document(signatures=[[]]),
        document(signatures=[{"sig": SIGNATURE["sig"]}]),
        document(signatures=[{**SIGNATURE, "cert": ""}]),
        document(signatures=[{**SIGNATURE, "keyid": "somebody"}]),
        document(signatures=[{**SIGNATURE, "keyid": None}]),
        document(signatures=[{**SIGNATURE, "sig": None}]),
        document(signatures=[{**SIGNATURE, "sig": "AAAA"}]),
        document(signatures=[{**SIGNATURE, "sig": SIGNATURE["sig"][:-2]}]),
    ],
)
def test_any_other_document_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        Envelope.parse(canonical_json(value))


def test_another_spelling_of_the_same_envelope_is_refused() -> None:
    """Otherwise one statement could have many ids."""
    for data in (
        json.dumps(document()).encode(),
        bytes(ENVELOPE) + b"\n",
        bytes(ENVELOPE).replace(b"in-toto", b"in\\u002dtoto"),
        bytes(ENVELOPE).replace(b"/vnd", b"\\/vnd"),
    ):
        assert json.loads(data) == document()
        with pytest.raises(MalformedError):
            Envelope.parse(data)


def test_an_envelope_larger_than_an_entry_is_refused() -> None:
    with pytest.raises(MalformedError, match="65535"):
        Envelope.parse(bytes(Envelope.sign(bytes(50_000), KEY)))


@given(st.binary(max_size=200), st.integers(0, len(bytes(ENVELOPE))), st.integers(0, 255))
def test_any_bytes_are_an_envelope_or_refused(data: bytes, position: int, byte: int) -> None:
    whole = bytes(ENVELOPE)
    changed = whole[:position] + bytes([byte]) + whole[position + 1 :]
    for candidate in (data, changed, whole[:position]):
        try:
            envelope = Envelope.parse(candidate)
            assert bytes(envelope) == candidate
            envelope.verify()
            assert candidate == whole
        except PnodeError as error:
            assert isinstance(error, MalformedError | SignatureError)
