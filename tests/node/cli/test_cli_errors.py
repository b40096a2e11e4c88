"""Failures: exit codes, the two lines for people, and exactly one JSON value for programs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import click
import pytest
from commandline import Pnode

from ledger.errors import PnodeError
from ledger.witness import NotCosignedError
from node.cli.failure import failure_of, gravest
from node.cli.program import COMMANDS, program
from node.cli.session import Session

ROOT = Path(__file__).parents[3]
NO_SUCH_ID = "bafkreiaaaaaaaaaaaaaaaa"

WITHOUT_HOME = {
    "status": ([], 4),
    "publish": (["missing"], 4),
    "withdraw": ([NO_SUCH_ID, "--reason", "x"], 4),
    "list": ([], 4),
    "show": ([NO_SUCH_ID], 4),
    "fetch": ([NO_SUCH_ID, "-o", "out"], 4),
    "log": ([], 4),
    "checkpoint": ([], 4),
    "prove": ([NO_SUCH_ID], 4),
    "verify": ([NO_SUCH_ID], 4),
    "audit": ([], 4),
    "replay": ([NO_SUCH_ID], 4),
    "base": (["list"], 4),
    "compose": (["missing.toml"], 4),
    "suite": (["import", "missing.yaml", "-o", "out", "--license", "MIT"], 5),
    "evaluate": (["--base", "missing", "--suite", "missing"], 4),
    "hygiene": (["missing", "--base", "missing", "--public", "missing"], 4),
    "attribute": ([NO_SUCH_ID], 4),
    "report": ([NO_SUCH_ID, "-o", "x.html"], 4),
    "peer": (["list"], 4),
    "sync": ([], 4),
    "recover": ([], 4),
    "key": (["show"], 4),
    "evidence": (["list"], 4),
    "watch": ([], 4),
    "serve": ([], 4),
    "export": (["out"], 4),
    "store": (["status"], 4),
    "describe": ([NO_SUCH_ID, "--format", "cyclonedx"], 4),
    "init": (["--unknown"], 2),
    "demo": (["--unknown"], 2),
    "doctor": (["--unknown"], 2),
    "methods": (["merge.tie"], 2),
    "completion": (["tcsh"], 2),
}

WITH_HOME = [
    (["publish", "missing"], 5),
    (["publish", "."], 7),
    (["withdraw", NO_SUCH_ID, "--reason", "x"], 5),
    (["withdraw", NO_SUCH_ID], 2),
    (["show", NO_SUCH_ID], 5),
    (["show", "short"], 2),
    (["fetch", NO_SUCH_ID, "-o", "out"], 5),
    (["log", "--origin", "nobody.example"], 5),
    (["log", "--since", "-1"], 2),
    (["prove", NO_SUCH_ID], 5),
    (["verify", NO_SUCH_ID], 5),
    (["verify"], 2),
    (["audit", "--since", "missing.txt"], 5),
    (["replay", NO_SUCH_ID], 5),
    (["base", "add", "missing"], 5),
    (["compose", "missing.toml"], 5),
    (["suite", "import", "missing.yaml", "-o", "out", "--license", "MIT"], 5),
    (["evaluate", "--base", "missing", "--suite", "missing"], 5),
    (["hygiene", "missing", "--base", "missing", "--public", "missing"], 5),
    (["attribute", NO_SUCH_ID], 5),
    (["report", NO_SUCH_ID, "-o", "x.html"], 5),
    (["peer", "remove", "https://nobody.example"], 5),
    (["peer", "add", "ftp://nobody.example"], 2),
    (["sync"], 2),
    (["recover"], 2),
    (["recover", "missing", "--yes"], 6),
    (["evidence", "show", "0123456789ab"], 5),
    (["evidence", "add", "missing"], 5),
    (["key", "recover", "--recovery", "missing"], 5),
    (["key", "revoke", "--from", "1"], 2),
    (["watch", "--interval", "0"], 2),
    (["lits"], 2),
    (["list", "--stauts", "active"], 2),
    (["list", "--status", "gone"], 2),
    (["peer"], 2),
    (["peer", "ad", "x"], 2),
]


def _check_error(result_json: object, out: str) -> None:
    assert out.count("\n") == 1
    assert isinstance(result_json, dict)
    assert set(result_json) == {"error"}
    error = result_json["error"]
    assert set(error) == {"code", "message", "hint"}
    assert all(isinstance(value, str) and value for value in error.values())


def test_the_table_covers_every_command() -> None:
    assert set(WITHOUT_HOME) == {name for section in COMMANDS.values() for name in section}


@pytest.mark.parametrize("command", sorted(WITHOUT_HOME))
@pytest.mark.parametrize("place", ["before", "after"])
def test_every_command_fails_in_json(pnode: Pnode, command: str, place: str) -> None:
    args, code = WITHOUT_HOME[command]
    line = ["--json", command, *args] if place == "before" else [command, *args, "--json"]
    result = pnode(*line)
    assert result.code == code, result
    _check_error(result.json, result.out)
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("args", "code"), WITH_HOME, ids=str)
def test_bad_arguments_give_their_exit_code(
    pnode: Pnode, home: Path, args: list[str], code: int
) -> None:
    in_json = pnode(*args, "--json")
    assert in_json.code == code, in_json
    _check_error(in_json.json, in_json.out)
    for_people = pnode(*args)
    assert for_people.code == code
    if args != ["peer"]:  # a noun alone shows its help
        first, second = for_people.err.splitlines()[-2:]
        assert first == f"pnode: error: {in_json.json['error']['message']}"
        assert second == f"pnode: hint: {in_json.json['error']['hint']}"
        assert for_people.out == ""


def test_json_from_the_environment_also_covers_usage_errors(
    pnode: Pnode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PNODE_JSON", "1")
    for args in ([], ["lits"], ["publish"], ["list", "--nope"]):
        result = pnode(*args)
        assert result.code == 2
        _check_error(result.json, result.out)


def test_an_unknown_command_suggests_the_near_one(pnode: Pnode) -> None:
    result = pnode("publsh")
    assert result.code == 2
    assert "pnode: error: no such command 'publsh'" in result.err
    assert "did you mean 'publish'?" in result.err


def test_an_unknown_option_suggests_the_near_one(pnode: Pnode) -> None:
    assert "did you mean '--license'" in pnode("publish", "x", "--licence", "MIT").err


def test_no_command_shows_the_help_on_standard_error(pnode: Pnode) -> None:
    result = pnode()
    assert (result.code, result.out) == (2, "")
    assert "Usage: pnode" in result.err


class _Failing:
    """Makes `status` fail in a chosen way, deep inside."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, error: BaseException) -> None:
        def fail(*_: object, **__: object) -> None:
            raise error

        self._monkeypatch.setattr(Session, "node", fail)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> _Failing:
    return _Failing(monkeypatch)


@pytest.mark.parametrize(
    ("error", "code", "name"),
    [
        (KeyError("x"), 1, "failure"),
        (RecursionError("deep"), 1, "failure"),
        (MemoryError(), 1, "failure"),
        (sqlite3.OperationalError("disk I/O error"), 1, "storage"),
        (OSError(28, "No space left on device", "/x"), 1, "storage"),
        (FileNotFoundError(2, "No such file", "/x"), 5, "not-found"),
        (ConnectionRefusedError(111, "refused"), 6, "unavailable"),
        (ModuleNotFoundError("no torch", name="torch"), 2, "missing-extra"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_nobody_caught_is_still_told_without_a_traceback(
    pnode: Pnode, failing: _Failing, error: BaseException, code: int, name: str
) -> None:
    failing(error)
    result = pnode("status", "--json")
    assert result.code == code
    assert result.json["error"]["code"] == name
    assert "Traceback" not in pnode("status").err


def test_debug_shows_the_traceback_and_keeps_json_alone(pnode: Pnode, failing: _Failing) -> None:
    failing(KeyError("the cause"))
    result = pnode("status", "--debug", "--json")
    assert "Traceback" in result.err
    assert "the cause" in result.err
    _check_error(result.json, result.out)


def test_what_a_library_prints_does_not_reach_standard_output(
    pnode: Pnode, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Session.home_path

    def chatty(self: Session) -> Path:
        print("loading weights: 100%")
        return genuine(self)

    monkeypatch.setattr(Session, "home_path", chatty)
    result = pnode("status", "--json")
    assert result.json["name"] == "ada"
    assert "loading weights" in result.err


def test_a_missing_extra_names_what_to_install(pnode: Pnode, failing: _Failing) -> None:
    failing(ModuleNotFoundError("no", name="matplotlib.figure"))
    assert "pip install 'pnode[report]'" in pnode("status").err


def test_every_error_of_the_tree_is_shown_with_its_own_code_and_hint() -> None:
    def tree(kind: type[PnodeError]) -> list[type[PnodeError]]:
        return [kind, *(found for child in kind.__subclasses__() for found in tree(child))]

    for kind in tree(PnodeError):
        status = (409,) if issubclass(kind, NotCosignedError) else ()
        failure = failure_of(kind(*status, "what"))
        assert (failure.code, failure.exit_code) == (kind.code, kind.exit_code)
        assert failure.message == "what"
        assert failure.hint, kind


def test_usage_errors_of_click_read_like_ours() -> None:
    ctx = program().make_context("pnode", ["list"], obj=None, resilient_parsing=True)
    failure = failure_of(click.UsageError("Something Odd.", ctx=ctx))
    assert failure.message == "something Odd"
    assert failure.hint == "see 'pnode --help'"


@pytest.mark.parametrize(
    ("codes", "expected"), [([], 0), ([9], 9), ([9, 3], 3), ([3, 8, 9], 8), ([6, 5], 6)]
)
def test_the_gravest_failure_decides(codes: list[int], expected: int) -> None:
    assert gravest(codes) == expected


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["list", "nope"]])
@pytest.mark.parametrize("streams", ["stdout", "stderr", "both"])
def test_a_full_or_closed_stream_gives_no_traceback(
    tmp_path: Path, arguments: list[str], streams: str
) -> None:
    """Nobody can read the report then, but the exit code still says that it failed."""
    command = [sys.executable, "-c", "from node.cli import main; main()", *arguments]
    environment = {**os.environ, "PNODE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            command,
            env=environment,
            stdout=full if streams != "stderr" else subprocess.PIPE,
            stderr=full if streams != "stdout" else subprocess.PIPE,
            check=False,
        )
    assert result.returncode in (2, 4)
    assert b"Traceback" not in (result.stdout or b"") + (result.stderr or b"")
