"""How many things are done side by side."""

from __future__ import annotations

import os
from typing import Final

_MOST: Final = 4


def usable_cores() -> int:
    """Return over how many cores work is spread: all this process may use, at most four."""
    return min(_MOST, len(os.sched_getaffinity(0)))
