"""Answers of models that each answer whole questions, and a procedure that combines them.

A procedure is a generator: given a question and who is present, it yields what it wants to ask,
is sent the answers, and returns its own. It is pure but for what it yields, so an answer of a
model, which depends on model and question only, is found once and remembered, and serves every
coalition. Procedures of all questions and coalitions run in step, so that what they ask at the
same time shares batches.

Model 0 is the base; member i (in id order) is model i + 1. With no member present the base
answers, whatever the procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from compose.answering import Answer, Answerer, Question, Spoken
from compose.bank import Mask

MEMO_BYTES = 512 * 2**20
QUESTIONS_AT_ONCE = 512
_MEMO_OVERHEAD = 512


class Ask(NamedTuple):
    """A question for one of the models."""

    model: int
    question: Question


Talk = Generator[Sequence[Ask], Sequence[Answer], Answer]
Procedure = Callable[[Question, Sequence[int]], Talk]
"""From a question and the members present, at least one and in id order, to an answer."""


class Panel:
    """Models that answer on their own, a procedure, and the memory of what was answered."""

    def __init__(
        self, models: Sequence[Answerer], procedure: Procedure, *, memo_bytes: int = MEMO_BYTES
    ) -> None:
        """Take the models, base first; each is asked with all of its own members present."""
        self._models = tuple(models)
        self._procedure = procedure
        self._memo: dict[Ask, Answer] = {}
        self._memo_left = memo_bytes

    @property
    def members(self) -> int:
        """Number of members, the base not counted."""
        return len(self._models) - 1

    @property
    def forwards(self) -> int:
        """Prefixes run through a model so far."""
        return sum(model.forwards for model in self._models)

    def answer(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        """Return for each question the answer of each coalition; see `Answerer`."""
        return [[each.answer for each in row] for row in self.spoken(questions, masks)]

    def spoken(self, questions: Sequence[Question], masks: Mask) -> list[list[Spoken]]:
        """Return the answers and which members were asked for them; see `Selector`."""
        present = [tuple((np.flatnonzero(mask) + 1).tolist()) for mask in masks]
        talks = [self._talk(question, members) for question in questions for members in present]
        asking = {number: next(talk) for number, talk in enumerate(talks)}
        done: dict[int, Spoken] = {}
        asked = [0] * len(talks)
        while asking:
            known = self._ask(ask for asks in asking.values() for ask in asks)
            further = {}
            for number, asks in asking.items():
                for ask in asks:
                    asked[number] |= 1 << ask.model >> 1
                try:
                    further[number] = talks[number].send([known[ask] for ask in asks])
                except StopIteration as end:
                    done[number] = Spoken(end.value, asked[number])
            asking = further
        step = len(masks)
        flat = [done[number] for number in range(len(talks))]
        return [flat[start : start + step] for start in range(0, len(flat), step)]

    def _talk(self, question: Question, present: Sequence[int]) -> Talk:
        if present:
            return (yield from self._procedure(question, present))
        (answer,) = yield [Ask(0, question)]
        return answer

    def _ask(self, asks: Iterable[Ask]) -> dict[Ask, Answer]:
        """Return the answer to each, asking what is not remembered."""
        known = {ask: self._memo.get(ask) for ask in asks}
        missing: dict[int, list[Ask]] = {}
        for ask, answer in known.items():
            if answer is None:
                missing.setdefault(ask.model, []).append(ask)
        found = {ask: answer for ask, answer in known.items() if answer is not None}
        for model, wanted in sorted(missing.items()):
            for start in range(0, len(wanted), QUESTIONS_AT_ONCE):
                some = wanted[start : start + QUESTIONS_AT_ONCE]
                answers = self._alone(model, [ask.question for ask in some])
                for ask, answer in zip(some, answers, strict=True):
                    found[ask] = answer
                    self._remember(ask, answer)
        return found

    def _alone(self, model: int, questions: Sequence[Question]) -> list[Answer]:
        answerer = self._models[model]
        everybody = np.ones((1, answerer.members), dtype=np.bool_)
        return [row[0] for row in answerer.answer(questions, everybody)]

    def _remember(self, ask: Ask, answer: Answer) -> None:
        texts = (ask.question.prompt, *ask.question.choices, str(answer.value))
        cost = 4 * sum(map(len, texts)) + _MEMO_OVERHEAD
        if cost <= self._memo_left:
            self._memo_left -= cost
            self._memo[ask] = answer
