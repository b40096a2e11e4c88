"""Evaluation: what a system answers on the items of a suite, and whether that is correct.

Scorer `exact`: the text a system writes, normalised and compared. Scorer `choice`: the index it
chooses. How a system comes by its answer is its own business (`compose.answering`); the gold
answer is looked at only after the answer is there.

The margin of an outcome is the smallest lead of any decision behind it: token over token, choice
over choice, and speaker over a speaker that would have said something else. A margin near zero is
a near tie, which another machine may break the other way.

Items are taken in order, a fixed number at a time; what is answered depends neither on that number
nor on which coalitions are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from compose.answering import Answer, Answerer, Question
from compose.bank import Mask
from compose.outcomes import Outcome
from compose.scoring import is_correct, normalise
from compose.suite import Item, Suite

if TYPE_CHECKING:
    from compose.system import System

Progress = Callable[[int, int], None]
Cell = tuple[tuple[Outcome, ...], ...]
"""The outcomes of one coalition: per suite, per item."""

ROWS_AT_ONCE = 512


def evaluate(
    system: System,
    suite: Suite,
    *,
    progress: Progress | None = None,
    items_at_once: int | None = None,
) -> tuple[Outcome, ...]:
    """Return the outcome of a system on each item of a suite, in the suite's order.

    Args:
        system: what answers.
        suite: the items.
        progress: called with the number of items done and of all items.
        items_at_once: how many items share a batch; it does not change an answer.

    Raises:
        UnfitSuiteError: naming an item that does not fit into the base's positions.
    """
    answerer = system.assembly.answerer
    everybody = np.ones((1, answerer.members), dtype=np.bool_)
    return outcomes_of(
        answerer, [suite], everybody, progress=progress, items_at_once=items_at_once
    )[0][0]


def outcomes_of(
    answerer: Answerer,
    suites: Sequence[Suite],
    masks: Mask,
    *,
    progress: Progress | None = None,
    items_at_once: int | None = None,
) -> list[Cell]:
    """Return the outcomes of several coalitions on several suites.

    Args:
        answerer: what answers.
        suites: the items; those of one scorer share batches across suites.
        masks: which members are present in each coalition, [coalitions, members].
        progress: called with the number of items done and of all items.
        items_at_once: how many items share a batch; by default fewer where there are more models.

    Returns:
        For each coalition, for each suite, the outcome of each item.

    Raises:
        UnfitSuiteError: naming an item that does not fit into the base's positions.
    """
    size = items_at_once or max(16, ROWS_AT_ONCE // (answerer.members + 1))
    tasks = [
        _Task(number, suite, item) for number, suite in enumerate(suites) for item in suite.items
    ]
    results: list[list[list[Outcome]]] = [[[] for _ in suites] for _ in masks]
    done = 0
    for scorer in ("exact", "choice"):
        queue = [task for task in tasks if task.suite.scorer == scorer]
        for start in range(0, len(queue), size):
            part = queue[start : start + size]
            questions = [question_of(task.suite, task.item) for task in part]
            answers = answerer.answer(questions, masks)
            for task, row in zip(part, answers, strict=True):
                for result, outcome in zip(results, task.judge(row), strict=True):
                    result[task.number].append(outcome)
            done += len(part)
            if progress is not None:
                progress(done, len(tasks))
    return [tuple(tuple(row) for row in result) for result in results]


def question_of(suite: Suite, item: Item) -> Question:
    """Return all of an item that a system may see."""
    return Question(
        what=f"suite {suite.name}: item {item.id}",
        prompt=item.prompt,
        choices=item.choices,
        max_tokens=suite.max_tokens,
        normalisation=suite.normalisation,
    )


def is_right(suite: Suite, item: Item, value: int | str) -> bool:
    """Return whether an index or a text is the gold answer of an item."""
    if isinstance(value, int):
        return value == item.answer
    return is_correct(value, str(item.answer), suite.normalisation)


class _Task(NamedTuple):
    """One item of the suite of that number."""

    number: int
    suite: Suite
    item: Item

    def judge(self, answers: Sequence[Answer]) -> list[Outcome]:
        """Return the outcome of each coalition; equal answers are judged once."""
        judged = {value: self._judge(value) for value in {each.value for each in answers}}
        made: dict[tuple[int | str, int], Outcome] = {}
        for value, margin, _ in answers:
            if (value, margin) not in made:
                made[value, margin] = Outcome(self.item.id, *judged[value], margin)
        return [made[value, margin] for value, margin, _ in answers]

    def _judge(self, value: int | str) -> tuple[int | str, bool]:
        correct = is_right(self.suite, self.item, value)
        said = value if isinstance(value, int) else normalise(value, self.suite.normalisation)
        return said, correct
