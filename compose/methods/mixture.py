"""All models speak at once: the rule shared by every method that mixes next-token scores.

The system's score of a token is sum of w_m log p_m(token) over the models, with weights that
depend only on who is present; its distribution is the softmax of the scores. Weights may be
negative. Terms are added in model order, base first, and an absent member adds an exact zero, so
a coalition gets the same bits alone as among others. With no member present the base answers.

Nothing less than whole distributions is enough for every coalition, so that is what is kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from compose.bank import Array, Decision, Mask, Prefix
from compose.exact.rules import log_total


class Mixture(ABC):
    """The rule, but for the weights."""

    @abstractmethod
    def weights(self, present: Mask) -> Array:
        """Return each member's weight and the base's, [rows, models], where a member is present.

        Rows without a member are overwritten.
        """

    def observe(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:  # noqa: ARG002
        """Keep everything."""
        return log_probs

    def decide(self, observed: Array, present: Mask) -> Decision:
        """Return the token of the highest score; its margin is the lead over the second."""
        scores = self._mixed(observed, present)
        # numpy's argmax returns the first of equal values: the lowest token id.
        tokens = scores.argmax(axis=1)
        rows = np.arange(len(tokens))
        best = scores[rows, tokens]
        log_probs = best - log_total(scores)
        scores[rows, tokens] = -np.inf
        return Decision(tokens, best - scores.max(axis=1), log_probs)

    def weigh(self, observed: Array, forced: Array, present: Mask) -> tuple[Array, Array]:
        """Return the mixture's log-probability of the given token; nothing is decided."""
        score = self._mixed(forced[:, :, None], present)[:, 0]
        total = log_total(self._mixed(observed, present))
        return score - total, np.full(len(score), np.inf)

    def _mixed(self, observed: Array, present: Mask) -> Array:
        """Return the weighted sum over models, [rows, anything]."""
        weights = self.weights(present)
        alone = ~present.any(axis=1)
        weights[alone] = 0.0
        weights[alone, 0] = 1.0
        total: Array = weights[:, :1] * observed[:, 0]
        part = np.empty_like(total)
        for model in range(1, observed.shape[1]):
            total += np.multiply(weights[:, model, None], observed[:, model], out=part)
        return total
