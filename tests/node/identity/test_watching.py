"""Watching one's own identity: every use of a copied seed is seen, and nothing else is."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.entry import Entry
from ledger.log import Log
from ledger.statement import Statement, Subject
from node.api import Node
from node.identity.keyring import move_recovery_key
from node.identity.revocation import revoke
from node.identity.rotation import recover, rotate
from node.identity.watching import Watched
from tests.node.worlds import TIME, Place, clock, write_suite


@pytest.fixture
def owner(place: Place, tmp_path: Path) -> Node:
    """A node with one contribution."""
    node = place.init("alice")
    node.publish(write_suite(tmp_path / "first", "first"))
    return node


@pytest.fixture
def thief(owner: Node, tmp_path: Path) -> Node:
    """A home with the same seed and the same log, on another machine."""
    shutil.copytree(owner.home.path.parent, tmp_path / "thief")
    return Place(tmp_path / "thief").open()


def whats(watched: Watched) -> list[str]:
    return [alert.what for alert in watched.alerts]


def brought(node: Node, other: Node, folder: Path) -> Watched:
    """Watch after another node's tree was brought on a stick."""
    other.export(folder)
    if not node.peers():
        node.add_peer(str(folder))
    return node.watch()


def forged(owner: Node, number: int = 0) -> Entry:
    """Something signed with the owner's key."""
    keys = owner.home.keys()
    said = {"author": keys.author.public.did, "created": TIME, "number": number}
    subject = Subject("it", hashlib.sha256(b"it").hexdigest())
    return Entry.sign(Statement("note", (subject,), said), keys.author)


def in_log_of(node: Node, entry: Entry) -> Node:
    with node.home.writing() as log:
        log.append([entry])
    return node


def test_nothing_is_found_where_nothing_is(owner: Node, tmp_path: Path) -> None:
    assert owner.watch() == Watched(ok=True, alerts=[], unread=[], exit_code=0)
    reader = Place(tmp_path / "reader").init("bob")
    owner.export(tmp_path / "stick")
    reader.sync([str(tmp_path / "stick")])
    assert brought(owner, reader, tmp_path / "back").ok


def test_an_entry_under_my_key_in_another_log_is_found(owner: Node, tmp_path: Path) -> None:
    entry = forged(owner)
    mallory = in_log_of(Place(tmp_path / "mallory").init("mallory"), entry)
    watched = brought(owner, mallory, tmp_path / "stick")
    (alert,) = watched.alerts
    assert (alert.what, alert.origin, alert.index) == ("entry", mallory.home.origin, 1)
    assert (alert.id, watched.exit_code, watched.ok) == (entry.id, 3, False)
    assert whats(owner.watch(sync=False)) == ["entry"]


def test_a_copy_of_my_own_entry_elsewhere_is_no_alarm(owner: Node, tmp_path: Path) -> None:
    entry = forged(owner)
    in_log_of(owner, entry)
    mallory = in_log_of(Place(tmp_path / "mallory").init("mallory"), entry)
    assert brought(owner, mallory, tmp_path / "stick").ok


def test_entries_a_thief_added_to_my_log_are_found(
    owner: Node, thief: Node, tmp_path: Path
) -> None:
    in_log_of(thief, forged(owner))
    watched = brought(owner, thief, tmp_path / "stick")
    assert (set(whats(watched)), watched.exit_code) == ({"checkpoint"}, 3)


def test_a_fork_of_my_log_is_found(owner: Node, thief: Node, tmp_path: Path) -> None:
    in_log_of(thief, forged(owner, 1))
    in_log_of(owner, forged(owner, 2))
    watched = brought(owner, thief, tmp_path / "stick")
    assert (set(whats(watched)), watched.exit_code) == ({"equivocation"}, 8)


@pytest.mark.parametrize(("size", "what"), [(9, "checkpoint"), (2, "equivocation")])
def test_a_sighting_of_my_log_is_read(owner: Node, size: int, what: str) -> None:
    point = Checkpoint(owner.home.origin, size, b"\x05" * 32)
    note = bytes(sign_checkpoint(point, owner.home.keys().log))
    with owner.home.locked() as database, database.transaction() as writer:
        row = {"log": Log(database, point.origin).row_id, "size": size, "root": point.root}
        writer.table("sighting").insert({**row, "note": note})
    assert whats(owner.watch()) == [what]


def test_after_a_rotation_both_logs_are_mine(owner: Node, tmp_path: Path) -> None:
    owner.rotate_key()
    assert owner.watch().ok
    reader = Place(tmp_path / "reader").init("bob")
    owner.export(tmp_path / "out")
    reader.sync([str(tmp_path / "out")])
    assert brought(owner, reader, tmp_path / "back").ok


def test_the_old_key_used_after_a_rotation_is_found(owner: Node, tmp_path: Path) -> None:
    entry = forged(owner)
    owner.rotate_key()
    mallory = in_log_of(Place(tmp_path / "mallory").init("mallory"), entry)
    assert whats(brought(owner, mallory, tmp_path / "stick")) == ["entry"]


def test_what_a_thief_adds_to_a_log_that_was_recovered_is_found(
    owner: Node, thief: Node, place: Place, tmp_path: Path
) -> None:
    file = move_recovery_key(owner.home, tmp_path / "offline").file
    revoke(owner.home, file, 1, clock=clock)
    owner = place.open()
    assert owner.watch().ok
    stolen = thief.publish(write_suite(tmp_path / "stolen", "stolen"))
    watched = brought(owner, thief, tmp_path / "stick")
    assert [(alert.what, alert.id) for alert in watched.alerts] == [("entry", stolen.id)]
    assert owner.show(str(stolen.id)).status == "revoked"


def test_a_takeover_of_my_log_is_found(owner: Node, tmp_path: Path) -> None:
    file = tmp_path / "copied"
    shutil.copy(owner.home.recovery_path, file)
    owner.export(tmp_path / "out")
    heir = Place(tmp_path / "heir")
    heir.init("heir").sync([str(tmp_path / "out")])
    recover(heir.open().home, file)
    watched = brought(owner, heir.open(), tmp_path / "stick")
    assert (whats(watched), watched.exit_code) == (["takeover"], 3)


def test_a_thief_that_rotates_my_key_is_found(owner: Node, thief: Node, tmp_path: Path) -> None:
    rotate(thief.home, clock=clock)
    thief = Place(tmp_path / "thief").open()
    watched = brought(owner, thief, tmp_path / "stick")
    assert "checkpoint" in whats(watched)
    assert watched.exit_code == 3


def test_a_peer_that_cannot_be_asked_is_no_pass(owner: Node, tmp_path: Path) -> None:
    owner.export(tmp_path / "stick")
    owner.add_peer(str(tmp_path / "stick"))
    shutil.rmtree(tmp_path / "stick")
    watched = owner.watch()
    assert (watched.ok, watched.exit_code, len(watched.unread)) == (False, 6, 1)
    assert owner.watch(sync=False).exit_code == 0


def test_watching_needs_no_seed(owner: Node) -> None:
    shutil.rmtree(owner.home.path / "keys")
    assert owner.watch().ok
