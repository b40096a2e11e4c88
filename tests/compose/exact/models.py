"""The frozen digests of the exact engine, and one of the models that they are of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DEMO_BASE = Path(__file__).parents[3] / "node/demo/data/base"
VECTORS = Path(__file__).parents[2] / "vectors/pnode/exact-1.json"


def vectors() -> dict[str, Any]:
    """Return the frozen digests."""
    document: dict[str, Any] = json.loads(VECTORS.read_bytes())
    return document
