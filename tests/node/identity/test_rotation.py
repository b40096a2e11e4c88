"""New keys: rotation, recovery and revocation, and what a kill at any storage call leaves."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.checkpoint import log_key
from ledger.commonprefix import common_prefix
from ledger.dispute import evidence_statement
from ledger.entry import Entry
from ledger.errors import (
    HomeBusyError,
    IdentityError,
    LogFrozenError,
    NotFoundError,
    PolicyError,
    UsageError,
)
from ledger.evidence import same_size
from ledger.keys import PrivateKey, commitment
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.statement import Statement, Subject
from node.api import Node
from node.home import Home
from node.identity.keyring import change_passphrase, move_recovery_key, show_keys
from node.identity.lineage import own_origins
from node.identity.revocation import revoke
from node.identity.rotation import Renewed, recover, rotate
from tests.faults import kill_at, trace
from tests.ledger.forks import reader
from tests.ledger.makers import signed
from tests.node.worlds import Place, check_home, clock, predicate_of, say, snapshot, write_suite

CHEAP = 16


@pytest.fixture
def published(place: Place, tmp_path: Path) -> Place:
    """A home with one contribution."""
    node = place.init("alice")
    node.publish(write_suite(tmp_path / "first", "first"))
    return place


def rotated(place: Place) -> Renewed:
    return rotate(place.open().home, clock=clock)


def recovered(place: Place, file: Path, predecessor: str | None = None) -> Renewed:
    return recover(place.open().home, file, predecessor=predecessor)


def recovery_file(place: Place, folder: Path) -> Path:
    """Move the recovery key where it belongs: out of the home."""
    return move_recovery_key(place.open().home, folder / "offline").file


def is_pending(place: Place) -> bool:
    return (place.home / "keys" / "next").exists()


def titles(node: Node) -> dict[str, str]:
    return {line.title: line.status for line in node.list() if line.status}


def test_a_rotation_continues_the_log_under_new_keys(published: Place, tmp_path: Path) -> None:
    old = published.open().home
    done = rotated(published)
    node = published.open()
    assert (done.predecessor, done.closed_at, done.recovered) == (old.origin, 2, False)
    assert node.home.origin == done.origin != old.origin
    assert node.home.author == done.author != old.author
    assert [line.kind for line in node.log()] == ["genesis"]
    kinds = [line.kind for line in node.log(origin=old.origin)]
    assert kinds == ["genesis", "contribution", "succession"]
    assert sorted(path.name for path in (published.home / "keys").iterdir()) == ["recovery", "seed"]
    check_home(node)
    second = node.publish(write_suite(tmp_path / "second", "second"))
    assert second.origin == done.origin
    assert titles(node) == {"first": "active", "second": "active"}
    check_home(node)


def test_one_contributor_after_a_rotation(published: Place, tmp_path: Path) -> None:
    old = published.open()
    first = old.list(kind="suite")[0]
    rotated(published)
    node = published.open()
    node.publish(write_suite(tmp_path / "second", "second"))
    for author in (old.home.author, node.home.author, "alice"):
        assert len(node.list(kind="suite", author=author)) == 2
    assert {line.name for line in node.list()} == {"alice"}
    assert {line.contributor for line in node.list()} == {old.home.author}
    again = node.publish(tmp_path / "first")
    assert (again.already, again.id, again.origin, again.index) == (True, first.id, first.origin, 1)
    node.withdraw(first.id, "by my new key")
    assert node.show(first.id).status == "withdrawn"
    replaced = node.publish(write_suite(tmp_path / "third", "third"), supersedes=again_id(node))
    assert replaced.id
    check_home(node)


def again_id(node: Node) -> str:
    return next(line.id for line in node.list() if line.title == "second")


def test_the_recovery_commitment_is_kept_and_the_key_not_needed(
    published: Place, tmp_path: Path
) -> None:
    before = show_keys(published.open().home)
    recovery_file(published, tmp_path)
    rotated(published)
    after = show_keys(published.open().home)
    assert after.recovery == before.recovery
    assert not after.recovery_here
    assert [link.closed_at for link in after.chain] == [2, None]
    assert [link.author for link in after.chain] == [before.author, after.author]


def test_rotations_can_follow_one_another(published: Place) -> None:
    for number in range(3):
        rotated(published)
        assert len(show_keys(published.open().home).chain) == number + 2
    check_home(published.open())


def test_what_a_thief_signs_elsewhere_with_the_old_key_does_not_count(
    published: Place, tmp_path: Path
) -> None:
    """It was copied before the rotation. In its own log it can only fork; so it tries another."""
    stolen = published.open().home.keys()
    rotated(published)
    node = published.open()
    thief = Place(tmp_path / "thief").init("mallory")
    first = node.list(kind="suite")[0].id
    said = {"author": stolen.author.public.did, "created": clock(), "target": first, "reason": ""}
    forged = Entry.sign(Statement("withdrawal", (Subject(first, "00" * 32),), said), stolen.author)
    with thief.home.writing() as log:
        log.append([forged])
    thief.export(tmp_path / "stick")
    (report,) = node.sync([str(tmp_path / "stick")])
    assert report.errors == ()
    assert node.show(first).status == "active"
    assert [finding.check for finding in node.audit().findings] == ["key.closed"]


def test_a_peer_learns_of_the_new_log_by_syncing(published: Place, tmp_path: Path) -> None:
    reader = Place(tmp_path / "reader").init("bob")
    published.open().export(tmp_path / "stick")
    reader.sync([str(tmp_path / "stick")])
    rotated(published)
    node = published.open()
    node.publish(write_suite(tmp_path / "second", "second"))
    node.export(tmp_path / "stick")
    (report,) = reader.sync([str(tmp_path / "stick")])
    assert report.errors == ()
    assert len(reader.list(kind="suite", author="alice")) == 2
    check_home(reader)


def test_killed_anywhere_a_rotation_is_finished_once(
    published: Place, tmp_path: Path, ptrace: None
) -> None:
    kept = published.copy_to(tmp_path / "kept")
    old = published.open().home
    calls = trace(lambda: rotated(published), published.both)
    seen = set()
    for n in range(1, len(calls) + 2):
        kept.copy_to(published.folder)
        ended = kill_at(n, lambda: rotated(published), published.both)
        assert ended == (n > len(calls))
        node = published.open()
        audited = node.audit()
        assert audited.exit_code in {0, 9}, (n, audited.findings)
        assert {line.title for line in node.list(kind="suite")} == {"first"}, n
        state = (is_pending(published), node.home.origin == old.origin)
        seen.add(state)
        if is_pending(published):
            with pytest.raises(LogFrozenError, match="interrupted"):
                node.withdraw(node.list(kind="suite")[0].id, "while it is pending")
        if state != (False, False):
            rotated(published)
        node = published.open()
        assert node.home.origin != old.origin
        assert len(show_keys(node.home).chain) == 2, n
        kinds = [line.kind for line in node.log(origin=old.origin)]
        assert kinds == ["genesis", "contribution", "succession"], n
        assert [line.kind for line in node.log()] == ["genesis"]
        assert [
            path.name for path in (published.home / "keys").iterdir() if "tmp" in path.name
        ] == []
        check_home(node)
    assert seen == {(False, True), (True, True), (True, False), (False, False)}
    assert len(calls) > 40


def test_a_lost_seed_is_recovered_from(published: Place, tmp_path: Path) -> None:
    old = published.open().home
    recovery = recovery_file(published, tmp_path)
    (published.home / "keys" / "seed").unlink()
    with pytest.raises(IdentityError):
        published.open().publish(write_suite(tmp_path / "second", "second"))
    done = recovered(published, recovery)
    assert (done.predecessor, done.closed_at, done.recovered) == (old.origin, 2, True)
    node = published.open()
    assert node.home.name == "alice"
    assert node.show(node.log()[0].id).name == "alice"
    shown = show_keys(node.home)
    assert shown.recovery_here
    assert shown.recovery != commitment(key_in(recovery).public)
    assert shown.recovery == commitment(key_in(published.home / "keys" / "recovery").public)
    node.withdraw(node.list(kind="suite")[0].id, "by the recovered key")
    check_home(node)


def key_in(path: Path) -> PrivateKey:
    return PrivateKey(bytes.fromhex(path.read_text("ascii").strip()))


def test_a_recovery_in_a_new_home_that_only_holds_a_copy(published: Place, tmp_path: Path) -> None:
    recovery = recovery_file(published, tmp_path)
    origin = published.open().home.origin
    published.open().export(tmp_path / "stick")
    shutil.rmtree(published.folder)
    new = Place(tmp_path / "new")
    new.init("temporary").sync([str(tmp_path / "stick")])
    done = recovered(new, recovery)
    assert (done.predecessor, done.name) == (origin, "alice")
    assert len(new.open().list(kind="suite", author=done.author)) == 1
    check_home(new.open())


def test_a_recovery_key_in_the_home_works_and_is_kept(published: Place) -> None:
    """Nobody should leave it there; it must not be overwritten by its successor all the same."""
    file = published.home / "keys" / "recovery"
    before = key_in(file)
    recovered(published, file)
    names = sorted(path.name for path in (published.home / "keys").iterdir())
    kept = f"recovery-{commitment(before.public)[:16]}"
    assert names == ["recovery", kept, "seed"]
    assert key_in(published.home / "keys" / kept) == before
    check_home(published.open())


def test_a_key_that_nobody_committed_to_recovers_nothing(published: Place, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("ab" * 32 + "\n")
    before = snapshot(published.home / "keys")
    with pytest.raises(NotFoundError, match="committed to this recovery key"):
        recovered(published, other)
    with pytest.raises(NotFoundError, match="no such recovery key"):
        recovered(published, tmp_path / "nowhere")
    assert snapshot(published.home / "keys") == before


def test_killed_anywhere_a_recovery_is_finished_once(
    published: Place, tmp_path: Path, ptrace: None
) -> None:
    recovery = recovery_file(published, tmp_path)
    old = published.open().home
    (published.home / "keys" / "seed").unlink()
    kept = published.copy_to(tmp_path / "kept")
    calls = trace(lambda: recovered(published, recovery), published.both)
    for n in range(1, len(calls) + 2):
        kept.copy_to(published.folder)
        ended = kill_at(n, lambda: recovered(published, recovery), published.both)
        assert ended == (n > len(calls))
        assert published.open().audit().exit_code == 0, n
        if is_pending(published) or published.open().home.origin == old.origin:
            recovered(published, recovery)
        node = published.open()
        shown = show_keys(node.home)
        assert [link.origin for link in shown.chain] == [old.origin, node.home.origin], n
        mine = key_in(published.home / "keys" / "recovery")
        assert shown.recovery == commitment(mine.public), n
        assert [line.kind for line in node.log()] == ["genesis"]
        check_home(node)
    assert len(calls) > 40


def test_an_interrupted_rotation_is_not_mistaken_for_a_recovery(
    published: Place, tmp_path: Path
) -> None:
    recovery = recovery_file(published, tmp_path)
    (published.home / "keys" / "next").write_text("cd" * 32 + "\n")
    with pytest.raises(LogFrozenError, match="another change") as caught:
        recovered(published, recovery)
    assert "key rotate" in caught.value.hint
    (published.home / "keys" / "next-recovery").write_text("ef" * 32 + "\n")
    with pytest.raises(LogFrozenError, match="another change") as caught:
        rotated(published)
    assert "key recover" in caught.value.hint
    recovered(published, recovery)
    check_home(published.open())


def test_a_stolen_key_is_revoked_and_the_owner_goes_on(published: Place, tmp_path: Path) -> None:
    recovery = recovery_file(published, tmp_path)
    node = published.open()
    old = node.home
    first = node.list(kind="suite")[0].id
    second = str(node.publish(write_suite(tmp_path / "second", "second")).id)
    theft = say(old, "withdrawal", {"target": first, "reason": "by the thief"}, {first: b""})
    done = revoke(old, recovery, 2, clock=clock)
    assert done.renewed is not None
    assert (done.origin, done.start, done.renewed.closed_at) == (old.origin, 2, 4)
    node = published.open()
    assert titles(node) == {"first": "doubtful", "second": "doubtful"}
    assert node.show(second).index == 2
    assert predicate_of(node, done.id)["from"] == 2
    assert node.show(theft).kind == "withdrawal"
    check_home(node)
    again = revoke(node.home, recovery, 2, clock=clock)
    assert (again.id, again.renewed) == (done.id, None)
    assert [line.kind for line in node.log()] == ["genesis", "revocation"]
    fresh = node.publish(write_suite(tmp_path / "third", "second"))
    assert (fresh.already, node.show(str(fresh.id)).status) == (False, "active")
    with pytest.raises(UsageError, match="none at index 9"):
        revoke(node.home, recovery, 9, clock=clock)


def test_killed_anywhere_a_revocation_is_made_once(
    published: Place, tmp_path: Path, ptrace: None
) -> None:
    recovery = recovery_file(published, tmp_path)
    kept = published.copy_to(tmp_path / "kept")

    def action() -> None:
        revoke(published.open().home, recovery, 1, clock=clock)

    calls = trace(action, published.both)
    for n in range(1, len(calls) + 2, 7):
        kept.copy_to(published.folder)
        kill_at(n, action, published.both)
        action()
        node = published.open()
        assert [line.kind for line in node.log()] == ["genesis", "revocation"], n
        assert len(show_keys(node.home).chain) == 2, n
        assert [line.status for line in node.list(kind="suite")] == ["doubtful"]
        check_home(node)


def test_after_a_rotation_the_older_key_can_be_revoked_by_name(
    published: Place, tmp_path: Path
) -> None:
    recovery = recovery_file(published, tmp_path)
    old = published.open().home.origin
    rotated(published)
    node = published.open()
    done = revoke(node.home, recovery, 1, log=old.split("/")[-1][:16], clock=clock)
    assert (done.origin, done.renewed) == (old, None)
    assert [line.status for line in node.list(kind="suite")] == ["doubtful"]
    assert published.open().home.origin == node.home.origin
    check_home(node)


def test_whoever_publishes_in_a_closed_log_is_told(published: Place, tmp_path: Path) -> None:
    """A recovery elsewhere has closed this home's log; what it adds would not count."""
    recovery = tmp_path / "offline"
    shutil.copy(published.home / "keys" / "recovery", recovery)
    published.open().export(tmp_path / "stick")
    heir = Place(tmp_path / "heir")
    heir.init("heir").sync([str(tmp_path / "stick")])
    recovered(heir, recovery)
    heir.open().export(tmp_path / "back")
    node = published.open()
    node.sync([str(tmp_path / "back")])
    with pytest.raises(PolicyError, match="closed at 2") as caught:
        node.publish(write_suite(tmp_path / "second", "second"))
    assert caught.value.exit_code == 7
    with pytest.raises(PolicyError, match="closed already"):
        rotated(published)
    assert not is_pending(published)


def protected(place: Place, passphrase: bytes = b"secret") -> Home:
    change_passphrase(place.open().home, lambda: passphrase, cost=CHEAP)
    return replace(place.open().home, unlock=lambda: passphrase)


def test_a_protected_home_reads_freely_and_signs_with_its_passphrase(
    published: Place, tmp_path: Path
) -> None:
    home = protected(published)
    locked = published.open()
    assert show_keys(locked.home).protected
    check_home(locked)
    with pytest.raises(IdentityError, match="protected by a passphrase"):
        locked.publish(write_suite(tmp_path / "second", "second"))
    with pytest.raises(IdentityError, match="does not open"):
        Node(replace(home, unlock=lambda: b"wrong")).publish(tmp_path / "second")
    assert Node(home, clock=clock).publish(tmp_path / "second").state == "signed"
    check_home(locked)


def test_a_rotation_of_a_protected_home_keeps_it_protected(published: Place) -> None:
    home = protected(published)
    rotate(home, clock=clock, cost=CHEAP)
    after = replace(published.open().home, unlock=home.unlock)
    assert after.is_protected
    assert after.keys().author.public.did == after.author
    with pytest.raises(IdentityError):
        published.open().home.keys()


def test_a_passphrase_is_changed_and_removed(published: Place) -> None:
    home = protected(published)
    seed = home.keys()
    with pytest.raises(IdentityError, match="does not open"):
        change_passphrase(replace(home, unlock=lambda: b"wrong"), lambda: b"other", cost=CHEAP)
    change_passphrase(home, lambda: b"other", cost=CHEAP)
    assert replace(home, unlock=lambda: b"other").keys() == seed
    with pytest.raises(IdentityError):
        home.keys()
    assert not change_passphrase(replace(home, unlock=lambda: b"other"), None).protected
    assert published.open().home.keys() == seed
    assert (published.home / "keys" / "seed").stat().st_mode & 0o777 == 0o600


def test_killed_anywhere_a_change_of_passphrase_loses_no_seed(
    published: Place, tmp_path: Path, ptrace: None
) -> None:
    seed = published.open().home.keys()
    kept = published.copy_to(tmp_path / "kept")

    def action() -> None:
        change_passphrase(published.open().home, lambda: b"new", cost=CHEAP)

    calls = trace(action, published.both)
    seen = set()
    for n in range(1, len(calls) + 2):
        kept.copy_to(published.folder)
        kill_at(n, action, published.both)
        home = replace(published.open().home, unlock=lambda: b"new")
        seen.add(home.is_protected)
        assert home.keys() == seed, n
        change_passphrase(home, lambda: b"new", cost=CHEAP)
        assert sorted(path.name for path in home.seed_path.parent.iterdir()) == ["recovery", "seed"]
    assert seen == {True, False}


def test_init_with_a_passphrase_never_writes_the_seed_in_the_clear(
    place: Place, ptrace: None
) -> None:
    seed = b"\x11" * 32

    def init() -> Home:
        return Home.init(place.home, place.state, name="a", seed=seed, passphrase=b"p", cost=CHEAP)

    calls = trace(init, place.both)
    for n in range(1, len(calls) + 2, 5):
        for folder in place.both:
            shutil.rmtree(folder, ignore_errors=True)
        kill_at(n, init, place.both)
        for path in place.home.rglob("*") if place.home.exists() else ():
            assert not path.is_file() or seed.hex().encode() not in path.read_bytes(), (n, path)
        home = init()
        assert home.is_protected
        check_home(place.open())


def test_the_recovery_key_is_moved_whole_or_stays(
    published: Place, tmp_path: Path, ptrace: None
) -> None:
    kept = published.copy_to(tmp_path / "kept")
    key = key_in(published.home / "keys" / "recovery")
    target = tmp_path / "medium" / "offline"
    target.parent.mkdir()

    def action() -> None:
        move_recovery_key(published.open().home, target)

    calls = trace(action, [*published.both, target.parent])
    for n in range(1, len(calls) + 2):
        kept.copy_to(published.folder)
        target.unlink(missing_ok=True)
        kill_at(n, action, [*published.both, target.parent])
        places = [path for path in (published.home / "keys" / "recovery", target) if path.exists()]
        assert places, n
        assert all(key_in(path) == key for path in places), n
    assert show_keys(published.open().home).recovery_here is False
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotFoundError):
        action()


@pytest.mark.parametrize("where", ["home/keys/elsewhere", "taken"])
def test_the_recovery_key_is_not_moved_to_a_silly_place(published: Place, where: str) -> None:
    (published.folder / "taken").touch()
    with pytest.raises(UsageError):
        move_recovery_key(published.open().home, published.folder / where)
    assert (published.home / "keys" / "recovery").is_file()


def test_a_frozen_log_is_not_rotated(published: Place) -> None:
    shutil.rmtree(published.state)
    with pytest.raises(LogFrozenError, match="signing lock"):
        rotated(published)
    assert not is_pending(published)


def test_a_process_that_opened_the_home_before_a_rotation_signs_nothing(published: Place) -> None:
    stale = published.open().home
    rotated(published)
    with pytest.raises(HomeBusyError, match="changed meanwhile"), stale.writing():
        pytest.fail("it was opened")
    check_home(published.open())


def test_a_home_cosigns_no_log_that_it_continues(published: Place, tmp_path: Path) -> None:
    rotated(published)
    node = published.open()
    bob = Place(tmp_path / "bob").init("bob")
    node.export(tmp_path / "out")
    bob.sync([str(tmp_path / "out")])
    bob.export(tmp_path / "back")
    node.sync([str(tmp_path / "back")])
    with node.home.reading() as database:
        own = own_origins(node.home, database)
        sql = "SELECT log.origin, c.key FROM cosignature c JOIN log ON log.id = c.log"
        rows = list(database.query(sql))
    assert len(own) == 2
    by_us = {origin for origin, key in rows if key.startswith(node.home.origin)}
    assert by_us == {bob.home.origin}


def test_a_recovery_closes_at_what_witnesses_have_seen(published: Place, tmp_path: Path) -> None:
    """What the thief signed since then was seen by nobody and does not count."""
    recovery = recovery_file(published, tmp_path)
    node = published.open()
    bob = Place(tmp_path / "bob").init("bob")
    policy = f"witness bob {show_keys(bob.home).cosigner_key}\nquorum bob\n"
    (published.home / "policy.txt").write_text(policy)
    node.export(tmp_path / "out")
    bob.sync([str(tmp_path / "out")])
    bob.export(tmp_path / "back")
    node.sync([str(tmp_path / "back")])
    late = node.publish(write_suite(tmp_path / "late", "late"))
    assert recovered(published, recovery).closed_at == 2
    assert published.open().show(str(late.id)).status == "revoked"


def test_a_forked_log_is_closed_where_the_fork_begins(published: Place, tmp_path: Path) -> None:
    """Readers of either side must find the tree that the new genesis names."""
    recovery = recovery_file(published, tmp_path)
    home = published.open().home
    with home.locked() as database, database.transaction() as writer:
        row = {"id": "00", "origin": home.origin, "kind": "same-size", "common": 1, "body": b""}
        writer.table("evidence").insert(row)
    assert recovered(published, recovery).closed_at == 1
    assert [line.status for line in published.open().list(kind="suite")] == ["revoked"]


def test_a_forked_log_is_closed_where_a_statement_proves_the_fork(
    published: Place, tmp_path: Path
) -> None:
    """The statement of another home may be all that is known of where the fork begins."""
    recovery = recovery_file(published, tmp_path)
    node = published.open()
    node.export(tmp_path / "out")
    bob = Place(tmp_path / "bob").init("bob")
    bob.sync([str(tmp_path / "out")])
    keys, author = node.home.keys(), bob.home.keys().author
    with bob.home.writing() as own:
        bodies = list(Log(own.log.database, node.home.origin).bodies())
        sides = [[*bodies[:1], b"forked"], bodies]
        trees = [reader([leaf_hash(body) for body in side]) for side in sides]
        notes = [signed(keys, side) for side in sides]
        evidence = same_size(log_key(node.home.origin, keys.log.public), *notes)
        common = common_prefix(evidence, *trees)
        said = evidence_statement(
            evidence, common, author=author.public.did, created="2026-11-22T20:00:00Z"
        )
        own.append([Entry.sign(said, author)])
    assert common.size == 1
    assert recover(bob.home, recovery, predecessor=node.home.origin, cost=16).closed_at == 1


def test_a_policy_whose_witnesses_saw_nothing_closes_at_what_is_signed(
    published: Place, tmp_path: Path
) -> None:
    recovery = recovery_file(published, tmp_path)
    bob = Place(tmp_path / "bob").init("bob")
    policy = f"witness bob {show_keys(bob.home).cosigner_key}\nquorum bob\n"
    (published.home / "policy.txt").write_text(policy)
    assert recovered(published, recovery).closed_at == 2
