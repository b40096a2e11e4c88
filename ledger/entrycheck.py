"""Checking entries in batches, each by itself: what can be done side by side in processes.

A batch holds what the checks of the whole log and of the whole ledger need of some consecutive
entries: leaf hashes, outlines, and what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Final, NamedTuple

from ledger.cid import cid_texts
from ledger.entryreader import EntryReader
from ledger.errors import PnodeError
from ledger.merkle import HASH_SIZE
from ledger.outline import Outline

BATCH: Final = 1_024


class Row(NamedTuple):
    """An entry as stored: its place, what it is filed under (if that is known), and its bytes."""

    place: int
    id: str | None
    leaf_hash: bytes | None
    body: bytes


class Accepted(NamedTuple):
    """A valid entry: its place in the log, its id and its outline."""

    place: int
    id: str
    outline: Outline


class Problem(NamedTuple):
    """What is wrong with one entry."""

    place: int
    id: str
    check: str
    message: str


class Batch(NamedTuple):
    """What checking some consecutive entries of a log gave; `first` is entry 0, if it is valid."""

    leaves: list[bytes]
    accepted: list[Accepted]
    problems: list[Problem]
    first: bytes | None

    def encode(self) -> bytes:
        """Return the batch, without what was accepted, as a line of JSON for another process."""
        first = None if self.first is None else self.first.hex()
        fields = (b"".join(self.leaves).hex(), self.problems, first)
        return json.dumps(fields, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> Batch:
        """Return the batch of a line that `encode` wrote.

        Raises:
            ValueError: if the line was cut off.
        """
        joined, problems, first = json.loads(line)
        hashes = bytes.fromhex(joined)
        return cls(
            [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)],
            [],
            [Problem(*problem) for problem in problems],
            None if first is None else bytes.fromhex(first),
        )


def check_rows(
    rows: Iterable[Row], reader: EntryReader | None = None, *, verify: bool = True
) -> Iterator[Batch]:
    """Check the entries of one log and yield the batches.

    Args:
        rows: entries in the order of their index.
        reader: one that has read other entries of the log, and so knows their layouts.
        verify: whether signatures are checked; without, only for entries that were verified.
    """
    reader = reader or EntryReader()
    read = reader.read if verify else reader.read_verified
    iterator = iter(rows)
    while part := list(islice(iterator, BATCH)):
        leaves = [sha256(b"\x00" + row[3]).digest() for row in part]
        ids = cid_texts([sha256(row[3]).digest() for row in part])
        accepted: list[Accepted] = []
        problems: list[Problem] = []
        for (place, filed_id, filed_leaf, body), id_, leaf in zip(part, ids, leaves, strict=True):
            if filed_id is not None and (filed_id != id_ or filed_leaf != leaf):
                message = "it is filed under another id or leaf hash than its own"
                problems.append(Problem(place, id_, "entry.filed", message))
            try:
                accepted.append(Accepted(place, id_, read(body)))
            except PnodeError as error:
                check = "entry.signature" if error.code == "bad-signature" else "entry.form"
                problems.append(Problem(place, id_, check, error.message))
        first = part[0].body if accepted and accepted[0].place == 0 else None
        yield Batch(leaves, accepted, problems, first)
