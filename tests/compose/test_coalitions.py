"""The engine gives what one-by-one evaluation gives, for far fewer forward passes."""

from __future__ import annotations

import pytest

from compose.coalitions import CoalitionEngine
from compose.errors import MethodError
from compose.evaluation import evaluate
from compose.methods import METHODS
from compose.outcomes import Outcome
from ledger.errors import NotFoundError
from tests.compose.systems import Workshop

EVERY = range(16)
PARAMETERS = {"logit.select": {"threshold": "0.1"}}
REASSEMBLED = [name for name, each in METHODS.items() if each.semantics == "re-assembled"]


def engine(shop: Workshop, method: str, **parameters: str) -> CoalitionEngine:
    lock = shop.lock(method, **parameters)
    return CoalitionEngine(lock, shop.base, shop.adapters, shop.suites, shop.dev, shop.titles)


def answers(cell: tuple[tuple[Outcome, ...], ...]) -> list[list[tuple[str, int | str, bool]]]:
    return [[(o.item, o.answer, o.correct) for o in outcomes] for outcomes in cell]


@pytest.mark.parametrize("method", REASSEMBLED)
def test_each_coalition_is_the_system_of_its_restricted_lock(
    workshop: Workshop, method: str
) -> None:
    table = dict(engine(workshop, method).evaluate(EVERY))
    assert list(table) == list(EVERY)
    for mask in EVERY:
        members = [each for bit, each in enumerate(workshop.ids) if mask >> bit & 1]
        system = workshop.assemble(method, members)
        alone = tuple(evaluate(system, suite) for suite in workshop.suites)
        assert answers(table[mask]) == answers(alone)


@pytest.mark.parametrize("method", sorted({*METHODS} - {*REASSEMBLED}))
def test_a_restricted_router_keeps_the_order_fitted_on_all(workshop: Workshop, method: str) -> None:
    running = engine(workshop, method)
    assert running.semantics == "fitted once, restricted"
    table = dict(running.evaluate(EVERY))
    singles = {
        bit: workshop.answers(workshop.assemble("merge.linear", [each]))
        for bit, each in enumerate(workshop.ids)
    }
    base = workshop.answers(workshop.assemble("merge.linear", []))
    assert [[o.answer for o in outcomes] for outcomes in table[0]] == base
    for bit, expected in singles.items():
        assert [[o.answer for o in outcomes] for outcomes in table[1 << bit]] == expected
    full = workshop.assemble(method)
    assert [[o.answer for o in outcomes] for outcomes in table[15]] == workshop.answers(full)


@pytest.mark.parametrize("method", [name for name, each in METHODS.items() if each.shares_members])
def test_forwards_do_not_grow_with_coalitions_beyond_distinct_prefixes(
    workshop: Workshop, method: str
) -> None:
    together = engine(workshop, method, **PARAMETERS.get(method, {}))
    table = dict(together.evaluate(EVERY))
    spent = together.forwards
    assert dict(together.evaluate([3, 9, 15])) == {mask: table[mask] for mask in (3, 9, 15)}
    assert together.forwards == spent
    prefixes = distinct_prefixes(workshop, table)
    assert spent <= (len(workshop.ids) + 1) * prefixes


def distinct_prefixes(shop: Workshop, table: dict[int, tuple[tuple[Outcome, ...], ...]]) -> int:
    """Count prompts with each beginning of each answer, and each choice, once."""
    seen = set()
    for cell in table.values():
        for suite, outcomes in zip(shop.suites, cell, strict=True):
            for item, outcome in zip(suite.items, outcomes, strict=True):
                if suite.scorer == "choice":
                    seen.update((item.prompt, "choice", choice) for choice in item.choices)
                else:
                    words = str(outcome.answer).split()
                    ends = range(len(words) + 1)
                    seen.update((item.prompt, "exact", tuple(words[:end])) for end in ends)
    return len(seen)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_masks_come_back_in_the_order_asked(workshop: Workshop, name: str) -> None:
    running = engine(workshop, name)
    assert [mask for mask, _ in running.evaluate(iter([5, 0, 5, 15]))] == [5, 0, 5, 15]


def test_a_mask_beyond_the_members_is_refused(workshop: Workshop) -> None:
    running = engine(workshop, "merge.linear")
    for mask in (-1, 16):
        with pytest.raises(NotFoundError, match="beyond the 4"):
            list(running.evaluate([mask]))


def test_a_lock_without_members_has_one_coalition(workshop: Workshop) -> None:
    lock = workshop.lock("logit.select", [])
    running = CoalitionEngine(lock, workshop.base, {}, workshop.suites)
    ((mask, cell),) = running.evaluate([0])
    expected = workshop.answers(workshop.assemble("merge.linear", []))
    assert (mask, [[o.answer for o in outcomes] for outcomes in cell]) == (0, expected)


SELECTING = sorted(name for name, each in METHODS.items() if each.selects)


@pytest.mark.parametrize("method", SELECTING)
def test_coalitions_that_keep_the_speakers_say_the_same(workshop: Workshop, method: str) -> None:
    running = engine(workshop, method, **PARAMETERS.get(method, {}))
    table = dict(running.evaluate(EVERY))
    right = {
        mask: [each.correct for suite in cell for each in suite] for mask, cell in table.items()
    }
    items = range(len(right[0]))
    requests = [(item, mask) for item in items for mask in EVERY]
    found = dict(zip(requests, running.spoken(requests), strict=True))
    assert any(speakers for speakers, _ in found.values())
    for (item, asked), (speakers, solved) in found.items():
        assert not speakers & ~asked
        for mask in EVERY:
            if speakers & ~mask == 0 == mask & ~asked:
                assert right[mask][item] == solved


def test_methods_that_mix_name_no_speakers(workshop: Workshop) -> None:
    with pytest.raises(MethodError, match="does not select"):
        engine(workshop, "text.vote").spoken([(0, 1)])
