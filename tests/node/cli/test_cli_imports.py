"""What is not imported: help and read-only commands must start fast, so the heavy stay out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import Pnode

HEAVY = ("torch", "transformers", "peft", "safetensors", "matplotlib", "tokenizers")
NETWORK = ("httpx2", "starlette", "uvicorn", "jinja2")

SCRIPT = """
import sys
from node.cli.program import run
code = run(sys.argv[1:])
sys.stdout.flush()
print(code, *sorted(name for name in sys.modules), sep="\\n", file=sys.stderr)
"""


def _imported(*args: str) -> set[str]:
    """Run a command in a new process and return the modules it has loaded."""
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *args],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    lines = found.stderr.splitlines()
    start = max(index for index, line in enumerate(lines) if line.isdigit())
    assert lines[start] == "0", found.stderr[:2000]
    return set(lines[start + 1 :])


@pytest.mark.parametrize("args", [["--help"], ["verify", "--help"], ["publish", "--help"]])
def test_help_loads_next_to_nothing(args: list[str], pnode: Pnode) -> None:
    modules = _imported(*args)
    unwanted = (*HEAVY, *NETWORK, "numpy", "rich", "sqlite3", "sqlite_utils", "cryptography")
    assert not modules & set(unwanted)


def test_the_listing_loads_no_command_module(pnode: Pnode) -> None:
    modules = _imported("--help")
    ours = {name for section in _listings() for name in section}
    assert not modules & ours


def _listings() -> list[set[str]]:
    from node.cli.program import COMMANDS

    return [
        {f"node.cli.{item.module}" for item in section.values()} for section in COMMANDS.values()
    ]


@pytest.mark.parametrize(
    "args",
    [
        ["list"],
        ["status"],
        ["log"],
        ["checkpoint"],
        ["doctor"],
        ["methods"],
        ["audit"],
        ["peer", "list"],
        ["completion", "zsh"],
    ],
    ids=" ".join,
)
def test_reading_commands_load_no_model_library(args: list[str], home: Path) -> None:
    assert not _imported(*args) & set(HEAVY)


@pytest.mark.parametrize("args", [["log"], ["checkpoint"], ["status"]], ids=" ".join)
def test_reading_loads_neither_the_writer_nor_the_network(args: list[str], home: Path) -> None:
    assert not _imported(*args) & {*NETWORK, "sqlite_utils", "numpy", "rich"}


def test_verifying_a_proof_loads_only_what_it_needs(pnode: Pnode, home: Path) -> None:
    """Checking one proof takes a moment: nothing reads a home, a policy or a database."""
    (id_,) = pnode("list", "-q").out.split()
    assert pnode("prove", id_, "-o", "entry.tlog-proof").code == 0
    modules = _imported("--home", "nowhere", "verify", "entry.tlog-proof")
    assert not modules & {*HEAVY, *NETWORK, "sqlite_utils", "sqlite3", "numpy", "rich"}
    assert {name for name in modules if name.startswith("ledger.")} == {
        f"ledger.{name}"
        for name in [
            "checkpoint",
            "cid",
            "dsse",
            "encoding",
            "entry",
            "errors",
            "keys",
            "merkle",
            "note",
            "predicate",
            "statement",
            "tlogproof",
        ]
    }
    others = {name for name in modules if name.startswith(("node.", "compose", "attribution"))}
    assert {name for name in others if not name.startswith(("node.cli", "node.checking"))} == {
        "node.location"
    }


def test_verify_loads_neither_the_writer_nor_the_models(pnode: Pnode, home: Path) -> None:
    (id_,) = pnode("list", "-q").out.split()
    assert not _imported("verify", id_) & {*HEAVY, *NETWORK, "sqlite_utils", "numpy"}


def test_describing_loads_neither_a_model_library_nor_the_network(
    home: Path, suite: Path, pnode: Pnode
) -> None:
    id_ = pnode("publish", str(suite), "-q").out.strip()
    modules = _imported("describe", id_, "--format", "cyclonedx", "-o", "bom.json")
    assert not modules & {*HEAVY, *NETWORK, "huggingface_hub"}
