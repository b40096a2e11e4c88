"""Rejected entries: bytes that a log has put into its tree and that are no valid entry.

Whoever owns a log can append anything to it and sign the tree. A mirror keeps such bytes, because
the log is a byte-exact copy or it is none, and marks their places in the table `rejected`. They
count for nothing: no view has them, nothing they name is fetched, nothing they say is believed.
Whether bytes are a valid entry depends on them alone, so everybody rejects the same ones.

Entry 0 is never rejected: a log without a valid genesis is refused. A node's own log has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ledger.entry import Entry
from ledger.errors import EvidenceError
from ledger.merkle import leaf_hash
from ledger.placedentry import PlacedEntry


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """The place of a rejected entry, and its leaf: it belongs to the tree and to no view."""

    origin: str
    index: int
    leaf_hash: bytes


Placed = PlacedEntry | RejectedEntry
"""What stands at a place of a log."""


def place_entries(
    origin: str, bodies: Iterable[tuple[int, bytes]], rejected: Iterable[int]
) -> Iterator[Placed]:
    """Yield what stands in a log as a view reads it.

    Args:
        origin: the log.
        bodies: index and bytes of stored entries, in order.
        rejected: the indices of those that are not valid, in order.

    Raises:
        MalformedError: if one that was valid when it was stored cannot be parsed any more.
    """
    indices = iter(rejected)
    marked = next(indices, None)
    for index, body in bodies:
        while marked is not None and marked < index:
            marked = next(indices, None)
        if index == marked:
            yield RejectedEntry(origin, index, leaf_hash(body))
        else:
            yield PlacedEntry(origin, index, Entry.stored(body))


def reason(body: bytes) -> str:
    """Return why the bytes of a rejected entry are not valid, or an empty text if they are."""
    try:
        Entry.parse(body)
    except EvidenceError as error:
        return error.message
    return ""
