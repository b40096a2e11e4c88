"""Bisection: the first item on which two committed runs disagree, from subtree roots alone.

Each side has a Merkle tree over its outcomes and answers for the root of any subtree of it. From
two roots that differ one goes down: into the left half if its roots differ, else into the right
one. After ceil(log2 n) steps there is one item, and the roots met on the way are the inclusion
proof of either side's outcome, so that nothing else has to be exchanged. A side answers without
knowing what the other says; both may as well send their tree at once.

Whatever a side answers must hash to what it answered before. A side that cannot keep that up is
found out at once, and cannot send the search elsewhere: its own root is what it has signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ledger.errors import ProofError
from ledger.merkle import node_hash, root_of, split_point

RootReader = Callable[[int, int], bytes]
"""Returns the RFC 6962 root over the leaf hashes [start, end) of one side's tree."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The first item on which two trees differ: both leaf hashes, and their inclusion proofs."""

    index: int
    leaves: tuple[bytes, bytes]
    paths: tuple[tuple[bytes, ...], tuple[bytes, ...]]


def bisect(
    size: int, roots: tuple[bytes, bytes], left: RootReader, right: RootReader
) -> Disagreement | None:
    """Return the first item on which two trees of one size differ, None if they are the same.

    Args:
        size: number of items, above zero.
        roots: what the left and the right side have signed.
        left: asked for subtree roots of the left side, two for each step.
        right: likewise of the right side.

    Raises:
        ProofError: if a side's answers do not follow from its root, naming the side.
    """
    if roots[0] == roots[1]:
        return None
    readers = (("left", left), ("right", right))
    start, end = 0, size
    paths: tuple[list[bytes], list[bytes]] = ([], [])
    here = list(roots)
    while end - start > 1:
        middle = start + split_point(end - start)
        halves = []
        for (side, read), root in zip(readers, here, strict=True):
            pair = read(start, middle), read(middle, end)
            if node_hash(*pair) != root:
                raise ProofError(
                    f"the {side} side answers for items {start} to {end - 1} "
                    "what is not in its tree"
                )
            halves.append(pair)
        # Two different hashes of pairs: the pairs differ, in the left half or only in the right.
        down = 0 if halves[0][0] != halves[1][0] else 1
        for path, pair in zip(paths, halves, strict=True):
            path.append(pair[1 - down])
        here = [pair[down] for pair in halves]
        start, end = (start, middle) if down == 0 else (middle, end)
    ours, theirs = here
    proofs = tuple(reversed(paths[0])), tuple(reversed(paths[1]))
    return Disagreement(start, (ours, theirs), proofs)


def reader_of(leaves: Sequence[bytes]) -> RootReader:
    """Return what answers for a tree of which all leaf hashes are here."""
    return lambda start, end: root_of(leaves[start:end])
