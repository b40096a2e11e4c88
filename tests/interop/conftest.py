"""The Go reference, built once per run."""

from __future__ import annotations

import pytest

from tests.interop.partners import GoReference


@pytest.fixture(scope="session")
def go() -> GoReference:
    """The oracle over golang.org/x/mod/sumdb."""
    return GoReference.build()
