"""Outcomes: one encoding, a root that commits to what must agree, and proofs of single items."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.outcomes import (
    Difference,
    Outcome,
    Outcomes,
    encode_outcomes,
    first_difference,
    inclusion,
    outcomes_root,
    parse_outcomes,
)
from ledger.errors import DigestError, MalformedError, NotFoundError, ProofError
from ledger.merkle import leaf_hash, node_hash

ANSWERS = st.one_of(
    st.integers(0, 63), st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
)
RUNS = st.lists(
    st.builds(
        Outcome,
        item=st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True),
        answer=ANSWERS,
        correct=st.booleans(),
        margin=st.none() | st.integers(0, 10**9),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda outcome: outcome.item,
)

TWO = (
    Outcome("i-0", 2, correct=True, margin=17),
    Outcome("i-1", "a b", correct=False, margin=None),
)


def test_encoding_is_written_down_byte_by_byte() -> None:
    first = b'{"answer":2,"correct":true,"item":"i-0"}'
    second = b'{"answer":"a b","correct":false,"item":"i-1"}'
    root = node_hash(leaf_hash(first), leaf_hash(second))
    assert outcomes_root(TWO) == root
    assert encode_outcomes("suite-id", TWO) == (
        b'{"correct":1,"items":2,"root":"%s","schema":"pnode.outcomes/1","suite":"suite-id"}\n'
        b'{"answer":2,"correct":true,"item":"i-0","margin":17}\n'
        b'{"answer":"a b","correct":false,"item":"i-1","margin":null}\n'
    ) % root.hex().encode("ascii")


@given(run=RUNS)
def test_parsing_gives_back_what_was_encoded(run: list[Outcome]) -> None:
    data = encode_outcomes("s", run)
    parsed = parse_outcomes(data)
    assert parsed == Outcomes("s", tuple(run))
    assert parsed.correct == len([each for each in run if each.correct])
    assert encode_outcomes(parsed.suite, parsed.outcomes) == data


@given(run=RUNS, data=st.data())
def test_every_item_is_proven_by_its_path_and_no_other_is(
    run: list[Outcome], data: st.DataObject
) -> None:
    outcomes = Outcomes("s", tuple(run))
    index = data.draw(st.integers(0, len(run) - 1))
    proof = inclusion(outcomes, index)
    assert (proof.outcome, proof.index, proof.size) == (run[index], index, len(run))
    proof.verify(outcomes.root)
    replace(proof, outcome=replace(proof.outcome, margin=5)).verify(outcomes.root)
    forged = replace(proof, outcome=replace(proof.outcome, correct=not proof.outcome.correct))
    with pytest.raises(ProofError):
        forged.verify(outcomes.root)


@given(run=RUNS)
def test_root_ignores_margins_and_nothing_else(run: list[Outcome]) -> None:
    root = outcomes_root(run)
    assert outcomes_root([replace(each, margin=1) for each in run]) == root
    assert outcomes_root([*run[:-1], replace(run[-1], correct=not run[-1].correct)]) != root
    assert outcomes_root([*run[:-1], replace(run[-1], item="other.item")]) != root
    other = "x" if run[-1].answer != "x" else 0
    assert outcomes_root([*run[:-1], replace(run[-1], answer=other)]) != root
    assert outcomes_root(run[:-1]) != root


def test_index_and_the_same_text_are_different_answers() -> None:
    left, right = replace(TWO[0], answer=1), replace(TWO[0], answer="1")
    assert outcomes_root([left]) != outcomes_root([right])


def test_no_proof_of_an_item_that_is_not_there() -> None:
    for index in (-1, 2):
        with pytest.raises(NotFoundError):
            inclusion(Outcomes("s", TWO), index)


def test_first_difference_names_the_item_and_ignores_margins() -> None:
    left = Outcomes("s", TWO)
    assert first_difference(left, left) is None
    assert first_difference(left, Outcomes("t", (replace(TWO[0], margin=0), TWO[1]))) is None
    changed = replace(TWO[1], answer="a c")
    right = Outcomes("s", (TWO[0], changed))
    assert first_difference(left, right) == Difference(1, TWO[1], changed)
    shorter = Outcomes("s", TWO[:1])
    assert first_difference(left, shorter) == Difference(1, TWO[1], None)
    assert first_difference(shorter, left) == Difference(1, None, TWO[1])


@pytest.mark.parametrize(
    ("key", "value"), [("correct", 2), ("correct", True), ("items", 3), ("root", "00" * 32)]
)
def test_header_that_does_not_match_the_items_is_a_bad_digest(key: str, value: Any) -> None:
    data = encode_outcomes("s", TWO)
    first, rest = data.split(b"\n", 1)
    header = json.loads(first) | {key: value}
    forged = json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n" + rest
    with pytest.raises(DigestError, match=key):
        parse_outcomes(forged)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"item":"i-1"', b'"item":"i-0"'),
        (b'"item":"i-1"', b'"item":""'),
        (b'"answer":2', b'"answer":-2'),
        (b'"answer":2', b'"answer":null'),
        (b'"answer":2', b'"answer":true'),
        (b'"answer":2', b'"answer": 2'),
        (b'"answer":2', b'"answer":2.0'),
        (b'"correct":false', b'"correct":0'),
        (b'"margin":17', b'"margin":-1'),
        (b'"margin":17', b'"margin":1000000001'),
        (b'"margin":17', b'"margin":true'),
        (b',"margin":17', b""),
        (b'"margin":17', b'"margin":17,"x":1'),
        (b'"suite":"s"', b'"suite":""'),
        (b'"suite":"s"', b'"suite":1'),
        (b"outcomes/1", b"outcomes/2"),
        (b'"root":"', b'"root":"0'),
        (b"null}\n", b"null}"),
        (b"null}\n", b"null}\n\n"),
        (b"null}\n", b"null}\r\n"),
    ],
)  # fmt: skip
def test_file_in_any_other_form_is_malformed(old: bytes, new: bytes) -> None:
    data = encode_outcomes("s", TWO)
    assert data.count(old) == 1
    with pytest.raises(MalformedError):
        parse_outcomes(data.replace(old, new))


@pytest.mark.parametrize("data", [b"", b"\n", b"[]\n", b"\xff\n"])
def test_bytes_without_a_header_are_malformed(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_outcomes(data)


def test_no_outcomes_are_not_a_result() -> None:
    with pytest.raises(MalformedError, match="0 items"):
        encode_outcomes("s", [])
