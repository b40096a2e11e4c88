"""`logit.select`: at each token the member that differs most from the base speaks.

Version 1. The score of member i at a prefix is KL(p_i || p_0) in nat over the whole vocabulary,
p_0 the base's next-token distribution. The member with the largest score speaks if its score
exceeds `threshold`, otherwise the base; among equal scores the smaller id. Nothing is fitted.

An adapter that changes everything wins every token, so members should be checked on public tasks
before they are admitted. A copy of a member changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from compose.bank import Array, Prefix
from compose.exact.rules import divergence
from compose.methods.method import Assembly, Context, Method, Number, Parameters
from compose.methods.speaker import Speaker


class LogitSelect(Method):
    """Token by token, the most changed member."""

    name = "logit.select"
    version = "1"
    level = "logit"
    exactness = "bitwise"
    selects = True
    parameters: ClassVar[Parameters] = {
        "threshold": Number("0.5", "0", "100", "nat of KL divergence from the base")
    }

    def assemble(self, context: Context) -> Assembly:
        """Gather the members; each stays a model of its own."""
        rule = MostChanged(float(context.number("threshold")))
        return Assembly(context.together(rule), {})


class MostChanged(Speaker):
    """Speakers scored by their divergence from the base."""

    def __init__(self, threshold: float) -> None:
        """Take the divergence, in nat, that a member must exceed."""
        self._threshold = threshold

    def scores(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:  # noqa: ARG002
        """Return KL(p_i || p_0) for members and the threshold for the base."""
        scores = divergence(log_probs, log_probs[:, :1])
        scores[:, 0] = self._threshold
        return scores
