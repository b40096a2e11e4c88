"""What an audit remembers for the next one: up to which tree each sound log was verified.

The file lies in the user's cache folder, outside every home: a home that somebody hands over
brings no memory with it. It is trusted by `audit --incremental` and by nothing else, and then only
for this: that the signatures of the entries that hash to a remembered root were verified.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.checkpoint import Checkpoint
from ledger.encoding import canonical_json, decode_hex, parse_canonical_json
from ledger.errors import PnodeError
from node.durable import make_folder, write_atomic

RULES_VERSION: Final = 1
"""The version of the checks of entries; raise it when they find more than before."""


@dataclass(frozen=True, slots=True)
class AuditMemory:
    """The memory of the audits of one home."""

    path: Path

    @classmethod
    def of(cls, home: Path, cache: Path) -> AuditMemory:
        """Return the memory of a home in a cache folder."""
        name = hashlib.sha256(os.fsencode(home.resolve())).hexdigest()
        return cls(cache / "audited" / f"{name}.json")

    def read(self) -> Mapping[str, Checkpoint]:
        """Return the verified tree of each log by origin; nothing if it cannot be read."""
        try:
            value = parse_canonical_json(self.path.read_bytes(), what=str(self.path))
            if value["rules"] != RULES_VERSION:
                return {}
            return {point.origin: point for point in map(_checkpoint, value["logs"])}
        except (OSError, KeyError, TypeError, PnodeError):
            return {}

    def write(self, points: Iterable[Checkpoint]) -> None:
        """Remember trees whose every entry was verified; a cache that fails is no cache."""
        logs = [
            {"origin": point.origin, "size": point.size, "root": point.root.hex()}
            for point in sorted(points)
        ]
        try:
            make_folder(self.path.parent, mode=0o700)
            write_atomic(self.path, canonical_json({"rules": RULES_VERSION, "logs": logs}))
        except (OSError, PnodeError):
            return


def _checkpoint(value: Mapping[str, Any]) -> Checkpoint:
    root = decode_hex(value["root"], what="remembered root", length=32)
    return Checkpoint(value["origin"], value["size"], root)
