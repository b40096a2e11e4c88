"""`logit.fuse`: at each token the members' log-probabilities are added up.

Version 1. With `form` "mean" the score of a token is the mean of the log-probabilities that the
members present give it (a product of experts); the base takes no part. With `form` "delta" it is
log p_0 + weight * sum_i (log p_i - log p_0), p_0 the base's (DExperts, Liu et al. 2021,
2105.03023; proxy tuning, Liu et al. 2024, 2401.08565), computed as
(1 - weight k) log p_0 + weight * sum_i log p_i for k members present. Greedy in the score. Nothing
is fitted; one member alone, at weight 1, is that member bit for bit. Copies count twice.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compose.bank import Array, Mask
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.methods.mixture import Mixture


class LogitFuse(Method):
    """Token by token, the sum of what the members say."""

    name = "logit.fuse"
    version = "1"
    level = "logit"
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "form": Option("mean", ("mean", "delta")),
        "weight": Number("1", "-16", "16", "factor on each member's difference, for delta"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Gather the members; each stays a model of its own."""
        delta = context.parameters["form"] == "delta"
        rule = Fused(float(context.number("weight")) if delta else None)
        return Assembly(context.together(rule), {})


class Fused(Mixture):
    """The mean over members or, with a weight, the base and that share of each difference."""

    def __init__(self, weight: float | None) -> None:
        """Take the weight of a difference, None for the mean."""
        self._weight = weight

    def weights(self, present: Mask) -> Array:
        """Return the weights of the base and the members."""
        members = present.astype(np.float64)
        count = members.sum(axis=1, keepdims=True)
        if self._weight is None:
            return np.concatenate([0.0 * count, members / np.maximum(count, 1.0)], axis=1)
        return np.concatenate([1.0 - self._weight * count, self._weight * members], axis=1)
