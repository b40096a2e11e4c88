"""`text.refine`: members answer, read what all have said, and answer again; the best concludes.

Version 1. In round 1 every member answers the prompt as it is; in each further round it answers the
prompt of `REVISE`, which shows the answers of the round before and no others. After `rounds` rounds
the member that answers most dev items correctly alone, the smaller id among equals, answers the
prompt of `CONCLUDE`, which shows the answers of the last round; that is the answer. All of it is
greedy. Rounds write texts; on choices only the conclusion chooses.

Answers are shown in id order without white space at their ends, equal ones once, empty ones not at
all; while there is nothing to show, the prompt stays as it is. Hence a copy changes nothing. One
member alone answers as itself, since there is nobody to listen to. The templates of `style` are
fixed; their digest is part of the system's. What members say becomes part of a prompt, so a member
that knows the templates can try to talk the others into its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import ClassVar, NamedTuple

import numpy as np

from compose.answering import Answer, Question, Spoken
from compose.bank import Mask
from compose.methods.alone import record_alone
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.panel import Ask, Talk, bits
from compose.scoring import MAX_MARGIN
from ledger.encoding import canonical_json

_ASCII_SPACE = " \t\n\v\f\r"


class Style(NamedTuple):
    """What follows a prompt: words before, between and after the answers shown."""

    before: str
    between: str
    revise: str
    conclude: str


STYLES: Mapping[str, Style] = {
    # For models that follow instructions.
    "english": Style(
        before="\n\nAnswers given so far:\n- ",
        between="\n- ",
        revise="\n\nSome of them may be wrong. Write your own best answer.\nAnswer:",
        conclude="\n\nSome of them may be wrong. Write the final answer.\nAnswer:",
    ),
    # For models that know a prompt and what follows it, and no words about either.
    "bare": Style(before=" ", between=" | ", revise=" |", conclude=" |"),
}


class TextRefine(Method):
    """Rounds of answers in the light of everybody's, and a conclusion."""

    name = "text.refine"
    version = "1"
    level = "text"
    exactness = "bitwise"
    needs_dev = True
    parameters: ClassVar[Parameters] = {
        "rounds": Number("2", "1", "8", "rounds before the conclusion", integer=True),
        "style": Option("english", tuple(STYLES)),
    }

    def assemble(self, context: Context) -> Assembly:
        """Find who concludes, and gather the members."""
        soloists = context.soloists()
        record = record_alone(context, soloists)
        style = STYLES[context.parameters["style"]]
        procedure = Refine(record.ranking(), style, int(context.number("rounds")))
        templates = hashlib.sha256(canonical_json(list(style))).hexdigest()
        return Assembly(
            context.panel(soloists, procedure), {**record.state(context), "style": templates}
        )


class Refine:
    """The procedure; `ranking` has the members, numbered from 0, best first."""

    def __init__(self, ranking: Sequence[int], style: Style, rounds: int) -> None:
        """Take who concludes, the templates, and the number of rounds."""
        self._ranking = [member + 1 for member in ranking]
        self._style = style
        self._rounds = rounds

    def __call__(self, question: Question, present: Mask) -> Talk:
        """Let everybody answer, round after round, and the best conclude."""
        coalitions = [(np.flatnonzero(row) + 1).tolist() for row in present]
        talking = [row for row, models in enumerate(coalitions) if len(models) > 1]
        last = [question] * len(coalitions)
        margins = [MAX_MARGIN] * len(coalitions)
        drafts = {row: replace(question, choices=()) for row in talking}
        for number in range(1, self._rounds + 1):
            request = self._style.conclude if number == self._rounds else self._style.revise
            asks = [Ask(model, drafts[row]) for row in talking for model in coalitions[row]]
            answers = iter((yield asks)) if asks else iter(())
            for row in talking:
                said = list(islice(answers, len(coalitions[row])))
                margins[row] = min(margins[row], *(each.margin for each in said))
                last[row] = self._show(question, said, request)
                drafts[row] = replace(last[row], choices=())
        speakers = [self._best(models) for models in coalitions]
        final = yield [Ask(model, asked) for model, asked in zip(speakers, last, strict=True)]
        return [
            Spoken(answer._replace(margin=min(margin, answer.margin)), everybody)
            for answer, margin, everybody in zip(final, margins, bits(present), strict=True)
        ]

    def _best(self, models: Sequence[int]) -> int:
        return next(model for model in self._ranking if model in models)

    def _show(self, question: Question, said: Sequence[Answer], request: str) -> Question:
        """Return the question with the answers shown, if there are any."""
        shown = distinct(str(each.value) for each in said)
        if not shown:
            return question
        style = self._style
        return replace(
            question,
            what=f"{question.what}, with {len(shown)} answers shown,",
            prompt=f"{question.prompt}{style.before}{style.between.join(shown)}{request}",
        )


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts without white space at their ends, each once, empty ones left out."""
    stripped = (text.strip(_ASCII_SPACE) for text in texts)
    return list(dict.fromkeys(text for text in stripped if text))
