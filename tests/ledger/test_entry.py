"""Statements and entries: what is signed says who signed it, and nothing malformed exists."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.dsse import Envelope
from ledger.encoding import canonical_json
from ledger.entry import Entry, entry_id
from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.merkle import leaf_hash
from ledger.predicate import FIELDS
from ledger.statement import Statement, Subject, subjects_of
from tests.ledger import makers
from tests.ledger.makers import ALICE, BOB, TIME

ID = str(Cid.of(b"something"))
DIGEST = "ab" * 32

SAMPLES: dict[str, dict[str, Any]] = {
    "withdrawal": {"target": ID, "reason": "wrong licence"},
    "composition": {
        "lock": ID,
        "system_digest": DIGEST,
        "method": "merge.ties",
        "base": {"name": "tiny", "digest": DIGEST, "cid": ID},
        "members": [ID],
        "suites": [ID],
        "exactness": "bitwise",
    },
    "evaluation": {
        "composition": ID,
        "scores": [{"suite": ID, "correct": 1, "total": 2, "root": DIGEST, "outcomes": ID}],
        "exactness": "pinned",
    },
    "attribution": {
        "composition": ID,
        "record": ID,
        "table": ID,
        "root": DIGEST,
        "game": "accuracy",
        "estimator": "exact",
        "values": [{"contribution": ID, "value": "17/24"}],
        "efficiency_gap": "0",
    },
    "verification": {
        "target": ID,
        "verdict": "reproduced",
        "checked": 3,
        "mismatches": 0,
        "exactness": "bitwise",
    },
}


def entries() -> list[Entry]:
    made = [makers.genesis(ALICE), makers.contribution(ALICE, "french")]
    return made + [makers.sign(ALICE, kind, fields) for kind, fields in SAMPLES.items()]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry.kind))
def test_every_kind_round_trips(entry: Entry) -> None:
    parsed = Entry.parse(entry.body)
    assert parsed == entry
    assert parsed.id == entry_id(entry.body) == str(Cid.of(entry.body))
    assert parsed.leaf_hash == leaf_hash(entry.body)
    assert parsed.author == ALICE.author.public.did
    assert Entry.sign(parsed.statement, ALICE.author).body == entry.body


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: str(entry.kind))
def test_every_required_field_is_required_and_checked(entry: Entry) -> None:
    required, optional = FIELDS[entry.kind]
    for name in required:
        fields = dict(entry.statement.predicate)
        del fields[name]
        with pytest.raises(MalformedError, match=name):
            Statement(entry.kind, entry.statement.subjects, fields).encode()
    records, counts = {"adapter", "suite", "software"}, {"checked", "mismatches"}
    for name in [*required, *optional]:
        wrong: list[Any] = [None, True, [None], -1, "\x00"]
        wrong += [] if name in records else [{"x": None}]
        wrong += [] if name in counts else [7]
        for value in wrong:
            fields = {**entry.statement.predicate, name: value}
            with pytest.raises(MalformedError, match=f"'{name}'"):
                Statement(entry.kind, entry.statement.subjects, fields).encode()


def test_unknown_fields_and_kinds_are_kept() -> None:
    entry = makers.contribution(ALICE, "french", future={"anything": [1, "x"]})
    assert Entry.parse(entry.body).statement.predicate["future"] == {"anything": [1, "x"]}
    assert Entry.parse(makers.note_entry(ALICE, 1).body).kind == "note"


def test_an_entry_signed_by_somebody_else_is_refused() -> None:
    statement = makers.contribution(ALICE, "french").statement
    with pytest.raises(SignatureError, match="another author"):
        Entry.sign(statement, BOB.author)
    stolen = bytes(Envelope.sign(statement.encode(), BOB.author))
    with pytest.raises(SignatureError, match="not the author"):
        Entry.parse(stolen)


def test_a_changed_statement_is_refused() -> None:
    entry = makers.contribution(ALICE, "french")
    envelope = Envelope.parse(entry.body)
    changed = envelope.payload.replace(b"Apache-2.0", b"Apache-2.1")
    with pytest.raises(SignatureError):
        Entry.parse(bytes(Envelope(changed, envelope.key, envelope.signature)))


def test_a_name_given_twice_is_refused() -> None:
    """One reader would take the first of them, another the last."""
    entry = makers.contribution(ALICE, "french")
    twins = (Subject("a", DIGEST), Subject("a", "cd" * 32))
    with pytest.raises(MalformedError, match="two subjects"):
        Statement(entry.kind, twins, entry.statement.predicate).encode()
    (resource,) = entry.statement.predicate["manifest"]["resources"]
    manifest = {"resources": [resource, {**resource, "digest": DIGEST}], "serialization": {}}
    with pytest.raises(MalformedError, match="same 'name'"):
        makers.contribution(ALICE, "french", manifest=manifest)


def test_an_entry_too_large_for_a_log_is_refused() -> None:
    long = {f"field-{number}": "x" * 1_900 for number in range(30)}
    with pytest.raises(MalformedError, match="at most 65535"):
        makers.sign(ALICE, "note", long)


def statement_document(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(makers.note_entry(ALICE, 1).statement.encode())
    return {**value, **changes}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        statement_document(_type="https://in-toto.io/Statement/v0.1"),
        statement_document(predicateType=None),
        statement_document(predicateType="urn:pnode:note:v2"),
        statement_document(predicateType="urn:pnode:Note:v1"),
        statement_document(predicateType="urn:pnode::v1"),
        statement_document(predicateType="urn:pnode:note:v1\n"),
        statement_document(predicateType="https://slsa.dev/provenance/v1"),
        statement_document(predicate=None),
        statement_document(predicate=[]),
        statement_document(predicate={}),
        statement_document(predicate={"author": "somebody"}),
        statement_document(subject=None),
        statement_document(subject=[]),
        statement_document(subject={}),
        statement_document(subject=["x"]),
        statement_document(subject=[None]),
        statement_document(subject=[{"name": "x"}]),
        statement_document(subject=[{"name": "x", "digest": {}}]),
        statement_document(subject=[{"name": "x", "digest": "sha256"}]),
        statement_document(subject=[{"name": "x", "digest": ["sha256"]}]),
        statement_document(subject=[{"name": 1, "digest": {"sha256": DIGEST}}]),
        statement_document(subject=[{"name": "x", "digest": {"sha256": DIGEST.upper()}}]),
        statement_document(subject=[{"name": "x", "digest": {"sha256": DIGEST, "sha1": ""}}]),
        statement_document(subject=[{"name": "x", "digest": {"sha256": DIGEST}, "uri": ""}]),
        statement_document(subject=[{"name": "x\x07", "digest": {"sha256": DIGEST}}]),
        statement_document(subject=[{"name": "x", "digest": {"sha256": DIGEST}}] * 257),
    ],
)
def test_any_other_statement_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        Statement.parse(canonical_json(value))


@pytest.mark.parametrize(
    "created",
    ["", "2026-11-22", "2026-11-22T20:00:00", "2026-11-22T20:00:00+00:00", "2026-13-01T00:00:00Z",
     "2026-11-22T24:00:00Z", "2026-11-22T20:00:00.5Z", "2026-11-22t20:00:00z", TIME + "\n",
     "\u0662026-11-22T20:00:00Z"],
)  # fmt: skip
def test_times_have_one_form(created: str) -> None:
    with pytest.raises(MalformedError, match="created"):
        makers.contribution(ALICE, "french", created=created)


def test_subjects_are_sorted() -> None:
    assert subjects_of([("b", DIGEST), ("a", DIGEST)]) == (
        Subject("a", DIGEST),
        Subject("b", DIGEST),
    )


@given(st.binary(max_size=200), st.integers(0, 2_000), st.integers(0, 255))
def test_any_bytes_are_an_entry_or_refused(data: bytes, position: int, byte: int) -> None:
    whole = makers.note_entry(ALICE, 1).body
    position %= len(whole)
    changed = whole[:position] + bytes([byte]) + whole[position + 1 :]
    for parse in (Entry.parse, Statement.parse):
        for candidate in (data, changed, bytes(Envelope.sign(data, ALICE.author))):
            try:
                parse(candidate)
                assert candidate == whole
            except PnodeError as error:
                assert isinstance(error, MalformedError | SignatureError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5) | st.just(ID),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "digest", "sha256", "suite", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_any_predicate_is_accepted_or_refused_with_a_typed_error(
    kind: str, data: st.DataObject
) -> None:
    required, optional = FIELDS[kind]
    fields = {name: data.draw(JSON) for name in [*required, *optional]}
    document = statement_document(predicateType=f"urn:pnode:{kind}:v1", predicate=fields)
    with pytest.raises(MalformedError):
        Statement.parse(canonical_json(document))
