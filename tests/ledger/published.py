"""Test vectors: those in the tree, and those other projects publish.

`tests/vectors/` holds the data in use, a folder per source with its licence. Larger published sets
are looked for in the directory that PNODE_PUBLISHED_VECTORS names as well; a test that needs a set
which is in neither place is skipped by name, and fails when PNODE_REQUIRE_VECTORS=1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parent.parent / "vectors"


def vector_file(source: str, name: str) -> Path:
    """Return the path of a vector file of the tree, or of the published sets beside it."""
    beside = os.environ.get("PNODE_PUBLISHED_VECTORS")
    places = [VECTORS, Path(beside)] if beside else [VECTORS]
    for place in places:
        if (place / source / name).is_file():
            return place / source / name
    reason = f"published vectors {source}/{name} are not here; set PNODE_PUBLISHED_VECTORS"
    if os.environ.get("PNODE_REQUIRE_VECTORS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def load(source: str, name: str) -> Any:
    """Return the JSON of a vector file."""
    return json.loads(vector_file(source, name).read_bytes())
