"""`--offline` opens no socket: real commands in a process in which opening one is an error.

The child imports a `sitecustomize` that makes `socket.socket`, name look-ups and connections
raise and write to a file; the test fails if that file exists.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.cli.program import COMMANDS

ROOT = Path(__file__).parents[3]
DATA = ROOT / "node" / "demo" / "data"

BLOCK = """
import os
import socket
import sys


def refuse(event, args):
    if event in ("socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo"):
        with open(os.environ["OPENED"], "a") as stream:
            stream.write(f"{event} {args!r}\\n")
        raise RuntimeError(f"offline, and yet: {event}")


# An audit hook sees every socket, whoever makes it, and cannot be removed again.
sys.addaudithook(refuse)
"""

MAIN = "from node.cli import main; main()"

SCRIPT = [
    "init --name ada",
    "status",
    "base add DATA/base --name cipher-tiny",
    "publish DATA/adapters/ada --license CC0-1.0",
    "list",
    "log",
    "show ID",
    "fetch ID -o out",
    "checkpoint",
    "prove ID -o proof",
    "verify ID",
    "audit",
    "export stick",
    "store status",
    "store pin ID",
    "store gc",
    "describe ID --format cyclonedx",
    "peer add stick",
    "peer add http://127.0.0.1:1",
    "peer list",
    "sync stick",
    "recover stick",
    "doctor",
    "methods merge.ties",
    "evidence list",
    "key show",
    "watch",
    "completion bash",
    "withdraw ID --reason enough",
]
OTHER_EXIT = {
    # A URL cannot be reached offline, and that is said, without trying.
    "sync": 6,
    "compose missing.toml": 5,
    "suite import missing.yaml -o suite --license MIT": 5,
    "evaluate --base missing --suite missing": 5,
    "hygiene missing --base missing --public missing": 5,
    f"replay {'b' * 40}": 5,
    f"attribute {'b' * 40}": 5,
    f"report {'b' * 40} -o x.html": 5,
    "demo --unknown": 2,
    "serve --unknown": 2,
}


@pytest.fixture
def run(tmp_path: Path):
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sitecustomize.py").write_text(BLOCK)
    opened = tmp_path / "opened"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "block"), str(ROOT)]),
        "OPENED": str(opened),
        "PNODE_HOME": str(tmp_path / "home"),
        "PNODE_STATE": str(tmp_path / "state"),
    }

    def run(*args: str) -> tuple[int, str]:
        command = [sys.executable, "-c", MAIN, "--offline", "-q", *args]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert not opened.exists(), (args, opened.read_text())
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout.strip()

    return run


def test_the_block_works(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OPENED": str(tmp_path / "opened")}
    code = "import socket; socket.socket()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode != 0
    assert (tmp_path / "opened").exists()


def test_no_command_opens_a_socket_offline(run) -> None:
    ids: list[str] = []
    for line in SCRIPT:
        args = [word.replace("DATA", str(DATA)) for word in line.split()]
        code, out = run(*(ids[0] if word == "ID" else word for word in args))
        assert code == 0, (line, code, out)
        if line.startswith("publish"):
            ids.append(out)
    for line, expected in OTHER_EXIT.items():
        assert run(*line.split())[0] == expected, line


def test_every_command_is_tried() -> None:
    tried = {line.split()[0] for line in [*SCRIPT, *OTHER_EXIT]}
    known = {name for section in COMMANDS.values() for name in section}
    assert tried == known
