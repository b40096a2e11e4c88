"""Decision trees: their values are those of the full table, and growing them asks little."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from math import lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import decision, exact
from attribution.decision import SOLVED, UNSOLVED, Tree, check_tree, leaves, priority_tree, solves
from attribution.errors import OutcomeError, TableError
from attribution.growing import Answer, GrowingTree, grow

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, int]:
    """Draw a tree and the number of players, of whom some may not be asked about."""
    players = draw(st.integers(1, 6))
    noise = random.Random(draw(SEEDS))
    return tuple(grown(noise, list(range(players)))), players


def grown(noise: random.Random, left: list[int]) -> list[int]:
    if not left or noise.random() < 0.25:
        return [noise.choice((SOLVED, UNSOLVED))]
    player = noise.choice(left)
    rest = [each for each in left if each != player]
    return [player, *grown(noise, rest), *grown(noise, rest)]


def game(tree: Tree, players: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([[solves(tree, mask) for mask in range(1 << players)]], dtype=np.int64)


@settings(max_examples=100, deadline=None)
@given(trees())
def test_leaves_say_what_walking_the_tree_says(drawn: tuple[Tree, int]) -> None:
    tree, players = drawn
    seen = 0
    for present, absent, solved in leaves(tree):
        for mask in range(1 << players):
            if all(mask >> at & 1 for at in present) and not any(mask >> at & 1 for at in absent):
                assert solves(tree, mask) == solved
                seen += 1
    assert seen == 1 << players
    steps = sum(len(leaf.present) + len(leaf.absent) for leaf in leaves(tree))
    assert check_tree(tree, players, what="tree") == steps


@settings(max_examples=100, deadline=None)
@given(trees())
def test_values_of_a_tree_are_those_of_its_table(drawn: tuple[Tree, int]) -> None:
    tree, players = drawn
    worth = game(tree, players)
    assert (
        decision.shapley_numerators(tree, players) == exact.shapley_numerators(worth)[:, 0].tolist()
    )
    pairs = exact.interaction_numerators(worth)[:, :, 0]
    assert decision.interaction_numerators(tree, players).tolist() == pairs.tolist()
    banzhaf = (2 * exact.fold(worth) - worth.sum()).ravel().tolist()
    assert decision.banzhaf_numerators(tree, players) == banzhaf


class Selector:
    """A made-up rule: at each of a few steps the present member with the best score speaks.

    What was said so far decides the scores of the next step, as in decoding.
    """

    def __init__(self, seed: int, players: int, steps: int = 3) -> None:
        self.seed, self.players, self.steps = seed, players, steps
        self.asked = 0

    def answer(self, item: int, mask: int) -> Answer:
        self.asked += 1
        said: tuple[int, ...] = ()
        speakers = 0
        for _ in range(self.steps):
            noise = random.Random(f"{self.seed} {item} {said}")
            scores = [noise.random() for _ in range(self.players + 1)]
            words = [noise.randrange(3) for _ in range(self.players + 1)]
            present = [at for at in range(self.players) if mask >> at & 1]
            best = max([*present, self.players], key=lambda at: scores[at])
            if best < self.players:
                speakers |= 1 << best
            said = (*said, words[best])
        return Answer(speakers, random.Random(f"{self.seed} {item} {said}").random() < 0.5)

    def ask(self, requests: Sequence[tuple[int, int]]) -> list[Answer]:
        return [self.answer(item, mask) for item, mask in requests]


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_grown_trees_say_what_every_coalition_says(seed: int, players: int) -> None:
    selector = Selector(seed, players)
    found = grow(4, players, selector.ask, most=10_000)
    assert found is not None
    for item, tree in enumerate(found):
        check_tree(tree, players, what="tree")
        for mask in range(1 << players):
            assert solves(tree, mask) == selector.answer(item, mask).solved


def test_growing_asks_far_less_than_there_are_coalitions() -> None:
    selector = Selector(1, 20, steps=2)
    found = grow(5, 20, selector.ask, most=10_000)
    assert found is not None
    assert selector.asked < 5 * 400
    assert grow(5, 20, selector.ask, most=10) is None


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(1, 6))
def test_bounds_are_sure_and_close_in_at_every_answer(seed: int, players: int) -> None:
    selector = Selector(seed, players)
    tree = GrowingTree(players)
    history = [tree.bounds()]
    while not tree.whole:
        number, mask = tree.asks()[0]
        tree.settle(number, selector.answer(0, mask))
        history.append(tree.bounds())
    common = lcm(*range(1, players + 1))
    values = [
        Fraction(number, common) for number in decision.shapley_numerators(tree.tree(), players)
    ]
    assert [low for low, _ in history[-1]] == [high for _, high in history[-1]] == values
    for earlier, later in pairwise(history):
        for (low, high), (closer, below) in zip(earlier, later, strict=True):
            assert low <= closer <= below <= high


def test_a_router_is_settled_with_one_answer_for_each_place() -> None:
    order, solved = [2, 0, 3, 1], [True, False, True, False]

    def answer(mask: int) -> Answer:
        for player in order:
            if mask >> player & 1:
                return Answer(1 << player, solved[player])
        return Answer(0, solved=True)

    tree = GrowingTree(4)
    while not tree.whole:
        (number, mask), *_ = tree.asks()
        tree.settle(number, answer(mask))
    assert tree.answers == 5
    expected = priority_tree(order, solved, base=True)
    for mask in range(16):
        assert solves(tree.tree(), mask) == solves(expected, mask) == answer(mask).solved


def test_a_speaker_who_was_not_asked_is_refused() -> None:
    tree = GrowingTree(2)
    tree.settle(0, Answer(0b11, solved=True))
    with pytest.raises(OutcomeError, match="were not asked"):
        tree.settle(tree.asks()[0][0], Answer(0b11, solved=True))
    with pytest.raises(OutcomeError, match="1 answers to 2 requests"):
        grow(2, 1, lambda _: [Answer(0, solved=True)], most=9)


@pytest.mark.parametrize(
    "tree",
    [
        (),
        (0,),
        (-3,),
        (0, SOLVED),
        (SOLVED, SOLVED),
        (2, SOLVED, UNSOLVED),
        (0, SOLVED, UNSOLVED, SOLVED),
        (0, 0, SOLVED, SOLVED, UNSOLVED),
    ],
)
def test_what_is_no_tree_is_refused(tree: Tree) -> None:
    with pytest.raises(TableError):
        check_tree(tree, 2, what="item 0")
