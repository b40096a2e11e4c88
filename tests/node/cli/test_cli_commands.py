"""The commands on a real home: what they say, what they leave, and what they return to scripts."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import Pnode

from ledger.cid import Cid
from ledger.entry import Entry
from ledger.statement import Statement, Subject
from node.home import Home
from node.location import state_folder

INTERFACE: dict[str, tuple[list[str], set[str]]] = {
    "init": ([], {"home", "origin", "author"}),
    "status": ([], {"home", "origin", "size", "unsigned", "logs", "peers"}),
    "audit": ([], {"ok", "counts", "findings"}),
    "doctor": ([], {"ok", "checks"}),
}


def _publish(pnode: Pnode, suite: Path, *more: str) -> str:
    result = pnode("publish", str(suite), "-q", *more)
    assert result.code == 0, result.err
    return result.out.strip()


@pytest.mark.parametrize("command", sorted(INTERFACE))
def test_objects_carry_their_schema_and_the_promised_keys(
    pnode: Pnode, home: Path, command: str
) -> None:
    args, keys = INTERFACE[command]
    record = pnode(command, *args, "--json").json
    assert record["schema"] == f"pnode.{command}/1"
    assert keys <= set(record)


def test_methods_are_listed_and_read_one_by_one(pnode: Pnode) -> None:
    listed = pnode("methods", "--json").json
    assert [each["name"] for each in listed] == pnode("methods", "-q").out.split()
    (ties,) = (each for each in listed if each["name"] == "merge.ties")
    assert pnode("methods", "merge.ties", "--json").json == {"schema": "pnode.methods/1", **ties}
    assert ties["parameters"][0] == {
        "name": "density",
        "default": "0.2",
        "values": "0.000001 to 1, share of entries kept",
    }
    told = pnode("methods", "merge.ties").out
    assert ties["text"] in told
    assert "share of entries kept" in told
    assert "did you mean 'merge.ties'?" in pnode("methods", "merge.tie").err


def test_init_twice_is_the_same_home(pnode: Pnode, home: Path) -> None:
    first, second = pnode("status", "--json").json, pnode("init", "--json").json
    assert (second["origin"], second["already"]) == (first["origin"], True)
    assert pnode("init").out.count("existed") == 1
    assert "keeps its name 'ada'" in pnode("init", "--name", "eve").err


def test_init_tells_where_the_recovery_key_is_and_keeps_it_private(
    pnode: Pnode, tmp_path: Path
) -> None:
    result = pnode("init")
    assert str(tmp_path / "home" / "keys" / "recovery") in result.err
    for name in ("seed", "recovery"):
        mode = (tmp_path / "home" / "keys" / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


def test_publish_is_idempotent_and_says_so(pnode: Pnode, home: Path, suite: Path) -> None:
    first = pnode("publish", str(suite), "--json").json
    again = pnode("publish", str(suite), "--json").json
    assert first["schema"] == "pnode.publish/1"
    assert {"id", "cid", "kind", "origin", "index", "checkpoint", "files", "state"} <= set(first)
    assert first["kind"] == "suite"
    assert [file["path"] for file in first["files"]] == ["items.jsonl", "suite.toml"]
    assert (first["already"], again["already"]) == (False, True)
    assert first["id"] == again["id"]
    assert "was there already" in pnode("publish", str(suite)).out


def test_a_dry_run_leaves_no_trace(pnode: Pnode, home: Path, suite: Path) -> None:
    before = pnode("status", "--json").json
    result = pnode("publish", str(suite), "--dry-run", "--json")
    assert (result.code, result.json["id"]) == (0, None)
    assert pnode("status", "--json").json == before


def test_list_show_and_log_agree(pnode: Pnode, home: Path, suite: Path) -> None:
    id_ = _publish(pnode, suite, "--title", "my sums")
    (listed,) = pnode("list", "--kind", "suite", "--json").json
    assert {"id", "kind", "author", "title", "cid", "license", "status", "origin", "index"} <= set(
        listed
    )
    shown = pnode("show", id_[:14], "--json").json
    assert (shown["id"], listed["id"]) == (id_, id_)
    assert shown["statement"]["predicate"]["title"] == listed["title"] == "my sums"
    assert shown["index"] == listed["index"] == 1
    assert "raw" not in shown
    assert [line["id"] for line in pnode("log", "--since", "1", "--json").json] == [id_]


def test_show_raw_is_the_envelope_that_the_id_names(
    pnode: Pnode, home: Path, suite: Path, tmp_path: Path
) -> None:
    id_ = _publish(pnode, suite)
    raw = pnode("show", id_, "--raw").out
    assert json.loads(raw) == pnode("show", id_, "--json").json["envelope"]
    asked = pnode("show", id_, "--raw", "--json").json
    assert asked["schema"] == "pnode.show.raw/1"
    assert asked["id"] == id_ == str(Cid.of(base64.b64decode(asked["raw"])))
    (tmp_path / "entry.json").write_text(raw)
    assert pnode("verify", "entry.json").code == 0


def test_verify_is_green_then_red_after_one_changed_byte(
    pnode: Pnode, home: Path, suite: Path
) -> None:
    id_ = _publish(pnode, suite)
    good = pnode("verify", id_, "--json")
    assert good.code == 0
    assert good.json["ok"] is True
    assert {"signature", "inclusion", "artifact"} <= {item["name"] for item in good.json["checks"]}
    for block in (home / "store").rglob("*"):
        if block.is_file() and block.stat().st_size > 50:
            block.chmod(0o600)
            data = bytearray(block.read_bytes())
            data[-1] ^= 1
            block.write_bytes(bytes(data))
    bad = pnode("verify", id_, "--json")
    assert bad.code == 3
    assert bad.json["ok"] is False
    for_people = pnode("verify", id_)
    assert for_people.code == 3
    assert "BAD" in for_people.out
    assert f"pnode: error: {id_}: artifact:" in for_people.err
    assert pnode("verify", id_, "-q").out == ""
    assert pnode("audit").code == 3


def test_a_proof_is_checked_by_someone_without_a_home(
    pnode: Pnode, home: Path, suite: Path, tmp_path: Path
) -> None:
    id_ = _publish(pnode, suite)
    assert pnode("prove", id_, "-o", "proof").code == 0
    assert pnode("prove", id_).out == Path("proof").read_text()
    stranger = str(tmp_path / "stranger")
    result = pnode("--home", stranger, "verify", "proof")
    assert result.code == 0, result.err
    assert not Path(stranger).exists()
    text = Path("proof").read_text()
    Path("forged").write_text(text.replace("index 1", "index 0", 1))
    assert pnode("--home", stranger, "verify", "forged").code == 3


def test_a_kept_checkpoint_is_verified_and_audited_against(
    pnode: Pnode, home: Path, suite: Path
) -> None:
    Path("kept").write_text(pnode("checkpoint").out)
    _publish(pnode, suite)
    assert pnode("verify", "kept").code == 0
    assert pnode("audit", "--since", "kept").code == 0
    record = pnode("checkpoint", "--json").json
    assert (record["size"], record["note"]) == (2, pnode("checkpoint").out)


def test_fetch_writes_the_files_once(pnode: Pnode, home: Path, suite: Path) -> None:
    id_ = _publish(pnode, suite)
    assert sorted(pnode("fetch", id_, "-o", "copy", "--json").json["files"]) == [
        "items.jsonl",
        "suite.toml",
    ]
    assert (Path("copy") / "suite.toml").read_bytes() == (suite / "suite.toml").read_bytes()
    assert pnode("fetch", id_, "-o", "copy").code == 2


def test_withdraw_says_what_stops_and_what_stays(pnode: Pnode, home: Path, suite: Path) -> None:
    id_ = _publish(pnode, suite)
    result = pnode("withdraw", id_[:14], "--reason", "wrong answers")
    assert result.code == 0
    assert "stops" in result.out
    assert "stays" in result.out
    assert [line["status"] for line in pnode("list", "--kind", "suite", "--json").json] == [
        "withdrawn"
    ]
    assert pnode("withdraw", id_, "--reason", "again").code == 7


def test_peers_are_kept_and_synced_through_a_folder(
    pnode: Pnode, home: Path, suite: Path, tmp_path: Path
) -> None:
    _publish(pnode, suite)
    assert pnode("export", "stick", "--json").json["files"] > 3
    other = ("--home", str(tmp_path / "other"))
    assert pnode(*other, "init").code == 0
    address = pnode(*other, "peer", "add", str(tmp_path / "stick"), "--json").json["peer"]
    assert pnode(*other, "peer", "list", "--json").json == [address]
    result = pnode(*other, "sync", "--json")
    assert result.code == 0, result
    (line,) = result.json["peers"]
    assert (line["peer"], line["added"], line["size"], line["state"]) == (address, 2, 2, "complete")
    assert [item["title"] for item in pnode(*other, "list", "--kind", "suite", "--json").json] == [
        "sums"
    ]
    assert pnode(*other, "peer", "remove", address).code == 0
    assert pnode(*other, "sync").code == 2


def test_one_peer_that_is_away_does_not_stop_the_others(
    pnode: Pnode, home: Path, tmp_path: Path
) -> None:
    assert pnode("export", "stick").code == 0
    result = pnode("sync", str(tmp_path / "gone"), str(tmp_path / "stick"), "--json")
    assert result.code == 6
    assert [line["state"] for line in result.json["peers"]] == ["unavailable", "complete"]


HOSTILE = "honest\u202e\x9b2J\x9d0;owned\x9c sums"


def test_a_hostile_title_is_not_signed(pnode: Pnode, home: Path, suite: Path) -> None:
    result = pnode("publish", str(suite), "--title", HOSTILE)
    assert result.code == 2
    assert "--title" in result.err
    assert not set(result.err) & set(HOSTILE) & set("\u202e\x9b\x9d\x9c")


def test_hostile_text_of_an_unknown_kind_is_shown_without_its_escapes(
    pnode: Pnode, home: Path
) -> None:
    """Nobody here knows which fields of another kind are titles, so nobody refused it."""
    opened = Home.open(home, state_folder())
    fields = {"author": opened.author, "title": HOSTILE}
    entry = Entry.sign(
        Statement("poem", (Subject("poem", "00" * 32),), fields), opened.keys().author
    )
    with opened.writing() as log:
        log.append([entry])
    for args in (["list"], ["show", entry.id], ["log"]):
        out = pnode(*args).out
        assert "honest sums" in out
        assert not set(out) & set("\u202e\x9b\x9d\x9c\x1b")
    shown = pnode("show", entry.id, "--json").json
    assert shown["statement"]["predicate"]["title"] == HOSTILE


def test_an_author_cannot_speak_in_our_labels(pnode: Pnode, home: Path, suite: Path) -> None:
    id_ = _publish(pnode, suite)
    lines = pnode("show", id_).out.splitlines()
    said = lines.index("its author says")
    assert any(line.startswith("status") for line in lines[:said])
    fields = lines[said + 1 : lines.index("", said)]
    assert fields
    assert all(line.startswith("  ") for line in fields)


def test_auditing_a_copied_read_only_folder(pnode: Pnode, home: Path, suite: Path) -> None:
    _publish(pnode, suite)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    result = pnode("audit", "--json")
    assert (result.code, result.json["findings"]) == (0, [])
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_a_reader_that_leaves_early_is_not_a_crash(
    home: Path, pnode: Pnode, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    script = "import sys; from node.cli.program import run; sys.exit(run(['list']))"
    found = subprocess.run(
        [sys.executable, "-c", script],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert found.returncode == 141
    assert found.stderr == ""


def test_questions_are_answered_by_yes_or_refused(pnode: Pnode) -> None:
    from ledger.errors import UsageError
    from node.cli.options import Settings
    from node.cli.session import Session

    Session(Settings(yes=True)).confirm("delete it")
    with pytest.raises(UsageError) as caught:
        Session(Settings(json=True)).confirm("delete it")
    assert "--yes" in caught.value.hint
