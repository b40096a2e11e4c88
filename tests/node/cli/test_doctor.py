"""The doctor: healthy homes pass, each fault is named with a fix, and nothing is changed."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest
from commandline import Pnode

from node.doctor import Diagnosis, diagnose


def _check(home: Path, name: str) -> Diagnosis:
    found = {check.name: check for check in diagnose(home, home.parent / "state").checks}
    return found[name]


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _lock_file(home: Path) -> Path:
    (found,) = (home.parent / "state" / "signing").glob("*.db")
    return found


def test_a_new_home_is_healthy_and_left_untouched(pnode: Pnode, home: Path) -> None:
    before = _digests(home.parent)
    result = pnode("doctor", "--json")
    assert _digests(home.parent) == before
    assert result.code == 0
    assert result.json["ok"] is True
    names = [check["name"] for check in result.json["checks"]]
    for expected in ("python", "sqlite", "packages", "clock", "home", "disk", "signing lock"):
        assert expected in names
    assert _check(home, "signing lock").status == "ok"


def test_no_home_yet_is_no_failure_and_names_init(pnode: Pnode) -> None:
    result = pnode("doctor")
    assert result.code == 0
    assert "pnode init" in result.out


def test_a_lost_signing_lock_is_found(pnode: Pnode, home: Path) -> None:
    _lock_file(home).unlink()
    result = pnode("doctor", "--json")
    assert result.code == 1
    assert _check(home, "signing lock").status == "fail"
    assert not list((home.parent / "state" / "signing").iterdir()), "a lock is never made anew"


def test_a_restored_ledger_is_found(pnode: Pnode, home: Path, suite: Path) -> None:
    shutil.copytree(home, home.parent / "backup")
    assert pnode("publish", str(suite)).code == 0
    shutil.rmtree(home)
    (home.parent / "backup").rename(home)
    check = _check(home, "signing lock")
    assert check.status == "fail"
    assert "at 2" in check.detail
    assert check.fix


def test_a_lock_with_another_root_is_found(home: Path) -> None:
    with sqlite3.connect(_lock_file(home)) as connection:
        connection.execute("UPDATE signing_lock SET root = ?", (bytes(32),))
    connection.close()
    assert _check(home, "signing lock").status == "fail"


def test_a_seed_others_can_read_is_found(home: Path) -> None:
    (home / "keys" / "seed").chmod(0o644)
    check = _check(home, "keys")
    assert check.status == "fail"
    assert "chmod 600" in check.fix


def test_a_copy_without_keys_is_merely_read_only(pnode: Pnode, home: Path) -> None:
    shutil.rmtree(home / "keys")
    assert _check(home, "keys").status == "warn"
    assert pnode("doctor").code == 0


def test_a_damaged_ledger_is_found(pnode: Pnode, home: Path) -> None:
    (home / "ledger.db").write_bytes(b"not a database" * 1000)
    assert pnode("doctor").code == 1
    assert _check(home, "log").status == "fail"


@pytest.mark.parametrize("content", ["", "format = 99\n", "\x00"])
def test_a_damaged_marker_is_found(pnode: Pnode, home: Path, content: str) -> None:
    (home / "pnode.toml").write_text(content)
    assert _check(home, "home").status == "fail"
    assert pnode("doctor").code == 1


@pytest.mark.parametrize(("now", "status"), [(0.0, "fail"), (1_790_000_001.0, "warn")])
def test_a_clock_that_is_behind_is_found(home: Path, now: float, status: str) -> None:
    import os

    os.utime(home / "ledger.db", (1_800_000_000, 1_800_000_000))
    checks = diagnose(home, home.parent / "state", clock=lambda: now).checks
    (clock,) = [check for check in checks if check.name == "clock"]
    assert clock.status == status
    assert clock.fix


def test_everything_that_is_not_fine_says_what_to_do(tmp_path: Path) -> None:
    for check in diagnose(tmp_path / "none", tmp_path).checks:
        assert check.status == "ok" or check.fix, check
