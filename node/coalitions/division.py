"""How the evaluation of many coalitions is cut into tasks, and put together again.

A method that assembles each coalition again has a task for each coalition. One whose members stay
apart answers all coalitions from the same forward passes; there a task is all coalitions on some
of the items, and whoever had these items before gets them again, because the passes are remembered.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

Row = tuple[int, bytes]
"""A coalition, and one bit per item, most significant first: 1 where its answer is right."""

MASKS_OF_A_TASK: Final = 4096
TASKS_OF_A_WORKER: Final = 4
LEAST_ITEMS: Final = 16


@dataclass(frozen=True, slots=True)
class Task:
    """Coalitions to evaluate on the items `first` to `last`, counted over all suites, exclusive."""

    masks: tuple[int, ...]
    first: int
    last: int

    def encode(self) -> str:
        """Return one line of JSON."""
        return json.dumps({"masks": self.masks, "first": self.first, "last": self.last})

    @classmethod
    def decode(cls, text: str) -> Task:
        """Return the task of a line that `encode` wrote."""
        document = json.loads(text)
        return cls(tuple(document["masks"]), document["first"], document["last"])


@dataclass(slots=True)
class _Block:
    """Some coalitions, and the parts of their outcomes that are there, by first item."""

    masks: tuple[int, ...]
    parts: dict[int, tuple[bytes, ...]] = field(default_factory=dict)


class Division:
    """The tasks of one evaluation: taken by workers, done, or lost and taken again."""

    def __init__(
        self, masks: Sequence[int], items: int, *, together: bool, workers: int = 1
    ) -> None:
        """Cut the work.

        Args:
            masks: distinct coalitions.
            items: how many there are in all suites.
            together: whether all coalitions of an item are answered from the same forward passes.
            workers: how many share the work.
        """
        size = MASKS_OF_A_TASK if together else 1
        step = items
        if together:
            step = max(LEAST_ITEMS, -(-items // (TASKS_OF_A_WORKER * workers)))
        self._slices = [(at, min(at + step, items)) for at in range(0, items, step)]
        blocks = [tuple(masks[at : at + size]) for at in range(0, len(masks), size)]
        self._pending = {cut: deque(Task(block, *cut) for block in blocks) for cut in self._slices}
        self._blocks = {block[0]: _Block(block) for block in blocks}
        self._owners: dict[tuple[int, int], int] = {}
        self._losses: dict[Task, int] = {}
        self.waiting = len(blocks) * len(self._slices)

    def take(self, worker: int) -> Task | None:
        """Return a task for a worker, or None if none waits."""

        def preference(cut: tuple[int, int]) -> tuple[int, bool, bool]:
            # Earlier blocks first, so that rows are complete early; then what it remembers.
            owner = self._owners.get(cut)
            return len(self._pending[cut]), owner == worker, owner is None

        cut = max(self._slices, key=preference)
        if not self._pending[cut]:
            return None
        self._owners[cut] = worker
        self.waiting -= 1
        return self._pending[cut].popleft()

    def lost(self, task: Task) -> int:
        """Let a task wait again, as first of its kind; returns how often it was lost."""
        self._pending[task.first, task.last].appendleft(task)
        self._owners.pop((task.first, task.last), None)
        self.waiting += 1
        self._losses[task] = self._losses.get(task, 0) + 1
        return self._losses[task]

    def done(self, task: Task, parts: Sequence[bytes]) -> list[Row]:
        """Take the outcomes of a task, packed for each coalition; returns the rows now complete."""
        block = self._blocks[task.masks[0]]
        block.parts[task.first] = tuple(parts)
        if len(block.parts) < len(self._slices):
            return []
        del self._blocks[task.masks[0]]
        if len(self._slices) == 1:
            return list(zip(block.masks, parts, strict=True))
        bits = [_unpacked(block.parts[first], last - first) for first, last in self._slices]
        packed = np.packbits(np.concatenate(bits, axis=1), axis=1)
        return [(mask, row.tobytes()) for mask, row in zip(block.masks, packed, strict=True)]


def _unpacked(rows: Sequence[bytes], items: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return the bits of rows, [rows, items]."""
    together = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), -1)
    return np.unpackbits(together, axis=1, count=items)
