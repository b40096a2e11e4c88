"""Mixtures of next-token scores are their formulas, for every coalition at once."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.bank import Array
from compose.methods.alone import Record
from compose.methods.logit_contrast import Contrasted
from compose.methods.logit_fuse import Fused
from compose.methods.mixture import Mixture

MODELS, WORDS = 5, 7
EVERYBODY = np.array(list(product([False, True], repeat=MODELS - 1)))


def some_models(seed: int) -> Array:
    """Log-probabilities of one prefix, [1, models, vocabulary]."""
    logits = np.random.default_rng(seed).normal(scale=2, size=(1, MODELS, WORDS))
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=2, keepdims=True)))


def record(*correct: int) -> Record:
    solved = np.array([[item < each for each in correct] for item in range(9)])
    return Record(((),) * len(correct), solved)


def decided(rule: Mixture, observed: Array) -> list[int]:
    rows = np.repeat(observed, len(EVERYBODY), axis=0)
    return [int(token) for token in rule.decide(rows, EVERYBODY).tokens]


@given(st.integers(0, 2**32), st.sampled_from([None, 1.0, 0.5, -0.25]))
def test_fuse_is_its_formula_for_every_coalition(seed: int, weight: float | None) -> None:
    models = some_models(seed)
    base, members = models[0, 0], models[0, 1:]
    expected = []
    for present in EVERYBODY:
        chosen = members[present]
        scores = base
        if present.any():
            mean = chosen.mean(axis=0)
            scores = mean if weight is None else base + weight * (chosen - base).sum(axis=0)
        expected.append(int(scores.argmax()))
    assert decided(Fused(weight), models) == expected


@given(st.integers(0, 2**32), st.sampled_from([1, 2]))
def test_contrast_is_its_formula_for_every_coalition(seed: int, pairs: int) -> None:
    models = some_models(seed)
    best_first = [2, 0, 3, 1]
    expected = []
    for present in EVERYBODY:
        ranked = [models[0, each + 1] for each in best_first if present[each]]
        scores = ranked[0].copy() if ranked else models[0, 0]
        for pair in range(min(pairs, len(ranked) // 2)):
            scores = scores + 0.2 * (ranked[pair] - ranked[-1 - pair])
        expected.append(int(scores.argmax()))
    # Members 1 and 4, numbered from 1, are equally good: the smaller id ranks first.
    assert record(5, 1, 7, 5).ranking() == best_first
    assert decided(Contrasted(record(5, 1, 7, 5), 0.2, pairs), models) == expected


@pytest.mark.parametrize("rule", [Fused(None), Fused(1.0), Contrasted(record(5, 1, 7, 5), 0.2, 1)])
def test_one_member_alone_gives_its_own_bits(rule: Mixture) -> None:
    models = some_models(3)
    following = np.array([4])
    for member in range(1, MODELS):
        present = np.arange(1, MODELS)[None] == member
        own = models[:, member]
        decision = rule.decide(models, present)
        second, best = np.sort(own[0])[-2:]
        assert decision.tokens.tolist() == own.argmax(axis=1).tolist()
        assert decision.margins.tolist() == [best - second]
        log_probs, margins = rule.weigh(models, models[:, :, following[0]], present)
        assert log_probs == pytest.approx(own[:, 4], abs=1e-8)
        assert margins.tolist() == [np.inf]


def test_what_is_given_to_a_token_is_a_distribution() -> None:
    models = some_models(5)
    for rule in (Fused(None), Fused(2.0), Contrasted(record(1, 2, 3, 4), 0.7, 2)):
        for present in EVERYBODY:
            given_to = [rule.weigh(models, models[:, :, t], present[None])[0] for t in range(WORDS)]
            assert np.exp(given_to).sum() == pytest.approx(1)
            decision = rule.decide(models, present[None])
            assert decision.log_probs[0] == pytest.approx(max(given_to)[0])


def test_a_row_is_the_same_alone_and_among_others() -> None:
    rows = np.concatenate([some_models(seed) for seed in range(len(EVERYBODY))])
    for rule in (Fused(None), Fused(0.3), Contrasted(record(1, 2, 3, 4), 0.7, 2)):
        together = rule.decide(rows, EVERYBODY)
        for row in range(len(rows)):
            alone = rule.decide(rows[row : row + 1], EVERYBODY[row : row + 1])
            assert alone.tokens[0] == together.tokens[row]
            assert alone.margins[0] == together.margins[row]


def test_copies_count_twice_and_the_mean_keeps_no_more_than_their_share() -> None:
    models = some_models(8)
    models[:, 2] = models[:, 1]
    both = np.array([[True, True, True, False]])
    weighted = (2 * models[0, 1] + models[0, 3]) / 3
    assert Fused(None).decide(models, both).tokens[0] == weighted.argmax()
