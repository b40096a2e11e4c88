"""Outcomes of many coalitions of one lock, with as little work as the method allows.

A coalition is a bit mask: bit i stands for the i-th member in id order, mask 0 is the base alone.
Methods that keep their members apart answer all coalitions from what each model says once, at
n + 1 forwards per distinct prefix. Merges are assembled again for each coalition. `semantics` says
which coalition system is meant, and belongs into the record:

    re-assembled              the method applied to the coalition's members alone
    fitted once, restricted   the state fitted on all members, used by those present
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

import numpy as np

from compose.adapter import Adapter
from compose.answering import Answerer, Selector
from compose.bank import MEMORY_BYTES, Mask
from compose.base import BaseModel
from compose.errors import MethodError
from compose.evaluation import Cell, is_right, outcomes_of, question_of
from compose.lock import Lock
from compose.methods import find_method
from compose.methods.method import Semantics
from compose.suite import Suite
from compose.system import NO_TITLES, System, assemble_context, open_context
from ledger.errors import NotFoundError

MASKS_AT_ONCE = 1024
ITEMS_AT_ONCE = 512


class CoalitionEngine:
    """Evaluates coalitions of a lock's members on suites."""

    def __init__(
        self,
        lock: Lock,
        base: BaseModel,
        adapters: Mapping[str, Adapter],
        suites: Sequence[Suite],
        dev: Suite | None = None,
        titles: Mapping[str, str] = NO_TITLES,
        *,
        memory: int = MEMORY_BYTES,
    ) -> None:
        """Load the members once; raises as `compose.system.assemble`.

        `memory` is how many bytes may be kept beside the weights to spare forward passes.
        """
        self._method = find_method(lock.method.name, version=lock.method.version)
        self._context = replace(open_context(lock, base, adapters, dev, titles), memory=memory)
        self._suites = tuple(suites)
        self._shared: System | None = None
        self._forwards = 0

    @property
    def semantics(self) -> Semantics:
        """Which coalition system is evaluated."""
        return self._method.semantics

    @property
    def forwards(self) -> int:
        """Prefixes run through a model so far, fitting not counted."""
        shared = self._shared.assembly.answerer.forwards if self._shared else 0
        return self._forwards + shared

    def evaluate(
        self, masks: Iterable[int], items: range | None = None
    ) -> Iterator[tuple[int, Cell]]:
        """Yield each mask with its outcomes per suite, in the order given.

        Args:
            masks: the coalitions.
            items: which items, by number over all suites; by default all of them.

        Raises:
            NotFoundError: for a mask with a bit beyond the members.
        """
        suites = self._suites if items is None else _within(self._suites, items)
        remaining = iter(masks)
        while block := list(islice(remaining, MASKS_AT_ONCE)):
            for mask in block:
                self._check(mask)
            if self._method.shares_members and self._context.members:
                yield from zip(block, self._shared_cells(block, suites), strict=True)
            else:
                for mask in block:
                    yield mask, self._assembled(mask, suites)

    def spoken(self, requests: Sequence[tuple[int, int]]) -> list[tuple[int, bool]]:
        """Return which members had a say in each answer, as a mask, and whether it is right.

        Only for methods that select.

        Args:
            requests: numbers of items, counted over all suites, each with a coalition's mask.

        Raises:
            NotFoundError: for a mask with a bit beyond the members.
        """
        items = [(suite, item) for suite in self._suites for item in suite.items]
        said = []
        for start in range(0, len(requests), ITEMS_AT_ONCE):
            some = requests[start : start + ITEMS_AT_ONCE]
            for _, mask in some:
                self._check(mask)
            questions = [question_of(*items[number]) for number, _ in some]
            masks = self._present([mask for _, mask in some])
            for (number, _), each in zip(
                some, self._selector().spoken(questions, masks), strict=True
            ):
                said.append((each.speakers, is_right(*items[number], each.answer.value)))
        return said

    def system(self, mask: int) -> System:
        """Assemble the system of one coalition by itself.

        Raises:
            NotFoundError: for a mask with a bit beyond the members.
        """
        self._check(mask)
        chosen = tuple(
            member for bit, member in enumerate(self._context.members) if mask >> bit & 1
        )
        return assemble_context(self._method, replace(self._context, members=chosen))

    def _shared_cells(self, block: Sequence[int], suites: Sequence[Suite]) -> list[Cell]:
        return outcomes_of(self._together(), suites, self._present(block))

    def _selector(self) -> Selector:
        if not self._method.selects:
            raise MethodError(f"{self._method.name} does not select who answers")
        return cast("Selector", self._together())

    def _together(self) -> Answerer:
        """Return what answers for all coalitions, assembled once."""
        if self._shared is None:
            self._shared = assemble_context(self._method, self._context)
        return self._shared.assembly.answerer

    def _present(self, block: Sequence[int]) -> Mask:
        bits = np.arange(len(self._context.members))
        return (np.array(block, dtype=object)[:, None] >> bits & 1).astype(np.bool_)

    def _assembled(self, mask: int, suites: Sequence[Suite]) -> Cell:
        answerer = self.system(mask).assembly.answerer
        everybody = np.ones((1, answerer.members), dtype=np.bool_)
        cell = outcomes_of(answerer, suites, everybody)[0]
        self._forwards += answerer.forwards
        return cell

    def _check(self, mask: int) -> None:
        size = len(self._context.members)
        if not 0 <= mask < 1 << size:
            raise NotFoundError(f"coalition {mask} names a member beyond the {size} of the lock")


def _within(suites: Sequence[Suite], items: range) -> list[Suite]:
    """Return suites with those of their items whose numbers, over all suites, are in a range."""
    found, begin = [], 0
    for suite in suites:
        low, high = max(items.start - begin, 0), max(items.stop - begin, 0)
        found.append(replace(suite, items=suite.items[low:high]))
        begin += len(suite.items)
    return found
