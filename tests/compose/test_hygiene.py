"""Hygiene: what an adapter keeps, adds and changes, each adapter by itself."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from compose.hygiene import Hygiene, Skill, hygiene, largest_change
from compose.suite import Suite
from compose.system import open_context
from tests.compose.systems import Workshop, exact_suite, prompts


def gold_of(shop: Workshop, members: list[str]) -> list[str]:
    """What a system of some members answers to the prompts; the base if there are none."""
    said = shop.answers(shop.assemble("merge.linear", members, form="sum"))[0]
    return [str(answer) or "?" for answer in said]


def report(shop: Workshop, public: Suite, own: Suite | None = None) -> list[Hygiene]:
    lock = shop.lock("merge.linear")
    return hygiene(open_context(lock, shop.base, shop.adapters, None), public, own)


def test_kept_are_the_answers_of_the_base_that_the_adapter_gives_too(workshop: Workshop) -> None:
    base = gold_of(workshop, [])
    public = exact_suite("public", prompts(), base)
    found = report(workshop, public)
    assert [each.member for each in found] == workshop.ids
    for each in found:
        alone = gold_of(workshop, [each.member])
        same = sum(left == right for left, right in zip(base, alone, strict=True))
        assert each.public == Skill(len(base), len(base), same, same)
        assert each.public.kept == Fraction(same, len(base))
        assert each.own is None


def test_own_counts_what_the_adapter_adds(workshop: Workshop) -> None:
    first = workshop.ids[0]
    own = exact_suite("own", prompts(), gold_of(workshop, [first]))
    public = exact_suite("public", prompts(), ["?"] * len(prompts()))
    by_member = {each.member: each for each in report(workshop, public, own)}
    skill = by_member[first].own
    assert skill is not None
    assert skill.adapter == skill.total > skill.base
    assert by_member[first].public.kept is None, "the base can do nothing that could be lost"
    assert not by_member[first].falls_short(Fraction(1))


def test_a_threshold_is_met_exactly_or_missed(workshop: Workshop) -> None:
    each = Hygiene("m", Skill(10, 4, 9, 3), None, "0.1")
    assert not each.falls_short(Fraction(3, 4))
    assert each.falls_short(Fraction(751, 1000))


def test_the_largest_change_is_relative_to_the_layer_that_changes_most(
    workshop: Workshop,
) -> None:
    lock = workshop.lock("merge.linear")
    context = open_context(lock, workshop.base, workshop.adapters, None)
    member = context.members[0]
    shares = {
        name: np.linalg.norm(delta) / np.linalg.norm(workshop.base.tensor(f"{name}.weight"))
        for name, delta in member.deltas.items()
    }
    assert largest_change(workshop.base, member.deltas) == pytest.approx(max(shares.values()))
    lone = replace(context, members=(member,))
    (found,) = hygiene(lone, exact_suite("public", prompts()[:2], ["?", "?"]))
    assert float(found.change) == pytest.approx(max(shares.values()), abs=1e-6)
