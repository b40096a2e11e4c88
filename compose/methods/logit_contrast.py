"""`logit.contrast`: the best member, pushed away from the worst and towards the best.

Version 1. Members are ranked by how many dev items each answers correctly alone, the smaller id
first among equals. The score of a token is

    log p_top1 + weight * sum over j = 1..k of (log p_top_j - log p_bottom_j)

over the members present, bottom_1 being the last of them; k is at most half of their number, so
that nobody is both. Greedy in the score (contrastive decoding, Li et al. 2023, 2210.15097, in the
form of 2601.21257, without a plausibility cut). One member alone is that member bit for bit. Two
copies rank next to each other, and cancel where one is on top and the other at the bottom.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from compose.bank import Array, Mask
from compose.methods.alone import Record, record_alone
from compose.methods.method import Assembly, Context, Method, Number, Parameters
from compose.methods.mixture import Mixture


class LogitContrast(Method):
    """Token by token, the best member against the worst."""

    name = "logit.contrast"
    version = "1"
    level = "logit"
    exactness = "bitwise"
    needs_dev = True
    parameters: ClassVar[Parameters] = {
        "weight": Number("0.2", "0", "16", "factor on each difference"),
        "k": Number("1", "1", "64", "pairs of best and worst", integer=True),
    }

    def assemble(self, context: Context) -> Assembly:
        """Rank the members and gather them."""
        record = record_alone(context)
        rule = Contrasted(record, float(context.number("weight")), int(context.number("k")))
        return Assembly(context.together(rule), record.state(context))


class Contrasted(Mixture):
    """The weights, from a ranking."""

    def __init__(self, record: Record, weight: float, pairs: int) -> None:
        """Take who is how good alone, the factor on a difference, and how many there are."""
        self._order = np.array(record.ranking())
        self._weight = weight
        self._pairs = pairs

    def weights(self, present: Mask) -> Array:
        """Return the weights of the base, which are zero, and of the members."""
        ranked = present[:, self._order]
        count = ranked.sum(axis=1, keepdims=True)
        place = ranked.cumsum(axis=1)
        pairs = np.minimum(self._pairs, count // 2)
        weights = np.zeros(present.shape)
        top = ranked & (place <= pairs)
        bottom = ranked & (place > count - pairs)
        weights[:, self._order] = self._weight * (top.astype(np.float64) - bottom) + (
            ranked & (place == 1)
        )
        return np.concatenate([np.zeros((len(present), 1)), weights], axis=1)
