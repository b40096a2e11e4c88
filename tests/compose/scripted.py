"""Models that answer from a script, for tests of what combines answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from compose.answering import Answer, Question
from compose.bank import Mask
from compose.panel import Panel


class Scripted:
    """A model that answers by a function, or from a list by number; questions count as forwards."""

    members = 0

    def __init__(self, *answers: Answer, by: Callable[[str], str] | None = None) -> None:
        self._by = by
        self._answers = answers
        self.asked: list[str] = []

    @property
    def forwards(self) -> int:
        return len(self.asked)

    def answer(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        assert masks.shape == (1, 0)
        self.asked += [each.prompt for each in questions]
        return [[self._one(each)] for each in questions]

    def _one(self, question: Question) -> Answer:
        if self._by is None:
            return self._answers[int(question.prompt)]
        text = self._by(question.prompt)
        return said(question.choices.index(text) if question.choices else text)


def question(prompt: str, *choices: str) -> Question:
    return Question("item", prompt, choices, 4, "whitespace")


def said(value: int | str, margin: int = 5, confidence: float = -1.0) -> Answer:
    return Answer(value, margin, confidence)


def coalitions(members: int) -> Mask:
    return np.array(list(product([False, True], repeat=members)))


def ask_all(panel: Panel, *prompts: str) -> list[Answer]:
    everybody = np.ones((1, panel.members), dtype=bool)
    return [row[0] for row in panel.answer([question(each) for each in prompts], everybody)]
