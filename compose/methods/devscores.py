"""How well weighted sums of the members do on the dev suite, each sum scored once.

A score belongs to the members with a weight other than zero and to their weights, whoever else is
there. It is therefore remembered for all coalitions of a composition.

    accuracy   right answers over items, an exact fraction
    loss       the mean over items of the negative log-likelihood per token of the right answer in
               nat, each item's rounded to a grid of 1e-6
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import TypeVar

import numpy as np

from compose.answering import Question
from compose.errors import MethodError
from compose.evaluation import outcomes_of
from compose.methods.method import Assembly, Context
from compose.scoring import UNITS_PER_NAT
from compose.suite import Item, Suite

Coefficients = tuple[Fraction, ...]
T = TypeVar("T")

MAX_KNOWN = 2**16
"""How many scores are remembered: enough for every soup of 16 members."""

GRID = 1_000_000
"""Searched weights are multiples of 1 / GRID, so that a search stays exact and short to write."""

_EVERYBODY = np.ones((1, 0), dtype=np.bool_)
_QUESTIONS_AT_ONCE = 256


class DevScores:
    """Scores of weighted sums of a context's members; `expected` scorings are planned."""

    def __init__(self, context: Context, *, expected: int) -> None:
        """Take the members and the dev suite of a context.

        Raises:
            MethodError: if there is no dev suite.
        """
        if context.dev is None:
            raise MethodError(
                "weights are searched on a dev suite",
                hint="name one in the recipe: dev = 'ID'",
            )
        self._context = context
        self._dev = context.dev
        self._expected = expected
        self._done = 0

    def solved(self, coefficients: Coefficients) -> bytes:
        """Return for each dev item 1 if the weighted sum answers it correctly, else 0."""
        return self._known("solved", coefficients, self._solved)

    def accuracy(self, coefficients: Coefficients) -> Fraction:
        """Return the share of dev items that the weighted sum answers correctly."""
        return Fraction(sum(self.solved(coefficients)), len(self._dev.items))

    def loss(self, coefficients: Coefficients) -> Fraction:
        """Return the mean loss of the weighted sum on the right answers, in nat per token."""
        return self._known("loss", coefficients, self._loss)

    def _known(self, kind: str, coefficients: Coefficients, find: Callable[[Coefficients], T]) -> T:
        pairs = zip(self._context.members, coefficients, strict=True)
        key = kind, tuple((member.id, weight) for member, weight in pairs if weight)
        known: dict[Hashable, T] = self._context.memo.setdefault("dev scores", {})
        score = known[key] if key in known else find(coefficients)
        if len(known) < MAX_KNOWN:
            known[key] = score
        self._done += 1
        self._context.progress(self._done, self._expected)
        return score

    def _solved(self, coefficients: Coefficients) -> bytes:
        model = self._context.one_model(self._context.weighted_sum(coefficients))
        ((outcomes,),) = outcomes_of(model, [self._dev], _EVERYBODY)
        return bytes(outcome.correct for outcome in outcomes)

    def _loss(self, coefficients: Coefficients) -> Fraction:
        model = self._context.one_model(self._context.weighted_sum(coefficients))
        questions = [_right_answer(self._dev, item) for item in self._dev.items]
        units = 0
        for start in range(0, len(questions), _QUESTIONS_AT_ONCE):
            part = questions[start : start + _QUESTIONS_AT_ONCE]
            for (answer,) in model.answer(part, _EVERYBODY):
                units += round(-answer.confidence * UNITS_PER_NAT)
        return Fraction(units, UNITS_PER_NAT * len(questions))


def learned_sum(context: Context, coefficients: Coefficients) -> Assembly:
    """Return the weighted sum with learned weights, which become part of the digest."""
    pairs = zip(context.members, coefficients, strict=True)
    return context.merged(
        context.weighted_sum(coefficients),
        coefficients=coefficients,
        learned={"coefficients": {member.id: str(weight) for member, weight in pairs}},
    )


def unit(number: int, members: int) -> Coefficients:
    """Return the coefficients of one member alone."""
    return tuple(Fraction(int(each == number)) for each in range(members))


def on_grid(weight: Fraction) -> Fraction:
    """Return the nearest multiple of 1e-6, the even one of two."""
    return Fraction(round(weight * GRID), GRID)


def ranked(scores: Sequence[Fraction]) -> list[int]:
    """Return the members' numbers, best score first; the smaller id wins a tie."""
    return sorted(range(len(scores)), key=lambda number: (-scores[number], number))


def _right_answer(suite: Suite, item: Item) -> Question:
    """Return the question whose only choice is the right answer: it asks how likely that is."""
    right = item.answer if isinstance(item.answer, str) else item.choices[item.answer]
    what = f"suite {suite.name}: item {item.id}"
    return Question(what, item.prompt, (right,), suite.max_tokens, suite.normalisation)
