"""Reading a ledger: lists, entries, logs, checkpoints and proofs, and the tables behind lists."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from ledger import derived
from ledger.checkpoint import log_key, open_checkpoint
from ledger.cid import Cid
from ledger.errors import NotFoundError, UsageError
from ledger.merkle import leaf_hash, verify_inclusion
from node.api import Node
from node.checking.verifying import verify
from tests.node.worlds import MEMBERS, TASKS, Place, World, check_home, flip, write_suite


def test_lists_are_in_log_order_and_filtered(world_home: World) -> None:
    node = world_home.node
    everything = node.list()
    assert [item.index for item in everything] == list(range(len(node.log())))
    assert [item.title for item in node.list(kind="adapter")] == list(MEMBERS)
    assert len(node.list(kind="suite")) == 2 * len(TASKS)
    assert node.list(author=node.home.author) == everything == node.list(author="carol")
    assert node.list(author="did:key:z6Mk") == node.list(kind="nothing") == []
    active = node.list(status="active")
    assert {item.kind for item in active} == {"adapter", "suite"}
    assert node.list(status="withdrawn") == []
    assert {item.license for item in node.list(kind="adapter")} == {"Apache-2.0"}


def test_a_list_follows_the_ledger(node: Node, tmp_path: Path) -> None:
    assert len(node.list()) == 1
    id_ = str(node.publish(write_suite(tmp_path / "suite")).id)
    assert [item.status for item in node.list(kind="suite")] == ["active"]
    node.withdraw(id_, "wrong")
    assert [item.id for item in node.list(status="withdrawn")] == [id_]
    assert [item.kind for item in node.list()] == ["genesis", "suite", "withdrawal"]


def test_derived_tables_are_rebuilt_to_the_same_content(world: World) -> None:
    node = world.node
    listed = node.list()
    content = derived.content(node.home.derived_path)
    node.home.derived_path.unlink()
    assert node.list() == listed
    assert derived.content(node.home.derived_path) == content
    assert node.list() == listed


@pytest.mark.parametrize("damage", ["flipped", "cut", "garbage", "another schema", "a folder"])
def test_a_damaged_table_never_spoils_a_list(world: World, damage: str) -> None:
    node = world.node
    listed = node.list()
    content = derived.content(node.home.derived_path)
    path = node.home.derived_path
    if damage == "flipped":
        flip(path, 0)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    elif damage == "garbage":
        path.write_bytes(b"not a database at all" * 100)
    elif damage == "another schema":
        path.unlink()
        from contextlib import closing
        from sqlite3 import connect

        with closing(connect(path)) as connection, connection:
            connection.execute("CREATE TABLE frontier (digest, size)")
            connection.execute("CREATE TABLE record (id)")
    else:
        path.unlink()
        path.mkdir()
    assert node.list() == listed
    assert node.list() == listed
    if damage != "a folder":
        assert derived.content(path) == content


def test_an_entry_is_shown_with_a_place_and_a_proof_that_verifies(world_home: World) -> None:
    node = world_home.node
    shown = node.show(world_home.ids["cy"][:12])
    assert shown.id == world_home.ids["cy"]
    assert shown.origin == node.home.origin
    assert str(Cid.of(shown.raw)) == shown.id
    assert shown.envelope == json.loads(shown.raw)
    assert shown.name == "carol"
    verify_inclusion(
        leaf_hash(shown.raw),
        shown.index,
        shown.size,
        [bytes.fromhex(value) for value in shown.proof],
        bytes.fromhex(shown.root),
    )
    assert shown.uses == []
    assert shown.credit == []


def test_uses_and_credit_of_a_contribution_are_shown(attributed_home: World) -> None:
    node = attributed_home.node
    shown = node.show(attributed_home.ids["ada"])
    assert set(shown.uses) == {
        attributed_home.compositions[name] for name in ("merge.linear", "logit.select")
    }
    (credit,) = shown.credit
    assert credit["attribution"] == attributed_home.compositions["attribution"]
    assert node.show(attributed_home.ids["hal"]).uses == []


@pytest.mark.parametrize(
    ("prefix", "error"), [("baf", UsageError), ("b" + "z" * 20, NotFoundError)]
)
def test_an_unknown_or_short_id_is_refused(
    world_home: World, prefix: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match=prefix):
        world_home.node.show(prefix)
    with pytest.raises(error, match=prefix):
        world_home.node.prove(prefix)


def test_a_log_is_read_from_any_index(world_home: World) -> None:
    node = world_home.node
    lines = node.log()
    assert [line.index for line in lines] == list(range(len(lines)))
    assert node.log(since=5) == lines[5:]
    assert node.log(since=len(lines)) == []
    hash_part = node.home.origin.rpartition("/")[2]
    assert node.log(origin=node.home.origin) == node.log(origin=hash_part[:8]) == lines
    with pytest.raises(NotFoundError, match="no single log"):
        node.log(origin="elsewhere")


def test_the_checkpoint_is_signed_by_the_log(world_home: World) -> None:
    node = world_home.node
    with node.home.reading() as database:
        from ledger.log import Log

        key = log_key(node.home.origin, Log(database, node.home.origin).key.key)
    checkpoint = open_checkpoint(node.checkpoint(), key)
    assert checkpoint.size == len(node.log())


def test_a_proof_stands_alone_without_any_home(world_home: World, tmp_path: Path) -> None:
    path = tmp_path / "entry.tlog-proof"
    path.write_bytes(world_home.node.prove(world_home.ids["ada"]))
    verified = verify(None, [str(path)])
    assert verified.ok
    assert [check.name for check in verified.checks] == ["signature", "inclusion"]


def test_an_entry_that_is_not_signed_yet_cannot_be_proven(
    place: Place, tmp_path: Path, ptrace: None
) -> None:
    """As a crash between the two transactions leaves it."""
    from tests.faults import kill_at, trace

    node = place.init("alice")
    kept = place.copy_to(tmp_path / "kept")
    suite = write_suite(tmp_path / "suite")
    calls = trace(lambda: node.publish(suite), place.both)
    lock = next(n for n, call in enumerate(calls, 1) if call.endswith(".db-journal"))
    kept.copy_to(place.folder)
    kill_at(lock, lambda: node.publish(suite), place.both)
    id_ = node.log()[1].id
    assert len(node.list()) == 1
    shown = node.show(id_)
    assert (shown.index, shown.size, shown.root, shown.proof) == (1, 0, "", [])
    with pytest.raises(NotFoundError, match="not covered by a checkpoint"):
        node.prove(id_)
    assert node.publish(suite).id == id_
    assert node.show(id_).size == 2
    check_home(node)


def test_reading_is_the_same_bytes_for_two_readers(world_home: World, tmp_path: Path) -> None:
    copy = world_home.copy_to(tmp_path / "copy")
    id_ = world_home.ids["ada"]
    assert copy.node.prove(id_) == world_home.node.prove(id_)
    assert copy.node.list() == world_home.node.list()
    digests = {hashlib.sha256(w.node.checkpoint()).hexdigest() for w in (copy, world_home)}
    assert len(digests) == 1
