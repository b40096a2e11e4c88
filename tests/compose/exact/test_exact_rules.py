"""Scores of rules are their formulas, whoever shares the array with them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from compose.exact.rules import divergence, log_total, softmax

LOGITS = np.random.default_rng(1).normal(scale=4, size=(6, 5, 77))
LOG_PROBS = LOGITS - np.log(np.exp(LOGITS).sum(axis=2, keepdims=True))


def test_totals_are_near_those_of_numpy() -> None:
    assert np.abs(log_total(LOGITS) - np.log(np.exp(LOGITS).sum(axis=2))).max() < 1e-8
    assert log_total(np.full((1, 4), -1e5)) == pytest.approx(-1e5 + np.log(4))


def test_divergences_are_near_those_of_numpy() -> None:
    base = LOG_PROBS[:, :1]
    expected = (np.exp(LOG_PROBS) * (LOG_PROBS - base)).sum(axis=2)
    assert np.abs(divergence(LOG_PROBS, base) - expected).max() < 1e-7
    assert not divergence(LOG_PROBS, base)[:, 0].any()


def test_shares_are_near_those_of_numpy() -> None:
    expected = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=2, keepdims=True)
    assert np.abs(softmax(LOGITS) - expected).max() < 1e-7


def test_a_row_alone_has_the_bits_it_has_among_others() -> None:
    totals, divergences = log_total(LOGITS), divergence(LOG_PROBS, LOG_PROBS[:, :1])
    for row in range(len(LOGITS)):
        assert np.array_equal(log_total(LOGITS[row, 2:3]), totals[row, 2:3])
        alone = divergence(LOG_PROBS[row : row + 1, 3:4], LOG_PROBS[row : row + 1, :1])
        assert np.array_equal(alone[0], divergences[row, 3:4])
