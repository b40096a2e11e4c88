"""The engine gives what one-by-one evaluation gives, for far fewer forward passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from compose.coalitions import CoalitionEngine
from compose.errors import MethodError
from compose.evaluation import evaluate
from compose.methods import METHODS
from compose.outcomes import Outcome
from ledger.errors import NotFoundError
from tests.compose.systems import QUICK, Workshop

EVERY = range(16)
PARAMETERS = {
    **QUICK,
    "logit.select": {"threshold": "0.1"},
    # Four answers and the words of the other style do not fit into the tiny base's positions.
    "text.refine": {"style": "bare"},
}
REASSEMBLED = [name for name, each in METHODS.items() if each.semantics == "re-assembled"]
APART = [name for name, each in METHODS.items() if each.shares_members]

Cell = tuple[tuple[Outcome, ...], ...]
Tables = Callable[[str], tuple[CoalitionEngine, dict[int, Cell]]]


def engine(shop: Workshop, method: str) -> CoalitionEngine:
    lock = shop.lock(method, **PARAMETERS.get(method, {}))
    return CoalitionEngine(lock, shop.base, shop.adapters, shop.suites, shop.dev, shop.titles)


@pytest.fixture(scope="module")
def tables(workshop: Workshop) -> Tables:
    """Each method's outcomes of every coalition, evaluated once."""

    @cache
    def table(method: str) -> tuple[CoalitionEngine, dict[int, Cell]]:
        running = engine(workshop, method)
        return running, dict(running.evaluate(EVERY))

    return table


def members(shop: Workshop, mask: int) -> list[str]:
    return [each for bit, each in enumerate(shop.ids) if mask >> bit & 1]


def assert_same(ours: Cell, theirs: Cell) -> None:
    """The same answers; margins differ by no more than the last unit of their rounding."""
    for outcomes, others in zip(ours, theirs, strict=True):
        for one, other in zip(outcomes, others, strict=True):
            assert one.leaf() == other.leaf()
            assert one.margin is not None
            assert other.margin is not None
            assert abs(one.margin - other.margin) <= 1


@pytest.mark.parametrize("method", REASSEMBLED)
def test_each_coalition_is_the_system_of_its_restricted_lock(
    workshop: Workshop, tables: Tables, method: str
) -> None:
    _, table = tables(method)
    assert list(table) == list(EVERY)
    for mask in (0, 2, 5, 11, 14):
        parameters = PARAMETERS.get(method, {})
        system = workshop.assemble(method, members(workshop, mask), **parameters)
        assert_same(table[mask], tuple(evaluate(system, suite) for suite in workshop.suites))


@pytest.mark.parametrize("method", sorted({*METHODS} - {*REASSEMBLED}))
def test_a_restricted_method_keeps_what_was_fitted_on_all(
    workshop: Workshop, tables: Tables, method: str
) -> None:
    running, table = tables(method)
    assert running.semantics == "fitted once, restricted"
    full = workshop.assemble(method)
    assert_same(table[15], tuple(evaluate(full, suite) for suite in workshop.suites))
    for mask in (5, 14):
        assert_same(table[mask], dict(engine(workshop, method).evaluate([mask]))[mask])


@pytest.mark.parametrize("method", APART)
def test_nobody_is_the_base_and_one_member_is_that_member(
    workshop: Workshop, tables: Tables, method: str
) -> None:
    _, table = tables(method)
    for mask in (0, 1, 2, 4, 8):
        single = workshop.assemble("merge.linear", members(workshop, mask))
        said = [[outcome.answer for outcome in outcomes] for outcomes in table[mask]]
        for ours, theirs in zip(said, workshop.answers(single), strict=True):
            # Below its threshold, or with nothing to say, the base speaks for a member.
            changes = method in ("logit.select", "text.vote")
            same = [a == b for a, b in zip(ours, theirs, strict=True)]
            assert all(same) or (changes and mask)


@pytest.mark.parametrize("method", [each for each in APART if each != "text.refine"])
def test_forwards_do_not_grow_with_coalitions_beyond_distinct_prefixes(
    workshop: Workshop, tables: Tables, method: str
) -> None:
    running, table = tables(method)
    spent = running.forwards
    assert dict(running.evaluate([3, 9, 15])) == {mask: table[mask] for mask in (3, 9, 15)}
    assert running.forwards == spent
    assert spent <= (len(workshop.ids) + 1) * distinct_prefixes(workshop, table)


def distinct_prefixes(shop: Workshop, table: dict[int, Cell]) -> int:
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
def test_coalitions_that_keep_the_speakers_say_the_same(tables: Tables, method: str) -> None:
    running, table = tables(method)
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
        engine(workshop, "logit.fuse").spoken([(0, 1)])
