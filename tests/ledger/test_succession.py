"""Which keys are one contributor, and which entries they no longer speak for: rules and attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.entry import Entry
from ledger.errors import EvidenceError, MalformedError, SignatureError
from ledger.keys import NodeKeys, PrivateKey, commitment
from ledger.merkle import leaf_hash, root_of
from ledger.placedentry import PlacedEntry
from ledger.rejected import Placed, RejectedEntry
from ledger.rules import check_keys
from ledger.succession import (
    DOUBTFUL,
    REVOKED,
    Predecessor,
    check_recovery,
    join_keys,
    recovery_fields,
    recovery_message,
)
from ledger.view import ACTIVE, SUPERSEDED, WITHDRAWN, LedgerView, view
from tests.ledger.makers import (
    ALICE,
    BOB,
    MALLORY,
    contribution,
    genesis,
    keys_of,
    origin_of,
    sign,
    withdrawal,
)
from tests.ledger.test_view import frontier_of, place, see, status

CAROL = keys_of("carol")
RECOVERY = keys_of("recovery").author
FRENCH = contribution(ALICE, "french")
LATIN = contribution(ALICE, "latin")
LATE = contribution(ALICE, "late")
OLD = [genesis(ALICE, name="Alice"), FRENCH, LATIN]

Logs = tuple[tuple[NodeKeys, Sequence[Entry]], ...]


def did(keys: NodeKeys) -> str:
    return keys.author.public.did


def tree(keys: NodeKeys, entries: Sequence[Entry]) -> Predecessor:
    """The tree of a log that holds these entries."""
    return Predecessor(origin_of(keys), len(entries), root_of(entry.leaf_hash for entry in entries))


def continuing(keys: NodeKeys, old: Predecessor, **changes: Any) -> Entry:
    """A genesis that names a predecessor."""
    return genesis(keys, predecessor=old.document(), **changes)


def recovering(
    keys: NodeKeys, old: Predecessor, key: PrivateKey = RECOVERY, **changes: Any
) -> Entry:
    """A genesis that a recovery key signed."""
    fields = recovery_fields(key, keys.author.public, origin_of(keys), old)
    return genesis(keys, **fields | changes)


def farewell(keys: NodeKeys, new: Entry) -> Entry:
    """The succession that names a new genesis."""
    named = {"successor": new.id, "origin": new.statement.predicate["origin"]}
    return sign(keys, "succession", named, new.id)


def revoking(origin: str, start: int, key: PrivateKey = RECOVERY) -> Entry:
    """A revocation by a recovery key, whoever's log it will stand in."""
    keys = NodeKeys(key, key, key)
    return sign(keys, "revocation", {"origin": origin, "from": start}, origin)


def rotated(old: Sequence[Entry] = OLD, after: Sequence[Entry] = ()) -> tuple[Logs, Entry]:
    """Alice's log, closed by a succession to Bob's key, and Bob's."""
    new = continuing(BOB, tree(ALICE, old), name="Alice B")
    return ((ALICE, [*old, farewell(ALICE, new), *after]), (BOB, [new])), new


def with_entries(logs: Logs, keys: NodeKeys, *entries: Entry) -> Logs:
    return tuple((k, [*log, *entries] if k == keys else log) for k, log in logs)


def joined(ledger: LedgerView, *keys: NodeKeys) -> bool:
    return len({ledger.identity(did(each)) for each in keys}) == 1


def objections(ledger: LedgerView) -> list[tuple[str, bool]]:
    return [(each.check, each.incomplete) for each in ledger.keys.objections]


def test_a_succession_joins_two_keys_to_one_contributor_with_one_name() -> None:
    logs, _ = rotated()
    ledger = see(*logs)
    assert ledger.identity(did(BOB)) == did(ALICE)
    assert ledger.keys.chain(did(ALICE)) == ledger.keys.chain(did(BOB)) == (did(ALICE), did(BOB))
    assert ledger.names == {did(ALICE): "Alice B", did(BOB): "Alice B"}
    assert ledger.contributions[FRENCH.id].contributor == did(ALICE)
    assert status(ledger, FRENCH) == ACTIVE
    assert ledger.keys.objections == ()
    assert list(check_keys(ledger)) == []


def test_a_successor_that_gives_no_name_keeps_the_old_one() -> None:
    new = continuing(BOB, tree(ALICE, OLD))
    ledger = see((ALICE, [*OLD, farewell(ALICE, new)]), (BOB, [new]))
    assert ledger.names == {did(ALICE): "Alice", did(BOB): "Alice"}


def test_a_chain_of_three_has_one_identity() -> None:
    logs, new = rotated()
    middle = [new, contribution(BOB, "greek")]
    last = continuing(CAROL, tree(BOB, middle))
    ledger = see(logs[0], (BOB, [*middle, farewell(BOB, last)]), (CAROL, [last]))
    assert ledger.keys.chain(did(BOB)) == (did(ALICE), did(BOB), did(CAROL))
    assert joined(ledger, ALICE, BOB, CAROL)


def test_a_successor_withdraws_and_supersedes_what_its_predecessor_published() -> None:
    logs, _ = rotated()
    second = contribution(BOB, "latin 2", supersedes=LATIN.id)
    ledger = see(*with_entries(logs, BOB, withdrawal(BOB, FRENCH.id), second))
    assert [status(ledger, entry) for entry in (FRENCH, LATIN, second)] == [
        WITHDRAWN, SUPERSEDED, ACTIVE,
    ]  # fmt: skip


def test_a_self_declared_successor_can_do_nothing() -> None:
    """Bob names Alice's log; Alice never named Bob."""
    new = continuing(BOB, tree(ALICE, OLD), name="Alice")
    ledger = see((ALICE, OLD), (BOB, [new, withdrawal(BOB, FRENCH.id)]))
    assert not joined(ledger, ALICE, BOB)
    assert status(ledger, FRENCH) == ACTIVE
    assert objections(ledger) == [("key.succession", False)]


def test_a_succession_to_somebody_who_does_not_agree_joins_nobody() -> None:
    """Alice cannot make Bob's past her own, nor close her log so."""
    new = genesis(BOB)
    ledger = see((ALICE, [*OLD, farewell(ALICE, new), LATE]), (BOB, [new]))
    assert not joined(ledger, ALICE, BOB)
    assert status(ledger, LATE) == ACTIVE
    assert objections(ledger) == [("key.succession", False)]


WRONG_TREES: dict[str, Predecessor] = {
    "another root": Predecessor(origin_of(ALICE), 3, b"\x07" * 32),
    "a smaller size": tree(ALICE, OLD[:2]),
    "the size after the succession": Predecessor(origin_of(ALICE), 4, b"\x07" * 32),
    "another log": Predecessor(origin_of(MALLORY), 1, root_of([genesis(MALLORY).leaf_hash])),
}


@pytest.mark.parametrize("named", WRONG_TREES.values(), ids=WRONG_TREES)
def test_a_genesis_that_names_another_tree_than_the_closed_one_joins_nobody(
    named: Predecessor,
) -> None:
    new = continuing(BOB, named)
    ledger = see((ALICE, [*OLD, farewell(ALICE, new)]), (BOB, [new]), (MALLORY, [genesis(MALLORY)]))
    assert not joined(ledger, ALICE, BOB)
    assert not joined(ledger, MALLORY, BOB)
    assert {check for check, _ in objections(ledger)} == {"key.succession"}


def test_a_predecessor_that_is_not_held_leaves_the_question_open() -> None:
    logs, _ = rotated()
    ledger = see(logs[1])
    assert ledger.identity(did(BOB)) == did(BOB)
    assert objections(ledger) == [("key.succession", True)]
    alone = see(logs[0])
    assert objections(alone) == [("key.succession", True)]
    assert status(alone, FRENCH) == ACTIVE
    cut = see((ALICE, OLD[:2]), logs[1])
    assert objections(cut) == [("key.succession", True)]


def test_a_succession_by_another_author_in_the_log_is_nothing() -> None:
    new = continuing(MALLORY, tree(ALICE, OLD))
    ledger = see((ALICE, [*OLD, farewell(BOB, new)]), (MALLORY, [new]))
    assert not joined(ledger, ALICE, MALLORY)


def test_a_succession_in_a_foreign_log_is_nothing() -> None:
    new = continuing(BOB, tree(ALICE, OLD))
    ledger = see((ALICE, OLD), (BOB, [new, farewell(ALICE, new)]))
    assert not joined(ledger, ALICE, BOB)


def test_of_two_successions_the_first_counts() -> None:
    logs, _ = rotated()
    other = continuing(MALLORY, tree(ALICE, logs[0][1]))
    ledger = see(*with_entries(logs, ALICE, farewell(ALICE, other)), (MALLORY, [other]))
    assert joined(ledger, ALICE, BOB)
    assert not joined(ledger, ALICE, MALLORY)
    assert objections(ledger) == [("key.succession", False)] * 2
    assert {finding.check for finding in check_keys(ledger)} == {"key.succession", "key.closed"}


def test_what_a_closed_log_adds_does_not_count() -> None:
    logs, _ = rotated(after=[LATE, withdrawal(ALICE, FRENCH.id)])
    ledger = see(*logs)
    assert status(ledger, LATE) == REVOKED
    assert status(ledger, FRENCH) == ACTIVE
    assert [finding.severity for finding in check_keys(ledger)] == ["warning", "warning"]


def test_a_closed_key_speaks_in_no_other_log() -> None:
    """A stolen key can sign for the thief's log as well as for its own."""
    logs, _ = rotated()
    stolen = [genesis(MALLORY), LATE, withdrawal(ALICE, FRENCH.id)]
    ledger = see(*logs, (MALLORY, stolen))
    assert status(ledger, LATE) == REVOKED
    assert status(ledger, FRENCH) == ACTIVE


def test_others_in_a_closed_log_are_not_silenced() -> None:
    greek = contribution(CAROL, "greek")
    logs, _ = rotated(after=[greek])
    assert status(see(*logs), greek) == ACTIVE


def test_a_copy_in_another_log_does_not_revoke_what_was_said_in_time() -> None:
    logs, _ = rotated()
    for thief in (CAROL, MALLORY):
        assert status(see(*logs, (thief, [genesis(thief), FRENCH])), FRENCH) == ACTIVE


def test_a_recovery_key_takes_over_and_closes_the_log() -> None:
    new = recovering(BOB, tree(ALICE, OLD))
    ledger = see((ALICE, [*OLD, LATE]), (BOB, [new, withdrawal(BOB, FRENCH.id)]))
    assert joined(ledger, ALICE, BOB)
    assert status(ledger, LATE) == REVOKED
    assert status(ledger, FRENCH) == WITHDRAWN
    assert status(ledger, LATIN) == ACTIVE


def test_a_recovery_beats_the_succession_of_a_thief() -> None:
    """Mallory has Alice's seed and signs a succession to a genesis of her own."""
    theirs = continuing(MALLORY, tree(ALICE, OLD), name="Alice")
    stolen = [*OLD, farewell(ALICE, theirs)]
    thief = (MALLORY, [theirs, withdrawal(MALLORY, FRENCH.id)])
    before = see((ALICE, stolen), thief)
    assert joined(before, ALICE, MALLORY)
    for known in (OLD, stolen):
        new = recovering(BOB, tree(ALICE, known), name="Alice")
        ledger = see((ALICE, stolen), thief, (BOB, [new]))
        assert joined(ledger, ALICE, BOB)
        assert not joined(ledger, ALICE, MALLORY)
        assert status(ledger, FRENCH) == ACTIVE
        assert ("key.succession", False) in objections(ledger)


FORGED: dict[str, Callable[[], Entry]] = {
    "a key nobody committed to": lambda: recovering(MALLORY, tree(ALICE, OLD), MALLORY.author),
    "the author key of the log": lambda: recovering(MALLORY, tree(ALICE, OLD), ALICE.author),
    "the revealed key of another recovery": lambda: recovering(
        MALLORY,
        tree(ALICE, OLD),
        recovery_signature=recovering(BOB, tree(ALICE, OLD)).statement.predicate[
            "recovery_signature"
        ],
    ),
    "a signature about another tree": lambda: recovering(
        MALLORY, tree(ALICE, OLD), predecessor=tree(ALICE, OLD[:1]).document()
    ),
    "a signature that is missing": lambda: continuing(
        MALLORY, tree(ALICE, OLD), recovery_key=RECOVERY.public.did
    ),
    "a key that is missing": lambda: continuing(
        MALLORY,
        tree(ALICE, OLD),
        recovery_signature=recovering(MALLORY, tree(ALICE, OLD)).statement.predicate[
            "recovery_signature"
        ],
    ),
    "a tree that never was": lambda: recovering(
        MALLORY, Predecessor(origin_of(ALICE), 2, b"\x01" * 32)
    ),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_recovery_has_no_effect(forge: Callable[[], Entry]) -> None:
    new = forge()
    ledger = see((ALICE, [*OLD, LATE]), (MALLORY, [new, withdrawal(MALLORY, FRENCH.id)]))
    assert not joined(ledger, ALICE, MALLORY)
    assert [status(ledger, entry) for entry in (FRENCH, LATE)] == [ACTIVE, ACTIVE]
    assert objections(ledger) == [("key.succession", False)]


@pytest.mark.parametrize("recovered", [True, False], ids=["recovery", "succession"])
def test_garbage_in_a_log_keeps_nobody_from_continuing_it(*, recovered: bool) -> None:
    """Whoever stole the seed can append bytes that are no entry; they belong to the tree."""
    junk = RejectedEntry(origin_of(ALICE), len(OLD), leaf_hash(b"junk"))
    roots = [*(entry.leaf_hash for entry in OLD), junk.leaf_hash, LATE.leaf_hash]
    point = Predecessor(origin_of(ALICE), len(roots), root_of(roots))
    new = recovering(BOB, point) if recovered else continuing(BOB, point)
    old = [*OLD, LATE] if recovered else [*OLD, LATE, farewell(ALICE, new)]
    placed: list[Placed] = [
        PlacedEntry(item.origin, item.index + (item.index >= junk.index), item.entry)
        if item.origin == junk.origin
        else item
        for item in place((ALICE, old), (BOB, [new]))
    ]
    frontier = frontier_of(place((ALICE, OLD), (BOB, [new])))
    for order in ([*placed, junk], [junk, *reversed(placed)]):
        ledger = view(frontier, order)
        assert joined(ledger, ALICE, BOB)
        assert ledger.keys.successions[junk.origin].size == len(roots)
        assert status(ledger, LATE) == ACTIVE
    assert not joined(view(frontier, placed), ALICE, BOB)


def test_garbage_where_a_succession_should_be_is_no_succession() -> None:
    new = continuing(BOB, tree(ALICE, OLD))
    junk = RejectedEntry(origin_of(ALICE), len(OLD), leaf_hash(b"junk"))
    placed = place((ALICE, OLD), (BOB, [new]))
    ledger = view(frontier_of(placed), [*placed, junk])
    assert not joined(ledger, ALICE, BOB)
    assert objections(ledger) == [("key.succession", False)]


def test_a_copied_recovery_genesis_makes_no_heir() -> None:
    """Mallory repeats Bob's genesis as entry 0 of her own log."""
    new = recovering(BOB, tree(ALICE, OLD))
    ledger = see((ALICE, OLD), (BOB, [new]), (MALLORY, [new]))
    assert ledger.keys.chain(did(ALICE)) == (did(ALICE), did(BOB))


def test_of_two_recoveries_the_one_that_closes_earlier_counts() -> None:
    late, early = recovering(BOB, tree(ALICE, OLD)), recovering(CAROL, tree(ALICE, OLD[:2]))
    ledger = see((ALICE, OLD), (BOB, [late]), (CAROL, [early]))
    assert joined(ledger, ALICE, CAROL)
    assert not joined(ledger, ALICE, BOB)
    assert status(ledger, LATIN) == REVOKED
    assert objections(ledger) == [("key.succession", False)]


def test_a_rotation_can_be_recovered_from_and_the_chain_goes_on() -> None:
    logs, new = rotated()
    last = recovering(CAROL, tree(BOB, [new]))
    ledger = see(*with_entries(logs, BOB, contribution(BOB, "greek")), (CAROL, [last]))
    assert joined(ledger, ALICE, BOB, CAROL)
    assert list(ledger.standings.values()) == [REVOKED]


def test_entries_in_the_window_are_doubtful_and_their_withdrawals_cast_doubt() -> None:
    second = contribution(ALICE, "latin 2", supersedes=LATIN.id)
    old = [*OLD, LATE, withdrawal(ALICE, FRENCH.id), second]
    new = recovering(BOB, tree(ALICE, old))
    revoked = [new, revoking(origin_of(ALICE), 3)]
    ledger = see((ALICE, [*old, contribution(ALICE, "later")]), (BOB, revoked))
    found = [status(ledger, entry) for entry in (FRENCH, LATIN, LATE, second)]
    assert found == [DOUBTFUL] * 4
    assert list(ledger.standings.values()).count(REVOKED) == 1
    settled = see((ALICE, old), (BOB, [*revoked, withdrawal(BOB, FRENCH.id)]))
    assert status(settled, FRENCH) == WITHDRAWN


def test_a_revocation_without_a_successor_casts_doubt_without_end() -> None:
    ledger = see((ALICE, [*OLD, LATE]), (CAROL, [genesis(CAROL), revoking(origin_of(ALICE), 2)]))
    found = [status(ledger, entry) for entry in (FRENCH, LATIN, LATE)]
    assert found == [ACTIVE, DOUBTFUL, DOUBTFUL]
    elsewhere = see((ALICE, OLD), (CAROL, [genesis(CAROL), LATE, revoking(origin_of(ALICE), 2)]))
    assert status(elsewhere, LATE) == DOUBTFUL


def test_the_earliest_revocation_counts_and_spares_the_genesis() -> None:
    start = [revoking(origin_of(ALICE), 2), revoking(origin_of(ALICE), 0)]
    ledger = see((ALICE, OLD), (CAROL, [genesis(CAROL), *start]))
    assert [status(ledger, entry) for entry in (FRENCH, LATIN)] == [DOUBTFUL, DOUBTFUL]
    assert OLD[0].id not in ledger.standings
    assert ledger.names[did(ALICE)] == "Alice"


@pytest.mark.parametrize("key", [ALICE.author, MALLORY.author], ids=["own", "stranger"])
def test_only_the_recovery_key_revokes(key: PrivateKey) -> None:
    ledger = see((ALICE, OLD), (MALLORY, [genesis(MALLORY), revoking(origin_of(ALICE), 1, key)]))
    assert status(ledger, FRENCH) == ACTIVE
    assert objections(ledger) == [("key.revocation", False)]


def test_a_revocation_of_a_log_that_is_not_held_leaves_the_question_open() -> None:
    ledger = see((MALLORY, [genesis(MALLORY), revoking(origin_of(ALICE), 1)]))
    assert objections(ledger) == [("key.revocation", True)]


def test_an_author_of_two_logs_is_joined_to_nobody() -> None:
    """Whoever stole the seed can begin another log of the same author and hand that over."""
    other = keys_of("another log")
    twin = NodeKeys(ALICE.author, other.log, other.cosigner)
    second = genesis(twin)
    heir = continuing(MALLORY, tree(twin, [second]))
    ledger = see(
        (ALICE, OLD),
        (twin, [second, farewell(twin, heir)]),
        (MALLORY, [heir, withdrawal(MALLORY, FRENCH.id)]),
    )
    assert not joined(ledger, ALICE, MALLORY)
    assert status(ledger, FRENCH) == ACTIVE
    assert objections(ledger) == [("key.author", False)] * 2


def test_a_predecessor_of_no_entries_is_not_a_genesis() -> None:
    """It would let two logs name each other."""
    nothing = Predecessor(origin_of(ALICE), 0, root_of([]))
    with pytest.raises(MalformedError, match="above zero"):
        continuing(BOB, nothing)


def test_keys_in_a_circle_are_joined_to_none() -> None:
    assert join_keys([("a", "b"), ("b", "a")]) == {}
    assert join_keys([("a", "a")]) == {}
    assert join_keys([("a", "b"), ("c", "d"), ("d", "c")]) == dict.fromkeys("ab", ("a", "b"))


def test_the_message_of_a_recovery_is_the_one_specified() -> None:
    key = PrivateKey(bytes(32)).public
    message = recovery_message(key, "new", Predecessor("old", 2, b"\x01" * 32))
    assert message == (
        b'pnode/recovery/v1\n{"author":"' + key.did.encode() + b'","origin":"new",'
        b'"predecessor":{"origin":"old","root":"' + b"01" * 32 + b'","size":2}}'
    )


def test_a_recovery_is_checked_in_full() -> None:
    fields = recovering(BOB, tree(ALICE, OLD)).statement.predicate
    committed = commitment(RECOVERY.public)
    check_recovery(fields, committed)
    for field in ("author", "origin", "predecessor", "recovery_key", "recovery_signature"):
        theirs = recovering(MALLORY, tree(CAROL, OLD), CAROL.author).statement.predicate
        with pytest.raises(EvidenceError):
            check_recovery({**fields, field: theirs[field]}, committed)
    with pytest.raises(SignatureError):
        check_recovery({**fields, "predecessor": None}, committed)


def everything() -> list[PlacedEntry]:
    """A world with a rotation, a theft, a recovery and strangers."""
    logs, new = rotated(after=[LATE])
    greek = contribution(BOB, "greek")
    theirs = continuing(MALLORY, tree(BOB, [new, greek]))
    stolen = [new, greek, farewell(BOB, theirs), withdrawal(BOB, FRENCH.id)]
    last = recovering(CAROL, tree(BOB, stolen))
    return place(
        logs[0],
        (BOB, stolen),
        (CAROL, [last, revoking(origin_of(BOB), 2), withdrawal(CAROL, LATIN.id)]),
        (MALLORY, [theirs, LATE, FRENCH, withdrawal(MALLORY, greek.id), new]),
    )


EVERYTHING = everything()
FRONTIER = frontier_of(EVERYTHING)


def test_the_whole_story_of_a_stolen_key() -> None:
    ledger = view(FRONTIER, EVERYTHING)
    assert joined(ledger, ALICE, BOB, CAROL)
    assert not joined(ledger, ALICE, MALLORY)
    found = {item.title: item.status for item in ledger.contributions.values()}
    assert found == {
        "french": DOUBTFUL, "latin": WITHDRAWN, "late": REVOKED, "greek": ACTIVE,
    }  # fmt: skip


@given(st.permutations(EVERYTHING))
def test_the_order_of_arrival_does_not_matter(order: list[PlacedEntry]) -> None:
    expected, got = view(FRONTIER, EVERYTHING), view(FRONTIER, iter(order))
    assert got == expected
    for field in ("entries", "contributions", "names", "standings"):
        assert list(getattr(got, field)) == list(getattr(expected, field))


def test_a_stranger_makes_nobody_hash_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many short logs that name one long log cost no more than their signatures."""
    hashed: list[int] = []

    def counted(leaves: Iterable[bytes]) -> bytes:
        held = list(leaves)
        hashed.append(len(held))
        return root_of(held)

    monkeypatch.setattr("ledger.succession.root_of", counted)
    many = [keys_of(f"stranger {number}") for number in range(5)]
    see((ALICE, OLD), *((keys, [continuing(keys, tree(ALICE, OLD))]) for keys in many))
    assert hashed == []
    see((ALICE, OLD), *((keys, [recovering(keys, tree(ALICE, OLD))]) for keys in many))
    assert hashed == [3]
