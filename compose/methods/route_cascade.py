"""`route.cascade`: members are asked one after another until one is sure enough.

Version 1. Confidence is the mean log-probability of the tokens of a member's answer, the one that
ends a text included; for a choice, of the tokens of the choice it takes. A member's threshold is
the `quantile` of its own confidences on the dev suite: of N values in ascending order the one with
index min(N - 1, floor(quantile N)), rounded to 1e-6 nat. Members are asked in order of how many dev
items each answers correctly alone, `weakest` or `strongest` first, the smaller id first among
equals. The first whose confidence reaches its threshold answers; the last one answers in any case.
The base answers only when no member is present. A copy that follows its twin is as unsure as it.

Thresholds and order of a member depend on nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np

from compose.answering import Answer, Question, Spoken
from compose.bank import Mask
from compose.methods.alone import Record, record_alone
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.panel import Ask, Talk, with_margins
from compose.scoring import MAX_MARGIN, UNITS_PER_NAT, margin_units


class RouteCascade(Method):
    """The first member that is sure enough."""

    name = "route.cascade"
    version = "1"
    level = "api"
    exactness = "bitwise"
    selects = True
    needs_dev = True
    parameters: ClassVar[Parameters] = {
        "order": Option("weakest", ("weakest", "strongest")),
        "quantile": Number(
            "0.5", "0", "1", "share of a member's dev answers that it is less sure of"
        ),
    }

    def assemble(self, context: Context) -> Assembly:
        """Order the members, find what each is sure of, and gather them."""
        soloists = context.soloists()
        record = record_alone(context, soloists)
        limits = thresholds(record, context.number("quantile"))
        order = [member + 1 for member in record.ranking()]
        if context.parameters["order"] == "weakest":
            # Stable in both directions: among equals the smaller id is asked first.
            correct = record.correct()
            order.sort(key=lambda model: (correct[model - 1], model))
        named = {each.id: limit for each, limit in zip(context.members, limits, strict=True)}
        state = {**record.state(context), "thresholds": named}
        return Assembly(context.panel(soloists, Cascade(order, limits)), state)


def thresholds(record: Record, quantile: Fraction) -> list[int]:
    """Return the confidence each member must reach, in units of 1e-6 nat."""
    limits = []
    for answers in record.answers:
        confidences = sorted(answer.confidence for answer in answers)
        at = min(len(confidences) - 1, math.floor(quantile * len(confidences)))
        limits.append(round(confidences[at] * UNITS_PER_NAT))
    return limits


class Cascade:
    """The procedure: models in the order in which they are asked, and each member's threshold."""

    def __init__(self, order: Sequence[int], limits: Sequence[int]) -> None:
        """Take the order, and the thresholds in id order."""
        self._order = tuple(order)
        # Half a unit lower, where no rounded confidence can be: one that is equal is enough.
        self._limits = [(limit - 0.5) / UNITS_PER_NAT for limit in limits]

    def __call__(self, question: Question, present: Mask) -> Talk:
        """Ask one after another; each answers the coalitions in which nobody before it did."""
        order = np.array(self._order) - 1
        last = order[present.shape[1] - 1 - present[:, order[::-1]].argmax(axis=1)]
        margins = np.full(len(present), MAX_MARGIN)
        answering = np.zeros(len(present), dtype=np.int64)
        said: dict[int, Answer] = {}
        waiting = np.ones(len(present), dtype=np.bool_)
        for member in order.tolist():
            rows = waiting & present[:, member]
            if not rows.any():
                continue
            (answer,) = yield [Ask(member + 1, question)]
            said[member] = answer
            lead = answer.confidence - self._limits[member]
            margins[rows] = np.minimum(margins[rows], answer.margin)
            asked = rows & (last != member)
            margins[asked] = np.minimum(margins[asked], margin_units(abs(lead)))
            settled = rows if lead >= 0 else rows & (last == member)
            waiting &= ~settled
            answering[settled] = member
        members = answering.tolist()
        answers = with_margins(said, members, margins.tolist())
        return [Spoken(each, 1 << member) for each, member in zip(answers, members, strict=True)]
