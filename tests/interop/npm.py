"""Packages from npm that tests compare with, installed once for each lock file.

They lie in `.venv-interop/npm`, or where PNODE_NPM_CACHE says. Needs node 20 or newer and npm; the
registry only the first time. Scripts of packages are never run. Where something is missing, a test
is skipped with a reason that begins with IPFS NOT TESTED; with PNODE_REQUIRE_IPFS=1 it fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NoReturn

import filelock
import pytest

from tests.interop.partners import ENVIRONMENT, HERE

CACHE = Path(os.environ.get("PNODE_NPM_CACHE", ENVIRONMENT / "npm"))
_NODE_VERSION = 20
_SECONDS = 600


def unavailable(reason: str) -> NoReturn:
    """Skip a test aloud, or fail it where everything has to be there."""
    reason = f"IPFS NOT TESTED: {reason}"
    if os.environ.get("PNODE_REQUIRE_IPFS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def installed(name: str) -> Path:
    """Return a copy of a folder beside this file, with its packages installed in it."""
    _require_node()
    source = HERE / name
    files = sorted(path for path in source.iterdir() if path.is_file())
    identity = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    folder = CACHE / f"{name}-{identity[:16]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(CACHE / f"{name}.lock"):
        if not folder.exists():
            _install(source, folder)
    return folder


def _require_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        unavailable("node and npm are not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True)
    major = int(version.stdout.strip().removeprefix("v").partition(".")[0])
    if major < _NODE_VERSION:
        unavailable(f"node {_NODE_VERSION} or newer is needed, this is {version.stdout.strip()}")


def _install(source: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        work = Path(name) / "work"
        shutil.copytree(source, work)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            unavailable(f"npm did not install {source.name} in {_SECONDS} s")
        if done.returncode:
            unavailable(f"npm cannot install {source.name}: {done.stderr[-300:]}")
        work.rename(folder)
