"""Adapter hygiene: what an adapter keeps of the base's skill, what it adds, how much it changes.

Compositions stand or fall with members that overwrite nothing they were not asked to (the pilot of
the demo's world: without replay of public data every weight and logit method collapses). Measured
at weight one, the adapter alone on the base:

    kept     of the items of a public suite that the base answers correctly, the share that the
             adapter still answers correctly
    own      the items of the contributor's own suite answered correctly, by base and adapter
    change   the largest ||D|| / ||W|| of a linear layer, Frobenius norms
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from compose.answering import Answerer
from compose.base import BaseModel
from compose.delta import Deltas
from compose.evaluation import outcomes_of
from compose.methods.method import Context
from compose.outcomes import Outcome
from compose.suite import Suite


@dataclass(frozen=True, slots=True)
class Skill:
    """Items of one suite: all, answered by the base, by the adapter, and by both."""

    total: int
    base: int
    adapter: int
    both: int

    @property
    def kept(self) -> Fraction | None:
        """The share of the base's right answers that remain; None if there were none."""
        return Fraction(self.both, self.base) if self.base else None


@dataclass(frozen=True, slots=True)
class Hygiene:
    """The report on one member; `change` is a decimal string with six places."""

    member: str
    public: Skill
    own: Skill | None
    change: str

    def falls_short(self, kept: Fraction) -> bool:
        """Say whether less of the public skill is kept than is required."""
        share = self.public.kept
        return share is not None and share < kept


def hygiene(context: Context, public: Suite, own: Suite | None = None) -> list[Hygiene]:
    """Report on every member of a context, each by itself.

    Args:
        context: the base and the members.
        public: what the base should still be able to do.
        own: what the adapters are for.

    Raises:
        PolicyError: if they do not fit in memory together.
        UnfitSuiteError: naming an item that does not fit into the base's positions.
    """
    suites = [public] if own is None else [public, own]
    base, *members = [_answered(each, suites) for each in context.soloists()]
    reports = []
    for member, answered in zip(context.members, members, strict=True):
        skills = [_skill(*pair) for pair in zip(base, answered, strict=True)]
        change = f"{largest_change(context.base, member.deltas):.6f}"
        reports.append(Hygiene(member.id, skills[0], skills[1] if own else None, change))
    return reports


def largest_change(base: BaseModel, deltas: Deltas) -> float:
    """Return the largest norm of a layer's delta, relative to that of the layer's weight."""
    return max(
        (
            math.sqrt(float(np.sum(delta * delta))) / base.weight_norm(name)
            for name, delta in deltas.items()
        ),
        default=0.0,
    )


def _answered(soloist: Answerer, suites: Sequence[Suite]) -> list[tuple[Outcome, ...]]:
    everybody = np.ones((1, soloist.members), dtype=np.bool_)
    return list(outcomes_of(soloist, suites, everybody)[0])


def _skill(base: Sequence[Outcome], adapter: Sequence[Outcome]) -> Skill:
    right = [(old.correct, new.correct) for old, new in zip(base, adapter, strict=True)]
    return Skill(
        total=len(right),
        base=sum(old for old, _ in right),
        adapter=sum(new for _, new in right),
        both=sum(old and new for old, new in right),
    )
