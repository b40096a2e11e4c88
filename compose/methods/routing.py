"""One model answers a question: the procedure shared by what routes whole questions.

The model with the highest score is asked; the base wins ties, then the member with the smaller id.
The lead over a rival counts into the margin unless the rival would have given the same answer.
Only rivals less than `NEAR` behind are asked what they would have said; for others, whose lead
is no near tie on any machine, the lead counts as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from compose.answering import Question
from compose.methods.text_vote import ballot
from compose.panel import Ask, Talk
from compose.scoring import margin_units

NEAR: Final = 0.001


def routed(question: Question, scores: Mapping[int, float]) -> Talk:
    """Ask the model with the highest of the scores, which are given by model."""
    chosen = max(scores, key=lambda model: (scores[model], -model))
    leads = {model: scores[chosen] - scores[model] for model in scores if model != chosen}
    near = [model for model in sorted(leads) if leads[model] < NEAR]
    said, *others = yield [Ask(model, question) for model in (chosen, *near)]
    same = {
        model
        for model, other in zip(near, others, strict=True)
        if ballot(question, other) == ballot(question, said)
    }
    rivals = [margin_units(lead) for model, lead in leads.items() if model not in same]
    return said._replace(margin=min(said.margin, *rivals)) if rivals else said
