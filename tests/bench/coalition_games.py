"""Games of many players with known Shapley values, for the benchmarks; numpy only.

A game maps coalitions, boolean [rows, players], to outcomes, boolean [rows, items]; its value
is the mean over items. Every game is a pure function of its name and players.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Coalitions = NDArray[np.bool_]
Game = Callable[[Coalitions], NDArray[np.bool_]]

ITEMS = {"vote": 200, "router": 300, "weighted": 1, "logit": 300, "merge": 300}


def game(name: str, players: int) -> Game:
    """Return a game: `vote`, `router`, `weighted`, `logit` or `merge`."""
    games = {
        "vote": vote,
        "router": router,
        "weighted": weighted,
        "logit": logit,
        "merge": merge,
    }
    return games[name](players)


def ballots(players: int) -> NDArray[np.int64]:
    """Return what each member answers, 0 being right, [items, players]."""
    source = np.random.default_rng(50 + players)
    skill = source.uniform(0.25, 0.6, players)
    hard = source.uniform(-0.15, 0.15, (ITEMS["vote"], 1))
    wrong = source.integers(1, 4, (ITEMS["vote"], players))
    return np.where(source.random((ITEMS["vote"], players)) < skill + hard, 0, wrong)


def vote(players: int) -> Game:
    """Plurality over four answers; ties go against the right one."""
    cast = np.stack([ballots(players) == answer for answer in range(4)]).astype(np.float64)

    def play(coalitions: Coalitions) -> NDArray[np.bool_]:
        chosen = coalitions.astype(np.float64)
        counts = np.stack([chosen @ each.T for each in cast])
        return counts[0] > counts[1:].max(axis=0)

    return play


def routes(players: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the order in which a router asks, and who solves what, both [items, players]."""
    source = np.random.default_rng(70 + players)
    skill = source.uniform(0.3, 0.8, players)
    solved = source.random((ITEMS["router"], players)) < skill
    scores = source.normal(size=solved.shape) + 0.8 * solved
    return np.argsort(-scores, axis=1), solved


def router(players: int) -> Game:
    """The member with the highest score answers; the base solves nothing."""
    order, solved = routes(players)

    def play(coalitions: Coalitions) -> NDArray[np.bool_]:
        present = coalitions[:, order]
        first = present.argmax(axis=2)
        chosen = np.take_along_axis(order[None], first[:, :, None], axis=2)[:, :, 0]
        right = solved[np.arange(len(order))[None], chosen]
        return right & present.any(axis=2)

    return play


def weights(players: int) -> NDArray[np.int64]:
    """Return the weights of one weighted vote; the majority of all weight decides."""
    return np.random.default_rng(90 + players).integers(1, 21, players)


def weighted(players: int) -> Game:
    """One weighted vote: most players are seldom the ones who turn it."""
    each = weights(players)

    def play(coalitions: Coalitions) -> NDArray[np.bool_]:
        return (2 * (coalitions @ each) > each.sum())[:, None]

    return play


def logit(players: int) -> Game:
    """Products of experts over four choices, the first being right."""
    source = np.random.default_rng(20 + players)
    lead = source.normal(0.25, 1.0, (players, ITEMS["logit"], 3))
    lead += source.normal(-0.3, 0.7, (1, ITEMS["logit"], 3))

    def play(coalitions: Coalitions) -> NDArray[np.bool_]:
        flat = coalitions.astype(np.float64) @ lead.reshape(players, -1)
        return np.asarray((flat.reshape(len(coalitions), -1, 3) > 0).all(axis=2))

    return play


def merge(players: int) -> Game:
    """Sums of low-rank updates to a small network; each mends a part of what the base gets wrong.

    The base is a teacher with noise on its weights. An update takes away some of the noise in a few
    directions of its own and adds some noise; they overlap, and together overshoot here and there.
    """
    source = np.random.default_rng(40 + players)
    width, classes, rank = 24, 4, 3
    inputs = source.normal(size=(ITEMS["merge"], width))
    teacher = source.normal(size=(width, width)) / width**0.5
    head = source.normal(size=(width, classes))
    answer = (np.tanh(inputs @ teacher) @ head).argmax(axis=1)
    wrong = 2.0 * source.normal(size=(width, width)) / width**0.5
    base = teacher + wrong
    updates = []
    for _ in range(players):
        directions = np.linalg.qr(source.normal(size=(width, rank)))[0]
        mended = -directions @ (directions.T @ wrong) * source.uniform(0.1, 0.6)
        spoiled = np.outer(source.normal(size=width), source.normal(size=width)) * 0.02
        updates.append(mended + spoiled)
    stack = np.stack(updates).reshape(players, -1)

    def play(coalitions: Coalitions) -> NDArray[np.bool_]:
        outcomes = []
        for chosen in coalitions.astype(np.float64):
            merged = base + (chosen @ stack).reshape(width, width)
            outcomes.append((np.tanh(inputs @ merged) @ head).argmax(axis=1) == answer)
        return np.stack(outcomes)

    return play
