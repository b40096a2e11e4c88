"""Questions and answers: the one interface through which every system is used.

A question asks for a text, or for one of several choices. Whatever answers it, a bank of models
with a rule for each token (`compose.decoding`) or a panel of models that answer whole questions
(`compose.panel`), answers it for many coalitions at once. Which answer is right is no part of a
question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from compose.bank import Mask
from compose.scoring import Normalisation, normalise


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: the best of `choices`, or where there are none a text.

    A text has up to `max_tokens` tokens; two texts are the same answer if `normalisation` makes
    them equal. `what` names the question in errors, and makes no other question of it.
    """

    what: str = field(compare=False)
    prompt: str
    choices: tuple[str, ...]
    max_tokens: int
    normalisation: Normalisation


class Answer(NamedTuple):
    """The index of a choice, or the text as produced.

    `margin` is the smallest lead of any decision behind it, in units of 1e-6 nat as
    `compose.scoring.margin_units` makes them. `confidence` is the mean log-probability, in nat,
    of the tokens of the answer, the one that ends a text included.
    """

    value: int | str
    margin: int
    confidence: float


def compared(question: Question, answer: Answer) -> int | str:
    """Return an answer in the form in which answers are compared."""
    if isinstance(answer.value, int):
        return answer.value
    return normalise(answer.value, question.normalisation)


class Spoken(NamedTuple):
    """An answer, and a bit mask of the members that had a say in it, the base not counted."""

    answer: Answer
    speakers: int


class Answerer(Protocol):
    """What answers questions for coalitions of its members."""

    @property
    def members(self) -> int:
        """Number of members, the base not counted."""
        ...

    @property
    def forwards(self) -> int:
        """Prefixes run through a model so far, the measure of work done."""
        ...

    def answer(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        """Return for each question the answer of each coalition.

        Args:
            questions: at most some hundreds, as they share batches.
            masks: which members are present, [coalitions, members].

        Raises:
            UnfitSuiteError: naming a question that does not fit into the base's positions.
            UnfitAdapterError: naming a member whose logits are not finite.
        """
        ...


class Selector(Answerer, Protocol):
    """What answers by a choice among its members that does not change when others leave."""

    def spoken(self, questions: Sequence[Question], masks: Mask) -> list[Spoken]:
        """Return the answer of each question's own coalition, and who had a say in it.

        Every coalition that has all the speakers and nobody else than the one asked answers the
        same. Errors are those of `answer`.

        Args:
            questions: at most some hundreds, as they share batches.
            masks: which members are present for each question, [questions, members].
        """
        ...
