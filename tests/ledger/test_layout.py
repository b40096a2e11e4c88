"""Reading a statement by its layout gives what parsing it gives, for good bytes and for bad."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.cid import Cid
from ledger.dsse import Envelope
from ledger.encoding import canonical_json
from ledger.entry import Entry
from ledger.entryreader import EntryReader
from ledger.errors import PnodeError
from ledger.layout import Layouts
from ledger.outline import Outline, outline_of
from ledger.statement import Statement, artifact_cids, subjects_of
from tests.ledger.makers import (
    ALICE,
    MALLORY,
    TIME,
    contribution,
    genesis,
    keys_of,
    note_entry,
    sign,
    withdrawal,
)

BASE = {"name": "tiny", "digest": "00" * 32, "cid": str(Cid.of(b"tiny"))}


def cid(name: str) -> str:
    return str(Cid.of(name.encode()))


def many_files(number: int) -> Entry:
    names = [f"file {part}" for part in range(3)]
    digests = [hashlib.sha256(f"{number} {name}".encode()).hexdigest() for name in names]
    resources = [
        {"name": name, "digest": digest, "algorithm": "sha256"}
        for name, digest in zip(names, digests, strict=True)
    ]
    fields = {
        "author": ALICE.author.public.did,
        "created": TIME,
        "type": "suite",
        "cid": cid(f"artifact {number}"),
        "title": f"suite {number}",
        "license": "CC0-1.0",
        "manifest": {"resources": resources, "serialization": {"method": "files", "n": number}},
        "derived_from": [cid(f"a{number}"), cid(f"b{number}")],
        "future": [{"x": number, "y": None, "z": True}, "anything", [], {}],
    }
    subjects = subjects_of(list(zip(names, digests, strict=True)))
    return Entry.sign(Statement("contribution", subjects, fields), ALICE.author)


def composition(number: int) -> Entry:
    fields = {
        "lock": cid(f"lock {number}"),
        "system_digest": hashlib.sha256(b"%d" % number).hexdigest(),
        "method": "merge.linear",
        "base": BASE,
        "members": [cid(f"x{number}"), cid(f"y{number}")],
        "suites": [cid(f"s{number}")],
        "exactness": ("bitwise", "pinned")[number % 2],
        "title": "a system",
    }
    return sign(ALICE, "composition", fields)


def evaluation(number: int) -> Entry:
    score = {"suite": cid("s"), "correct": number, "total": 10**14 + number, "root": "11" * 32}
    fields = {
        "composition": cid(f"c{number}"),
        "scores": [score | {"outcomes": cid(f"o{number}")}],
        "exactness": "bitwise",
        "software": {"n": -number},
    }
    return sign(ALICE, "evaluation", fields)


def attribution(number: int) -> Entry:
    fields = {name: cid(f"{name}{number}") for name in ("composition", "record", "table")}
    fields |= {"root": "22" * 32, "game": "g", "estimator": "e", "efficiency_gap": "0"}
    values = [{"contribution": cid("a"), "value": "1/2"}, {"contribution": cid("b"), "value": "x"}]
    return sign(ALICE, "attribution", {**fields, "values": values})


def verification(number: int) -> Entry:
    fields = {"verdict": "reproduced", "checked": number, "mismatches": 0, "exactness": "bitwise"}
    return sign(ALICE, "verification", {"target": cid(f"t{number}"), **fields})


MAKERS: Mapping[str, Callable[[int], Entry]] = {
    "genesis": lambda number: genesis(ALICE, name=f"alice {number}"),
    "contribution": lambda number: contribution(ALICE, f"title {number}"),
    "superseding": lambda number: contribution(ALICE, f"t{number}", supersedes=cid(f"o{number}")),
    "many files": many_files,
    "withdrawal": lambda number: withdrawal(ALICE, cid(f"w{number}")),
    "composition": composition,
    "evaluation": evaluation,
    "attribution": attribution,
    "verification": verification,
    "note": lambda number: note_entry(ALICE, number),
    "strange": lambda number: sign(ALICE, "strange", {"cid": f"no {number}", "scores": [1, {}]}),
}


def payload_of(entry: Entry) -> bytes:
    return Envelope.parse(entry.body).payload


PAYLOADS = {name: [payload_of(make(n)) for n in range(1, 12)] for name, make in MAKERS.items()}


def trained() -> Layouts:
    layouts = Layouts()
    for payloads in PAYLOADS.values():
        for payload in payloads[:-1]:
            layouts.read(payload)
    return layouts


LAYOUTS = trained()


def verdict(read: Callable[[bytes], Outline], payload: bytes) -> Outline | tuple[type, str]:
    try:
        return read(payload)
    except PnodeError as error:
        return type(error), error.message


def long_way(payload: bytes) -> Outline:
    return outline_of(Statement.parse(payload))


def agree(payload: bytes) -> None:
    assert verdict(LAYOUTS.read, payload) == verdict(long_way, payload)


def read_by_a_layout(payload: bytes) -> bool:
    text = payload.decode("ascii")
    known = [layout for layouts in LAYOUTS._known.values() for layout in layouts]
    return any(layout.read(text) is not None for layout in known)


@pytest.mark.parametrize("name", list(MAKERS))
def test_each_kind_is_learned_and_read_alike(name: str) -> None:
    assert read_by_a_layout(PAYLOADS[name][-1])
    for payload in PAYLOADS[name]:
        agree(payload)


def test_what_an_outline_holds() -> None:
    outline = LAYOUTS.read(PAYLOADS["many files"][-1])
    statement = Statement.parse(PAYLOADS["many files"][-1])
    assert (outline.kind, outline.author) == ("contribution", ALICE.author.public.did)
    assert outline.references == (("derived_from", cid("a11")), ("derived_from", cid("b11")))
    assert outline.artifacts == tuple(map(str, artifact_cids(statement)))
    subjects = [text for each in statement.subjects for text in (each.sha256, each.name)]
    assert list(outline.subjects) == list(outline.resources) == subjects
    assert LAYOUTS.read(PAYLOADS["composition"][-1]).references == (
        ("members", cid("x11")),
        ("members", cid("y11")),
        ("suites", cid("s11")),
    )


INTERESTING = [
    b'"',
    b"\\",
    b" ",
    b"\n",
    b"0",
    b"-",
    b"1",
    b"\x7f",
    b"\xc3\xa9",
    b"\x00",
    b"[",
    b"}",
]
INTERESTING += [
    b"null",
    b"1.5",
    b"e9",
    b"\\u0041",
    b",",
    b":",
    b"9" * 17,
    b"x" * 2001,
    b"-0",
    b"00",
]


@settings(max_examples=600)
@given(st.data())
def test_mutated_payloads_get_the_same_verdict(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(PAYLOADS)))
    payload = PAYLOADS[name][-1]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(payload)))
        cut = data.draw(st.integers(0, 3))
        put = data.draw(st.sampled_from(INTERESTING) | st.binary(max_size=3))
        payload = payload[:at] + put + payload[at + cut :]
    agree(payload)


def values_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in values_in(item)]
    if isinstance(value, list):
        return [text for item in value for text in values_in(item)]
    return [value] if isinstance(value, str) else []


@settings(max_examples=400)
@given(st.data())
def test_exchanged_values_get_the_same_verdict(data: st.DataObject) -> None:
    """One value is put in the place of another, so that well-formed bytes break a rule."""
    name = data.draw(st.sampled_from(list(PAYLOADS)))
    payload = PAYLOADS[name][-1]
    texts = values_in(Statement.parse(payload).predicate)
    old = data.draw(st.sampled_from(texts))
    new = data.draw(st.sampled_from(texts) | st.text(st.characters(max_codepoint=255), max_size=8))
    agree(payload.replace(canonical_json(old), canonical_json(new)))


def test_names_that_repeat_are_refused_by_the_layout_too() -> None:
    payload = PAYLOADS["many files"][-1]
    old, new = b'"name":"file 1"', b'"name":"file 0"'
    in_manifest = payload.replace(old, new, 1)
    in_subjects = new.join(payload.rsplit(old, 1))
    for repeated, message in ((in_manifest, "two items"), (in_subjects, "two subjects")):
        agree(repeated)
        with pytest.raises(PnodeError, match=message):
            LAYOUTS.read(repeated)


def test_entries_are_verified_as_parsing_verifies_them() -> None:
    reader = EntryReader()
    for number in range(8):
        entry = contribution(ALICE, f"title {number}")
        assert reader.read(entry.body) == outline_of(entry.statement)
    good = Envelope.parse(contribution(ALICE, "good").body)
    by_another = Envelope.sign(good.payload, MALLORY.author)
    stolen = Envelope(good.payload, MALLORY.author.public, good.signature)
    for bad in (bytes(by_another), bytes(stolen), b"no envelope", b"", bytes(good)[:-1]):
        with pytest.raises(PnodeError) as parsed:
            Entry.parse(bad)
        with pytest.raises(type(parsed.value)) as read:
            reader.read(bad)
        assert read.value.message == parsed.value.message


def test_layouts_that_never_repeat_are_not_collected() -> None:
    layouts = Layouts()
    for number in range(2_000):
        layouts.read(payload_of(sign(ALICE, "note", {f"field-{number}": "x"})))
    assert sum(map(len, layouts._known.values())) == 0
    assert len(layouts._seen) <= 1_024


def test_many_layouts_are_not_all_kept() -> None:
    layouts = Layouts()
    keys = keys_of("many")
    for number in range(200):
        for _ in range(4):
            layouts.read(
                payload_of(sign(keys, f"kind-{chr(97 + number % 5)}", {f"f{number}": "x"}))
            )
    assert sum(map(len, layouts._known.values())) <= 64
    assert max(map(len, layouts._known.values())) <= 16
