"""Evidence that is held freezes its log, once and for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.database import Database
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    NotFoundError,
    SignatureError,
    UsageError,
)
from ledger.evidence import Evidence, same_size
from ledger.heldevidence import (
    MAX_PER_LOG,
    check_not_frozen,
    find_evidence,
    frozen,
    frozen_origins,
    held_evidence,
    hold,
)
from ledger.note import Note, NoteSignature
from tests.ledger.forks import KEY, ORIGIN, fork, leaves, named_note, note

FIRST = same_size(KEY, note(fork(2, 5, "a")), note(fork(2, 5, "b")))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create(tmp_path / "ledger.db") as opened:
        yield opened


def test_a_log_is_frozen_by_evidence_and_only_by_that(database: Database) -> None:
    assert not frozen(database, ORIGIN)
    assert frozen_origins(database) == frozenset()
    check_not_frozen(database, ORIGIN)
    assert hold(database, FIRST) == FIRST
    assert frozen(database, ORIGIN)
    assert frozen_origins(database) == {ORIGIN}
    assert not frozen(database, "another")
    with pytest.raises(EquivocationError, match=FIRST.id) as caught:
        check_not_frozen(database, ORIGIN)
    assert caught.value.evidence == bytes(FIRST)


def test_holding_again_changes_nothing(database: Database) -> None:
    hold(database, FIRST)
    hold(database, FIRST)
    assert held_evidence(database) == [FIRST]
    assert held_evidence(database, ORIGIN) == [FIRST]
    assert held_evidence(database, "another") == []


def test_the_same_two_trees_are_held_once(database: Database) -> None:
    """Signature lines of strangers make other bytes, not other evidence."""
    hold(database, FIRST)
    line = NoteSignature("stranger", b"abcd", b"anything")
    notes = [Note.parse(part) for part in (FIRST.a, FIRST.b)]
    a, b = (bytes(Note(each.text, (*each.signatures, line))) for each in notes)
    padded = Evidence(FIRST.kind, KEY, a, b)
    padded.verify()
    assert padded.id != FIRST.id
    assert hold(database, padded) == FIRST
    assert held_evidence(database) == [FIRST]


def test_a_log_that_signs_anything_fills_no_disk(database: Database) -> None:
    tree = note(fork(1, 3, "a"))
    for number in range(MAX_PER_LOG + 4):
        hold(database, same_size(KEY, tree, note(fork(1, 3, f"b{number}"))))
    assert len(held_evidence(database)) == MAX_PER_LOG


def test_late_forks_do_not_shield_an_early_one(database: Database) -> None:
    late = note(fork(60, 64, "a"))
    for number in range(MAX_PER_LOG + 4):
        hold(database, same_size(KEY, late, note(fork(60, 64, f"b{number}"))))
    early = same_size(KEY, note(fork(3, 8, "a")), note(fork(3, 8, "b")))
    hold(database, early)
    assert held_evidence(database)[MAX_PER_LOG:] == [early]


def test_a_log_that_forks_ever_earlier_fills_no_disk(database: Database) -> None:
    for number in range(MAX_PER_LOG):
        hold(database, same_size(KEY, note(leaves(64)), note(fork(1, 64, f"b{number}"))))
    for size in range(63, 0, -1):
        hold(database, same_size(KEY, note(leaves(size)), note(fork(0, size, "b"))))
    added = held_evidence(database)[MAX_PER_LOG:]
    assert [each.checkpoints[0].size for each in added] == [32, 16, 8, 4, 2, 1]


def test_what_proves_nothing_is_not_held(database: Database) -> None:
    forged = Evidence(
        FIRST.kind,
        KEY,
        FIRST.a,
        bytes(Note(Note.parse(FIRST.b).text, Note.parse(FIRST.a).signatures)),
    )
    with pytest.raises(EvidenceError):
        hold(database, forged)
    key, one = named_note("log.example/foreign", fork(2, 5, "a"))
    _, other = named_note("log.example/foreign", fork(2, 5, "b"))
    foreign = same_size(key, one, other)
    with pytest.raises(SignatureError):
        hold(database, foreign)
    assert held_evidence(database) == []


def test_evidence_is_found_by_a_prefix_of_its_id(database: Database) -> None:
    hold(database, FIRST)
    assert find_evidence(database, FIRST.id[:12]) == FIRST
    with pytest.raises(UsageError):
        find_evidence(database, FIRST.id[:11])
    with pytest.raises(NotFoundError):
        find_evidence(database, "%" * 12)


def test_evidence_never_changes_or_goes(database: Database) -> None:
    hold(database, FIRST)
    for sql in ("DELETE FROM evidence", "UPDATE evidence SET common = 9"):
        with pytest.raises(sqlite3.IntegrityError):
            database.writer().execute(sql)
    assert held_evidence(database) == [FIRST]
