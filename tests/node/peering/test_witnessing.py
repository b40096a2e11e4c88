"""Cosigning for others: every status over HTTP, races, crashes, and who is never cosigned."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from ledger.checkpoint import Checkpoint, log_key
from ledger.cosignature import CosignatureVerifier, cosign, cosigned_at
from ledger.errors import EquivocationError, HomeBusyError
from ledger.evidence import same_size
from ledger.heldevidence import held_evidence, hold
from ledger.log import Log, add_log, find_log
from ledger.mirror import extend
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey
from ledger.observations import add_sighting, cosignatures, last_cosigned, note_of, sightings
from ledger.witness import AddCheckpoint, NotCosignedError, parse_answer
from node.api import Node
from node.home import Home
from node.peering.peers import add_peer, remove_peer
from node.peering.pull import Offer
from node.peering.source import HTTPSource
from node.peering.sync import sync
from node.peering.tree import log_folder
from node.peering.witnessing import Cosigner, add_checkpoint, cosign_mirror, keep_lines, take_over
from tests.faults import kill_at, trace
from tests.ledger.asking import LEAVES, checkpoint, proof, request
from tests.ledger.makers import ALICE, BOB, keys_of, origin_of
from tests.node.served import served
from tests.node.worlds import Place, check_home, forging
from tests.simulator import SimulatedLog, SimulatedPeer

KEY = log_key(origin_of(ALICE), ALICE.log.public)
TIME = 1_795_367_449


def now() -> int:
    return TIME


@pytest.fixture
def witness(node: Node) -> Home:
    """A home that knows the log of the requests by name only, from its policy."""
    know(node.home)
    return node.home


def know(home: Home, *keys: NoteKey) -> None:
    lines = [f"log {key}\n" for key in keys or (KEY,)]
    (home.path / "policy.txt").write_text("".join([*lines, "quorum none\n"]))


def cosigned_size(home: Home, origin: str = KEY.name) -> int | None:
    with home.reading() as database:
        log = find_log(database, origin)
        last = last_cosigned(log, Cosigner.of(home).key) if log else None
        return last.size if last else None


def refused(home: Home, asked: AddCheckpoint) -> NotCosignedError:
    with pytest.raises(NotCosignedError) as refusal:
        add_checkpoint(home, bytes(asked), clock=now)
    return refusal.value


# --- the conversation over HTTP -----------------------------------------------------------------


Ask = Callable[[AddCheckpoint | bytes], httpx2.Response]


@pytest.fixture
def ask(witness: Home) -> Iterator[Ask]:
    with served(witness) as url, httpx2.Client(trust_env=False) as client:
        yield lambda body: client.post(f"{url}/add-checkpoint", content=bytes(body))


def test_a_conversation_from_one_to_three_to_five(witness: Home, ask: Ask) -> None:
    vkey = Cosigner.of(witness).key
    for asked in (request(0, 1), request(1, 3), request(3, 5)):
        answer = ask(asked)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        (line,) = parse_answer(answer.content)
        CosignatureVerifier(vkey).verify_line(asked.note.text, line)
        assert line.name == witness.origin
        assert cosigned_at(line) > TIME
        conflict = ask(request(0, 1))
        assert conflict.status_code == 409
        assert conflict.headers["content-type"] == "text/x.tlog.size"
        assert conflict.content == f"{Checkpoint.parse(asked.note.text).size}\n".encode()
    assert ask(request(5, 5)).content == answer.content


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (b"", 400),
        (b"old 1\n\nx", 400),
        (b"x" * 80_000, 400),
        (request(4, 2, path=()), 400),
        (request(0, 5, keys=BOB), 404),
        (AddCheckpoint(0, (), Note(request(0, 5).note.text, request(0, 3).note.signatures)), 403),
        (request(0, 5), 409),
        (request(1, 5), 409),
        (request(3, 5, path=proof(2, 5)), 422),
        (request(3, 5, fork=True), 422),
        (request(3, 3, fork=True), 422),
        (request(3, 3, path=(LEAVES[0],)), 422),
        (request(3, 3), 200),
        (request(3, 5), 200),
    ],
)
def test_every_status(witness: Home, ask: Ask, asked: AddCheckpoint | bytes, status: int) -> None:
    assert ask(request(0, 3)).status_code == 200
    answer = ask(asked)
    assert answer.status_code == status, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert str(witness.path) not in answer.text
    assert cosigned_size(witness) == (5 if asked == request(3, 5) else 3)


def test_a_log_that_may_be_pushed_is_cosigned_before_it_was(node: Node) -> None:
    assert refused(node.home, request(0, 3)).status == 404
    add_peer(node.home, str(KEY))
    (line,) = parse_answer(add_checkpoint(node.home, bytes(request(0, 3)), clock=now))
    CosignatureVerifier(Cosigner.of(node.home).key).verify_line(request(0, 3).note.text, line)
    assert refused(node.home, request(0, 5, keys=BOB)).status == 404
    remove_peer(node.home, str(KEY))
    # What was cosigned once stays known, so that nothing contradicting it is cosigned.
    assert refused(node.home, request(3, 3, fork=True)).status == 422


def test_a_home_in_use_asks_to_come_again(witness: Home, ask: Ask) -> None:
    with witness.locked():
        assert ask(request(0, 3)).status_code == 503
    assert ask(request(0, 3)).status_code == 200


def test_a_request_that_no_known_log_signed_never_takes_the_lock(witness: Home, ask: Ask) -> None:
    unsigned = AddCheckpoint(0, (), Note(request(0, 5).note.text, request(0, 3).note.signatures))
    with witness.locked():
        assert ask(request(0, 3, keys=BOB)).status_code == 404
        assert ask(unsigned).status_code == 403


def test_a_log_far_ahead_of_its_mirror_is_asked_to_wait(witness: Home, ask: Ask) -> None:
    def seen(sizes: range) -> None:
        with witness.locked() as database:
            log = add_log(database, KEY)
            with database.transaction() as writer:
                for size in sizes:
                    add_sighting(writer, log, Checkpoint(KEY.name, size, b"\1" * 32), b"")

    seen(range(10, 1_009))
    assert ask(request(0, 1)).status_code == 200
    answer = ask(request(1, 3))
    assert (answer.status_code, "sync first" in answer.text) == (429, True)
    assert cosigned_size(witness) == 1
    assert ask(request(1, 1)).status_code == 200


# --- what a restored witness remembers ----------------------------------------------------------


def test_a_witness_restored_from_a_backup_cosigns_no_second_history(
    place: Place, witness: Home, tmp_path: Path
) -> None:
    add_checkpoint(witness, bytes(request(0, 1)), clock=now)
    backup = shutil.copytree(witness.path, tmp_path / "backup")
    add_checkpoint(witness, bytes(request(1, 3)), clock=now)
    shutil.rmtree(witness.path)
    shutil.copytree(backup, witness.path)
    assert cosigned_size(witness) == 1, "the ledger has forgotten"
    refusal = refused(witness, request(1, 3, fork=True))
    assert (refusal.status, refusal.size) == (409, 3)
    assert refused(witness, request(3, 3, fork=True)).status == 422
    add_checkpoint(witness, bytes(request(3, 5)), clock=now)
    assert cosigned_size(witness) == 5


def test_a_witness_without_its_signing_lock_cosigns_nothing(witness: Home) -> None:
    witness.signing_lock().path.unlink()
    assert refused(witness, request(0, 3)).status == 404
    assert not witness.signing_lock().path.exists()


def test_what_was_cleared_and_not_stored_is_cosigned_by_the_next_request(witness: Home) -> None:
    add_checkpoint(witness, bytes(request(0, 1)), clock=now)
    lock = witness.signing_lock().of_cosigned(KEY.name)
    lock.advance(lock.read(), Checkpoint.parse(request(1, 3).note.text))
    assert refused(witness, request(1, 3)).size == 3
    add_checkpoint(witness, bytes(request(3, 3)), clock=now)
    assert cosigned_size(witness) == 3


# --- what is never cosigned ---------------------------------------------------------------------


def test_the_own_log_is_never_cosigned(node: Node) -> None:
    note = Note.parse(node.checkpoint())
    assert refused(node.home, AddCheckpoint(0, (), note)).status == 404
    with node.home.locked() as database:
        cosign_mirror(node.home, database, Log(database, node.home.origin), clock=now)
    assert cosigned_size(node.home, node.home.origin) is None


def test_an_unknown_log_leaves_no_trace(node: Node) -> None:
    assert refused(node.home, request(0, 3)).status == 404
    with node.home.reading() as database:
        assert find_log(database, KEY.name) is None


def test_a_log_with_evidence_against_it_is_not_cosigned(witness: Home) -> None:
    add_checkpoint(witness, bytes(request(0, 3)), clock=now)
    sides = bytes(request(0, 3).note), bytes(request(0, 3, fork=True).note)
    with witness.locked() as database:
        hold(database, same_size(KEY, *sides))
        cosign_mirror(witness, database, Log(database, KEY.name), clock=now)
    assert refused(witness, request(3, 5)).status == 403
    assert cosigned_size(witness) == 3


def test_a_home_without_keys_cosigns_nothing(witness: Home) -> None:
    (witness.path / "keys" / "seed").unlink()
    assert refused(witness, request(0, 3)).status == 404


# --- state --------------------------------------------------------------------------------------


def test_a_tree_ahead_of_the_mirror_is_a_sighting(witness: Home) -> None:
    add_checkpoint(witness, bytes(request(0, 3)), clock=now)
    with witness.reading() as database:
        log = Log(database, KEY.name)
        assert [point for point, _ in sightings(log)] == [checkpoint(3)]
        assert log.checkpoint() is None
        assert note_of(log, checkpoint(3)) == bytes(request(0, 3).note)


def test_the_same_tree_is_cosigned_once(witness: Home) -> None:
    times = iter(range(TIME, TIME + 100))
    first = add_checkpoint(witness, bytes(request(0, 3)), clock=times.__next__)
    again = add_checkpoint(witness, bytes(request(3, 3)), clock=times.__next__)
    assert first == again


@pytest.mark.parametrize("asked", [request(0, 3, fork=True), request(3, 3, fork=True)])
def test_a_contradiction_is_kept_and_named(witness: Home, asked: AddCheckpoint) -> None:
    add_checkpoint(witness, bytes(request(0, 3)), clock=now)
    refusal = refused(witness, asked)
    assert refusal.status == (409 if asked.old_size == 0 else 422)
    assert isinstance(refusal.__cause__, EquivocationError)
    with witness.reading() as database:
        log = Log(database, KEY.name)
        assert {point for point, _ in sightings(log)} == {
            checkpoint(3),
            checkpoint(3, fork=True),
        }
        assert list(cosignatures(log, checkpoint(3, fork=True))) == []
        (evidence,) = held_evidence(database, KEY.name)
        evidence.verify()
    # From now on the log is frozen here.
    assert refused(witness, request(3, 5)).status == 403


def test_slow_requests_never_roll_the_witness_back(witness: Home) -> None:
    """Two threads each try to move the witness from every size it may be at, again and again."""
    asked = [request(old, new) for old in range(6) for new in range(max(old, 1), 6)]
    seen: list[int | None] = []

    def grow(order: list[AddCheckpoint]) -> None:
        for each in order:
            try:
                add_checkpoint(witness, bytes(each))
            except (NotCosignedError, HomeBusyError):
                continue
            seen.append(cosigned_size(witness))

    threads = [
        threading.Thread(target=grow, args=(order,)) for order in (asked, asked[::-1] + asked)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cosigned_size(witness) == 5
    with witness.reading() as database:
        log = Log(database, KEY.name)
        stored = [size for size in range(1, 6) if cosignatures(log, checkpoint(size))]
    assert stored[-1] == 5
    assert seen


@pytest.mark.usefixtures("ptrace")
def test_a_cosignature_is_on_disk_before_it_is_answered(
    place: Place, node: Node, tmp_path: Path
) -> None:
    """Killed at any storage call: if an answer had left, the next life knows of it."""
    know(node.home)
    kept = place.copy_to(tmp_path / "kept")
    answered = tmp_path / "answered"

    def ask() -> None:
        line = add_checkpoint(place.open().home, bytes(request(0, 3)), clock=now)
        answered.write_bytes(line)

    calls = trace(ask, place.both)
    outcomes = set()
    for n in range(1, len(calls) + 2):
        kept.copy_to(place.folder)
        answered.unlink(missing_ok=True)
        ended = kill_at(n, ask, place.both)
        assert ended == (n > len(calls))
        size = cosigned_size(place.open().home)
        outcomes.add((size, answered.exists()))
        if answered.exists():
            assert size == 3
        else:
            # Another tree of the same size must never be cosigned beside one that was stored.
            fork = request(0, 3, fork=True)
            if size == 3:
                assert refused(place.open().home, fork).status == 409
        # Whoever was shown the other tree may say so, and nothing else.
        findings = place.open().audit().findings
        assert {finding.check for finding in findings} <= {"log.equivocation"}, findings
    assert {(None, False), (3, False), (3, True)} <= outcomes


# --- mirrors ------------------------------------------------------------------------------------


def test_a_mirror_is_cosigned_when_it_has_grown(node: Node) -> None:
    log = SimulatedLog(7)
    log.grow(3)
    assert sync(node.home, SimulatedPeer(log)).errors == ()
    assert cosigned_size(node.home, log.origin) == 3
    log.grow(9)
    assert sync(node.home, SimulatedPeer(log)).errors == ()
    assert cosigned_size(node.home, log.origin) == 9
    check_home(node)
    served_note = SimulatedPeer.of(node.home).files[f"/{log_folder(log.origin)}/checkpoint"]
    names = [line.name for line in Note.parse(served_note).signatures]
    assert names == [log.origin, node.home.origin]


def test_a_mirror_that_contradicts_a_cosigned_tree_is_not_extended(node: Node) -> None:
    log, fork = SimulatedLog(7), SimulatedLog(7)
    log.grow(3)
    fork.grow(5, prefix="other")
    know(node.home, log.key)
    add_checkpoint(node.home, bytes(AddCheckpoint(0, (), Note.parse(log.note()))), clock=now)
    with node.home.locked() as database, pytest.raises(EquivocationError):
        extend(database, log.key, fork.note(), fork.bodies)
    (error,) = sync(node.home, SimulatedPeer(fork)).errors
    assert isinstance(error, EquivocationError)
    with node.home.reading() as database:
        assert Log(database, log.origin).size == 0
    log.grow(5)
    assert sync(node.home, SimulatedPeer(log)).added == 5


def test_only_known_cosigners_are_taken_over(node: Node) -> None:
    """Known by a genesis that binds the key to its own origin, or by the policy."""
    log, bound = SimulatedLog(7), node.home
    log.grow(3)
    sync(bound, SimulatedPeer(log))
    listed, stranger = keys_of("listed").cosigner, keys_of("stranger").cosigner
    key = NoteKey("listed.example", ED25519_COSIGNATURE, listed.public)
    (bound.path / "policy.txt").write_text(f"witness listed {key}\nquorum listed\n")
    note = Note.parse(log.note())
    lines = (
        cosign(note.text, "listed.example", listed, time=TIME),
        cosign(note.text, "stranger.example", stranger, time=TIME),
        cosign(note.text, log.origin, log.keys.cosigner, time=TIME),
    )
    point = Checkpoint.parse(note.text)
    offer = Offer(log.key, point, bytes(Note(note.text, (*note.signatures, *lines))))
    take_over(bound, offer)
    take_over(bound, offer)
    with bound.reading() as database:
        names = {line.name for line in cosignatures(Log(database, log.origin), point).values()}
    assert names == {bound.origin, "listed.example"}


def test_a_wrong_line_of_a_known_cosigner_is_not_kept(node: Node) -> None:
    log = SimulatedLog(7)
    log.grow(3)
    sync(node.home, SimulatedPeer(log))
    key = NoteKey("listed.example", ED25519_COSIGNATURE, keys_of("listed").cosigner.public)
    (node.home.path / "policy.txt").write_text(f"witness listed {key}\nquorum listed\n")
    note = Note.parse(log.note())
    wrong = cosign("another text\n", "listed.example", keys_of("listed").cosigner, time=TIME)
    noted = bytes(Note(note.text, (*note.signatures, wrong)))
    offer = Offer(log.key, Checkpoint.parse(note.text), noted)
    with node.home.locked() as database:
        assert keep_lines(node.home, database, Log(database, log.origin), offer) == ()


def test_the_witness_makes_up_leeway_before_it_is_asked(node: Node) -> None:
    """A mirror that grew while the keys were away is cosigned first, or a fork could slip in."""
    log = SimulatedLog(7)
    log.grow(4)
    with node.home.locked() as database:
        extend(database, log.key, log.note(), log.bodies)
    refusal = refused(node.home, AddCheckpoint(0, (), Note.parse(log.note())))
    assert (refusal.status, refusal.size) == (409, 4)


# --- asking peers -------------------------------------------------------------------------------


def test_sync_asks_a_peer_that_knows_the_log(new_node: Callable[[str], Node]) -> None:
    ada, bob = new_node("ada"), new_node("bob")
    with ada.home.reading() as database:
        know(bob.home, Log(database, ada.home.origin).key)
    with served(bob.home) as url:
        with HTTPSource(url) as source:
            assert sync(ada.home, source).errors == ()
        note = Note.parse(ada.checkpoint())
        assert [line.name for line in note.signatures] == [ada.home.origin, bob.home.origin]
        with HTTPSource(url) as source:
            assert sync(ada.home, source).errors == ()
    assert cosigned_size(bob.home, ada.home.origin) == 1
    check_home(ada)
    check_home(bob)


def test_a_peer_that_does_not_cosign_is_no_error(new_node: Callable[[str], Node]) -> None:
    ada, bob = new_node("ada"), new_node("bob")
    with served(bob.home) as url, HTTPSource(url) as source:
        assert sync(ada.home, source).errors == ()
    assert len(Note.parse(ada.checkpoint()).signatures) == 1


def test_a_log_row_without_entries_is_audited(witness: Home, node: Node) -> None:
    with witness.locked() as database:
        add_log(database, KEY)
    add_checkpoint(witness, bytes(request(0, 3)), clock=now)
    check_home(node)
    assert node.list(kind="adapter") == []


@pytest.mark.parametrize("column", ["size", "root", "key", "line"])
def test_a_flipped_bit_of_a_cosignature_is_found(node: Node, column: str) -> None:
    log = SimulatedLog(7)
    log.grow(3)
    sync(node.home, SimulatedPeer(log))
    with forging(node.home) as connection:
        ((kept,),) = connection.execute(f"SELECT {column} FROM cosignature").fetchall()
        if isinstance(kept, int):
            changed: object = kept ^ 4
        elif isinstance(kept, bytes):
            changed = kept[:-1] + bytes([kept[-1] ^ 1])
        else:
            changed = kept[:-3] + chr(ord(kept[-3]) ^ 1) + kept[-2:]
        connection.execute(f"UPDATE cosignature SET {column} = ?", (changed,))
    audited = node.audit()
    assert [finding.check for finding in audited.findings] == ["log.cosignature"]
    assert audited.exit_code == 3


def test_a_damaged_sighting_is_found_and_accuses_nobody(witness: Home, node: Node) -> None:
    log = SimulatedLog(7)
    log.grow(3)
    know(witness, log.key)
    add_checkpoint(witness, bytes(AddCheckpoint(0, (), Note.parse(log.note()))), clock=now)
    with forging(witness) as connection:
        connection.execute("UPDATE sighting SET root = ?", (bytes(32),))
    assert [finding.check for finding in node.audit().findings] == ["log.sighting"]
    (error,) = sync(witness, SimulatedPeer(log)).errors
    assert not isinstance(error, EquivocationError)
