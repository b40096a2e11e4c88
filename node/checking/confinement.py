"""Confinement: what the process of a replay may use and do, whatever it is given to read.

Two layers, both set before anything of a stranger's is opened:

- Limits of the operating system: address space, processor time, size of a written file, no core
  dump. Whoever starts the process also gives it a wall clock, and ends it with all it started.
- An audit hook of Python (PEP 578) that refuses sockets, other programs, and the keys of the home.
  A hook cannot be taken back.

Adapters, bases and suites are data for parsers of our own, and no library is asked to resolve a
name, so nothing here should ever be needed. It is no sandbox against a hole in a native library:
whoever fears one replays in a container or a virtual machine.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.errors import UsageError

OFFLINE: Final = {
    "DO_NOT_TRACK": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_OFFLINE": "1",
}
"""Told to every library that might think of the network."""

_WITHHELD: Final = ("KEY", "PASSPHRASE", "PASSWORD", "PROXY", "SECRET", "TOKEN", "AUTH")
"""Parts of the names of variables that are not passed on."""

_REFUSED: Final = (
    "ftplib.",
    "http.client.",
    "imaplib.",
    "nntplib.",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "poplib.",
    "pty.spawn",
    "smtplib.",
    "socket.",
    "subprocess.",
    "telnetlib.",
    "urllib.",
    "webbrowser.",
)
"""Beginnings of the audit events that are refused."""

_GIB: Final = 1 << 30


_LEAST: Final = 8
"""GiB that any machine gives by default: libraries and threads reserve what they never use."""


def _memory_here() -> int:
    """Return how much memory the machine has, in GiB, rounded up, and no less than the least."""
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(_LEAST, -(-have // _GIB))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a replay may use.

    `seconds` are those of a clock on the wall, `gib` the address space (by default as much as the
    machine has memory, at least 8), `tokens` how many the items that are answered again may ask to
    write.

    Raises:
        UsageError: for a limit that is not above zero.
    """

    seconds: int = 3600
    gib: int = field(default_factory=_memory_here)
    tokens: int = 10_000_000

    def __post_init__(self) -> None:
        for name, value in (("time", self.seconds), ("memory", self.gib), ("tokens", self.tokens)):
            if value <= 0:
                raise UsageError(f"the limit on {name} is {value}, it must be above zero")


def environment(outside: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the process: those outside without secrets, and no network."""
    passed = {
        name: value
        for name, value in outside.items()
        if not any(part in name.upper() for part in _WITHHELD)
    }
    return passed | OFFLINE


def confine(limits: Limits, secrets: Path) -> None:
    """Confine this process; there is no way back.

    Args:
        limits: what it may use; a limit it has already is only made tighter.
        secrets: the folder of which nothing may be opened.
    """
    _limit(resource.RLIMIT_AS, limits.gib * _GIB)
    _limit(resource.RLIMIT_FSIZE, limits.gib * _GIB)
    _limit(resource.RLIMIT_CPU, limits.seconds * (os.cpu_count() or 1))
    _limit(resource.RLIMIT_CORE, 0)
    sys.addaudithook(_hook(os.path.realpath(secrets)))


def _hook(secrets: str) -> Callable[[str, tuple[Any, ...]], None]:
    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED):
            raise PermissionError(f"a replay must not do this: {event}")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path == secrets or path.startswith(secrets + os.sep):
                raise PermissionError(f"a replay must not open this: {path}")

    return refuse


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (bound, bound))
