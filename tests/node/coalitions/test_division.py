"""Whatever the order, the losses and the number of workers, the parts make the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.coalitions.division import Division, Row, Task


def part(task: Task, mask: int) -> bytes:
    """Outcomes that depend on coalition and item."""
    bits = [(mask * 31 + item * 17) % 5 < 2 for item in range(task.first, task.last)]
    return np.packbits(np.array(bits, dtype=np.bool_)).tobytes()


@given(
    masks=st.lists(st.integers(0, 2**80), unique=True, max_size=40),
    items=st.integers(1, 130),
    together=st.booleans(),
    workers=st.integers(1, 5),
    data=st.data(),
)
def test_rows_are_those_of_one_worker(
    masks: list[int], items: int, *, together: bool, workers: int, data: st.DataObject
) -> None:
    division = Division(masks, items, together=together, workers=workers)
    rows: list[Row] = []
    busy: dict[int, Task] = {}
    losses = 0
    while division.waiting or busy:
        for worker in range(workers):
            if worker not in busy and (task := division.take(worker)):
                busy[worker] = task
        worker = data.draw(st.sampled_from(sorted(busy)))
        task = busy.pop(worker)
        if losses < 5 and data.draw(st.booleans()):
            losses += 1
            assert division.lost(task) >= 1
            continue
        rows += division.done(Task.decode(task.encode()), [part(task, m) for m in task.masks])
    whole = Task((), 0, items)
    assert sorted(rows) == sorted((mask, part(whole, mask)) for mask in masks)


def test_a_worker_gets_the_items_it_remembers() -> None:
    division = Division(range(3 * 4096), 64, together=True, workers=2)
    first = {worker: [division.take(worker)] for worker in (0, 1)}
    for _ in range(5):
        for worker, tasks in first.items():
            tasks.append(division.take(worker))
    items = [{(t.first, t.last) for t in tasks if t is not None} for tasks in first.values()]
    assert not items[0] & items[1]
    assert division.waiting == 0


@pytest.mark.parametrize("together", [True, False])
def test_without_coalitions_there_is_no_task(*, together: bool) -> None:
    division = Division([], 4, together=together)
    assert division.waiting == 0
    assert division.take(1) is None
