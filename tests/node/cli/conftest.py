"""Running the command line in this process, as a caller sees it: exit code and two streams."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Pnode, Result

from node.cli.program import run


@pytest.fixture
def pnode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Pnode:
    """Return a function that runs one command line, by default in a home that does not exist."""
    for name in ("NO_COLOR", "FORCE_COLOR", "PNODE_JSON", "PNODE_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PNODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PNODE_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> Result:
        capsys.readouterr()
        code = run([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def home(tmp_path: Path, pnode: Pnode) -> Path:
    """Return an initialised home."""
    result = pnode("init", "--name", "ada")
    assert result.code == 0, result.err
    return tmp_path / "home"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return a small task suite, ready to be published."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "suite.toml").write_text(
        'name = "sums"\nlicense = "CC0-1.0"\nscorer = "exact"\nmax_tokens = 2\n'
        'description = "Adding small numbers"\n'
    )
    items = [
        {"id": f"{a}-{b}", "prompt": f"{a} + {b} =", "answer": str(a + b)}
        for a in range(2)
        for b in range(2)
    ]
    lines = "".join(json.dumps(item, sort_keys=True) + "\n" for item in items)
    (folder / "items.jsonl").write_text(lines)
    return folder
