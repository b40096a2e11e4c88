"""The ledger at a frontier is a pure function, and only an author changes what is the author's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import derived
from ledger.checkpoint import Checkpoint
from ledger.derived import content, listing, rebuild, records
from ledger.entry import Entry
from ledger.errors import MalformedError
from ledger.frontier import Frontier
from ledger.keys import NodeKeys
from ledger.merkle import root_of
from ledger.placedentry import PlacedEntry
from ledger.view import ACTIVE, SUPERSEDED, WITHDRAWN, LedgerView, view
from tests.ledger.makers import (
    ALICE,
    BOB,
    MALLORY,
    contribution,
    genesis,
    note_entry,
    origin_of,
    sign,
    withdrawal,
)

FRENCH = contribution(ALICE, "french")
LATIN = contribution(BOB, "latin")


def place(*logs: tuple[NodeKeys, Sequence[Entry]]) -> list[PlacedEntry]:
    return [
        PlacedEntry(origin_of(keys), index, entry)
        for keys, entries in logs
        for index, entry in enumerate(entries)
    ]


def frontier_of(placed: Sequence[PlacedEntry]) -> Frontier:
    leaves: dict[str, list[bytes]] = {}
    for item in sorted(placed, key=lambda item: (item.origin, item.index)):
        leaves.setdefault(item.origin, []).append(item.entry.leaf_hash)
    return Frontier.of(Checkpoint(o, len(hashes), root_of(hashes)) for o, hashes in leaves.items())


def see(*logs: tuple[NodeKeys, Sequence[Entry]]) -> LedgerView:
    placed = place(*logs)
    return view(frontier_of(placed), placed)


def status(ledger: LedgerView, entry: Entry) -> str:
    return ledger.contributions[entry.id].status


def test_a_contribution_is_active_with_its_place() -> None:
    ledger = see((ALICE, [genesis(ALICE), FRENCH]), (BOB, [genesis(BOB), LATIN]))
    held = ledger.contributions[FRENCH.id]
    assert (held.status, held.origin, held.index) == (ACTIVE, origin_of(ALICE), 1)
    assert held.author == ALICE.author.public.did
    assert list(ledger.contributions) == sorted([FRENCH.id, LATIN.id])


def test_an_author_withdraws() -> None:
    ledger = see((ALICE, [genesis(ALICE), FRENCH, withdrawal(ALICE, FRENCH.id)]))
    assert status(ledger, FRENCH) == WITHDRAWN


def test_a_stranger_cannot_withdraw() -> None:
    """Not even the owner of the log that carries the contribution."""
    for log in ([FRENCH, withdrawal(MALLORY, FRENCH.id)], [withdrawal(MALLORY, FRENCH.id), FRENCH]):
        assert status(see((MALLORY, log)), FRENCH) == ACTIVE


def test_a_withdrawal_counts_from_any_log() -> None:
    ledger = see((ALICE, [FRENCH]), (MALLORY, [withdrawal(ALICE, FRENCH.id)]))
    assert status(ledger, FRENCH) == WITHDRAWN


def test_an_author_supersedes() -> None:
    second = contribution(ALICE, "french 2", supersedes=FRENCH.id)
    third = contribution(ALICE, "french 3", supersedes=second.id)
    ledger = see((ALICE, [FRENCH, second, third]))
    found = [status(ledger, entry) for entry in (FRENCH, second, third)]
    assert found == [SUPERSEDED, SUPERSEDED, ACTIVE]


def test_a_stranger_cannot_supersede() -> None:
    forged = contribution(MALLORY, "better french", supersedes=FRENCH.id)
    assert status(see((ALICE, [FRENCH]), (MALLORY, [forged])), FRENCH) == ACTIVE


def test_a_withdrawn_successor_supersedes_nothing() -> None:
    second = contribution(ALICE, "french 2", supersedes=FRENCH.id)
    ledger = see((ALICE, [FRENCH, second, withdrawal(ALICE, second.id)]))
    assert (status(ledger, FRENCH), status(ledger, second)) == (ACTIVE, WITHDRAWN)


def test_withdrawn_outranks_superseded() -> None:
    second = contribution(ALICE, "french 2", supersedes=FRENCH.id)
    ledger = see((ALICE, [FRENCH, second, withdrawal(ALICE, FRENCH.id)]))
    assert status(ledger, FRENCH) == WITHDRAWN


def test_a_reference_to_what_is_not_here_has_no_effect() -> None:
    second = contribution(ALICE, "french 2", supersedes=FRENCH.id)
    ledger = see((ALICE, [second, withdrawal(ALICE, LATIN.id), withdrawal(ALICE, second.id)]))
    assert status(ledger, second) == WITHDRAWN
    assert list(ledger.contributions) == [second.id]


def test_a_copy_in_another_log_does_not_move_a_contribution() -> None:
    """Its place is in its author's own log, also if the copy's origin sorts first."""
    for thief in (BOB, MALLORY):
        ledger = see((ALICE, [genesis(ALICE), FRENCH]), (thief, [genesis(thief), FRENCH]))
        assert ledger.contributions[FRENCH.id].origin == origin_of(ALICE)
        assert len(ledger.contributions) == 1


def test_a_copied_genesis_makes_no_home() -> None:
    """Mallory repeats Alice's genesis as entry 0 of a log of her own."""
    ledger = see((MALLORY, [genesis(ALICE), FRENCH]), (ALICE, [genesis(ALICE), FRENCH]))
    assert ledger.contributions[FRENCH.id].origin == origin_of(ALICE)


def test_a_genesis_inside_a_log_gives_no_name() -> None:
    late = genesis(BOB, name="Alice")
    ledger = see((BOB, [genesis(BOB, name="Bob"), late]))
    assert ledger.names == {BOB.author.public.did: "Bob"}
    stolen = see((ALICE, [genesis(ALICE), genesis(MALLORY, origin=origin_of(ALICE), name="Alice")]))
    assert stolen.names == {}


def test_an_author_without_a_name_is_shown_by_key() -> None:
    shown = see((ALICE, [genesis(ALICE)])).name_of(ALICE.author.public.did)
    assert shown.startswith("did:key:z6Mk")


def test_unknown_kinds_are_kept() -> None:
    ledger = see((ALICE, [genesis(ALICE), note_entry(ALICE, 1)]))
    assert [item.entry.kind for item in ledger.of_kind("note")] == ["note"]


def test_what_is_said_about_an_entry_is_found() -> None:
    digest = "ab" * 32
    base = {"name": "tiny", "digest": digest, "cid": LATIN.id}
    composed = sign(BOB, "composition", {
        "lock": FRENCH.id, "system_digest": digest, "method": "merge.linear", "base": base,
        "members": [FRENCH.id], "suites": [], "exactness": "bitwise",
    })  # fmt: skip
    verdict = sign(ALICE, "verification", {
        "target": composed.id, "verdict": "mismatch", "checked": 1, "mismatches": 1,
        "exactness": "bitwise",
    })  # fmt: skip
    ledger = see((ALICE, [FRENCH, verdict]), (BOB, [composed]))
    assert ledger.users_of(FRENCH.id) == [composed.id]
    assert ledger.users_of(LATIN.id) == []
    about = ledger.about("verification", "target", composed.id)
    assert [item.entry.id for item in about] == [verdict.id]


EVERYTHING = place(
    (
        ALICE,
        [genesis(ALICE, name="Alice"), FRENCH, contribution(ALICE, "f2", supersedes=FRENCH.id)],
    ),
    (BOB, [genesis(BOB, name="Bob"), LATIN, FRENCH, withdrawal(BOB, LATIN.id)]),
    (MALLORY, [withdrawal(MALLORY, FRENCH.id), LATIN, genesis(ALICE), note_entry(MALLORY, 1)]),
)
FRONTIER = frontier_of(EVERYTHING)


@given(st.permutations(EVERYTHING))
def test_the_order_of_arrival_does_not_matter(order: list[PlacedEntry]) -> None:
    expected, got = view(FRONTIER, EVERYTHING), view(FRONTIER, iter(order))
    assert got == expected
    for field in ("entries", "contributions", "names"):
        assert list(getattr(got, field)) == list(getattr(expected, field))


def test_derived_tables_are_rebuilt_alike(tmp_path: Path) -> None:
    path, again = tmp_path / "derived.db", tmp_path / "again.db"
    rebuild(path, view(FRONTIER, EVERYTHING))
    rebuild(path, view(FRONTIER, reversed(EVERYTHING)))
    rebuild(again, view(FRONTIER, EVERYTHING))
    assert content(path) == content(again)
    ledger = view(FRONTIER, EVERYTHING)
    assert listing(path, FRONTIER.digest) == records(ledger)
    assert listing(path, "0" * 64) is None
    rebuild(path, see((ALICE, [FRENCH])))
    assert listing(path, FRONTIER.digest) is None


def test_damaged_derived_tables_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "derived.db"
    assert listing(path, FRONTIER.digest) is None
    path.write_bytes(b"not a database" * 300)
    assert listing(path, FRONTIER.digest) is None
    path.write_bytes(b"")
    assert listing(path, FRONTIER.digest) is None


def test_derived_tables_of_another_schema_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ledger = tmp_path / "derived.db", view(FRONTIER, EVERYTHING)
    rebuild(path, ledger)
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE record ADD COLUMN extra TEXT")
    connection.close()
    assert listing(path, FRONTIER.digest) is None
    rebuild(path, ledger)
    assert listing(path, FRONTIER.digest) == records(ledger)
    monkeypatch.setattr(derived, "_SCHEMA", 0)
    assert listing(path, FRONTIER.digest) is None


def test_a_frontier_has_one_order_and_each_log_once() -> None:
    assert FRONTIER.text.count("\n") == 3
    assert len(FRONTIER.digest) == 64
    assert Frontier.of(reversed(FRONTIER.checkpoints)) == FRONTIER
    assert Frontier(()).text == ""
    first, second = FRONTIER.checkpoints[:2]
    for points in ((second, first), (first, first)):
        with pytest.raises(MalformedError):
            Frontier(points)
