"""Homes: created once, never half, never forked, and readable when they cannot be written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count as numbers
from pathlib import Path

import filelock
import pytest

from ledger.errors import (
    HomeBusyError,
    IdentityError,
    LogFrozenError,
    MalformedError,
    NotFoundError,
    StorageError,
    UsageError,
)
from node.api import Node
from node.home import Home
from tests.faults import Outcome, count, fail_at, kill_at
from tests.node.worlds import Place, check_home, seed_of, snapshot, write_suite


def test_a_home_starts_with_a_genesis_and_private_keys(place: Place) -> None:
    node = place.init("alice")
    (genesis,) = node.log()
    assert genesis.kind == "genesis"
    assert node.show(genesis.id).name == "alice"
    for name in ("seed", "recovery"):
        assert (place.home / "keys" / name).stat().st_mode & 0o777 == 0o600
    assert place.home.stat().st_mode & 0o777 == 0o700
    check_home(node)


def test_init_again_changes_nothing(place: Place) -> None:
    first = place.init("alice")
    before = snapshot(place.folder)
    again = Node.init(place.home, place.state, name="mallory", seed=seed_of("mallory"))
    assert again.home == first.home
    assert snapshot(place.folder) == before


def test_init_writes_no_seed_while_another_process_writes(place: Place) -> None:
    place.home.mkdir(parents=True)
    with filelock.FileLock(place.home / "writer.lock"), pytest.raises(HomeBusyError):
        place.init("alice")
    assert [path.name for path in place.home.iterdir()] == ["writer.lock"]
    check_home(place.init("alice"))


def test_inits_at_once_make_one_home(tmp_path: Path) -> None:
    def init(_: int) -> str | None:
        try:
            return Home.init(tmp_path / "home", tmp_path / "state").origin
        except HomeBusyError:
            return None

    with ThreadPoolExecutor(4) as pool:
        origins = set(pool.map(init, range(4))) - {None}
    assert origins == {Home.open(tmp_path / "home", tmp_path / "state").origin}
    check_home(Node.open(tmp_path / "home", tmp_path / "state"))


def test_two_homes_without_a_given_seed_have_different_keys(tmp_path: Path) -> None:
    homes = [Home.init(tmp_path / name, tmp_path / "state") for name in ("one", "two")]
    assert homes[0].origin != homes[1].origin
    assert homes[0].author != homes[1].author


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "\u00e9\U0001f511"])
def test_any_name_a_genesis_can_hold_gives_a_home_that_opens(place: Place, name: str) -> None:
    place.init(name)
    assert place.open().home.name == name
    check_home(place.open())


@pytest.mark.parametrize(
    "name", ["\x1b[31mred", "two\nlines", "del \x7f", "right \u202eto left", "x" * 5000]
)
def test_a_name_no_genesis_can_hold_is_refused_and_another_works(place: Place, name: str) -> None:
    with pytest.raises(UsageError):
        place.init(name)
    assert not place.home.exists()
    node = place.init("alice")
    assert [line.kind for line in node.log()] == ["genesis"]
    check_home(node)


def test_init_killed_while_it_writes_is_finished_by_the_next(place: Place, ptrace: None) -> None:
    """Every fifth storage call; what they append is tested call by call in test_crash."""
    for n in numbers(1, 5):
        for folder in place.both:
            shutil.rmtree(folder, ignore_errors=True)
        ended = kill_at(n, lambda: place.init("alice"), place.folder)
        if not (place.home / "pnode.toml").exists():
            with pytest.raises(IdentityError, match="not a pnode home"):
                place.open()
        node = place.init("alice")
        assert [line.kind for line in node.log()] == ["genesis"]
        check_home(place.open())
        if ended:
            break
    assert n > 40


def test_an_interrupted_init_keeps_the_name_it_has_signed(place: Place) -> None:
    """A second genesis would contradict the first."""
    node = place.init("alice")
    (place.home / "pnode.toml").unlink()
    other = place.init("mallory")
    assert other.home.name == "alice"
    assert len(node.log()) == 1
    assert place.open().home.name == "alice"
    check_home(other)


@pytest.mark.parametrize("prepare", ["missing", "empty", "a file"])
def test_what_is_not_a_home_is_refused(tmp_path: Path, prepare: str) -> None:
    path = tmp_path / "nothing"
    if prepare == "empty":
        path.mkdir()
    if prepare == "a file":
        path.write_text("hello")
    with pytest.raises(IdentityError, match="is not a pnode home") as caught:
        Home.open(path, tmp_path / "state")
    assert caught.value.exit_code == 4
    assert "pnode init" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"format = ",
        b'format = 1\nname = "a"\n',
        b'format = 2\nname = "a"\norigin = "o"\nauthor = "d"\n',
        b'format = 1\nname = 5\norigin = ["o"]\nauthor = "d"\n',
    ],
    ids=["empty", "bytes", "cut", "incomplete", "later format", "types"],
)
def test_a_damaged_marker_is_named(node: Node, text: bytes) -> None:
    marker = node.home.path / "pnode.toml"
    marker.write_bytes(text)
    with pytest.raises(MalformedError, match=r"pnode\.toml") as caught:
        Home.open(node.home.path, node.home.state)
    assert caught.value.exit_code == 3


def test_a_home_without_its_seed_is_read_but_signs_nothing(node: Node, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite")
    id_ = str(node.publish(suite).id)
    shutil.rmtree(node.home.path / "keys")
    assert node.show(id_).status == "active"
    assert node.verify([id_]).ok
    check_home(node)
    with pytest.raises(IdentityError, match="cannot sign") as caught:
        node.withdraw(id_, "no key")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("text", ["", "zz" * 32, "00" * 31, "\u00e9" * 64])
def test_a_damaged_seed_is_named(node: Node, tmp_path: Path, text: str) -> None:
    (node.home.path / "keys" / "seed").write_text(text, "utf-8")
    with pytest.raises(MalformedError, match="seed"):
        node.publish(write_suite(tmp_path / "suite"))
    check_home(node)


def test_a_home_without_a_ledger_says_so(node: Node) -> None:
    node.home.ledger_path.unlink()
    with pytest.raises(NotFoundError, match=r"ledger\.db"):
        node.log()


def code_of(outcome: Outcome) -> str:
    """The name of the error that ended a traced action."""
    assert outcome.error is not None, outcome
    return outcome.error.partition(":")[0]


@pytest.mark.parametrize("keep_lock", [True, False], ids=["lock file there", "no lock file"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_read_only_home_is_read_and_refuses_to_be_written(
    node: Node, tmp_path: Path, ptrace: None, number: int, *, keep_lock: bool
) -> None:
    suite = write_suite(tmp_path / "suite")
    (node.home.path / "writer.lock").unlink(missing_ok=True)
    if keep_lock:
        (node.home.path / "writer.lock").touch()
    before = snapshot(node.home.path)

    def read() -> None:
        assert node.audit().exit_code == 0
        assert node.list()
        assert node.log()
        assert node.prove(node.log()[0].id)

    assert fail_at(1, number, read, node.home.path, onwards=True).error is None
    outcome = fail_at(1, number, lambda: node.publish(suite), node.home.path, onwards=True)
    assert code_of(outcome) == "StorageError", outcome
    assert os.strerror(number) in str(outcome.error)
    assert snapshot(node.home.path) == before


def test_a_home_that_turns_read_only_before_the_append_is_refused(
    node: Node, tmp_path: Path, ptrace: None
) -> None:
    """The blocks are stored already, only taking the lock and appending remain."""
    suite = write_suite(tmp_path / "suite")
    id_ = str(node.publish(suite).id)
    before = snapshot(node.home.path)
    outcome = fail_at(1, errno.EROFS, lambda: node.withdraw(id_, "x"), node.home.path, onwards=True)
    assert code_of(outcome) == "StorageError"
    assert snapshot(node.home.path) == before


@pytest.mark.parametrize("onwards", [True, False], ids=["from then on", "once"])
def test_a_full_disk_at_any_write_of_publish_refuses_and_loses_nothing(
    place: Place, tmp_path: Path, ptrace: None, *, onwards: bool
) -> None:
    node = place.init("alice")
    first = node.publish(write_suite(tmp_path / "first", "first"))
    suite = write_suite(tmp_path / "second", "second")
    kept = place.copy_to(tmp_path / "kept")
    total = count(lambda: node.publish(suite), place.folder)
    refused = 0
    numbers_tried = range(1, total + 1, 1 if onwards else 3)
    for n in numbers_tried:
        kept.copy_to(place.folder)
        outcome = fail_at(
            n, errno.ENOSPC, lambda: node.publish(suite), place.folder, onwards=onwards
        )
        if outcome.error is not None:
            refused += 1
            assert code_of(outcome) in {"StorageError", "HomeBusyError"}, (n, outcome)
        audited = node.audit()
        assert audited.exit_code == 0, (n, audited.findings, outcome)
        assert {finding.check for finding in audited.findings} <= {"log.unsigned"}
        published = node.publish(suite)
        assert published.state == "signed"
        assert [line.id for line in node.log()][1:] == [first.id, published.id]
        check_home(node)
    assert refused > len(numbers_tried) // 2


HOLD = """
import sys
from pathlib import Path
from node.home import Home
with Home.open(Path(sys.argv[1]), Path(sys.argv[2])).writing():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_of_two_writers_at_once_one_is_told_to_wait(node: Node, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite")
    command = [sys.executable, "-c", HOLD, str(node.home.path), str(node.home.state)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HomeBusyError, match="another pnode process") as caught:
            node.publish(suite)
        assert (caught.value.exit_code, caught.value.code) == (1, "home-busy")
        assert len(node.list()) == 1
        assert node.audit().exit_code == 0
        other.communicate("")
    assert node.publish(suite).state == "signed"
    check_home(node)


def test_a_restored_backup_is_read_and_never_signed_over(node: Node, tmp_path: Path) -> None:
    first = node.publish(write_suite(tmp_path / "first", "first"))
    backup = node.home.ledger_path.read_bytes()
    node.publish(write_suite(tmp_path / "second", "second"))
    node.home.ledger_path.write_bytes(backup)
    for again in range(2):
        with pytest.raises(LogFrozenError, match="already signed") as caught:
            node.publish(write_suite(tmp_path / f"third{again}", f"third{again}"))
        assert (caught.value.exit_code, caught.value.code) == (1, "log-frozen")
    with pytest.raises(LogFrozenError):
        node.withdraw(str(first.id), "no")
    assert [line.index for line in node.log()] == [0, 1]
    assert node.show(str(first.id)).status == "active"
    assert node.verify([str(first.id)]).ok
    check_home(node)


def test_a_copied_home_elsewhere_cannot_sign(node: Node, tmp_path: Path) -> None:
    """The copy has the seed, but not the lock of the machine it was copied from."""
    shutil.copytree(node.home.path, tmp_path / "copy")
    copy = Node.open(tmp_path / "copy", tmp_path / "another-state")
    with pytest.raises(LogFrozenError, match=r"signing lock .* is missing"):
        copy.publish(write_suite(tmp_path / "suite"))
    assert len(copy.log()) == 1
    check_home(copy)


def test_a_copy_beside_the_original_sees_that_the_lock_has_moved(
    node: Node, tmp_path: Path
) -> None:
    shutil.copytree(node.home.path, tmp_path / "copy")
    copy = Node.open(tmp_path / "copy", node.home.state)
    node.publish(write_suite(tmp_path / "ours", "ours"))
    with pytest.raises(LogFrozenError):
        copy.publish(write_suite(tmp_path / "theirs", "theirs"))
    assert [line.title for line in node.log()] == ["", "ours"]
    check_home(node)
    check_home(copy)


def test_a_storage_error_says_what_to_do(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file") as caught:
        Place(tmp_path / "file").init("alice")
    assert "space" in caught.value.hint


def test_a_home_that_lost_its_ledger_is_not_called_fine(place: Place) -> None:
    place.init("ada").home.ledger_path.unlink()
    with pytest.raises(NotFoundError, match="without its ledger"):
        place.init("ada")
    assert not (place.home / "ledger.db").exists()
