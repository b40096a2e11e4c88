"""The time that statements and cosignatures claim."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], str]
"""Returns the current time as statements write it: RFC 3339, UTC, whole seconds."""

PosixClock = Callable[[], int]
"""Returns the current time as cosignatures carry it: whole seconds since 1970."""


def utc_now() -> str:
    """Return the current time."""
    return datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def posix_now() -> int:
    """Return the current time in whole seconds since 1970."""
    return int(time.time())


def at(seconds: int) -> str:
    """Return a time of a cosignature as statements write it; a witness may claim any."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"
