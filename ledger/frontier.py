"""Frontiers: the checkpoints a view of the ledger rests on.

The text form is one line `origin size base64(root)` per log, sorted by origin; its SHA-256 is the
short name. Given a frontier and the entries below it, the ledger is a pure function.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ledger.checkpoint import Checkpoint
from ledger.encoding import decode_hex, encode_base64
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

    @classmethod
    def from_records(cls, records: Iterable[Mapping[str, Any]]) -> Frontier:
        """Parse the list of `{origin, size, root}` objects used in JSON documents."""
        try:
            return cls(
                tuple(
                    Checkpoint(
                        record["origin"],
                        record["size"],
                        decode_hex(record["root"], what="root in frontier", length=32),
                    )
                    for record in records
                )
            )
        except (KeyError, TypeError):
            raise MalformedError("frontier: needs objects {origin, size, root}") from None

    def records(self) -> list[dict[str, Any]]:
        """Return the JSON form: `{origin, size, root}` with the root in hexadecimal."""
        return [
            {"origin": point.origin, "size": point.size, "root": point.root.hex()}
            for point in self.checkpoints
        ]

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
