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
from typing import ClassVar, NamedTuple

from compose.answering import Question
from compose.methods.alone import record_alone
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.panel import Ask, Panel, Talk
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
        return Assembly(Panel(soloists, procedure), {**record.state(context), "style": templates})


class Refine:
    """The procedure; `ranking` has the members, numbered from 0, best first."""

    def __init__(self, ranking: Sequence[int], style: Style, rounds: int) -> None:
        """Take who concludes, the templates, and the number of rounds."""
        self._ranking = [member + 1 for member in ranking]
        self._style = style
        self._rounds = rounds

    def __call__(self, question: Question, present: Sequence[int]) -> Talk:
        """Let everybody answer, round after round, and the best conclude."""
        if len(present) == 1:
            (answer,) = yield [Ask(present[0], question)]
            return answer
        prompt, margin = question.prompt, MAX_MARGIN
        shown: list[str] = []
        for _ in range(self._rounds):
            draft = self._follow(question, prompt, len(shown))
            answers = yield [Ask(model, replace(draft, choices=())) for model in present]
            margin = min(margin, *(each.margin for each in answers))
            shown = distinct(str(each.value) for each in answers)
            prompt = self._show(question.prompt, shown, self._style.revise)
        prompt = self._show(question.prompt, shown, self._style.conclude)
        best = next(model for model in self._ranking if model in present)
        (answer,) = yield [Ask(best, self._follow(question, prompt, len(shown)))]
        return answer._replace(margin=min(margin, answer.margin))

    def _show(self, prompt: str, answers: Sequence[str], request: str) -> str:
        if not answers:
            return prompt
        style = self._style
        return f"{prompt}{style.before}{style.between.join(answers)}{request}"

    def _follow(self, question: Question, prompt: str, shown: int) -> Question:
        what = f"{question.what}, with {shown} answers shown," if shown else question.what
        return replace(question, what=what, prompt=prompt)


def distinct(texts: Iterable[str]) -> list[str]:
    """Return the texts without white space at their ends, each once, empty ones left out."""
    stripped = (text.strip(_ASCII_SPACE) for text in texts)
    return list(dict.fromkeys(text for text in stripped if text))
