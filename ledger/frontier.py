"""Frontiers: the checkpoints a view of the ledger rests on.

The text form is one line `origin size base64(root)` per log, sorted by origin; its SHA-256 is the
short name. Given a frontier and the entries below it, the ledger is a pure function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ledger.checkpoint import Checkpoint
from ledger.encoding import encode_base64
from ledger.errors import MalformedError


@dataclass(frozen=True, slots=True)
class Frontier:
    """Checkpoints of different logs, sorted by origin."""

    checkpoints: tuple[Checkpoint, ...]

    def __post_init__(self) -> None:
        origins = [checkpoint.origin for checkpoint in self.checkpoints]
        if origins != sorted(set(origins)):
            raise MalformedError("frontier: origins are not sorted and unique")

    @classmethod
    def of(cls, checkpoints: Iterable[Checkpoint]) -> Frontier:
        """Return the frontier of some checkpoints, in canonical order."""
        return cls(tuple(sorted(checkpoints)))

    @property
    def text(self) -> str:
        """The canonical text."""
        return "".join(
            f"{point.origin} {point.size} {encode_base64(point.root)}\n"
            for point in self.checkpoints
        )

    @property
    def digest(self) -> str:
        """The hex SHA-256 of the text."""
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()
