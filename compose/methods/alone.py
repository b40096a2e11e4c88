"""What each member answers on the dev suite by itself, and the ranking that follows from it.

A member's record depends on nobody else, so a ranking restricted to the members present is the
ranking of those members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compose.answering import Answer, Answerer
from compose.errors import MethodError
from compose.evaluation import ROWS_AT_ONCE, is_right, question_of
from compose.methods.method import Context, Member
from compose.suite import Suite


@dataclass(frozen=True, slots=True)
class Record:
    """Answers on the dev items, [members][items], and whether they are right, [items, members]."""

    answers: tuple[tuple[Answer, ...], ...]
    solved: npt.NDArray[np.bool_]

    def correct(self) -> list[int]:
        """Return how many items each member answers correctly."""
        return [int(count) for count in self.solved.sum(axis=0)]

    def ranking(self) -> list[int]:
        """Return the members, numbered from 0 in id order, from the best to the worst.

        Of members with equally many correct answers the one with the smaller id comes first.
        """
        correct = self.correct()
        return sorted(range(len(correct)), key=lambda member: (-correct[member], member))

    def state(self, context: Context) -> dict[str, Any]:
        """Return what the digest of a system says of the record."""
        pairs = zip(context.members, self.correct(), strict=True)
        return {"dev": {member.id: correct for member, correct in pairs}}


def record_alone(context: Context, soloists: Sequence[Answerer] | None = None) -> Record:
    """Return what each member of a context answers on its dev suite alone.

    Args:
        context: the members and the dev suite.
        soloists: base and members as `Context.soloists` makes them, if they are there already.

    Raises:
        MethodError: if there is no dev suite.
    """
    dev = context.dev
    if dev is None:
        raise MethodError(
            "members cannot be compared without a dev suite",
            hint="name one in the recipe: dev = 'ID'",
        )
    known = context.memo
    if any(_key(member) not in known for member in context.members):
        models = (soloists or context.soloists())[1:]
        for member, model in zip(context.members, models, strict=True):
            if _key(member) not in known:
                known[_key(member)] = _answers(model, dev)
    answers: list[tuple[Answer, ...]] = [known[_key(member)] for member in context.members]
    solved = [
        [is_right(dev, item, answer.value) for item, answer in zip(dev.items, row, strict=True)]
        for row in answers
    ]
    return Record(tuple(answers), np.array(solved, dtype=np.bool_).T)


def _key(member: Member) -> tuple[str, str]:
    return ("alone", member.id)


def _answers(model: Answerer, dev: Suite) -> tuple[Answer, ...]:
    questions = [question_of(dev, item) for item in dev.items]
    everybody = np.ones((1, model.members), dtype=np.bool_)
    said: list[Answer] = []
    for start in range(0, len(questions), ROWS_AT_ONCE):
        rows = model.answer(questions[start : start + ROWS_AT_ONCE], everybody)
        said.extend(row[0] for row in rows)
    return tuple(said)
