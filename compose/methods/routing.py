"""One model answers a question: the procedure shared by what routes whole questions.

The model with the highest score is asked; the base wins ties, then the member with the smaller id.
The lead over a rival counts into the margin unless the rival would have given the same answer.
Only rivals less than `NEAR` behind are asked what they would have said; for others, whose lead
is no near tie on any machine, the lead counts as it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from compose.answering import Question, Spoken, compared
from compose.bank import Array, Mask
from compose.panel import Ask, Talk, with_margins
from compose.scoring import margin_units

NEAR: Final = 0.001


def routed(question: Question, scores: Array, present: Mask) -> Talk:
    """Ask the model with the highest score of those present.

    Args:
        question: what is asked.
        scores: of each model, base first; the base may have minus infinity.
        present: which members are, [coalitions, members]; the base always is.
    """
    candidates = np.concatenate([np.ones((len(present), 1), dtype=np.bool_), present], axis=1)
    candidates &= scores > -np.inf
    chosen = np.where(candidates, scores, -np.inf).argmax(axis=1)
    leads = scores[chosen][:, None] - scores
    near = candidates & (leads < NEAR)
    asked = np.flatnonzero(near.any(axis=0)).tolist()
    answers = yield [Ask(model, question) for model in asked]
    said = dict(zip(asked, answers, strict=True))
    forms = {model: compared(question, answer) for model, answer in said.items()}
    margins = np.empty(len(present), dtype=np.int64)
    for model in np.unique(chosen).tolist():
        rows = np.flatnonzero(chosen == model)
        # The one chosen is near itself, and is no rival of its own.
        same = np.array([forms.get(each) == forms[model] for each in range(len(scores))])
        rivals = candidates[rows] & ~(near[rows] & same)
        nearest = np.where(rivals, leads[rows], np.inf).min(axis=1)
        distinct, where = np.unique(nearest, return_inverse=True)
        units = [min(said[model].margin, margin_units(lead)) for lead in distinct.tolist()]
        margins[rows] = np.array(units)[where.reshape(-1)]
    models = chosen.tolist()
    answered = with_margins(said, models, margins.tolist())
    return [Spoken(each, 1 << model >> 1) for each, model in zip(answered, models, strict=True)]
