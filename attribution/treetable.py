"""The tree table (`pnode.trees/1`): every coalition's outcomes as one decision tree for each item.

For methods that select who answers, where a few answers settle all coalitions (`growing`). After
the header (`evidence`) one line for each item, in order over all suites:

    {"item":0,"tree":[2,true,0,false,true]}

A tree is written in preorder (`decision`): a player's number asks whether it is present, then come
the tree for yes and the tree for no; `true` and `false` are leaves, solved or not. Player i is the
i-th of the header. On each way a player is asked about at most once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from attribution.decision import (
    SOLVED,
    UNSOLVED,
    Tree,
    banzhaf_numerators,
    check_tree,
    interaction_numerators,
    shapley_numerators,
    solves,
)
from attribution.errors import TableError
from attribution.evidence import (
    MAX_ITEMS,
    Evidence,
    check_players,
    check_suites,
    parse_header,
    parse_object,
    split_lines,
)
from attribution.game import ItemValues, Suite, mean, suite_slices
from ledger.cid import Cid
from ledger.encoding import canonical_json

SCHEMA: Final = "pnode.trees/1"
MAX_TOKENS: Final = 2**24
MAX_STEPS: Final = 2**25
"""The most questions on all ways to all leaves that a table may make others go through."""
_INT64_BITS = 56


@dataclass(frozen=True, slots=True)
class TreeTable(Evidence):
    """Which coalitions solve which items, as decision trees; build one with `of` or `parse`."""

    schema: ClassVar[str] = SCHEMA

    trees: tuple[Tree, ...]

    @classmethod
    def of(
        cls, lock: Cid, players: Sequence[str], suites: Sequence[Suite], trees: Sequence[Tree]
    ) -> TreeTable:
        """Build a table from one tree for each item.

        Raises:
            TableError: if players or suites are unusable, or a tree is not whole.
        """
        check_players(players)
        check_suites(suites)
        items = sum(suite.items for suite in suites)
        if len(trees) != items:
            raise TableError(f"table: {len(trees)} trees for {items} items")
        if sum(map(len, trees)) > MAX_TOKENS:
            raise TableError(f"table: trees of more than {MAX_TOKENS} places")
        steps = 0
        for item, tree in enumerate(trees):
            steps += check_tree(tree, len(players), what=f"table, item {item}")
            if steps > MAX_STEPS:
                raise TableError(
                    f"table: more than {MAX_STEPS} questions on the ways to all leaves"
                )
        return cls(lock, tuple(players), tuple(suites), tuple(trees))

    @classmethod
    def parse(cls, data: bytes) -> TreeTable:
        """Parse the published bytes.

        Raises:
            TableError: unless encoding the result gives exactly `data` back.
        """
        header, lines = split_lines(data, MAX_ITEMS)
        lock, players, suites = parse_header(header, SCHEMA)
        trees = []
        for item, line in enumerate(lines):
            row = parse_object(line, ("item", "tree"), what=f"table, line {item + 2}")
            if type(row["item"]) is not int or row["item"] != item:
                raise TableError(f"table, line {item + 2}: not the line of item {item}")
            trees.append(_parse_tree(row["tree"], what=f"table, item {item}"))
        return cls.of(lock, players, suites, trees)

    def lines(self) -> Iterator[bytes]:
        """Yield the line of each item."""
        for item, tree in enumerate(self.trees):
            tokens = [token if token >= 0 else token == SOLVED for token in tree]
            yield canonical_json({"item": item, "tree": tokens})

    @property
    def complete(self) -> bool:
        """Whether every coalition is settled: always, by the form of a tree."""
        return True

    @property
    def evaluated(self) -> None:
        """No coalition has a line of its own."""
        return

    def packed(self, mask: int) -> bytes:
        """Return the packed outcomes of one coalition."""
        return np.packbits([solves(tree, mask) for tree in self.trees]).tobytes()

    def null_players(self) -> tuple[int, ...]:
        """Return the players that no tree asks about."""
        asked = {token for tree in self.trees for token in tree}
        return tuple(player for player in range(len(self.players)) if player not in asked)


def item_values(table: TreeTable) -> ItemValues:
    """Return the exact Shapley value of every player on every item."""
    size = len(table.players)
    rows = [shapley_numerators(tree, size) for tree in table.trees]
    return _items(rows, lcm(*range(1, size + 1)))


def item_interactions(table: TreeTable) -> ItemValues:
    """Return the pairwise interaction index on every item, one row per pair i < j in order."""
    size = len(table.players)
    upper = np.triu_indices(size, k=1)
    rows = [interaction_numerators(tree, size)[upper].tolist() for tree in table.trees]
    return _items(rows, lcm(*range(1, size)))


def suite_values(table: TreeTable) -> tuple[tuple[Fraction, ...], ...]:
    """Return the exact Shapley value of every player on every suite, summed before dividing."""
    size = len(table.players)
    sums = _suite_sums(table, [shapley_numerators(tree, size) for tree in table.trees])
    common = lcm(*range(1, size + 1))
    return tuple(
        tuple(
            Fraction(each, common * suite.items)
            for each, suite in zip(row, table.suites, strict=True)
        )
        for row in sums
    )


def banzhaf(table: TreeTable) -> tuple[Fraction, ...]:
    """Return the raw Banzhaf value of every player."""
    size = len(table.players)
    sums = _suite_sums(table, [banzhaf_numerators(tree, size) for tree in table.trees])
    return tuple(
        mean(
            [
                Fraction(each, suite.items << size - 1)
                for each, suite in zip(row, table.suites, strict=True)
            ]
        )
        for row in sums
    )


def _suite_sums(table: TreeTable, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return for each player the sums of its column over the items of each suite."""
    parts = suite_slices(table.suites)
    return [[sum(column[part]) for part in parts] for column in zip(*rows, strict=True)]


def _items(rows: Sequence[Sequence[int]], common: int) -> ItemValues:
    # No value of a game of zeros and ones exceeds one, so no numerator exceeds the denominator.
    kind: Any = np.int64 if common.bit_length() <= _INT64_BITS else np.object_
    numerators: NDArray[Any] = np.array(rows, dtype=kind).T
    return ItemValues(numerators, common)


def _parse_tree(value: Any, *, what: str) -> Tree:
    if not isinstance(value, list) or not all(type(token) in (int, bool) for token in value):
        raise TableError(f"{what}: the tree is not a list of players, true and false")
    if any(type(token) is int and token < 0 for token in value):
        raise TableError(f"{what}: the tree asks about a player with a negative number")
    return tuple(
        token if type(token) is int else (SOLVED if token else UNSOLVED) for token in value
    )
