"""Every command that README and docs show is run, page by page, as a reader would paste it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Command, commands, name_of, pages, split, start_of

NOT_RUN = {
    "make demo": "creates a virtual environment; the demo has tests of its own in tests/node/demo",
    "make test": "it is this very run",
    "python3 -m venv": "needs an environment of its own",
    ". .venv/bin/activate": "needs an environment of its own",
    "pip install": "needs the network",
    "model_signing verify": "a tool of others; tests/interop runs it",
    "pnode serve": "runs until it is interrupted; tested in tests/node",
    "ray start": "needs the extra ray; tests/node/coalitions/test_cluster.py runs a cluster",
    "ray stop": "needs the extra ray",
    "pnode attribute $composition --ray": "needs a cluster; the same test runs it",
    "sbatch": "needs Slurm",
    "kubectl": "needs Kubernetes",
}
"""What is shown and not run here, with the reason."""

SETUP = {
    "empty": "",
    "home": """
pnode init --name ada
pnode base add node/demo/data/base --name cipher-tiny
adapter=$(pnode publish node/demo/data/adapters/ada --license CC0-1.0 -q)
other=$(pnode publish node/demo/data/adapters/bo --license CC0-1.0 -q)
suite=$(pnode publish docs/examples/suites/own0-test -q)
dev=$(pnode publish docs/examples/suites/own0-dev -q)
""",
    "composed": """
cat > composed.toml <<END
base = "cipher-tiny"
members = "all"
method = "logit.select"
suites = ["$suite"]
END
composition=$(pnode compose composed.toml -q)
attribution=$(pnode attribute $composition -q)
rm composed.toml
""",
}
SETUP["composed"] = SETUP["home"] + SETUP["composed"]
VARIABLES = ("adapter", "other", "suite", "dev", "composition", "attribution")

SHOWN = [page for page in pages() if commands(page)]
WRONG = 99


@dataclass(frozen=True, slots=True)
class Desk:
    """A working folder with what a clone has, and homes below it."""

    folder: Path
    variables: dict[str, str]

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script with this environment's `pnode`."""
        environment = {
            **os.environ,
            **self.variables,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PNODE_HOME": str(self.folder / "home"),
            "PNODE_STATE": str(self.folder / "state"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


def script_of(shown: list[Command]) -> str:
    """Return a script that stops at the first command with another exit code than promised."""
    parts = []
    for command in shown:
        parts.append(command.text)
        quoted = command.text.replace("'", "'\\''")
        parts.append(
            f"code=$?; [ $code = {command.exit_code} ] || "
            f"{{ echo 'exit '$code', not {command.exit_code}: {quoted}' >&2; exit {WRONG}; }}"
        )
    return "\n".join(parts)


def is_run(command: Command) -> bool:
    return not command.words.startswith(tuple(NOT_RUN))


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Desk]:
    """Prepare each kind of home that pages start from, once."""
    prepared: dict[str, Desk] = {}

    for name, setup in SETUP.items():
        desk = Desk(tmp_path_factory.mktemp(name), {})
        for part in ("node/demo/data", "docs/examples"):
            shutil.copytree(ROOT / part, desk.folder / part)
        show = "".join(f'echo "{variable}=${variable}"\n' for variable in VARIABLES)
        result = desk.run(script_of(list(split(setup))) + f"\n{{ {show}}} > variables.txt\n")
        assert result.returncode == 0, result.stderr
        lines = (desk.folder / "variables.txt").read_text().splitlines()
        (desk.folder / "variables.txt").unlink()
        desk.variables.update(line.split("=", 1) for line in lines if not line.endswith("="))
        prepared[name] = desk
    return prepared


@pytest.mark.parametrize("page", SHOWN, ids=name_of)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, starts: dict[str, Desk], tmp_path: Path
) -> None:
    start = starts[start_of(page)]
    folder = tmp_path / "desk"
    shutil.copytree(start.folder, folder)
    shown = [command for command in commands(page) if is_run(command)]
    result = Desk(folder, start.variables).run(script_of(shown))
    assert result.returncode == 0, f"{name_of(page)}\n{result.stderr[-3000:]}"
    assert "Traceback" not in result.stderr


def test_nothing_is_exempt_that_is_not_shown() -> None:
    shown = [command.words for page in pages() for command in commands(page)]
    for exempt in NOT_RUN:
        assert any(words.startswith(exempt) for words in shown), exempt


def test_a_wrong_exit_code_is_noticed(tmp_path: Path) -> None:
    result = Desk(tmp_path, {}).run(script_of(list(split("true # exit 3"))))
    assert result.returncode == WRONG
    assert "exit 0, not 3" in result.stderr


def test_here_documents_and_continued_lines_are_one_command() -> None:
    block = "cat > a <<END\nx # exit 5\nEND\necho one \\\n  two\n# a remark\nfalse  # exit 1\n"
    assert [(command.text, command.exit_code) for command in split(block)] == [
        ("cat > a <<END\nx # exit 5\nEND", 0),
        ("echo one \\\n  two", 0),
        ("false  # exit 1", 1),
    ]
