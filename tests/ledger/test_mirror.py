"""The copy of somebody else's log holds only what that log signed and can prove."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, log_key, sign_checkpoint
from ledger.database import Database
from ledger.dsse import Envelope
from ledger.errors import EvidenceError, MalformedError, ProofError, SignatureError
from ledger.log import CheckedBodies, Log, check_bodies, find_log
from ledger.merkle import leaf_hash, root_of
from ledger.mirror import extend
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey, NoteSignature
from ledger.observations import add_sighting, sightings
from ledger.rejected import RejectedEntry, reason
from ledger.rules import check_log
from tests.ledger.makers import BOB, MALLORY, evidence_of, note_entry, origin_of, signed

BODIES = [note_entry(BOB, number).body for number in range(600)]
OTHER = [note_entry(BOB, number).body for number in range(600, 1_200)]
ORIGIN = origin_of(BOB)
KEY = log_key(ORIGIN, BOB.log.public)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.create(tmp_path / "ledger.db") as database:
        yield database


def check_everything(database: Database, size: int) -> None:
    log = Log(database, ORIGIN)
    assert list(log.bodies()) == BODIES[:size]
    assert [f for f in check_log(evidence_of(log), []) if f.check != "log.genesis"] == []


def test_a_log_is_mirrored_step_by_step(database: Database) -> None:
    held = 0
    for size in (1, 2, 255, 256, 257, 600):
        extend(database, KEY, signed(BOB, BODIES[:size]), BODIES[held:size])
        held = size
    check_everything(database, 600)


def test_mirroring_the_same_again_changes_nothing(database: Database) -> None:
    note = signed(BOB, BODIES[:3])
    extend(database, KEY, note, BODIES[:3])
    extend(database, KEY, note, [])
    check_everything(database, 3)
    assert len(list(Log(database, ORIGIN).notes())) == 1


def test_entries_that_do_not_extend_what_is_held_are_refused(database: Database) -> None:
    extend(database, KEY, signed(BOB, BODIES[:3]), BODIES[:3])
    for bodies in (OTHER[:2], [BODIES[4], BODIES[3]], [BODIES[3], BODIES[4] + b" "]):
        with pytest.raises(ProofError):
            extend(database, KEY, signed(BOB, BODIES[:5]), bodies)
    fork = [*OTHER[:3], *BODIES[3:5]]
    with pytest.raises(ProofError):
        extend(database, KEY, signed(BOB, fork), fork[3:])
    check_everything(database, 3)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_or_too_many_entries_are_refused(database: Database, count: int) -> None:
    extend(database, KEY, signed(BOB, BODIES[:3]), BODIES[:3])
    with pytest.raises(ProofError):
        extend(database, KEY, signed(BOB, BODIES[:5]), BODIES[3 : 3 + count])
    check_everything(database, 3)


def test_a_shorter_checkpoint_is_refused(database: Database) -> None:
    extend(database, KEY, signed(BOB, BODIES[:3]), BODIES[:3])
    with pytest.raises(ProofError):
        extend(database, KEY, signed(BOB, BODIES[:2]), [])
    check_everything(database, 3)


def test_a_checkpoint_of_another_key_is_refused_and_nothing_is_kept(database: Database) -> None:
    root = root_of(leaf_hash(body) for body in BODIES[:3])
    forged = bytes(sign_checkpoint(Checkpoint(ORIGIN, 3, root), MALLORY.log))
    with pytest.raises(SignatureError):
        extend(database, KEY, forged, BODIES[:3])
    with pytest.raises(SignatureError):
        extend(database, NoteKey(ORIGIN, KEY.kind, MALLORY.log.public), forged, BODIES[:3])
    assert find_log(database, ORIGIN) is None


def test_a_log_under_a_name_that_does_not_contain_its_key_is_refused(database: Database) -> None:
    key = NoteKey("log.example/bob", KEY.kind, BOB.log.public)
    root = root_of([leaf_hash(BODIES[0])])
    note = bytes(sign_checkpoint(Checkpoint("log.example/bob", 1, root), BOB.log))
    with pytest.raises(SignatureError):
        extend(database, key, note, BODIES[:1])


def test_the_log_key_is_kept_as_a_log_key(database: Database) -> None:
    """The same key bytes under the cosigner type are another note key."""
    key = NoteKey(ORIGIN, ED25519_COSIGNATURE, BOB.log.public)
    text = Note.parse(signed(BOB, BODIES[:1])).text
    odd = Note(text, (NoteSignature(ORIGIN, key.key_id, BOB.log.sign(text.encode())),))
    for note in (signed(BOB, BODIES[:1]), bytes(odd)):
        with pytest.raises(EvidenceError):
            extend(database, key, note, BODIES[:1])
    assert find_log(database, ORIGIN) is None


def forged(body: bytes) -> bytes:
    """The same statement with a signature that nobody made."""
    envelope = Envelope.parse(body)
    return bytes(Envelope(envelope.payload, envelope.key, bytes(64)))


@pytest.mark.parametrize("held", [0, 2], ids=["new", "held"])
def test_a_repeated_entry_is_kept_and_is_first_where_it_was_first(
    database: Database, held: int
) -> None:
    bodies = [BODIES[0], BODIES[1], BODIES[0], BODIES[2]]
    if held:
        extend(database, KEY, signed(BOB, bodies[:held]), bodies[:held])
    log = extend(database, KEY, signed(BOB, bodies), bodies[held:])
    assert list(log.bodies()) == bodies
    assert list(log.rejected()) == []
    assert log.index_of(leaf_hash(BODIES[0])) == 0


@pytest.mark.parametrize("checked", [True, False], ids=["read before", "plain bytes"])
def test_what_is_no_valid_entry_is_kept_and_marked(database: Database, *, checked: bool) -> None:
    """Reading entries again relies on the marks."""
    bodies = [BODIES[0], b"junk", BODIES[1], forged(BODIES[2]), b"", b"junk", BODIES[3]]
    given = check_bodies(ORIGIN, 0, bodies) if checked else bodies
    log = extend(database, KEY, signed(BOB, bodies), given)
    assert list(log.bodies()) == bodies
    assert list(log.rejected()) == [1, 3, 4, 5]
    assert list(log.accepted(1, 4)) == [(2, BODIES[1])]
    placed = list(log.placed(len(bodies)))
    assert [item.index for item in placed] == list(range(7))
    for item in placed:
        rejected = item.index in (1, 3, 4, 5)
        assert isinstance(item, RejectedEntry) == rejected
        assert (reason(bodies[item.index]) != "") == rejected
        if isinstance(item, RejectedEntry):
            assert item.leaf_hash == leaf_hash(bodies[item.index])
    assert log.root(7) == root_of(map(leaf_hash, bodies))


def test_a_mark_can_neither_be_taken_away_nor_changed(database: Database) -> None:
    bodies = [BODIES[0], b"junk"]
    extend(database, KEY, signed(BOB, bodies), bodies)
    for sql in ("DELETE FROM rejected", "UPDATE rejected SET idx = 0"):
        with pytest.raises(EvidenceError), database.transaction() as writer:
            writer.execute(sql)
    assert list(Log(database, ORIGIN).rejected()) == [1]


def test_a_log_whose_first_entry_is_not_valid_is_refused(database: Database) -> None:
    for body, error in ((b"junk", MalformedError), (forged(BODIES[1]), SignatureError)):
        bodies = [body, BODIES[0]]
        with pytest.raises(error, match="entry 0 of"):
            extend(database, KEY, signed(BOB, bodies), bodies)
    assert find_log(database, ORIGIN) is None


def test_what_was_checked_for_another_place_is_checked_again(database: Database) -> None:
    """Marks name places; those of entries that moved would mark others."""
    bodies = [BODIES[0], BODIES[1], b"junk"]
    given = check_bodies(ORIGIN, 1, bodies)
    assert isinstance(given, CheckedBodies) and given.rejected == (3,)
    log = extend(database, KEY, signed(BOB, bodies), given)
    assert list(log.rejected()) == [2]


def test_only_sightings_between_held_and_new_size_are_looked_at(database: Database) -> None:
    """The others say nothing of these entries; how many there are must not slow a mirror down."""
    log = extend(database, KEY, signed(BOB, BODIES[:3]), BODIES[:3])
    for size in (2, 3, 6):
        with database.transaction() as writer:
            add_sighting(writer, log, Checkpoint(ORIGIN, size, b"\1" * 32), b"damaged")
    assert [seen.size for seen, _ in sightings(log, beyond=3, up_to=6)] == [6]
    extend(database, KEY, signed(BOB, BODIES[:5]), BODIES[3:5])
    with pytest.raises(EvidenceError):
        extend(database, KEY, signed(BOB, BODIES[:6]), BODIES[5:6])
    check_everything(database, 5)
