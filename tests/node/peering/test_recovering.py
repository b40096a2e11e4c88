"""Restored backups and copied homes: recognised, frozen, and brought back without a fork."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from simulator import note_entry

from ledger.errors import EquivocationError, LogFrozenError, UnavailableError, UsageError
from ledger.log import Log
from node.doctor import diagnose
from node.home import Home
from node.peering.export import export
from node.peering.peers import add_peer
from node.peering.recovering import INTACT, RECOVERED, recover
from node.peering.source import DirectorySource
from node.peering.sync import sync
from tests.node.peering.test_sync import append, check_home, sizes


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home.init(tmp_path / "h", tmp_path / "state", name="ada", seed=b"\x01" * 32)
    append(home, 300, "old")
    return home


@pytest.fixture
def peer(home: Home, tmp_path: Path) -> Path:
    """A directory that holds all the home has published; `home` is then set back to a backup."""
    backup = tmp_path / "backup"
    shutil.copytree(home.path, backup)
    append(home, 40, "new")
    export(home, tmp_path / "peer")
    shutil.rmtree(home.path)
    shutil.copytree(backup, home.path)
    return tmp_path / "peer"


def yes(_question: str) -> None:
    """Agree to everything."""


def never(question: str) -> None:
    raise AssertionError(question)


def no(question: str) -> None:
    raise UsageError(question)


def publish_again(home: Home, peer: Path) -> None:
    """Require that publishing goes on, on the same history as the peer holds."""
    append(home, 1, "after")
    with DirectorySource(peer) as source:
        assert sync(home, source).errors == ()
    check_home(home)


# --- the guard ----------------------------------------------------------------------------------


def look_by_sync(home: Home, peer: Path) -> None:
    with DirectorySource(peer) as source, pytest.raises(LogFrozenError, match="restored"):
        sync(home, source).raise_gravest()


def look_by_doctor(home: Home, peer: Path) -> None:
    add_peer(home, str(peer))
    diagnosed = diagnose(home.path, home.state, offline=True)
    assert not diagnosed.ok
    (found,) = [check for check in diagnosed.checks if check.name == f"peer {peer}"]
    assert (found.status, "pnode recover" in found.fix) == ("fail", True)


@pytest.mark.parametrize("look", [look_by_sync, look_by_doctor])
def test_a_larger_copy_of_the_own_log_freezes_it_for_good(
    home: Home, peer: Path, look: Callable[[Home, Path], None]
) -> None:
    # As if the lock had been restored too: without the peer nothing would be noticed.
    home.signing_lock().path.unlink()
    home.signing_lock().create()
    with home.reading() as database:
        log = Log(database, home.origin)
        latest = log.checkpoint()
        assert latest is not None
        home.signing_lock().advance(home.signing_lock().read(), latest[0])
    look(home, peer)
    shutil.rmtree(peer)
    for _ in range(2):
        with pytest.raises(LogFrozenError, match="restored or copied") as caught:
            append(Home.open(home.path, home.state), 1, "fork")
        assert "pnode recover" in caught.value.hint
    assert sizes(home)[home.origin] == 301


# --- recovery -----------------------------------------------------------------------------------


def test_a_restored_backup_is_brought_up_to_the_peer(home: Home, peer: Path) -> None:
    with pytest.raises(LogFrozenError):
        append(home, 1, "fork")
    result = recover(home, [str(peer)], confirm=never)
    assert (result.state, result.added, result.size) == (RECOVERED, 40, 341)
    publish_again(home, peer)
    assert recover(home, [str(peer)], confirm=never).state == INTACT


def test_a_copied_home_without_lock_asks_before_it_makes_one(home: Home, peer: Path) -> None:
    copy = Home.open(home.path, home.state.with_name("other-state"))
    with pytest.raises(UsageError, match="create a signing lock at 341"):
        recover(copy, [str(peer)], confirm=no)
    assert not copy.signing_lock().path.exists()
    with pytest.raises(LogFrozenError):
        append(copy, 1, "fork")
    assert recover(copy, [str(peer)], confirm=yes).state == RECOVERED
    publish_again(copy, peer)


def test_no_lock_is_made_if_no_peer_answers(home: Home, tmp_path: Path) -> None:
    copy = Home.open(home.path, tmp_path / "other-state")
    with pytest.raises(UnavailableError, match="no peer answered"):
        recover(copy, [str(tmp_path / "nowhere"), "http://127.0.0.1:1"], confirm=yes)
    assert not copy.signing_lock().path.exists()


def test_a_home_that_lost_its_ledger_is_built_anew(home: Home, peer: Path) -> None:
    for file in home.path.glob("ledger.db*"):
        file.unlink()
    result = recover(home, [str(peer)], confirm=never)
    assert (result.added, result.size) == (341, 341)
    publish_again(home, peer)


def test_a_home_running_on_two_machines_stops_and_goes_on(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.path, tmp_path / "twin")
    shutil.copytree(home.state, tmp_path / "twin-state")
    twin = Home.open(tmp_path / "twin", tmp_path / "twin-state")
    append(twin, 5, "elsewhere")
    export(twin, tmp_path / "peer")
    look_by_sync(home, tmp_path / "peer")
    with pytest.raises(UsageError, match="move the signing lock from 301 to 306"):
        recover(home, [str(tmp_path / "peer")], confirm=no)
    assert recover(home, [str(tmp_path / "peer")], confirm=yes).size == 306
    publish_again(home, tmp_path / "peer")


def test_two_signed_histories_are_an_equivocation_and_stay_one(home: Home, tmp_path: Path) -> None:
    shutil.copytree(home.path, tmp_path / "twin")
    shutil.copytree(home.state, tmp_path / "twin-state")
    twin = Home.open(tmp_path / "twin", tmp_path / "twin-state")
    append(twin, 5, "elsewhere")
    append(home, 1, "here")
    export(twin, tmp_path / "peer")
    before = sizes(home)
    for _ in range(2):
        with pytest.raises(EquivocationError):
            recover(home, [str(tmp_path / "peer")], confirm=yes)
    assert sizes(home) == before


def test_a_peer_that_holds_less_than_was_signed_does_not_thaw(home: Home, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(home.path, backup)
    append(home, 3, "kept")
    export(home, tmp_path / "peer")
    append(home, 2, "lost")
    shutil.rmtree(home.path)
    shutil.copytree(backup, home.path)
    with pytest.raises(LogFrozenError, match="306 entries were signed"):
        recover(home, [str(tmp_path / "peer")], confirm=yes)
    assert sizes(home)[home.origin] == 304
    with pytest.raises(LogFrozenError):
        append(home, 1, "fork")
    assert home.signing_lock().read().size == 306


def test_a_process_that_dies_before_the_lock_moves_goes_on(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.signinglock import SigningLock

    shutil.copytree(home.path, tmp_path / "twin")
    shutil.copytree(home.state, tmp_path / "twin-state")
    twin = Home.open(tmp_path / "twin", tmp_path / "twin-state")
    append(twin, 5, "elsewhere")
    export(twin, tmp_path / "peer")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SigningLock, "advance", dies)
        with pytest.raises(KeyboardInterrupt):
            recover(home, [str(tmp_path / "peer")], confirm=yes)
    assert sizes(home)[home.origin] == 306
    with pytest.raises(LogFrozenError, match="older than the checkpoint"):
        append(home, 1, "fork")
    assert recover(home, [str(tmp_path / "peer")], confirm=yes).state == RECOVERED
    publish_again(home, tmp_path / "peer")


def test_entries_by_another_author_are_not_brought_back(home: Home, tmp_path: Path) -> None:
    from ledger.errors import SignatureError
    from ledger.keys import NodeKeys

    backup = tmp_path / "backup"
    shutil.copytree(home.path, backup)
    with home.writing() as own:
        own.append([note_entry(NodeKeys.from_seed(b"\x07" * 32), "not mine")])
    export(home, tmp_path / "peer")
    shutil.rmtree(home.path)
    shutil.copytree(backup, home.path)
    with pytest.raises(SignatureError, match="not by this home's author"):
        recover(home, [str(tmp_path / "peer")], confirm=yes)
    assert sizes(home)[home.origin] == 301
