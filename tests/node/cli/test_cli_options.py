"""Global options: before and after the command, from the environment, and which place wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Pnode


def test_json_is_accepted_before_and_after_the_command(pnode: Pnode, home: Path) -> None:
    before, after = pnode("--json", "status"), pnode("status", "--json")
    assert before.code == after.code == 0
    assert before.json == after.json
    assert before.json["schema"] == "pnode.status/1"


def test_json_is_accepted_around_a_verb_of_a_noun(pnode: Pnode, home: Path) -> None:
    lines = [("--json", "peer", "list"), ("peer", "--json", "list"), ("peer", "list", "--json")]
    for args in lines:
        result = pnode(*args)
        assert (result.code, result.json) == (0, []), args


def test_home_is_accepted_before_and_after_the_command(pnode: Pnode, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert pnode("init", "--home", str(other)).code == 0
    for args in (["--home", str(other), "status"], ["status", "--home", str(other)]):
        assert pnode(*args, "--json").json["home"] == str(other)


def test_the_option_after_the_command_wins_over_the_one_before(
    pnode: Pnode, tmp_path: Path
) -> None:
    near, far = str(tmp_path / "near"), str(tmp_path / "far")
    assert pnode("--home", far, "init", "--home", near).code == 0
    assert (Path(near) / "pnode.toml").is_file()
    assert not Path(far).exists()


def test_a_flag_before_the_command_survives_its_default_after_it(pnode: Pnode, home: Path) -> None:
    assert pnode("-q", "list").out == pnode("list", "-q").out
    assert len(pnode("-q", "list").out.split()) == 1


def test_home_flag_wins_over_variable_and_variable_over_project(
    pnode: Pnode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "work" / ".pnode"
    deep = tmp_path / "work" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    for folder in (project, tmp_path / "flagged"):
        assert pnode("init", "--home", str(folder)).code == 0
    assert pnode("init").code == 0  # in PNODE_HOME
    assert (
        pnode("status", "--json", "--home", str(tmp_path / "flagged"))
        .json["home"]
        .endswith("flagged")
    )
    assert pnode("status", "--json").json["home"] == str(tmp_path / "home")
    monkeypatch.delenv("PNODE_HOME")
    assert pnode("status", "--json").json["home"] == str(project)


def test_without_flag_variable_or_project_the_user_folder_is_used(
    pnode: Pnode, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PNODE_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert pnode("init", "--json").json["home"] == str(tmp_path / "data" / "pnode")


def test_every_option_has_a_variable(
    pnode: Pnode, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNODE_JSON", "1")
    assert pnode("status").json["schema"] == "pnode.status/1"
    monkeypatch.setenv("PNODE_LIST_KIND", "suite")
    assert pnode("list").json == []
    monkeypatch.setenv("PNODE_PEER_LIST_HOME", "/nowhere")
    assert pnode("peer", "list").code == 0, "PNODE_HOME alone names the home"


def test_a_variable_of_a_command_names_its_option(
    pnode: Pnode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNODE_INIT_NAME", "bo")
    assert pnode("init", "--json").json["name"] == "bo"


@pytest.mark.parametrize("args", [["--version", "list"], ["list", "--version"]], ids=" ".join)
def test_version_anywhere(pnode: Pnode, args: list[str]) -> None:
    result = pnode(*args)
    assert result.code == 0
    assert result.out.startswith("pnode ")
    assert pnode(*args, "--json").json["schema"] == "pnode.version/1"


def test_offline_refuses_the_network_and_names_the_peer(pnode: Pnode, home: Path) -> None:
    result = pnode("sync", "http://127.0.0.1:9", "--offline", "--json")
    assert result.code == 6
    (peer,) = result.json["peers"]
    assert peer["state"] == "unavailable"
    assert "--offline" in peer["errors"][0]["message"] + peer["errors"][0]["hint"]


def test_a_value_that_looks_like_json_does_not_switch_the_mode(pnode: Pnode, home: Path) -> None:
    result = pnode("list", "--author", "--json")
    assert result.code == 0
    assert result.out == ""
    assert "nothing matches" in result.err
