"""What the demo measures, as pure functions of item outcomes.

Definitions follow the reference experiment. s(m, t) is correct/total of system m on task t; all
scores are exact fractions. For a set of systems, F is the set of items that every individual and
the base get wrong; the emergent rate of a system is the share of F it solves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

Solved = Mapping[str, bool]
"""Whether each item, named by suite and item id, is solved."""

GROUPS = ("own", "cover", "chain", "mix", "pub")


@dataclass(frozen=True, slots=True)
class Emergence:
    """How much of what every single model fails a system solves."""

    failed_by_all: int
    solved: int
    items: int

    @property
    def rate(self) -> Fraction | None:
        """The emergent rate, or None if no item is failed by all."""
        return Fraction(self.solved, self.failed_by_all) if self.failed_by_all else None


@dataclass(frozen=True, slots=True)
class Priority:
    """A contributor's own task: alone and in the system; and the cost on what it knew alone."""

    name: str
    own_alone: Fraction
    own_system: Fraction
    cover_alone: Fraction
    cover_system: Fraction


def task_of(item: str) -> str:
    """Return the task of an item name such as `own0/own0-0007`."""
    return item.partition("/")[0]


def by_task(solved: Solved, tasks: Sequence[str]) -> dict[str, Fraction]:
    """Return the score on each task."""
    return {
        task: score(solved, (item for item in solved if task_of(item) == task)) for task in tasks
    }


def by_group(scores: Mapping[str, Fraction]) -> dict[str, Fraction]:
    """Return the mean over the tasks of each group, and `all` over every task."""
    groups = {
        group: [value for task, value in scores.items() if task.startswith(group)]
        for group in GROUPS
    }
    result = {group: mean(values) for group, values in groups.items() if values}
    return result | {"all": mean(list(scores.values()))}


def emergence(system: Solved, individuals: Iterable[Solved]) -> Emergence:
    """Return how much of what every individual (the base among them) fails `system` solves."""
    alone = list(individuals)
    failed = [item for item in system if not any(one[item] for one in alone)]
    return Emergence(len(failed), sum(system[item] for item in failed), len(system))


def priority(name: str, operation: int, alone: Solved, system: Solved) -> Priority:
    """Compare a contributor alone with the system on its own task and on its cover items."""
    own = [item for item in system if task_of(item) == f"own{operation}"]
    cover = [
        item for item in system if item.startswith(f"cover{operation}/cover{operation}-{name}-")
    ]
    return Priority(
        name, score(alone, own), score(system, own), score(alone, cover), score(system, cover)
    )


def score(solved: Solved, items: Iterable[str]) -> Fraction:
    """Return the share of some items that is solved."""
    chosen = [solved[item] for item in items]
    return Fraction(sum(chosen), len(chosen)) if chosen else Fraction(0)


def mean(values: Sequence[Fraction]) -> Fraction:
    """Return the mean."""
    return sum(values, Fraction(0)) / len(values)
