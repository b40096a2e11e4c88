"""`text.chain`: the stages that a prompt names are answered one after another, each by one member.

Version 1. The dev suite shows how prompts are built. A word, in a prompt split at ASCII white
space, that begins a dev prompt can name a stage; the words that end all dev prompts alike are the
ending. A prompt that begins with two to eight such words names as many stages; what is between them
and the ending is the input. Stage j is the prompt

    stage j, the input of stage j, the ending        joined by one space

where the input of the next stage is the answer of this one after the suite's normalisation. Any
other prompt is one stage as it is. For each stage the router of `route.trained`, fitted on whole
dev prompts, names the member that answers; ties, absence and coalitions are those of
`route.trained`. The answer of the last stage is the answer, and it alone chooses among choices. A
copy changes how the router was fitted, and then says what its twin says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from compose.answering import Question, Spoken, compared
from compose.bank import Mask
from compose.methods.method import Assembly, Context, Method
from compose.methods.router import PARAMETERS, Router
from compose.methods.routing import routed
from compose.panel import Talk
from compose.scoring import MAX_MARGIN
from compose.tokens import Tokens
from ledger.encoding import canonical_json

MAX_STAGES: Final = 8

_WORD = re.compile(r"[^ \t\n\v\f\r]+")


class TextChain(Method):
    """One member per stage, each working on what the one before has written."""

    name = "text.chain"
    version = "1"
    level = "text"
    exactness = "bitwise"
    selects = True
    needs_dev = True
    semantics = "fitted once, restricted"
    parameters = PARAMETERS

    def assemble(self, context: Context) -> Assembly:
        """Learn how prompts are built, fit the router, and gather the members."""
        router = Router.fit(context)
        assert context.dev is not None, "there would be no router"
        form = Form.of(item.prompt for item in context.dev.items)
        document = canonical_json([sorted(form.stages), list(form.ending)])
        state = {**router.state(), "form": hashlib.sha256(document).hexdigest()}
        chain = Chain(form, router, context.tokens)
        return Assembly(context.panel(context.soloists(), chain), state)


class Form(NamedTuple):
    """How prompts are built: words that can name a stage, and the words at the end."""

    stages: frozenset[str]
    ending: tuple[str, ...]

    @classmethod
    def of(cls, prompts: Iterable[str]) -> Form:
        """Return the form that the prompts of a dev suite have in common."""
        split = [words for words in map(_WORD.findall, prompts) if words]
        ending: list[str] = []
        # A first word names a stage, so it is never part of the ending.
        for column in zip(*(reversed(words[1:]) for words in split), strict=False):
            if len(set(column)) > 1:
                break
            ending.insert(0, column[0])
        return cls(frozenset(words[0] for words in split), tuple(ending))

    def parse(self, prompt: str) -> tuple[list[str], str]:
        """Return the stages a prompt names, none if it is to be taken as it is, and their input."""
        words = _WORD.findall(prompt)
        end = len(words) - len(self.ending)
        if tuple(words[max(end, 0) :]) != self.ending:
            return [], ""
        count = 0
        while count < min(end, MAX_STAGES) and words[count] in self.stages:
            count += 1
        if count < 2:
            return [], ""
        return words[:count], " ".join(words[count:end])

    def prompt(self, stage: str, given: str) -> str:
        """Return the prompt of one stage."""
        return " ".join(each for each in (stage, given, *self.ending) if each)


class Chain:
    """The procedure: routed stages."""

    def __init__(self, form: Form, router: Router, tokens: Tokens) -> None:
        """Take how prompts are built and what routes them."""
        self._form = form
        self._router = router
        self._tokens = tokens

    def __call__(self, question: Question, present: Mask) -> Talk:
        """Have each stage answered by the member that its prompt is routed to."""
        stages, first = self._form.parse(question.prompt)
        if not stages:
            return (yield from self._route(question, present))
        given = [first] * len(present)
        margins = [MAX_MARGIN] * len(present)
        speakers = [0] * len(present)
        said: list[Spoken] = []
        for stage in stages:
            choices = question.choices if stage is stages[-1] else ()
            said = yield from self._stage(replace(question, choices=choices), stage, given, present)
            given = [str(compared(question, each.answer)) for each in said]
            margins = [
                min(margin, each.answer.margin) for margin, each in zip(margins, said, strict=True)
            ]
            speakers = [mask | each.speakers for mask, each in zip(speakers, said, strict=True)]
        return [
            Spoken(each.answer._replace(margin=margin), mask)
            for each, margin, mask in zip(said, margins, speakers, strict=True)
        ]

    def _stage(self, question: Question, stage: str, given: Sequence[str], present: Mask) -> Talk:
        """Answer one stage; coalitions that were given the same share its question."""
        said: list[Spoken | None] = [None] * len(given)
        for text in dict.fromkeys(given):
            rows = [row for row, each in enumerate(given) if each == text]
            part = replace(question, prompt=self._form.prompt(stage, text))
            some = yield from self._route(part, present[rows])
            for row, spoken in zip(rows, some, strict=True):
                said[row] = spoken
        return [each for each in said if each is not None]

    def _route(self, question: Question, present: Mask) -> Talk:
        ids = self._tokens.encode_prompt(question.prompt, what=question.what)
        (scores,) = self._router.scores([ids])
        return (yield from routed(question, np.array([-np.inf, *scores]), present))
