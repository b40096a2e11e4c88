"""Growing the decision tree of an item from answers to coalitions, for rules that select speakers.

If members T were asked and only W of them had a say, every coalition between W and T says the same,
because a choice of the best does not change when losers leave. So one answer settles the region
{S : S contains R and W, S without Z} of a coalition N - Z asked with R required; what is left are
the regions in which one of W is absent. Until all are settled there are sure bounds on the values,
which narrow fastest if the heaviest region goes first.

Requires that a member's score does not depend on who else is present, and that an answer is a
function of the members and the item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import comb

from attribution.decision import SOLVED, UNSOLVED, Leaf, Tree, bounds
from attribution.errors import OutcomeError


@dataclass(frozen=True, slots=True)
class Answer:
    """What a coalition said about an item: which members had a say, as a mask, and if it is right.

    The base may have had a say as well; it is always present and is not listed.
    """

    speakers: int
    solved: bool


Ask = Callable[[Sequence[tuple[int, int]]], Iterable[Answer]]
"""Answers to (item, coalition mask) requests, in their order."""


class _Node:
    """A place in a growing tree: open, a leaf, or a question."""

    __slots__ = ("absent", "player", "present", "solved")

    def __init__(self) -> None:
        self.solved: bool | None = None
        self.player = -1
        self.present: _Node | None = None
        self.absent: _Node | None = None


class GrowingTree:
    """The tree of one item; `asks` says which coalitions to try, `settle` takes an answer."""

    def __init__(self, players: int) -> None:
        """Start with nothing settled."""
        self._players = players
        self._root = _Node()
        self._open: dict[int, tuple[Fraction, Leaf, _Node]] = {}
        self._settled: list[Leaf] = []
        self._made = 0
        self._add(Leaf((), (), solved=False), self._root)

    @property
    def answers(self) -> int:
        """How many answers were taken so far, each of which settled one leaf."""
        return len(self._settled)

    @property
    def whole(self) -> bool:
        """Whether every coalition is settled."""
        return not self._open

    def asks(self) -> list[tuple[int, int]]:
        """Return numbers of all open regions with a coalition to ask of each, heaviest first.

        The coalition is everybody who is not absent. All regions need an answer in the end; the
        order matters to whoever stops before.
        """
        heaviest = sorted(self._open, key=lambda number: (-self._open[number][0], number))
        everyone = (1 << self._players) - 1
        return [
            (number, everyone & ~sum(1 << player for player in self._open[number][1].absent))
            for number in heaviest
        ]

    def settle(self, number: int, answer: Answer) -> None:
        """Take the answer of the coalition that was named for an open region.

        Raises:
            OutcomeError: if somebody had a say who was not asked.
        """
        _, leaf, node = self._open.pop(number)
        strangers = answer.speakers & sum(1 << player for player in leaf.absent)
        if strangers or answer.speakers >> self._players:
            raise OutcomeError(f"evaluator: of members {answer.speakers:x} some were not asked")
        present = leaf.present
        for player in range(self._players):
            if answer.speakers >> player & 1 and player not in leaf.present:
                node.player, node.present, node.absent = player, _Node(), _Node()
                self._add(Leaf(present, (*leaf.absent, player), solved=False), node.absent)
                present, node = (*present, player), node.present
        node.solved = answer.solved
        self._settled.append(Leaf(present, leaf.absent, answer.solved))

    def bounds(self) -> tuple[tuple[Fraction, Fraction], ...]:
        """Return between which ends every player's value on this item surely lies."""
        return bounds(self._settled, [leaf for _, leaf, _ in self._open.values()], self._players)

    def tree(self) -> Tree:
        """Return the finished tree, questions without consequence left out."""
        return tuple(_written(self._root))

    def _add(self, leaf: Leaf, node: _Node) -> None:
        # The share of random orders, at a random point of which the region is met: r! z! / (r+z+1)!
        r, z = len(leaf.present), len(leaf.absent)
        weight = Fraction(1, (r + z + 1) * comb(r + z, r))
        self._open[self._made] = (weight, leaf, node)
        self._made += 1


def grow(items: int, players: int, ask: Ask, most: int) -> tuple[Tree, ...] | None:
    """Return the trees of all items, or None if one needs more than `most` answers.

    Every round asks about all open regions of all items, so there are at most n + 1 rounds.

    Raises:
        OutcomeError: if there are more or fewer answers than requests, or a stranger had a say.
    """
    trees = [GrowingTree(players) for _ in range(items)]
    while growing := [at for at, tree in enumerate(trees) if not tree.whole]:
        regions = [(at, number, mask) for at in growing for number, mask in trees[at].asks()]
        waiting = Counter(at for at, _, _ in regions)
        if any(trees[at].answers + count > most for at, count in waiting.items()):
            return None
        answers = list(ask([(at, mask) for at, _, mask in regions]))
        if len(answers) != len(regions):
            raise OutcomeError(f"evaluator: {len(answers)} answers to {len(regions)} requests")
        for (at, number, _), answer in zip(regions, answers, strict=True):
            trees[at].settle(number, answer)
    return tuple(tree.tree() for tree in trees)


def _written(root: _Node) -> list[int]:
    """Write a tree in preorder; a question whose two answers are the same leaf is left out."""
    written: dict[int, list[int]] = {}
    stack = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if node.present is None or node.absent is None:
            written[id(node)] = [SOLVED if node.solved else UNSOLVED]
        elif not ready:
            stack += [(node, True), (node.present, False), (node.absent, False)]
        else:
            present, absent = written.pop(id(node.present)), written.pop(id(node.absent))
            same = present == absent
            written[id(node)] = present if same else [node.player, *present, *absent]
    return written[id(root)]
