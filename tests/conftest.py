"""What every test run needs: one thread for numeric libraries, and no touching of a real home."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Read when numpy or torch are first imported, hence before any test module is.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

# How long an example takes says more about the machine than about the code.
settings.register_profile("pnode", deadline=None)
settings.load_profile("pnode")


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
