"""Signed notes: published ones verify, and every other spelling is refused."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.keys import PrivateKey
from ledger.note import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    MAX_NOTE_BYTES,
    Note,
    NoteKey,
    NoteSignature,
    NoteVerifier,
    sign_note,
)
from tests.ledger.published import load

PUBLISHED: dict[str, Any] = load("note", "notes.json")
TEXT: str = PUBLISHED["text"]
PETER_LINE: str = PUBLISHED["peter"]["line"]
ENOCH_LINE: str = PUBLISHED["enoch"]["line"]
PETER = NoteVerifier(NoteKey.parse(PUBLISHED["peter"]["vkey"]))
ENOCH = NoteVerifier(NoteKey.parse(PUBLISHED["enoch"]["vkey"]))
DASH = "\u2014"


def note(*lines: str, text: str = TEXT) -> bytes:
    return (text + "\n" + "".join(lines)).encode()


def test_the_published_note_verifies_and_is_reproduced() -> None:
    data = note(PETER_LINE, ENOCH_LINE)
    parsed = Note.parse(data)
    assert parsed.text == TEXT
    assert bytes(parsed) == data
    assert [line.name for line in parsed.open([PETER])] == ["PeterNeumann"]
    assert len(parsed.open([ENOCH, PETER])) == 2
    secret = base64.b64decode(PUBLISHED["peter"]["skey"].split("+", 4)[4])[1:]
    peter = sign_note(TEXT, "PeterNeumann", PrivateKey(secret))
    enoch = sign_note(TEXT, "EnochRoot", PrivateKey(bytes(32)))
    assert bytes(Note(TEXT, (peter, enoch))) == data


@pytest.mark.parametrize("who", ["peter", "enoch"])
def test_a_verifier_key_round_trips(who: str) -> None:
    vkey = PUBLISHED[who]["vkey"]
    assert str(NoteKey.parse(vkey)) == vkey
    assert NoteKey.parse(vkey).kind == ED25519_NOTE


def test_no_mangled_verifier_key_is_accepted() -> None:
    vkey: str = PUBLISHED["peter"]["vkey"]
    mangled = [vkey[i:j] for i in range(len(vkey)) for j in range(i + 1, len(vkey) + 1)]
    mangled.remove(vkey)
    mangled += [vkey[:i] + chr(ord(vkey[i]) + 1) + vkey[i + 1 :] for i in range(len(vkey))]
    mangled += PUBLISHED["bad_vkeys"]
    for text in mangled:
        with pytest.raises(MalformedError):
            NoteKey.parse(text)


def test_published_cosigner_keys_are_of_type_4() -> None:
    for vkey in load("formats", "vkeys.json")["cosigner_vkeys"]:
        assert NoteKey.parse(vkey).kind == ED25519_COSIGNATURE
        assert str(NoteKey.parse(vkey)) == vkey


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"\n\n" + PETER_LINE.encode(),
        TEXT.encode(),
        note(),
        note(PETER_LINE[:-1]),
        note(PETER_LINE, "\n", PETER_LINE + "\n"),
        b"\x01" + note(PETER_LINE),
        b"\xff" + note(PETER_LINE),
        note(PETER_LINE, text=TEXT.replace("\n", "\r\n")),
        note(PETER_LINE, text=TEXT.replace(" ", "\t")),
        note(PETER_LINE, "Unexpected line.\n"),
        note(PETER_LINE, "\n"),
        note(PETER_LINE.replace(DASH, "-")),
        note(PETER_LINE.replace(DASH + " ", DASH)),
        note(PETER_LINE.replace("PeterNeumann", "Peter Neumann")),
        note(PETER_LINE.replace("PeterNeumann", "Peter+Neumann")),
        note(PETER_LINE.replace("PeterNeumann", "Peter\u2003Neumann")),
        note(PETER_LINE.replace("PeterNeumann", "")),
        note(PETER_LINE.replace("PeterNeumann", "P" * 300)),
        note(PETER_LINE.replace("wJnAM=", "wJnAN=")),
        note(PETER_LINE.replace("=\n", "\n")),
        note(PETER_LINE.replace("=\n", "= \n")),
        note(f"{DASH} PeterNeumann x08gow==\n"),
        note(f"{DASH} PeterNeumann\n"),
        note(*[PETER_LINE] * 101),
        note(PETER_LINE, text="x" * MAX_NOTE_BYTES + "\n"),
    ],
)
def test_a_malformed_note_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Note.parse(data)


def test_the_separator_is_the_last_empty_line() -> None:
    text = "first\n\n" + PETER_LINE + "\nlast\n"
    line = sign_note(text, "a.example", PrivateKey(bytes(32)))
    parsed = Note.parse(bytes(Note(text, (line,))))
    assert parsed.text == text


def test_a_hundred_signatures_are_still_read() -> None:
    others = [f"{DASH} other.example/{i} AAAAAAAA\n" for i in range(99)]
    assert len(Note.parse(note(PETER_LINE, *others)).open([PETER])) == 1


def test_a_known_key_with_a_wrong_signature_spoils_the_note() -> None:
    """SPEC: it MUST be rejected even if another known key signed correctly."""
    forged = str(sign_note("another text\n", "PeterNeumann", PrivateKey(bytes(32)))) + "\n"
    wrong = PETER_LINE.replace("wJnAM=", "wJnAQ=")
    assert forged.encode() != PETER_LINE.encode()
    parsed = Note.parse(note(ENOCH_LINE, wrong))
    with pytest.raises(SignatureError):
        parsed.open([ENOCH, PETER])
    assert len(parsed.open([ENOCH])) == 1


def test_the_same_name_with_another_key_id_is_a_stranger() -> None:
    stranger = str(sign_note(TEXT, "PeterNeumann", PrivateKey(bytes(32)))) + "\n"
    assert len(Note.parse(note(stranger, PETER_LINE)).open([PETER])) == 1
    with pytest.raises(SignatureError):
        Note.parse(note(stranger)).open([PETER])


def test_the_same_key_id_with_another_name_is_a_stranger() -> None:
    misnamed = PETER_LINE.replace("PeterNeumann", "CarmenSandiego")
    with pytest.raises(SignatureError, match="any known key"):
        Note.parse(note(misnamed)).open([PETER])


def test_a_note_nobody_known_signed_is_refused() -> None:
    for verifiers in ([], [ENOCH]):
        with pytest.raises(SignatureError):
            Note.parse(note(PETER_LINE)).open(verifiers)


def test_a_changed_text_is_refused() -> None:
    for changed in (TEXT[1:], TEXT + "\n", TEXT.replace("answer", "Answer"), "\n" + TEXT):
        with pytest.raises(SignatureError):
            Note.parse(note(PETER_LINE, text=changed)).open([PETER])


def test_a_repeated_line_counts_once() -> None:
    """Otherwise one witness could fill a quorum."""
    parsed = Note.parse(note(PETER_LINE, PETER_LINE, ENOCH_LINE, PETER_LINE))
    assert len(parsed.open([PETER, ENOCH])) == 2
    assert len(parsed.open([PETER, PETER])) == 1


@pytest.mark.parametrize(
    "name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "x" * 257, "a\x00b", "a\x1bb", "\udc80"]
)
def test_a_name_that_no_note_can_carry_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        NoteKey(name, ED25519_NOTE, PrivateKey(bytes(32)).public)


@pytest.mark.parametrize("kind", [0, 2, 3, 5, 6, 0xFF])
def test_other_key_types_are_refused(kind: int) -> None:
    with pytest.raises(MalformedError):
        NoteKey("a.example", kind, PrivateKey(bytes(32)).public)


NAMES = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=20).filter(
    lambda name: "+" not in name
)
TEXTS = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20), min_size=1, max_size=5
).map(lambda lines: "\n".join(lines) + "\n")


@given(TEXTS.filter(lambda text: text != "\n"), NAMES, st.binary(min_size=32, max_size=32))
def test_any_note_round_trips(text: str, name: str, seed: bytes) -> None:
    key = PrivateKey(seed)
    made = Note(text, (sign_note(text, name, key),))
    parsed = Note.parse(bytes(made))
    assert parsed == made
    verifier = NoteVerifier(NoteKey.parse(str(NoteKey(name, ED25519_NOTE, key.public))))
    assert parsed.open([verifier]) == made.signatures


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    for candidate in (data, b"text\n\n\xe2\x80\x94 " + data, TEXT.encode() + b"\n" + data + b"\n"):
        try:
            parsed = Note.parse(candidate)
        except PnodeError as error:
            assert isinstance(error, MalformedError)
            continue
        assert bytes(parsed) == candidate


@given(st.text(max_size=80), st.text(max_size=10))
def test_any_text_is_a_verifier_key_or_refused(text: str, name: str) -> None:
    for candidate in (text, name + "+08af8a47+" + text, name + "+" + text + "+AQ=="):
        with pytest.raises(MalformedError):
            NoteKey.parse(candidate)


@given(st.binary(max_size=100))
def test_any_payload_in_a_known_line_is_refused(payload: bytes) -> None:
    line = NoteSignature("PeterNeumann", PETER.note_key.key_id, payload)
    with pytest.raises(SignatureError):
        PETER.verify_line(TEXT, line)
