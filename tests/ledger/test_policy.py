"""Policies: the one accepted form, and what it takes to reach a quorum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cosignature import cosign
from ledger.errors import IncompleteError, MalformedError, SignatureError
from ledger.note import ED25519_COSIGNATURE, ED25519_NOTE, Note, NoteKey, NoteSignature
from ledger.policy import MAX_DEFINITIONS, MAX_POLICY_BYTES, Policy
from tests.ledger.makers import keys_of, origin_of, signed

ADA = keys_of("ada")
NAMES = ("X1", "X2", "X3", "Y1", "Y2")
KEYS = {name: keys_of(name).cosigner for name in NAMES}
VKEYS = {
    name: NoteKey(f"{name}.example", ED25519_COSIGNATURE, key.public) for name, key in KEYS.items()
}
WITNESSES = "".join(f"witness {name} {key}\n" for name, key in VKEYS.items())
GROUPS = "group X 2 X1 X2 X3\ngroup Y any Y1 Y2\ngroup both all X Y\n"
LOG = NoteKey(origin_of(ADA), ED25519_NOTE, ADA.log.public)
NESTED = Policy.parse(f"{WITNESSES}{GROUPS}quorum both\n".encode())


def cosigned(**times: int) -> Note:
    """A checkpoint of ada's log, cosigned by some witnesses at some times."""
    note = Note.parse(signed(ADA, [b"entry"]))
    lines = [
        cosign(note.text, VKEYS[name].name, KEYS[name], time=time) for name, time in times.items()
    ]
    return Note(note.text, (*note.signatures, *lines))


@pytest.mark.parametrize(
    ("times", "since"),
    [
        ({"X1": 5, "X2": 9, "Y1": 7}, 9),
        ({"X1": 5, "X2": 6, "Y1": 7}, 7),
        ({"X1": 5, "X2": 6, "X3": 1, "Y1": 3, "Y2": 2}, 5),
        ({"X3": 5, "X2": 6, "Y2": 100}, 100),
    ],
)
def test_a_nested_quorum_is_reached_when_its_slowest_needed_member_is(
    times: dict[str, int], since: int
) -> None:
    quorum = NESTED.evaluate(cosigned(**times))
    assert quorum.time == since
    assert {seen.name: seen.time for seen in quorum.witnesses} == times
    assert NESTED.could_suffice({str(VKEYS[name]) for name in times})


@pytest.mark.parametrize(
    ("times", "missing"),
    [
        ({}, "both needs 2, has 0; missing: X, Y"),
        ({"X1": 1, "X2": 1, "X3": 1}, "both needs 2, has 1; missing: Y"),
        ({"X1": 1, "Y1": 1, "Y2": 1}, "both needs 2, has 1; missing: X"),
        ({"X1": 1, "X2": 0, "Y1": 1}, "missing: X"),
    ],
)
def test_what_is_missing_is_named(times: dict[str, int], missing: str) -> None:
    with pytest.raises(IncompleteError, match=missing):
        NESTED.evaluate(cosigned(**times))


def test_a_key_counts_once_and_from_its_earliest_line() -> None:
    policy = Policy.parse(f"{WITNESSES}group two 2 X1 X2\nquorum two\n".encode())
    twice = Note(cosigned().text, (*cosigned(X1=9).signatures, *cosigned(X1=4).signatures[1:]))
    with pytest.raises(IncompleteError, match="two needs 2, has 1; missing: X2"):
        policy.evaluate(twice)
    single = Policy.parse(f"{WITNESSES}quorum X1\n".encode())
    assert single.evaluate(twice).time == 4


def test_excluded_cosigners_do_not_count() -> None:
    note = cosigned(X1=1, X2=2, Y1=3)
    with pytest.raises(IncompleteError, match="missing: Y"):
        NESTED.evaluate(note, excluded={"Y1.example"})


def test_a_wrong_line_of_a_witness_refuses_the_note() -> None:
    note = cosigned(X1=1, X2=2, Y1=3)
    line = note.signatures[-1]
    bad = NoteSignature(line.name, line.key_id, line.payload[:-1] + bytes([line.payload[-1] ^ 1]))
    with pytest.raises(SignatureError):
        NESTED.evaluate(Note(note.text, (*note.signatures[:-1], bad)))


def test_lines_of_strangers_are_passed_over() -> None:
    policy = Policy.parse(f"witness X1 {VKEYS['X1']}\nquorum X1\n".encode())
    assert [seen.name for seen in policy.evaluate(cosigned(X1=1, X2=1)).witnesses] == ["X1"]


def test_a_policy_with_logs_is_about_these_only() -> None:
    other = NoteKey("other.example", ED25519_NOTE, keys_of("other").log.public)
    text = f"log {other} https://other.example\nwitness X1 {VKEYS['X1']}\nquorum X1\n"
    with pytest.raises(IncompleteError, match="does not name the log"):
        Policy.parse(text.encode()).evaluate(cosigned(X1=1))
    assert Policy.parse(f"log {LOG}\n{text}".encode()).evaluate(cosigned(X1=1)).time == 1


def test_quorum_none_witnesses_nothing() -> None:
    policy = Policy.parse(f"{WITNESSES}quorum none\n".encode())
    assert not policy.could_suffice({str(key) for key in VKEYS.values()})
    with pytest.raises(IncompleteError, match="asks for no witnesses"):
        policy.evaluate(cosigned(X1=1))


@pytest.mark.parametrize(
    "text",
    [
        "quorum none",
        "quorum none\n",
        "\n# a remark\n\t # another\n  quorum \t none  \n",
        f"\t witness \t w {VKEYS['X1']} \t https://w.example/ \n quorum w",
        f"witness caf\u00e9 {VKEYS['X1']}\ngroup all all caf\u00e9\nquorum all\n",
        f"witness any {VKEYS['X1']}\ngroup 1 1 any\nquorum 1\n",
        f"quorum none\nwitness late {VKEYS['X1']}\n",
    ],
)
def test_accepted_forms(text: str) -> None:
    Policy.parse(text.encode())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line 'quorum'"),
        ("witness a", "line 1: needs the form 'witness"),
        ("log", "line 1: needs the form 'log"),
        ("\n\nquorum", "line 3: needs the form 'quorum"),
        ("quorum a b", "line 1: needs the form 'quorum"),
        ("quorum a", "line 1: 'a' is not defined"),
        ("quorum none\nquorum none", "line 2: a second quorum"),
        ("threshold 2", "line 1: 'threshold' is not a keyword"),
        ("Quorum none", "line 1: 'Quorum' is not a keyword"),
        ("quorum none\r\n", "line 1: contains a control character"),
        ("quorum\x0bnone", "line 1: contains a control character"),
        ("quorum none\x7f", "line 1: contains a control character"),
        ("quorum\u00a0none", "is not a keyword"),
        (f"witness none {VKEYS['X1']}", "line 1: 'none' is not a name"),
        (f"witness a {VKEYS['X1']}\nwitness a {VKEYS['X2']}", "line 2: 'a' is defined already"),
        (f"witness a {VKEYS['X1']}\ngroup a 1 a", "line 2: 'a' is defined already"),
        (f"witness a {VKEYS['X1']}\nwitness b {VKEYS['X1']}", "line 2: the key of an earlier"),
        (f"log {LOG}\nlog {LOG}", "line 2: the key of an earlier log"),
        (f"witness a {LOG}", "line 1: a witness needs a key of type 04"),
        (f"log {VKEYS['X1']}", "line 1: a log needs a key of type 01"),
        (f"witness a {VKEYS['X1']}x", "line 1:"),
        ("witness a b", "line 1: 'b' is not a verifier key"),
        (f"{WITNESSES}group g 0 X1", "line 6: the threshold"),
        (f"{WITNESSES}group g 2 X1", "line 6: the threshold"),
        (f"{WITNESSES}group g 01 X1", "line 6: the threshold"),
        (f"{WITNESSES}group g +1 X1", "line 6: the threshold"),
        (f"{WITNESSES}group g most X1", "line 6: the threshold"),
        (f"{WITNESSES}group g any", "line 6: needs the form 'group"),
        (f"{WITNESSES}group g any g", "line 6: 'g' is not defined"),
        (f"{WITNESSES}group g any none", "line 6: 'none' is not defined"),
        (f"{WITNESSES}group g any X1 X1", "line 6: 'X1' is a member already"),
        (f"{WITNESSES}group g any X1\ngroup h any X1", "line 7: 'X1' is a member already"),
        (f"group g any a\nwitness a {VKEYS['X1']}", "line 1: 'a' is not defined"),
        ("#" * (MAX_POLICY_BYTES + 1), "more than"),
    ],
)
def test_refused_forms_name_the_line(text: str, message: str) -> None:
    with pytest.raises(MalformedError, match=message):
        Policy.parse(text.encode())


def test_the_same_key_under_another_name_is_a_duplicate() -> None:
    renamed = NoteKey("elsewhere.example", ED25519_COSIGNATURE, KEYS["X1"].public)
    with pytest.raises(MalformedError, match="line 2: the key of an earlier witness"):
        Policy.parse(f"witness a {VKEYS['X1']}\nwitness b {renamed}\nquorum a\n".encode())


def test_names_are_octets() -> None:
    """The Kelvin sign is not the letter K, and bytes that are no UTF-8 are a name."""
    text = f"witness K {VKEYS['X1']}\nwitness \u212a {VKEYS['X2']}\n".encode()
    policy = Policy.parse(text + b"group \xff all K\nquorum \xff\n")
    assert len(policy.witnesses) == 2
    with pytest.raises(IncompleteError, match=r"\\xff needs 1"):
        policy.evaluate(cosigned())


def test_many_definitions_are_accepted_and_too_many_are_not() -> None:
    def text(count: int) -> bytes:
        keys = [
            NoteKey("w", ED25519_COSIGNATURE, keys_of(f"w{n}").cosigner.public)
            for n in range(count)
        ]
        return "".join(f"witness w{n} {key}\n" for n, key in enumerate(keys)).encode()

    assert len(Policy.parse(text(MAX_DEFINITIONS) + b"quorum w0\n").witnesses) == MAX_DEFINITIONS
    with pytest.raises(MalformedError, match=f"line {MAX_DEFINITIONS + 1}: more than"):
        Policy.parse(text(MAX_DEFINITIONS + 1) + b"quorum w0\n")


def test_deeply_nested_groups_are_evaluated() -> None:
    chain = "group g0 all X1\n" + "".join(f"group g{n} all g{n - 1}\n" for n in range(1, 200))
    policy = Policy.parse(f"{WITNESSES}{chain}quorum g199\n".encode())
    assert policy.evaluate(cosigned(X1=3)).time == 3


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_by_the_one_error(data: bytes) -> None:
    for text in (data, WITNESSES.encode() + data, b"group " + data + b"\nquorum none"):
        try:
            Policy.parse(text)
        except MalformedError:
            continue
