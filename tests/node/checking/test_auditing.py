"""Auditing: nothing is found in an honest home, and every kind of damage by its right name."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from compose.lock import FrontierEntry, Lock
from ledger.cid import Cid
from ledger.errors import NotFoundError
from ledger.rules import CHECKS
from node.api import Node
from node.artifacts import read_document, store_document
from tests.faults import count, fail_at
from tests.node.worlds import (
    Place,
    World,
    block_path,
    check_home,
    flip,
    forging,
    predicate_of,
    say,
    strict_snapshot,
    write_suite,
)

MERGE = "merge.linear"


def test_an_honest_home_is_clean(attributed_home: World) -> None:
    audited = attributed_home.node.audit()
    assert (audited.ok, audited.exit_code, audited.findings) == (True, 0, [])
    assert audited.counts == {
        "logs": 1,
        "entries": 20,
        "attribution": 1,
        "composition": 2,
        "contribution": 14,
        "evaluation": 2,
        "genesis": 1,
    }


def test_an_audit_changes_not_a_byte(attributed: World) -> None:
    before = strict_snapshot(attributed.place.folder)
    assert attributed.node.audit().exit_code == 0
    assert strict_snapshot(attributed.place.folder) == before


def test_an_audit_asks_for_no_write_at_all(attributed: World, ptrace: None) -> None:
    """So it works on read-only media, also when the ledger was copied with its write-ahead log."""
    node = attributed.node
    assert count(node.audit, attributed.place.folder) == 0
    outcome = fail_at(1, errno.EROFS, node.audit, attributed.place.folder, onwards=True)
    assert outcome.error is None


def test_an_audit_reads_commits_that_are_only_in_the_write_ahead_log(
    node: Node, tmp_path: Path
) -> None:
    """A copy made while a reader holds the ledger open: `ledger.db` alone would be too old."""
    with node.home.reading() as database:
        list(database.query("SELECT count(*) FROM entry"))
        node.publish(write_suite(tmp_path / "suite"))
        copy = Place(node.home.path.parent).copy_to(tmp_path / "copy")
    assert (copy.home / "ledger.db-wal").stat().st_size > 0
    before = strict_snapshot(copy.folder)
    audited = copy.open().audit()
    assert audited.counts["contribution"] == 1
    assert audited.exit_code == 0
    assert strict_snapshot(copy.folder) == before


@dataclass(frozen=True)
class Tampering:
    """A change to a home, and the finding it must lead to."""

    name: str
    change: Callable[[World], str]
    check: str
    exit_code: int = 3


def change_entry(edit: Callable[[bytes], bytes]) -> Callable[[World], str]:
    """Change the body of Ada's entry, whatever else the row says about it."""

    def change(world: World) -> str:
        with forging(world.node.home) as ledger:
            sql = "SELECT log, idx, body FROM entry WHERE id = ?"
            log, index, body = ledger.execute(sql, (world.ids["ada"],)).fetchone()
            ledger.execute(
                "UPDATE entry SET body = ? WHERE log = ? AND idx = ?", (edit(body), log, index)
            )
        return f"entry {index} of"

    return change


def in_payload(body: bytes) -> bytes:
    """Change one letter of the payload, so that the envelope stays well-formed."""
    at = body.index(b'"payload":"') + 40
    return body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]


def in_signature(body: bytes) -> bytes:
    at = body.index(b'"sig":"') + 30
    return body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]


def flip_tile(world: World) -> str:
    with forging(world.node.home) as ledger:
        (hashes,) = ledger.execute("SELECT hashes FROM tile WHERE level = 0").fetchone()
        changed = hashes[:70] + bytes([hashes[70] ^ 1]) + hashes[71:]
        ledger.execute("UPDATE tile SET hashes = ? WHERE level = 0", (changed,))
    return world.node.home.origin


def drop_tile(world: World) -> str:
    with forging(world.node.home) as ledger:
        ledger.execute("DELETE FROM tile")
    return world.node.home.origin


def change_note(edit: Callable[[bytes], bytes], which: str = "DESC") -> Callable[[World], str]:
    """Change a checkpoint, by default the largest."""

    def change(world: World) -> str:
        with forging(world.node.home) as ledger:
            sql = f"SELECT rowid, size, note FROM checkpoint ORDER BY size {which} LIMIT 1"
            row, size, note = ledger.execute(sql).fetchone()
            ledger.execute("UPDATE checkpoint SET note = ? WHERE rowid = ?", (edit(note), row))
        return world.node.home.origin if size else ""

    return change


def in_note_signature(note: bytes) -> bytes:
    return note[:-20] + (b"A" if note[-20:-19] != b"A" else b"B") + note[-19:]


def in_note_root(note: bytes) -> bytes:
    origin, size, root, *rest = note.split(b"\n")
    changed = (b"A" if root[:1] != b"A" else b"B") + root[1:]
    return b"\n".join([origin, size, changed, *rest])


def in_note_size(note: bytes) -> bytes:
    origin, size, *rest = note.split(b"\n")
    return b"\n".join([origin, str(int(size) + 1).encode(), *rest])


def drop_last_entry(world: World) -> str:
    with forging(world.node.home) as ledger:
        ledger.execute("DELETE FROM entry WHERE idx = (SELECT max(idx) FROM entry)")
    return world.node.home.origin


def block_of(world: World, what: str) -> tuple[Path, str]:
    """A block and the entry that needs it."""
    node = world.node
    id_ = {
        "artifact": world.ids["ada"],
        "suite": world.ids["own0-test"],
        "lock": world.compositions[MERGE],
        "record": world.compositions["attribution"],
        "table": world.compositions["attribution"],
        "outcomes": node.list(kind="evaluation")[0].id,
    }[what]
    predicate = predicate_of(node, id_)
    cid = predicate["scores"][0]["outcomes"] if what == "outcomes" else None
    cid = cid or predicate.get(what) or predicate["cid"]
    return block_path(node.home, cid if isinstance(cid, str) else predicate["cid"]), id_


def flip_block(what: str) -> Callable[[World], str]:
    def change(world: World) -> str:
        path, id_ = block_of(world, what)
        flip(path)
        return id_

    return change


def drop_block(what: str) -> Callable[[World], str]:
    def change(world: World) -> str:
        path, id_ = block_of(world, what)
        path.unlink()
        return id_

    return change


def lock_of(world: World) -> tuple[dict[str, object], Lock]:
    node = world.node
    predicate = predicate_of(node, world.compositions[MERGE])
    data = read_document(Cid.parse(predicate["lock"]), node.home.store, what="lock")
    return predicate, Lock.parse(data)


def say_composition(world: World, predicate: dict[str, object], lock: Lock) -> str:
    data = lock.encode()
    cid = store_document(data, world.node.home.store)
    return say(world.node.home, "composition", predicate | {"lock": str(cid)}, {"lock.json": data})


def compose_with_withdrawn(world: World) -> str:
    """Ada withdraws; the composer signs a lock that saw it and uses her adapter all the same."""
    world.node.withdraw(world.ids["ada"], "no more")
    predicate, lock = lock_of(world)
    with world.node.home.reading() as database:
        from node.reading import current_frontier

        (point,) = current_frontier(database).checkpoints
    late = replace(lock, frontier=(FrontierEntry(point.origin, point.size, point.root),))
    return say_composition(world, predicate, late)


def compose_elsewhere(**changes: object) -> Callable[[World], str]:
    """Sign a lock whose frontier is nobody's."""

    def change(world: World) -> str:
        predicate, lock = lock_of(world)
        (point,) = lock.frontier
        return say_composition(
            world,
            predicate,
            replace(lock, frontier=(replace(point, **changes),)),  # type: ignore[arg-type]
        )

    return change


def compose_with_another_artifact(world: World) -> str:
    predicate, lock = lock_of(world)
    first, *rest = lock.members
    swapped = replace(first, cid=rest[0].cid)
    return say_composition(world, predicate, replace(lock, members=(swapped, *rest)))


def compose_as_another_method(world: World) -> str:
    predicate, lock = lock_of(world)
    return say_composition(world, predicate | {"method": "merge.ties"}, lock)


TAMPERINGS = (
    Tampering("a letter of a payload", change_entry(in_payload), "entry.signature"),
    Tampering("a letter of a signature", change_entry(in_signature), "entry.signature"),
    Tampering("a cut entry", change_entry(lambda body: body[:-1]), "entry.form"),
    Tampering("an entry of zeros", change_entry(lambda body: bytes(len(body))), "entry.form"),
    Tampering("a bit of a tile", flip_tile, "log.tiles"),
    Tampering("a missing tile", drop_tile, "log.tiles"),
    Tampering("the last entry gone", drop_last_entry, "log.root"),
    Tampering("a checkpoint's signature", change_note(in_note_signature), "log.checkpoint"),
    Tampering("a checkpoint's root", change_note(in_note_root), "log.checkpoint"),
    Tampering("a checkpoint's size", change_note(in_note_size), "log.checkpoint"),
    Tampering("an old checkpoint", change_note(in_note_root, "ASC"), "log.checkpoint"),
    Tampering("a checkpoint of nonsense", change_note(lambda _: b"nonsense"), "log.checkpoint"),
    Tampering("a bit of an artifact", flip_block("artifact"), "artifact.blocks"),
    Tampering("a bit of a suite", flip_block("suite"), "artifact.blocks"),
    Tampering("a bit of a lock", flip_block("lock"), "artifact.blocks"),
    Tampering("a bit of an outcomes file", flip_block("outcomes"), "artifact.blocks"),
    Tampering("a bit of a record", flip_block("record"), "artifact.blocks"),
    Tampering("a bit of a table", flip_block("table"), "artifact.blocks"),
    Tampering("a missing artifact", drop_block("artifact"), "artifact.blocks", 9),
    Tampering("a missing lock", drop_block("lock"), "artifact.blocks", 9),
    Tampering("a missing table", drop_block("table"), "artifact.blocks", 9),
    Tampering("a withdrawn member", compose_with_withdrawn, "composition.members"),
    Tampering("a frontier of no tree", compose_elsewhere(root=bytes(32)), "composition.members"),
    Tampering("a frontier of size 0", compose_elsewhere(size=0), "composition.members"),
    Tampering("a frontier not reached", compose_elsewhere(size=999), "composition.members", 9),
    Tampering("a frontier of another log", compose_elsewhere(origin="x"), "composition.members", 9),
    Tampering("another artifact", compose_with_another_artifact, "composition.members"),
    Tampering("another method than the lock", compose_as_another_method, "composition.lock"),
)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda each: each.name)
def test_tampering_is_found_and_its_subject_named(attributed: World, tampering: Tampering) -> None:
    check_home(attributed.node)
    subject = tampering.change(attributed)
    before = strict_snapshot(attributed.place.folder)
    audited = attributed.node.audit()
    assert strict_snapshot(attributed.place.folder) == before
    assert audited.exit_code == tampering.exit_code, audited.findings
    assert not audited.ok
    named = [finding for finding in audited.findings if finding.check == tampering.check]
    assert any(subject in finding.subject for finding in named), audited.findings
    assert all(finding.message for finding in audited.findings)


def test_one_damaged_thing_does_not_hide_another(attributed: World) -> None:
    suite = flip_block("suite")(attributed)
    change_entry(in_payload)(attributed)
    change_note(lambda _: b"nonsense", "ASC")(attributed)
    findings = attributed.node.audit().findings
    found = {finding.check for finding in findings}
    assert {"log.checkpoint", "entry.signature", "artifact.blocks"} <= found
    assert any(suite in finding.subject for finding in findings)


def test_the_triggers_refuse_to_change_evidence(node: Node) -> None:
    connection = sqlite3.connect(node.home.ledger_path)
    for sql in (
        "UPDATE entry SET body = x'00'",
        "DELETE FROM entry",
        "UPDATE checkpoint SET note = x'00'",
        "DELETE FROM checkpoint",
        "DELETE FROM log",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="evidence"):
            connection.execute(sql)
    connection.close()
    check_home(node)


def test_a_member_withdrawn_later_is_no_fault_of_the_composition(composed: World) -> None:
    composed.node.withdraw(composed.ids["ada"], "no more")
    check_home(composed.node)


def test_entries_not_signed_yet_are_a_warning(place: Place, tmp_path: Path, ptrace: None) -> None:
    from tests.faults import kill_at, trace

    node = place.init("alice")
    kept = place.copy_to(tmp_path / "kept")
    suite = write_suite(tmp_path / "suite")
    calls = trace(lambda: node.publish(suite), place.both)
    lock = next(n for n, call in enumerate(calls, 1) if call.endswith(".db-journal"))
    kept.copy_to(place.folder)
    kill_at(lock, lambda: node.publish(suite), place.both)
    audited = node.audit()
    assert [(f.check, f.severity) for f in audited.findings] == [("log.unsigned", "warning")]
    assert "1 to 1" in audited.findings[0].message
    assert (audited.ok, audited.exit_code) == (True, 0)


def test_a_checkpoint_kept_from_earlier_is_extended(node: Node, tmp_path: Path) -> None:
    kept = tmp_path / "kept.checkpoint"
    kept.write_bytes(node.checkpoint())
    node.publish(write_suite(tmp_path / "suite"))
    assert node.audit(since=kept).exit_code == 0


def test_a_fork_since_a_kept_checkpoint_is_an_equivocation(place: Place, tmp_path: Path) -> None:
    """The same keys on two machines, two histories: both signed, at most one is true."""
    node = place.init("alice")
    twin = Place(tmp_path / "twin").init("alice")
    assert twin.home.origin == node.home.origin
    node.publish(write_suite(tmp_path / "one", "one"))
    twin.publish(write_suite(tmp_path / "two", "two"))
    kept = tmp_path / "kept.checkpoint"
    kept.write_bytes(node.checkpoint())
    twin.publish(write_suite(tmp_path / "three", "three"))
    audited = twin.audit(since=kept)
    assert audited.exit_code == 8
    assert [finding.check for finding in audited.findings] == ["log.equivocation"]
    assert twin.home.origin in audited.findings[0].subject
    assert node.audit(since=kept).exit_code == 0


def test_a_log_that_lost_entries_since_a_kept_checkpoint_is_incomplete(
    node: Node, tmp_path: Path
) -> None:
    backup = node.home.ledger_path.read_bytes()
    node.publish(write_suite(tmp_path / "suite"))
    kept = tmp_path / "kept.checkpoint"
    kept.write_bytes(node.checkpoint())
    node.home.ledger_path.write_bytes(backup)
    audited = node.audit(since=kept)
    assert (audited.exit_code, audited.findings[0].check) == (9, "log.equivocation")


def test_a_kept_checkpoint_of_another_log_or_none(node: Node, tmp_path: Path) -> None:
    other = Place(tmp_path / "bob").init("bob")
    kept = tmp_path / "kept.checkpoint"
    kept.write_bytes(other.checkpoint())
    assert node.audit(since=kept).exit_code == 9
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        node.audit(since=tmp_path / "missing")


def test_every_check_that_tampering_can_break_is_listed() -> None:
    assert {tampering.check for tampering in TAMPERINGS} <= set(CHECKS)
