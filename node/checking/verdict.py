"""What was checked about single things, and what that amounts to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import PnodeError

_GRAVITY = (0, 9, 3, 8)
"""Exit codes of checks, the gravest last; others stand between the first two."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked about one target; `exit_code` is 0 if it holds.

    One that is not `required` says what is the case, and the verdict does not depend on it.
    """

    name: str
    ok: bool
    detail: str
    target: str
    exit_code: int = 0
    required: bool = True

    @classmethod
    def passed(cls, name: str, target: str, detail: str) -> Check:
        """Return a check that holds."""
        return cls(name, ok=True, detail=detail, target=target)

    @classmethod
    def failed(cls, name: str, target: str, error: PnodeError) -> Check:
        """Return a check that does not hold, for the reason the error gives."""
        return cls(name, ok=False, detail=error.message, target=target, exit_code=error.exit_code)

    @classmethod
    def of(cls, name: str, target: str, run: Callable[[], str]) -> Check:
        """Return the check that `run` makes: it returns what holds, or raises why it does not."""
        try:
            return cls.passed(name, target, run())
        except PnodeError as error:
            return cls.failed(name, target, error)


@dataclass(frozen=True, slots=True)
class Verified:
    """All checks of all targets."""

    ok: bool
    checks: list[Check]
    exit_code: int

    @classmethod
    def of(cls, checks: Sequence[Check]) -> Verified:
        """Return what some checks amount to."""
        gravest = max((check.exit_code for check in checks), key=_gravity, default=0)
        return cls(all(check.ok or not check.required for check in checks), [*checks], gravest)


def _gravity(code: int) -> int:
    return _GRAVITY.index(code) if code in _GRAVITY else 1
