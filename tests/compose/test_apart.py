"""Methods that keep their members at inference: what a copy does, and that batches do nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compose.coalitions import CoalitionEngine
from compose.evaluation import evaluate, question_of
from tests.compose.systems import Workshop, cid_of

STYLE = {"text.refine": {"style": "bare"}}


@pytest.fixture(scope="module")
def pair(workshop: Workshop) -> Workshop:
    """The workshop with two members only."""
    return replace(workshop, adapters={each: workshop.adapters[each] for each in workshop.ids[:2]})


@pytest.fixture(scope="module")
def twice(pair: Workshop) -> Workshop:
    """The same two, and a copy of the first under the largest id."""
    copy = max(str(cid_of(f"copy {number}")) for number in range(9))
    assert copy > pair.ids[1]
    return replace(pair, adapters={**pair.adapters, copy: pair.adapters[pair.ids[0]]})


@pytest.mark.parametrize("method", ["logit.select", "route.arrow", "text.refine"])
def test_a_copy_changes_nothing(pair: Workshop, twice: Workshop, method: str) -> None:
    without, having = (shop.assemble(method, **STYLE.get(method, {})) for shop in (pair, twice))
    assert without.digest() != having.digest()
    assert twice.answers(having) == pair.answers(without)


@pytest.mark.parametrize(
    "method", ["logit.fuse", "logit.select", "route.trained", "route.switch", "text.chain"]
)
def test_a_copy_stands_for_its_twin(twice: Workshop, method: str) -> None:
    """A coalition with the copy instead of the first member says what the one with it says."""
    lock = twice.lock(method)
    engine = CoalitionEngine(lock, twice.base, twice.adapters, twice.suites, twice.dev)
    cells = dict(engine.evaluate([0b011, 0b110, 0b001, 0b100]))
    for mask, other in ((0b011, 0b110), (0b001, 0b100)):
        for ours, theirs in zip(cells[mask], cells[other], strict=True):
            assert [each.leaf() for each in ours] == [each.leaf() for each in theirs]


def test_two_copies_outvote_another(pair: Workshop, twice: Workshop) -> None:
    alone = pair.answers(pair.assemble("merge.linear", pair.ids[:1]))
    voted = twice.answers(twice.assemble("text.vote"))
    for ours, theirs in zip(voted, alone, strict=True):
        for said, first in zip(ours, theirs, strict=True):
            assert said == first or first == ""


@pytest.mark.parametrize(
    "method",
    ["logit.fuse", "route.arrow", "route.cascade", "route.switch", "text.refine", "text.vote"],
)
def test_a_batch_of_n_equals_n_batches_of_one(pair: Workshop, method: str) -> None:
    """Bug c: rows of a batch attended to each other's padding."""
    _, choice, short = pair.suites
    together, apart = (pair.assemble(method, **STYLE.get(method, {})) for _ in range(2))
    for suite in (short, choice):
        ours, theirs = evaluate(together, suite), evaluate(apart, suite, items_at_once=1)
        assert [each.leaf() for each in ours] == [each.leaf() for each in theirs]


def test_a_question_has_no_gold_answer(workshop: Workshop) -> None:
    """No method can look at what it is not given."""
    for suite in workshop.suites[:2]:
        for item in suite.items[:3]:
            other = replace(item, answer=1 if suite.scorer == "choice" else "other")
            assert question_of(suite, other) == question_of(suite, item)


@pytest.mark.parametrize(
    "method", ["logit.select", "route.cascade", "route.trained", "text.chain", "text.vote"]
)
def test_by_default_more_than_one_member_has_a_say(workshop: Workshop, method: str) -> None:
    """Bug h: a default in the wrong unit, by which the second model was never asked."""
    lock = workshop.lock(method)
    engine = CoalitionEngine(lock, workshop.base, workshop.adapters, workshop.suites, workshop.dev)
    items = range(sum(len(suite.items) for suite in workshop.suites))
    said = engine.spoken([(item, 0b1111) for item in items])
    assert len({speakers for speakers, _ in said}) > 1


@pytest.mark.parametrize("method", ["logit.fuse", "logit.contrast", "route.arrow", "text.refine"])
def test_by_default_a_mixture_is_none_of_its_members(workshop: Workshop, method: str) -> None:
    mixed = workshop.answers(workshop.assemble(method, **STYLE.get(method, {})))
    for member in workshop.ids:
        assert workshop.answers(workshop.assemble("merge.linear", [member])) != mixed
