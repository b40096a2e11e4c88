"""The time that statements claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], str]
"""Returns the current time as statements write it: RFC 3339, UTC, whole seconds."""


def utc_now() -> str:
    """Return the current time."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
