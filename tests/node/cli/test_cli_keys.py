"""The commands about keys, as a script and as a person meet them."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest
from commandline import Pnode

from node import home as homes
from node.identity import keyring

CHEAP = 16


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passphrases at a cost that suits a test; the real one has a test of its own."""
    for held in (homes.Home.init.__func__, keyring.change_passphrase):  # type: ignore[attr-defined]
        monkeypatch.setattr(held, "__kwdefaults__", {**held.__kwdefaults__, "cost": CHEAP})


@pytest.fixture
def recovery(home: Path, tmp_path: Path, pnode: Pnode) -> Path:
    """The recovery key, moved out of the home."""
    file = tmp_path / "offline"
    assert pnode("key", "recovery", "--move", str(file)).code == 0
    assert not (home / "keys" / "recovery").exists()
    return file


def test_init_says_what_to_do_with_the_recovery_key(pnode: Pnode) -> None:
    result = pnode("init")
    assert "pnode key recovery --move FILE" in result.err
    assert "recovery key" in pnode("doctor").out


def test_show_tells_who_i_am(home: Path, pnode: Pnode) -> None:
    shown = pnode("key", "show", "--json").json
    assert shown["home"] == str(home)
    assert (shown["protected"], shown["recovery_here"], shown["pending"]) == (False, True, False)
    assert [link["closed_at"] for link in shown["chain"]] == [None]
    text = pnode("key", "show").out
    assert "move it offline" in text
    assert shown["log_key"] in text
    assert pnode("key", "show", "-q").out == shown["author"] + "\n"


def test_the_recovery_key_is_moved_once(recovery: Path, pnode: Pnode) -> None:
    assert recovery.is_file()
    assert pnode("key", "show", "--json").json["recovery_here"] is False
    assert "not in this home" in pnode("key", "show").out
    assert pnode("key", "recovery", "--move", str(recovery) + "2").code == 5


def test_rotate_and_go_on(home: Path, suite: Path, pnode: Pnode) -> None:
    del home
    first = pnode("publish", str(suite), "-q").out.strip()
    before = pnode("key", "show", "--json").json
    rotated = pnode("key", "rotate", "--json").json
    assert rotated["predecessor"] == before["origin"]
    assert pnode("status", "--json").json["author"] == rotated["author"]
    assert pnode("withdraw", first, "--reason", "new key").code == 0
    for author in (before["author"], rotated["author"], "ada"):
        listed = pnode("list", "--author", author, "--kind", "suite", "-q")
        assert listed.out.strip() == first
    assert pnode("audit").code == 0
    assert pnode("watch").code == 0


def test_recover_and_revoke(home: Path, suite: Path, recovery: Path, pnode: Pnode) -> None:
    first = pnode("publish", str(suite), "-q").out.strip()
    (home / "keys" / "seed").unlink()
    assert pnode("withdraw", first, "--reason", "no key").code == 4
    recovered = pnode("key", "recover", "--recovery", str(recovery), "--json").json
    assert (recovered["closed_at"], recovered["recovered"]) == (2, True)
    revoked = pnode("key", "revoke", "--recovery", str(recovery), "--from", "1", "--json").json
    assert (revoked["start"], revoked["renewed"]) == (1, None)
    assert pnode("list", "--status", "doubtful", "-q").out.strip() == first
    assert pnode("audit").code == 0
    assert pnode("key", "revoke", "--recovery", str(recovery), "--from", "9").code == 2
    assert pnode("key", "recover", "--recovery", str(home / "nothing")).code == 5


def test_revoking_the_key_in_use_takes_over_first(
    home: Path, suite: Path, recovery: Path, pnode: Pnode
) -> None:
    del home
    pnode("publish", str(suite))
    result = pnode("key", "revoke", "--recovery", str(recovery), "--from", "1")
    assert result.code == 0, result.err
    assert "new recovery key" in result.err
    assert len(pnode("key", "show", "--json").json["chain"]) == 2


def test_what_is_doubtful_is_shown_and_fetched_with_a_warning(
    home: Path, suite: Path, pnode: Pnode
) -> None:
    first = pnode("publish", str(suite), "-q").out.strip()
    key = str(home / "keys" / "recovery")
    assert pnode("key", "revoke", "--recovery", key, "--from", "1").code == 0
    assert "doubtful" in pnode("show", first).out
    assert "doubtful" in pnode("fetch", first, "-o", str(home.parent / "copy")).err


@pytest.mark.usefixtures("cheap")
def test_passphrases_from_variables_and_files(
    suite: Path, tmp_path: Path, pnode: Pnode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNODE_PASSPHRASE", "one")
    assert pnode("init", "--passphrase").code == 0
    assert pnode("key", "show", "--json").json["protected"] is True
    first = pnode("publish", str(suite), "-q").out.strip()
    monkeypatch.setenv("PNODE_PASSPHRASE", "wrong")
    refused = pnode("withdraw", first, "--reason", "x")
    assert (refused.code, "does not open" in refused.err) == (4, True)
    monkeypatch.delenv("PNODE_PASSPHRASE")
    for reading in (["list"], ["audit"], ["status"], ["key", "show"], ["doctor"], ["watch"]):
        assert pnode(*reading).code == 0, reading
    refused = pnode("key", "rotate", "--json")
    assert refused.code == 4
    assert refused.json["error"]["code"] == "no-identity"
    assert "--passphrase-file" in refused.json["error"]["hint"]
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("one\n")
    new.write_text("two\n")
    file = ["--passphrase-file", str(old)]
    assert pnode("key", "passphrase", *file).code == 4
    assert pnode("key", "passphrase", *file, "--new-passphrase-file", str(new)).code == 0
    assert pnode("key", "rotate", *file).code == 4
    monkeypatch.setenv("PNODE_PASSPHRASE_FILE", str(new))
    assert pnode("key", "rotate").code == 0
    assert pnode("key", "show", "--json").json["protected"] is True
    assert pnode("key", "passphrase", "--remove").code == 0
    monkeypatch.delenv("PNODE_PASSPHRASE_FILE")
    assert pnode("key", "show", "--json").json["protected"] is False
    assert pnode("publish", str(suite), "--title", "again").code == 0


@pytest.mark.usefixtures("cheap")
def test_the_first_passphrase_of_a_home(
    home: Path, pnode: Pnode, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pnode("key", "passphrase").code == 4
    monkeypatch.setenv("PNODE_PASSPHRASE", "one")
    assert pnode("key", "passphrase").code == 0
    assert (home / "keys" / "seed").read_text().startswith("pnode-seed v1\n")
    assert pnode("key", "passphrase", "--remove", "--new-passphrase-file", "x").code == 2


def test_a_passphrase_is_asked_for_on_a_terminal_and_not_shown(tmp_path: Path) -> None:
    """A child with a terminal of its own; getpass talks to it."""
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - another process
        os.environ.update(PNODE_HOME=str(tmp_path / "home"), PNODE_STATE=str(tmp_path / "state"))
        os.environ.pop("PNODE_PASSPHRASE", None)
        run = "from node.cli import main; main()"
        os.execv(sys.executable, [sys.executable, "-c", run, "init", "--passphrase"])
    seen = b""
    waiting = [b"New passphrase: ", b"The same again: "]
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end was closed
            break
        if not part:
            break
        seen += part
        if waiting and waiting[0] in seen:
            waiting.pop(0)
            os.write(terminal, b"hidden words\n")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    assert waiting == []
    assert b"hidden" not in seen
    assert (tmp_path / "home" / "keys" / "seed").read_text().startswith("pnode-seed v1\n")


def test_watch_reports_and_exits(home: Path, suite: Path, tmp_path: Path, pnode: Pnode) -> None:
    nothing = {"schema": "pnode.watch/1", "ok": True, "alerts": [], "unread": []}
    assert pnode("watch", "--once", "--json").json == nothing
    copied = tmp_path / "copied"
    copied.write_bytes((home / "keys" / "recovery").read_bytes())
    assert pnode("publish", str(suite)).code == 0
    assert pnode("export", str(tmp_path / "stick")).code == 0
    other = ["--home", str(tmp_path / "other")]
    assert pnode(*other, "init").code == 0
    assert pnode(*other, "sync", str(tmp_path / "stick")).code == 0
    assert pnode(*other, "key", "recover", "--recovery", str(copied)).code == 0
    assert pnode(*other, "export", str(tmp_path / "back")).code == 0
    assert pnode("peer", "add", str(tmp_path / "back")).code == 0
    assert pnode("watch", "--no-sync").code == 0
    assert pnode("--offline", "watch").code == 0
    found = pnode("watch", "--interval", "600")
    assert found.code == 3
    assert "takeover" in found.out
    assert pnode("watch", "--json").json["alerts"][0]["what"] == "takeover"
    assert pnode("watch", "--once", "--interval", "5").code == 2
    assert pnode("publish", str(suite), "--title", "too late").code == 7
