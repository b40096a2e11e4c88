"""A fork disputes the entries behind it, by proof alone and in whatever order it is learnt."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import log_key
from ledger.commonprefix import CommonPrefix, common_prefix
from ledger.dispute import (
    Dispute,
    evidence_statement,
    find_disputes,
    proven_prefix,
    stated_evidence,
)
from ledger.entry import Entry
from ledger.errors import EvidenceError, MalformedError, ProofError
from ledger.evidence import Evidence, different_entries, of_trees, same_size
from ledger.frontier import Frontier
from ledger.merkle import EMPTY_ROOT, consistency_proof, leaf_hash, root_of
from ledger.placedentry import PlacedEntry
from ledger.view import view
from tests.ledger.forks import KEY, ORIGIN, fork, note, proof, reader
from tests.ledger.makers import (
    ALICE,
    BOB,
    MALLORY,
    contribution,
    genesis,
    origin_of,
    sign,
    signed,
    withdrawal,
)

A, B = fork(5, 9, "a"), fork(5, 14, "b")
EVIDENCE = of_trees(KEY, note(A), note(B), reader(B))
COMMON = common_prefix(EVIDENCE, reader(A), reader(B))


def stated(evidence: Evidence, common: CommonPrefix, by: int = 0) -> PlacedEntry:
    """An evidence statement in the log of a reporter."""
    keys = (BOB, MALLORY)[by]
    statement = evidence_statement(
        evidence, common, author=keys.author.public.did, created="2026-11-22T20:00:00Z"
    )
    return PlacedEntry(origin_of(keys), 1, Entry.parse(Entry.sign(statement, keys.author).body))


@given(seed=st.integers(0, 2**32))
def test_the_fork_is_found_and_proven_wherever_it_is(seed: int) -> None:
    draw = random.Random(seed)
    m, n = draw.randint(1, 40), draw.randint(1, 40)
    p = draw.randint(0, min(m, n) - 1)
    a, b = sorted([fork(p, m, "a"), fork(p, n, "b")], key=lambda tree: (len(tree), root_of(tree)))
    evidence = of_trees(KEY, note(a), note(b), reader(b))
    found = common_prefix(evidence, reader(a), reader(b))
    assert found.size == p
    assert found.root == root_of(a[:p])
    found.verify(evidence)
    assert CommonPrefix.parse(found.record()) == found


def test_nobody_can_prove_a_longer_prefix() -> None:
    for size in range(6, 10):
        for root in (root_of(A[:size]), root_of(B[:size])):
            to_a = tuple(consistency_proof(size, 9, reader(A)))
            to_b = tuple(consistency_proof(size, 14, reader(B)))
            with pytest.raises(ProofError):
                CommonPrefix(size, root, to_a, to_b).verify(EVIDENCE)


def test_a_shorter_prefix_is_true_too_and_none_needs_no_proof() -> None:
    paths = (tuple(consistency_proof(3, len(tree), reader(tree))) for tree in (A, B))
    CommonPrefix(3, root_of(A[:3]), *paths).verify(EVIDENCE)
    CommonPrefix().verify(EVIDENCE)
    with pytest.raises(ProofError):
        CommonPrefix(0, EMPTY_ROOT, COMMON.to_a, ()).verify(EVIDENCE)


def test_a_reader_that_lies_is_noticed() -> None:
    other = fork(7, 14, "c")
    with pytest.raises(ProofError):
        common_prefix(EVIDENCE, reader(A), reader(other))


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": True},
        {"size": "5"},
        {"root": "00"},
        {"root": None},
        {"proofs": []},
        {"proofs": [[], [], []]},
        {"proofs": [["00"], []]},
        {"proofs": [["00" * 32] * 65, []]},
        {"proofs": "ab"},
        {"more": 1},
    ],
)
def test_a_record_in_another_form_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(MalformedError):
        CommonPrefix.parse(COMMON.record() | change)
    predicate = {
        "origin": ORIGIN,
        "evidence": bytes(EVIDENCE).decode(),
        "common": COMMON.record() | change,
    }
    with pytest.raises(MalformedError, match="field 'common'"):
        sign(BOB, "evidence", predicate)


def test_a_statement_carries_the_file_and_the_proof() -> None:
    placed = stated(EVIDENCE, COMMON)
    assert stated_evidence(placed.entry) == (EVIDENCE, COMMON)
    (subject,) = placed.entry.statement.subjects
    assert subject.sha256 == EVIDENCE.id
    assert len(placed.entry.body) < 8_192


def test_the_longest_proof_about_one_pair_counts_and_the_shortest_of_several_pairs() -> None:
    none = stated(EVIDENCE, CommonPrefix())
    some = stated(EVIDENCE, COMMON, by=1)
    expected = Dispute(ORIGIN, 5, (EVIDENCE.id,))
    assert find_disputes([none]).logs == {ORIGIN: replace(expected, common=0)}
    assert find_disputes([none, some]).logs == {ORIGIN: expected}
    assert find_disputes([some, none]).logs == {ORIGIN: expected}
    assert proven_prefix(EVIDENCE, [none, some]) == COMMON
    assert proven_prefix(EVIDENCE, []) is None
    earlier = same_size(KEY, note(fork(3, 9, "c")), note(A))
    pair = [fork(3, 9, "c"), A]
    pair.sort(key=root_of)
    second = stated(earlier, common_prefix(earlier, *map(reader, pair)))
    found = find_disputes([some, second, none]).logs[ORIGIN]
    assert found.common == 3
    assert found.evidence == tuple(sorted([EVIDENCE.id, earlier.id]))


def test_another_kind_of_file_about_the_same_trees_is_the_same_pair() -> None:
    entry = different_entries(KEY, proof(A, 6), A[6], proof(B, 6), B[6])
    found = find_disputes([stated(EVIDENCE, COMMON), stated(entry, CommonPrefix())])
    assert found.logs[ORIGIN].common == 5


def test_what_proves_nothing_disputes_nothing() -> None:
    honest = Evidence("prefix", KEY, note(B[:9]), note(B), EVIDENCE.hashes)
    for evidence, common in ((honest, CommonPrefix()), (EVIDENCE, replace(COMMON, size=6))):
        placed = stated(evidence, common)
        with pytest.raises(EvidenceError):
            stated_evidence(placed.entry)
        assert find_disputes([placed]).logs == {}
    predicate = {
        "origin": origin_of(ALICE),
        "evidence": bytes(EVIDENCE).decode(),
        "common": COMMON.record(),
    }
    with pytest.raises(EvidenceError, match="another log"):
        stated_evidence(sign(BOB, "evidence", predicate))


def test_a_malformed_file_is_no_statement() -> None:
    predicate = {"origin": ORIGIN, "evidence": "equivocation@v1\n", "common": COMMON.record()}
    with pytest.raises(MalformedError, match="field 'evidence'"):
        sign(BOB, "evidence", predicate)


# --- the view -----------------------------------------------------------------------------------


def forked_ledger() -> tuple[list[PlacedEntry], list[Entry]]:
    """Alice's log of five entries forked at entry 3; bob states it."""
    first, second, third = (contribution(ALICE, title) for title in ("one", "two", "three"))
    entries = [genesis(ALICE), first, second, third, withdrawal(ALICE, first.id)]
    bodies = [entry.body for entry in entries]
    other = [*bodies[:3], contribution(ALICE, "another").body]
    origin = origin_of(ALICE)
    key_note, other_note = signed(ALICE, bodies), signed(ALICE, other)
    trees = [list(map(leaf_hash, other)), list(map(leaf_hash, bodies))]
    evidence = of_trees(log_key(origin, ALICE.log.public), key_note, other_note, reader(trees[1]))
    common = common_prefix(evidence, *map(reader, trees))
    assert common.size == 3
    placed = [PlacedEntry(origin, index, entry) for index, entry in enumerate(entries)]
    return [*placed, stated(evidence, common)], entries


def test_entries_behind_a_fork_are_disputed_and_those_before_it_are_not() -> None:
    placed, entries = forked_ledger()
    ledger = view(Frontier(()), placed)
    status = {id_: offered.status for id_, offered in ledger.contributions.items()}
    assert status == {
        entries[1].id: "withdrawn",  # its author said so, wherever that stands
        entries[2].id: "active",
        entries[3].id: "disputed",
    }
    assert ledger.dispute_of(entries[2].id) is None
    dispute = ledger.dispute_of(entries[3].id)
    assert dispute is not None
    assert (dispute.origin, dispute.common) == (origin_of(ALICE), 3)


def test_without_the_statement_nothing_is_disputed() -> None:
    placed, entries = forked_ledger()
    ledger = view(Frontier(()), placed[:-1])
    assert ledger.contributions[entries[3].id].status == "active"
    assert ledger.disputes.logs == {}


@given(order=st.randoms(use_true_random=False))
def test_the_order_of_arrival_changes_nothing(order: random.Random) -> None:
    placed, _ = forked_ledger()
    expected = view(Frontier(()), placed)
    order.shuffle(placed)
    assert view(Frontier(()), placed) == expected


def test_a_disputed_successor_supersedes_nothing() -> None:
    placed, entries = forked_ledger()
    newer = contribution(ALICE, "newer", supersedes=entries[2].id)
    origin = origin_of(ALICE)
    ledger = view(Frontier(()), [*placed, PlacedEntry(origin, 5, newer)])
    assert ledger.contributions[newer.id].status == "disputed"
    assert ledger.contributions[entries[2].id].status == "active"


def test_a_forked_log_does_not_drag_down_what_it_has_copied_from_others() -> None:
    placed, _ = forked_ledger()
    honest = contribution(BOB, "honest")
    copied = PlacedEntry(origin_of(ALICE), 5, honest)
    ledger = view(Frontier(()), [*placed, copied])
    assert ledger.contributions[honest.id].status == "disputed"
    elsewhere = PlacedEntry("z", 7, honest)
    ledger = view(Frontier(()), [*placed, copied, elsewhere])
    assert ledger.contributions[honest.id].status == "active"
