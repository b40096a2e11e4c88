"""A log is read, proven and found by the ids of its entries."""

from __future__ import annotations

import pytest

from ledger.checkpoint import open_checkpoint
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import (
    MalformedError,
    NotFoundError,
    UsageError,
)
from ledger.log import Log, find_ids, find_log, logs, places, resolve_id
from ledger.merkle import leaf_hash, root_of, verify_consistency
from ledger.note import NoteKey
from ledger.tile import Tile, tiles_of
from ledger.tlogproof import TlogProof
from tests.ledger.homes import ENTRIES, KEY, ORIGIN, Home, check_everything, home
from tests.ledger.makers import ALICE, BOB, note_entry, origin_of

__all__ = ["home"]


def test_append_read_prove(home: Home) -> None:
    assert home.append(ENTRIES[:5]) == [0, 1, 2, 3, 4]
    with Database.open(home.ledger) as database:
        log = Log(database, ORIGIN)
        held = log.checkpoint()
        assert held is not None
        assert held[0] == open_checkpoint(held[1], KEY)
        assert held[0].root == root_of(entry.leaf_hash for entry in ENTRIES[:5]) == log.root(5)
        assert list(log.bodies(1, 3)) == [entry.body for entry in ENTRIES[1:3]]
        for index, entry in enumerate(ENTRIES[:5]):
            assert log.index_of(entry.leaf_hash) == index
            proof = TlogProof.parse(bytes(log.prove(index)))
            assert proof.verify(entry.leaf_hash, KEY) == held[0]
        assert log.index_of(leaf_hash(b"never appended")) is None
        with pytest.raises(NotFoundError):
            log.prove(5)
    check_everything(home, ENTRIES[:5])


def test_every_growth_is_consistent_with_the_last(home: Home) -> None:
    for size in (1, 2, 5, 6, 12):
        home.append(ENTRIES[:size])
    with Database.open(home.ledger) as database:
        log = Log(database, ORIGIN)
        checkpoints = [checkpoint for checkpoint, _ in log.checkpoints()]
        assert [checkpoint.size for checkpoint in checkpoints] == [1, 2, 5, 6, 12]
        for i, old in enumerate(checkpoints):
            for new in checkpoints[i:]:
                proof = log.prove_consistency(old.size, new.size)
                verify_consistency(old.size, new.size, old.root, new.root, proof)
    check_everything(home, ENTRIES)


def test_appending_again_changes_nothing(home: Home) -> None:
    assert home.append(ENTRIES[:3]) == [0, 1, 2]
    before = home.ledger.read_bytes()
    assert home.append([ENTRIES[2], ENTRIES[0], ENTRIES[2]]) == [2, 0, 2]
    assert home.append([]) == []
    assert home.ledger.read_bytes() == before
    assert home.append([ENTRIES[4], ENTRIES[1], ENTRIES[4]]) == [3, 1, 3]
    check_everything(home, [*ENTRIES[:3], ENTRIES[4]])


def test_a_log_of_more_than_one_tile(home: Home) -> None:
    many = [note_entry(ALICE, number) for number in range(600)]
    for start, end in ((0, 255), (255, 256), (256, 257), (257, 600)):
        home.append(many[start:end])
    with Database.open(home.ledger) as database:
        log = Log(database, ORIGIN)
        for tile in tiles_of(600):
            assert len(log.tile(tile)) == tile.width
        assert log.tile(Tile(0, 0, 3))[:3] == [entry.leaf_hash for entry in many[:3]]
        for index in (0, 255, 256, 511, 512, 599):
            log.prove(index).verify(many[index].leaf_hash, KEY)
    check_everything(home, many)


def test_reopening_continues_the_log(home: Home) -> None:
    for number, entry in enumerate(ENTRIES):
        assert home.append([entry]) == [number]
    check_everything(home, ENTRIES)


def test_an_empty_log_signs_nothing(home: Home) -> None:
    assert home.settle() is None
    with Database.open(home.ledger) as database:
        assert Log(database, ORIGIN).checkpoint() is None
    check_everything(home, [])


def test_ids_are_found_by_prefix(home: Home) -> None:
    home.append(ENTRIES)
    id_ = ENTRIES[3].id
    with Database.open(home.ledger) as database:
        assert resolve_id(database, id_) == id_
        assert resolve_id(database, id_[:20]) == id_
        assert places(database, id_) == [(ORIGIN, 3, ENTRIES[3].body)]
        assert places(database, note_entry(ALICE, 99).id) == []
        with pytest.raises(UsageError, match="too short"):
            resolve_id(database, id_[:11])
        with pytest.raises(NotFoundError):
            resolve_id(database, "bafkreiaaaaaaaaaaaaaaaaaa")
        for hostile in (
            "%" * 12,
            "_" * 12,
            "'; DROP TABLE entry; --",
            "bafkrei\x00\x00\x00\x00\x00",
        ):
            with pytest.raises(NotFoundError):
                resolve_id(database, hostile)
        with pytest.raises(MalformedError):
            places(database, "not-an-id")


def test_an_ambiguous_prefix_is_refused(home: Home) -> None:
    wanted: dict[str, Entry] = {}
    for number in range(20_000):
        entry = note_entry(ALICE, number)
        twin = wanted.setdefault(entry.id[:10], entry)
        if twin is not entry:
            break
    home.append([twin, entry])
    with Database.open(home.ledger) as database:
        assert find_ids(database, entry.id[:10]) == sorted([twin.id, entry.id])


def test_logs_of_others_are_listed_apart(home: Home) -> None:
    home.append(ENTRIES[:1])
    with Database.open(home.ledger) as database:
        assert [log.origin for log in logs(database)] == [ORIGIN]
        assert find_log(database, origin_of(BOB)) is None
        with pytest.raises(NotFoundError):
            Log(database, origin_of(BOB))
        assert Log(database, ORIGIN).key == NoteKey.parse(str(KEY))
