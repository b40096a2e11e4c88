"""The game of one item as a decision tree over who is present; exact values from its leaves.

A tree asks whether a player is present, then the tree of that answer; a leaf says whether the item
is solved. Written in preorder as a tuple of integers: a player's number for a question, followed
by the tree where it is present and the tree where it is absent; `SOLVED` or `UNSOLVED` for a leaf.
A router that asks 2, then 0, then the base is (2, SOLVED, 0, UNSOLVED, SOLVED).

A leaf at which r players are present and z absent holds for the coalitions that contain the r and
none of the z. The Shapley value of that game of zeros and ones is

    (r-1)! z! / (r+z)! = 1 / (r C(r+z, r))      for each of the r,
  - r! (z-1)! / (r+z)! = - 1 / (z C(r+z, z))    for each of the z,

and values add up over the solved leaves. So n players cost as many steps as the tree is large, not
2^n, and lcm(1..n) clears every denominator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from math import comb, lcm
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attribution.errors import TableError

Tree = tuple[int, ...]

UNSOLVED: Final = -1
SOLVED: Final = -2


class Leaf(NamedTuple):
    """Who is present and who is absent on the way to a leaf, and what it says."""

    present: tuple[int, ...]
    absent: tuple[int, ...]
    solved: bool


def leaves(tree: Tree) -> Iterator[Leaf]:
    """Yield the leaves of a tree in its order."""
    present: tuple[int, ...] = ()
    absent: tuple[int, ...] = ()
    # The absent branches that are still to come, the nearest last.
    waiting: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    for token in tree:
        if token >= 0:
            waiting.append((present, (*absent, token)))
            present = (*present, token)
            continue
        yield Leaf(present, absent, token == SOLVED)
        if waiting:
            present, absent = waiting.pop()


def check_tree(tree: Sequence[int], players: int, *, what: str) -> int:
    """Require one whole tree that asks about each player at most once on every way.

    Returns:
        The questions on all ways to all leaves together: what its values cost to compute.

    Raises:
        TableError: if it is not.
    """
    waiting: list[int] = []
    asked, steps = 0, 0
    for at, token in enumerate(tree):
        if token >= 0:
            if token >= players or asked >> token & 1:
                raise TableError(f"{what}: the tree asks about player {token}, or asks twice")
            asked |= 1 << token
            waiting.append(asked)
        elif token not in (SOLVED, UNSOLVED):
            raise TableError(f"{what}: {token} is no leaf of a tree")
        else:
            steps += asked.bit_count()
            if not waiting and at + 1 != len(tree):
                raise TableError(f"{what}: the tree goes on after its end")
            if not waiting:
                return steps
            asked = waiting.pop()
    raise TableError(f"{what}: the tree ends too early")


def priority_tree(order: Sequence[int], solved: Sequence[bool], *, base: bool) -> Tree:
    """Return the tree of an item that the first player of `order` who is present answers.

    Args:
        order: players, from the first to be asked; those left out never answer.
        solved: whether each player, by number, solves the item.
        base: whether the base does, which answers if none of the order is present.
    """
    tree: list[int] = []
    for player in order:
        tree += (player, _leaf(solved[player]))
    return (*tree, _leaf(base))


def solves(tree: Tree, mask: int) -> bool:
    """Return whether a coalition solves the item."""
    at = 0
    while tree[at] >= 0:
        at = at + 1 if mask >> tree[at] & 1 else _end(tree, at + 1)
    return tree[at] == SOLVED


def shapley_numerators(tree: Tree, players: int) -> list[int]:
    """Return lcm(1..n) times the Shapley value of every player."""
    common = _common(players)
    values = [0] * players
    for present, absent, solved in leaves(tree):
        if not solved:
            continue
        r, z = len(present), len(absent)
        for player in present:
            values[player] += common // (r * comb(r + z, r))
        for player in absent:
            values[player] -= common // (z * comb(r + z, z))
    return values


def banzhaf_numerators(tree: Tree, players: int) -> list[int]:
    """Return 2^(n-1) times the raw Banzhaf value of every player."""
    values = [0] * players
    for present, absent, solved in leaves(tree):
        if solved:
            weight = 1 << players - len(present) - len(absent)
            for player in present:
                values[player] += weight
            for player in absent:
                values[player] -= weight
    return values


def interaction_numerators(tree: Tree, players: int) -> NDArray[np.object_]:
    """Return lcm(1..n-1) times the pairwise Shapley interaction indices, [n, n], symmetric.

    At a leaf with r present and z absent, a pair has (r-2)! z! / (r+z-1)! if both are present,
    r! (z-2)! / (r+z-1)! if both are absent, -(r-1)! (z-1)! / (r+z-1)! if one is.
    """
    common = _common(players - 1) if players > 1 else 1
    values = np.zeros((players, players), dtype=np.object_)
    for present, absent, solved in leaves(tree):
        if not solved:
            continue
        r, z = len(present), len(absent)
        for i, j in combinations(present, 2):
            values[i, j] += common // ((r - 1) * comb(r + z - 1, r - 1))
        for i, j in combinations(absent, 2):
            values[i, j] += common // ((z - 1) * comb(r + z - 1, z - 1))
        for i in present:
            for j in absent:
                values[i, j] -= common // (r * comb(r + z - 1, r))
    result: NDArray[np.object_] = values + values.T
    return result


def bounds(
    settled: Sequence[Leaf], open_: Sequence[Leaf], players: int
) -> tuple[tuple[Fraction, Fraction], ...]:
    """Return sure bounds of every value while some leaves are still open.

    At an open leaf anything may be solved. Those present gain between nothing and all of its
    weight, those absent lose as much, and all others gain or lose up to r! z! / (r+z+1)!.
    """
    low, high = [Fraction(0)] * players, [Fraction(0)] * players
    for leaf in settled:
        for player, worth in _worth(leaf) if leaf.solved else ():
            low[player] += worth
            high[player] += worth
    for leaf in open_:
        for player, worth in _worth(leaf):
            (low if worth < 0 else high)[player] += worth
        r, z = len(leaf.present), len(leaf.absent)
        free = Fraction(1, (r + z + 1) * comb(r + z, r))
        for player in set(range(players)).difference(leaf.present, leaf.absent):
            low[player] -= free
            high[player] += free
    return tuple(zip(low, high, strict=True))


def _worth(leaf: Leaf) -> Iterator[tuple[int, Fraction]]:
    """Yield the value of everybody asked about in the game that only this leaf solves."""
    r, z = len(leaf.present), len(leaf.absent)
    for player in leaf.present:
        yield player, Fraction(1, r * comb(r + z, r))
    for player in leaf.absent:
        yield player, -Fraction(1, z * comb(r + z, z))


def _common(players: int) -> int:
    return lcm(*range(1, players + 1))


def _leaf(solved: bool) -> int:  # noqa: FBT001
    return SOLVED if solved else UNSOLVED


def _end(tree: Tree, at: int) -> int:
    """Return where the tree that starts at `at` has ended."""
    open_ = 1
    while open_:
        open_ += 1 if tree[at] >= 0 else -1
        at += 1
    return at
