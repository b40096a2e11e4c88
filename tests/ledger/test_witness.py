"""Requests to a witness: their form, and every status of the specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, log_key, sign_checkpoint
from ledger.cosignature import cosign
from ledger.encoding import encode_base64
from ledger.errors import EvidenceError, MalformedError
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from ledger.note import Note, NoteSignature, sign_note
from ledger.witness import (
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    NotCosignedError,
    decide,
    encode_answer,
    parse_answer,
    parse_conflict,
    verified_lines,
)
from tests.ledger.asking import LEAVES, checkpoint, proof, request
from tests.ledger.makers import ALICE, BOB, origin_of

KEY = log_key(origin_of(ALICE), ALICE.log.public)


def status_of(asked: AddCheckpoint, last: int | None, *, known: bool = True) -> int:
    """The status of the answer by a witness that has cosigned `last` entries, or nothing."""
    held = None if last is None else checkpoint(last)
    try:
        decided = decide(AddCheckpoint.parse(bytes(asked)), KEY if known else None, held)
    except NotCosignedError as refusal:
        if refusal.status == 409:
            assert refusal.size == (last or 0)
        return refusal.status
    assert decided == Checkpoint.parse(asked.note.text)
    return 200


def test_a_log_grows_from_one_to_three_to_five() -> None:
    held: Checkpoint | None = None
    for old, new in ((0, 1), (1, 3), (3, 5), (5, 5)):
        held = decide(request(old, new), KEY, held)
        assert held == checkpoint(new)


@pytest.mark.parametrize(
    ("asked", "last", "status"),
    [
        (request(0, 5), None, 200),
        (request(0, 5), 0, 200),
        (request(5, 5), 5, 200),
        (request(0, 0), None, 200),
        (request(4, 3, path=()), 4, 400),
        (request(6, 3, path=()), 4, 400),
        (request(0, 5), 3, 409),
        (request(1, 5), 3, 409),
        (request(3, 5), None, 409),
        (request(3, 5), 5, 409),
        (request(3, 5, path=()), 3, 422),
        (request(3, 5, path=proof(2, 5)), 3, 422),
        (request(3, 5, path=(*proof(3, 5), LEAVES[0])), 3, 422),
        (request(3, 5, path=proof(3, 5)[:-1]), 3, 422),
        (request(0, 5, path=(LEAVES[0],)), None, 422),
        (request(0, 0, path=(LEAVES[0],)), None, 422),
        (request(5, 5, path=(LEAVES[0],)), 5, 422),
        (request(5, 5, fork=True), 5, 422),
        (request(3, 5, fork=True), 3, 422),
    ],
)
def test_the_statuses_of_the_specification(
    asked: AddCheckpoint, last: int | None, status: int
) -> None:
    assert status_of(asked, last) == status


def test_an_unknown_origin_is_404_whoever_signed() -> None:
    assert status_of(request(0, 5), None, known=False) == 404
    other = decide_status(request(0, 5, keys=BOB))
    assert other == 404


def decide_status(asked: AddCheckpoint, last: Checkpoint | None = None) -> int:
    with pytest.raises(NotCosignedError) as refusal:
        decide(asked, KEY, last)
    return refusal.value.status


def test_a_missing_or_wrong_signature_is_403() -> None:
    good = request(0, 5)
    stranger = sign_note(good.note.text, "someone.example", BOB.log)
    assert decide_status(AddCheckpoint(0, (), Note(good.note.text, (stranger,)))) == 403
    line = good.note.signatures[0]
    wrong = NoteSignature(line.name, line.key_id, bytes(64))
    # Also where another line by the same key is right.
    for lines in ((wrong,), (line, wrong), (wrong, line)):
        assert decide_status(AddCheckpoint(0, (), Note(good.note.text, lines))) == 403
    assert decide_status(AddCheckpoint(9, (), Note(good.note.text, (wrong,)))) == 403


def test_lines_of_strangers_are_passed_over() -> None:
    good = request(0, 5)
    stranger = sign_note(good.note.text, "someone.example", BOB.log)
    noted = Note(good.note.text, (stranger, *good.note.signatures))
    assert decide(AddCheckpoint(0, (), noted), KEY, None) == checkpoint(5)


def test_an_empty_tree_with_a_root_is_422_and_only_after_the_rest() -> None:
    text = f"{origin_of(ALICE)}\n0\n{encode_base64(LEAVES[0])}\n"
    note = Note(text, (sign_note(text, origin_of(ALICE), ALICE.log),))
    assert decide_status(AddCheckpoint.parse(bytes(AddCheckpoint(0, (), note)))) == 422
    assert decide_status(AddCheckpoint(0, (), note), checkpoint(3)) == 409
    assert decide_status(AddCheckpoint(1, (), note), checkpoint(3)) == 400
    assert decide_status(AddCheckpoint(0, (), Note(text, (sign_note(text, "x", BOB.log),)))) == 403


NOTE = bytes(request(0, 5).note)
HASH = encode_base64(LEAVES[0]).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        NOTE,
        b"old 0\n" + NOTE,
        b"old 0\n\n",
        b"old\n\n" + NOTE,
        b"old 00\n\n" + NOTE,
        b"old 01\n\n" + NOTE,
        b"old +1\n\n" + NOTE,
        b"old -1\n\n" + NOTE,
        b"old 0 \n\n" + NOTE,
        b"old  0\n\n" + NOTE,
        b"Old 0\n\n" + NOTE,
        b"old 0\r\n\r\n" + NOTE,
        b"old 9223372036854775808\n\n" + NOTE,
        b"old \xd9\xa1\n\n" + NOTE,
        b"old 0\n" + HASH[:-1] + b"\n\n" + NOTE,
        b"old 0\n" + HASH + b" \n\n" + NOTE,
        b"old 0\n" + encode_base64(b"short").encode() + b"\n\n" + NOTE,
        b"old 0\n" + (HASH + b"\n") * 64 + b"\n" + NOTE,
        b"old 0\n\n" + NOTE[:-1],
        b"old 0\n\n" + NOTE.replace(b"\n5\n", b"\n5\nextension\n", 1).replace(b"\n5\n", b"\n5\n"),
        b"old 0\n\n" + NOTE.replace(b"\n5\n", b"\n05\n"),
        b"old 0\n\n" + NOTE.replace(encode_base64(checkpoint(5).root).encode(), HASH[:-4]),
        b"old 0\n\n" + NOTE + b"\0",
        b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES,
    ],
)
def test_malformed_requests_are_refused(body: bytes) -> None:
    with pytest.raises(MalformedError):
        AddCheckpoint.parse(body)


@pytest.mark.parametrize("asked", [request(0, 5), request(3, 5), request(5, 5)])
def test_a_request_is_written_as_it_is_read(asked: AddCheckpoint) -> None:
    assert AddCheckpoint.parse(bytes(asked)) == asked


def test_the_longest_proof_is_accepted() -> None:
    body = b"old 1\n" + (HASH + b"\n") * 63 + b"\n" + NOTE
    assert len(AddCheckpoint.parse(body).proof) == 63


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused_by_the_one_error(data: bytes) -> None:
    for body in (data, b"old 0\n\n" + data, b"old 0\n" + data + b"\n\n" + NOTE):
        try:
            AddCheckpoint.parse(body)
        except EvidenceError:
            continue
    for parse in (parse_answer, parse_conflict):
        try:
            parse(data)
        except EvidenceError:
            continue


def test_an_answer_is_written_as_it_is_read() -> None:
    text = checkpoint(5).text
    lines = (
        cosign(text, "w1", BOB.cosigner, time=7),
        cosign(text, "w2", ALICE.cosigner, time=8),
    )
    assert parse_answer(encode_answer(lines)) == lines
    for bad in (b"", b"\n", encode_answer(lines)[:-1], encode_answer(lines) + b"\n", b"\xff\n"):
        with pytest.raises(MalformedError):
            parse_answer(bad)


def test_only_valid_lines_of_known_keys_are_taken_from_an_answer() -> None:
    from ledger.note import ED25519_COSIGNATURE, NoteKey

    text = checkpoint(5).text
    key = NoteKey("w1", ED25519_COSIGNATURE, BOB.cosigner.public)
    right = cosign(text, "w1", BOB.cosigner, time=7)
    other_tree = cosign(checkpoint(3).text, "w1", BOB.cosigner, time=7)
    stranger = cosign(text, "w2", ALICE.cosigner, time=7)
    assert verified_lines(text, (other_tree, stranger, right), [key]) == [(key, right)]
    assert verified_lines(text, (other_tree, stranger), [key]) == []


@pytest.mark.parametrize(("body", "size"), [(b"0\n", 0), (b"17\n", 17), (b"17", 17)])
def test_the_size_of_a_conflict(body: bytes, size: int) -> None:
    assert parse_conflict(body) == size


def test_the_empty_tree_can_be_cosigned() -> None:
    note = sign_checkpoint(Checkpoint(origin_of(ALICE), 0, EMPTY_ROOT), ALICE.log)
    assert decide(AddCheckpoint(0, (), note), KEY, None).size == 0
    assert root_of([]) == EMPTY_ROOT
    assert leaf_hash(b"") != EMPTY_ROOT
