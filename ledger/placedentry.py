"""An entry together with where it stands, as everything above single logs looks at it."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.entry import Entry


@dataclass(frozen=True, slots=True)
class PlacedEntry:
    """A valid entry and its place in a log."""

    origin: str
    index: int
    entry: Entry
