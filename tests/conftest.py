"""What every test run needs: one thread for numeric libraries, and no touching of a real home."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

# Read when numpy or torch are first imported, hence before any test module is.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

# A home syncs every write, and the tests kill and fail those calls, which needs no disk that takes
# milliseconds for each: where there is room, files are in memory. TMPDIR overrules this.
_MEMORY = Path("/dev/shm")
_ENOUGH = 4 << 30
if (
    "TMPDIR" not in os.environ
    and os.access(_MEMORY, os.W_OK)
    and shutil.disk_usage(_MEMORY).free >= _ENOUGH
):
    os.environ["TMPDIR"] = tempfile.tempdir = str(_MEMORY)

# How long an example takes says more about the machine than about the code.
settings.register_profile("pnode", deadline=None)
settings.load_profile("pnode")

_REPEATING = {"fuzz", "interop", "properties"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage in tests that do hundreds of times what others do once.

    Tracing makes Python code take twice as long, and these reach next to no line that the plain
    tests do not.
    """
    for item in items:
        if (
            is_hypothesis_test(getattr(item, "obj", None))
            or "ptrace" in getattr(item, "fixturenames", ())
            or item.path.parent.name in _REPEATING
        ):
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(scope="session", autouse=True)
def _private_user_directories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the XDG base directories at a temporary place, for child processes too."""
    root = tmp_path_factory.mktemp("xdg")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            directory = root / name.lower()
            directory.mkdir()
            patch.setenv(f"XDG_{name}_HOME", str(directory))
        yield
