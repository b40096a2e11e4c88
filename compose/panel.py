"""Answers of models that each answer whole questions, and a procedure that combines them.

A procedure is a generator: given a question and who is present in each coalition, it yields what it
wants to ask, is sent the answers, and returns those of the coalitions. It is pure but for what it
yields, so an answer of a model, which depends on model and question only, is found once and
remembered, and serves every coalition. The procedures of all questions run in step, so that what
they ask at the same time shares batches.

Model 0 is the base; member i (in id order) is model i + 1. With no member present the base
answers, whatever the procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
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


Talk = Generator[Sequence[Ask], Sequence[Answer], list[Spoken]]
Procedure = Callable[[Question, Mask], Talk]
"""From a question and the members present in each coalition, [coalitions, members] with at least
one in each row, to the coalitions' answers and who had a say in them."""


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
        rows = self._finish([self._talk(question, masks) for question in questions])
        return [[each.answer for each in row] for row in rows]

    def spoken(self, questions: Sequence[Question], masks: Mask) -> list[Spoken]:
        """Return the answers and which members had a say in them; see `Selector`."""
        pairs = zip(questions, masks, strict=True)
        return [
            row[0] for row in self._finish([self._talk(each, own[None]) for each, own in pairs])
        ]

    def _finish(self, talks: Sequence[Talk]) -> list[list[Spoken]]:
        """Run procedures in step to their ends."""
        asking = {number: next(talk) for number, talk in enumerate(talks)}
        done: dict[int, list[Spoken]] = {}
        while asking:
            known = self._ask(ask for asks in asking.values() for ask in asks)
            further = {}
            for number, asks in asking.items():
                try:
                    further[number] = talks[number].send([known[ask] for ask in asks])
                except StopIteration as end:
                    done[number] = end.value
            asking = further
        return [done[number] for number in range(len(talks))]

    def _talk(self, question: Question, masks: Mask) -> Talk:
        somebody = masks.any(axis=1)
        if somebody.all():
            return (yield from self._procedure(question, masks))
        (answer,) = yield [Ask(0, question)]
        said = [Spoken(answer, 0)] * len(masks)
        if somebody.any():
            others = yield from self._procedure(question, masks[somebody])
            for row, spoken in zip(np.flatnonzero(somebody).tolist(), others, strict=True):
                said[row] = spoken
        return said

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


def bits(masks: Mask) -> list[int]:
    """Return each row as a number whose bit i stands for column i."""
    packed = np.packbits(masks, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def with_margins(
    answers: Mapping[int, Answer], models: Sequence[int], margins: Sequence[int]
) -> list[Answer]:
    """Return the answers of the models, one for each margin, with that margin."""
    made: dict[tuple[int, int], Answer] = {}
    pairs = list(zip(models, margins, strict=True))
    for model, margin in set(pairs):
        made[model, margin] = answers[model]._replace(margin=margin)
    return [made[pair] for pair in pairs]
