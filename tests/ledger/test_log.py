"""A log is read, proven and found by the ids of its entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.checkpoint import log_key, open_checkpoint
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import (
    MalformedError,
    NotFoundError,
    UsageError,
)
from ledger.keys import NodeKeys
from ledger.log import (
    INDEX_SQL,
    Log,
    add_log,
    find_ids,
    find_log,
    logs,
    places,
    resolve_id,
    store_rows,
)
from ledger.merkle import leaf_hash, root_of, verify_consistency
from ledger.mirror import extend
from ledger.note import NoteKey
from ledger.tile import Tile, tiles_of
from ledger.tlogproof import TlogProof
from tests.ledger.homes import ENTRIES, KEY, ORIGIN, Home, check_everything, home
from tests.ledger.makers import (
    ALICE,
    BOB,
    MALLORY,
    evidence_of,
    genesis,
    keys_of,
    note_entry,
    origin_of,
    signed,
)

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
        checkpoints = [checkpoint for checkpoint, _ in evidence_of(log).checkpoints]
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


def mirror(database: Database, keys: NodeKeys, entry: Entry) -> None:
    bodies = [genesis(keys).body, entry.body]
    extend(database, log_key(origin_of(keys), keys.log.public), signed(keys, bodies), bodies)


@pytest.mark.parametrize("owner", [ALICE, BOB, MALLORY], ids=["alice", "bob", "mallory"])
def test_the_place_to_name_is_covered_and_in_the_log_of_the_author(
    tmp_path: Path, owner: NodeKeys
) -> None:
    entry = note_entry(owner, 1)
    with Database.create(tmp_path / "ledger.db") as database:
        for keys in (ALICE, BOB, MALLORY):
            mirror(database, keys, entry)
        origins = [origin for origin, _, _ in places(database, entry.id)]
        others = sorted(origin_of(keys) for keys in (ALICE, BOB, MALLORY) if keys is not owner)
        assert origins == [origin_of(owner), *others]


def test_a_copy_that_is_not_signed_yet_is_the_last_place(home: Home) -> None:
    for number in range(8):
        keys = keys_of(f"peer {number}")
        entry = note_entry(ALICE, 100 + number)
        with Database.open(home.ledger) as database:
            mirror(database, keys, entry)
            own = add_log(database, KEY)
            with database.transaction() as writer:
                store_rows(writer, own, [entry.body])
            found = places(database, entry.id)
            assert [origin for origin, _, _ in found] == [origin_of(keys), ORIGIN]
            Log(database, found[0][0]).prove(found[0][1])


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


def test_an_entry_is_found_by_an_index_and_not_by_reading_the_log(tmp_path: Path) -> None:
    with Database.create(tmp_path / "ledger.db") as database:
        query = database.query(f"EXPLAIN QUERY PLAN {INDEX_SQL}", (1, b""))
        plan = [row[3] for row in query]
    assert len(plan) == 1
    assert "log=? AND leaf_hash=?" in plan[0]
