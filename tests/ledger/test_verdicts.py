"""Verdicts count by auditor: nobody counts twice, and nobody vouches for themselves."""

from __future__ import annotations

from typing import Any

from ledger.entry import Entry
from ledger.keys import NodeKeys
from ledger.verdicts import agreeing, verdicts_on
from tests.ledger.makers import ALICE, BOB, MALLORY, contribution, genesis, keys_of, sign
from tests.ledger.test_succession import continuing, farewell, tree
from tests.ledger.test_view import see

MEMBER = contribution(ALICE, "member")
COMPOSED = sign(ALICE, "composition", {
    "lock": MEMBER.id, "system_digest": "ab" * 32, "method": "merge.linear",
    "base": {"name": "tiny", "digest": "ab" * 32, "cid": MEMBER.id},
    "members": [MEMBER.id], "suites": [], "exactness": "bitwise",
})  # fmt: skip


def verdict(keys: NodeKeys, said: str = "reproduced", checked: int = 9, **fields: Any) -> Entry:
    return sign(keys, "verification", {
        "target": COMPOSED.id, "verdict": said, "checked": checked, "mismatches": 0,
        "exactness": "bitwise", **fields,
    })  # fmt: skip


def log(keys: NodeKeys, *entries: Entry) -> tuple[NodeKeys, list[Entry]]:
    return keys, [genesis(keys), *entries]


def test_each_auditor_counts_once_with_what_they_said_last() -> None:
    first, again, other = verdict(BOB, "mismatch"), verdict(BOB, checked=5), verdict(MALLORY)
    ledger = see(log(ALICE, COMPOSED), log(BOB, first, again), log(MALLORY, other))
    found = verdicts_on(ledger, COMPOSED.id)
    assert {each.id for each in found} == {again.id, other.id}
    assert len(agreeing(found, "reproduced")) == 2
    assert agreeing(found, "mismatch") == []


def test_who_made_it_may_speak_and_does_not_count() -> None:
    ledger = see(log(ALICE, COMPOSED, verdict(ALICE)))
    (found,) = verdicts_on(ledger, COMPOSED.id)
    assert (found.verdict, found.counts) == ("reproduced", False)
    assert agreeing([found], "reproduced") == []


def test_a_verdict_about_something_else_is_not_counted() -> None:
    other = sign(BOB, "verification", {
        "target": MEMBER.id, "verdict": "reproduced", "checked": 1, "mismatches": 0,
        "exactness": "bitwise",
    })  # fmt: skip
    assert verdicts_on(see(log(ALICE, COMPOSED), log(BOB, other)), COMPOSED.id) == []


def test_copies_in_other_logs_do_not_make_more_auditors() -> None:
    said = verdict(BOB)
    ledger = see(log(ALICE, COMPOSED), log(BOB, said), log(MALLORY, said), log(keys_of("d"), said))
    assert agreeing(verdicts_on(ledger, COMPOSED.id), "reproduced") == [BOB.author.public.did]


def test_keys_of_one_contributor_are_one_auditor_and_the_newest_speaks() -> None:
    carol = keys_of("carol")
    old = [genesis(BOB), verdict(BOB, "mismatch")]
    new = continuing(carol, tree(BOB, old))
    now = verdict(carol)
    ledger = see(log(ALICE, COMPOSED), (BOB, [*old, farewell(BOB, new)]), (carol, [new, now]))
    (found,) = verdicts_on(ledger, COMPOSED.id)
    assert (found.auditor, found.id) == (BOB.author.public.did, now.id)


def test_a_new_key_of_who_made_it_does_not_count_either() -> None:
    old = [genesis(ALICE), COMPOSED]
    new = continuing(BOB, tree(ALICE, old))
    ledger = see((ALICE, [*old, farewell(ALICE, new)]), (BOB, [new, verdict(BOB)]))
    assert agreeing(verdicts_on(ledger, COMPOSED.id), "reproduced") == []


def test_whom_a_verdict_confirms_is_told() -> None:
    first = verdict(BOB)
    second = verdict(MALLORY, confirms=[first.id])
    ledger = see(log(ALICE, COMPOSED), log(BOB, first), log(MALLORY, second))
    confirms = {each.id: each.confirms for each in verdicts_on(ledger, COMPOSED.id)}
    assert confirms == {first.id: [], second.id: [first.id]}
