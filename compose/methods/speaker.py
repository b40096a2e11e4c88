"""One model speaks: the rule shared by every method that selects instead of mixing.

Each model has a score at each prefix; of the models that are present the one with the highest
score speaks, and what it would say alone is what the system says. The base is always present and
wins ties, then the member with the smaller id. A score does not depend on who else is present, so
a coalition that keeps the speakers keeps the text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compose.bank import Array, Decision, Index, Mask, Prefix

_TOKEN, _LEAD, _LOG_PROB, _SCORE = range(4)


class Speaker:
    """The rule with equal scores: the first member present speaks, the base when there is none."""

    def scores(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:  # noqa: ARG002
        """Return the score of each model at each prefix, [rows, models]."""
        rows, models, _ = log_probs.shape
        result = np.zeros((rows, models))
        if models > 1:
            result[:, 0] = -np.inf
        return result

    def observe(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:
        """Keep each model's best token, its lead, its log-probability, and the model's score."""
        # numpy's argmax returns the first of equal values: the lowest token id.
        tokens = log_probs.argmax(axis=2)
        if log_probs.shape[2] > 1:
            top = np.partition(log_probs, -2, axis=2)
            lead = top[:, :, -1] - top[:, :, -2]
        else:
            lead = np.full(tokens.shape, np.inf)
        best = log_probs.max(axis=2)
        scores = self.scores(prefixes, log_probs)
        return np.stack([tokens.astype(np.float64), lead, best, scores], axis=2)

    def decide(self, observed: Array, present: Mask) -> Decision:
        """Return the speaker's token; another speaker counts as near only if it says another."""
        speaker, scores = _pick(observed[:, :, _SCORE], present)
        tokens = observed[:, :, _TOKEN]
        gap = _gap(speaker, scores, tokens)
        lead = _of(observed[:, :, _LEAD], speaker)
        said = _of(tokens, speaker).astype(np.int64)
        return Decision(said, np.minimum(lead, gap), _of(observed[:, :, _LOG_PROB], speaker))

    def weigh(self, observed: Array, forced: Array, present: Mask) -> tuple[Array, Array]:
        """Return the speaker's log-probability of the given token, and the speaker's lead."""
        speaker, scores = _pick(observed[:, :, _SCORE], present)
        return _of(forced, speaker), _gap(speaker, scores, forced)

    def speakers(self, observed: Array, present: Mask) -> Index:
        """Return which model speaks in each row; 0 is the base."""
        return _pick(observed[:, :, _SCORE], present)[0]


def _pick(scores: Array, present: Mask) -> tuple[Index, Array]:
    absent = np.zeros(scores.shape, dtype=np.bool_)
    absent[:, 1:] = ~present
    scores = np.where(absent, -np.inf, scores)
    return scores.argmax(axis=1), scores


def _gap(speaker: Index, scores: Array, said: Array) -> Array:
    """Return how far the speaker's score leads the nearest model that would say otherwise."""
    best = _of(scores, speaker)[:, None]
    rival = (said != _of(said, speaker)[:, None]) & (scores > -np.inf)
    nearest: Array = np.where(rival, scores, -np.inf).max(axis=1)
    with np.errstate(invalid="ignore"):
        return np.where(rival.any(axis=1), best[:, 0] - nearest, np.inf)


def _of(values: Array, speaker: Index) -> Array:
    result: Array = np.take_along_axis(values, speaker[:, None], axis=1)[:, 0]
    return result
