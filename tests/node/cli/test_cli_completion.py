"""Completion: scripts that shells accept, and answers that come from the command line itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import Pnode

SHELLS = ("bash", "zsh", "fish")

Complete = Callable[[str], list[str]]


@pytest.mark.parametrize("shell", SHELLS)
def test_scripts_call_pnode(pnode: Pnode, shell: str) -> None:
    result = pnode("completion", shell)
    assert result.code == 0
    assert f"_PNODE_COMPLETE={shell}_complete" in result.out
    assert pnode("completion", shell, "--json").json == {
        "schema": "pnode.completion/1",
        "shell": shell,
        "script": result.out,
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_itself_accepts_the_script(pnode: Pnode, shell: str) -> None:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"no {shell} here")
    script = pnode("completion", shell).out
    subprocess.run([found, "-n"], input=script, text=True, check=True)


@pytest.fixture
def complete(pnode: Pnode, monkeypatch: pytest.MonkeyPatch) -> Complete:
    def ask(line: str) -> list[str]:
        monkeypatch.setenv("_PNODE_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        result = pnode()
        monkeypatch.delenv("_PNODE_COMPLETE")
        assert result.code == 0
        return [item.partition(",")[2] for item in result.out.split()]

    return ask


def test_commands_are_completed(complete: Complete) -> None:
    assert complete("pnode pub") == ["publish"]
    assert set(complete("pnode a")) == {"audit", "attribute"}


def test_verbs_and_options_are_completed(complete: Complete) -> None:
    assert complete("pnode peer re") == ["remove"]
    assert complete("pnode list --st") == ["--status"]
    assert complete("pnode list --status wi") == ["withdrawn"]


def test_ids_are_completed_from_the_home(complete: Complete, pnode: Pnode, home: Path) -> None:
    (id_,) = pnode("list", "-q").out.split()
    assert complete("pnode show baf") == [id_]


def test_no_home_completes_nothing_and_prints_no_error(complete: Complete) -> None:
    assert complete("pnode show baf") == []


def test_an_unknown_instruction_is_refused(pnode: Pnode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PNODE_COMPLETE", "tcsh_source")
    assert pnode().code == 1
