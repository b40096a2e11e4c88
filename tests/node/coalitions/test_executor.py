"""The same rows from any number of workers, over all methods, and bounded patience with losses."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose.errors import UnfitSuiteError
from compose.methods import METHODS
from ledger.errors import IncompleteError, PnodeError
from node.coalitions.division import Task
from node.coalitions.executor import MOST_LOSSES, Lost
from node.coalitions.worker import Worker, event_of
from tests.node.coalitions.crews import Here, alone, arguments, executor_of, lock_of
from tests.node.worlds import World, block_path

MASKS = (7, 0, 2, 5)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_three_workers_give_what_one_engine_gives(composed: World, method: str) -> None:
    home, lock = composed.node.home, lock_of(composed, method)
    workers = Here(arguments(home, lock), lose=frozenset({4}))
    executor = executor_of(home, lock, workers, 3)
    assert sorted(executor.evaluate(MASKS)) == sorted(alone(home, lock, MASKS))
    assert executor.losses == 1


@pytest.mark.parametrize("count", [1, 2])
def test_workers_stay_for_the_next_coalitions(composed: World, count: int) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    workers = Here(arguments(home, lock))
    executor = executor_of(home, lock, workers, count)
    rows = [*executor.evaluate([1, 2]), *executor.evaluate([3, 0])]
    assert sorted(rows) == sorted(alone(home, lock, [0, 1, 2, 3]))
    assert workers.started == count
    executor.close()
    assert workers.workers == {}


def test_a_task_that_kills_its_workers_ends_the_evaluation(composed: World) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    workers = Here(arguments(home, lock), lose=frozenset({4, 6, 8}))
    executor = executor_of(home, lock, workers, 1)
    rows = executor.evaluate([1, 2, 3])
    first, second = next(rows), next(rows)
    assert sorted([first, second]) == alone(home, lock, [1, 2])
    with pytest.raises(PnodeError, match=f"coalition 3: lost {MOST_LOSSES} times") as caught:
        next(rows)
    assert "what was evaluated is kept" in caught.value.hint


def test_workers_that_cannot_start_end_the_evaluation(composed: World) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    executor = executor_of(home, lock, Here(arguments(home, lock), lose=frozenset({1, 2, 3})), 1)
    with pytest.raises(PnodeError, match="a worker that was loading: lost 3 times"):
        list(executor.evaluate([1]))


def test_a_worker_lost_while_it_had_nothing_to_do_is_replaced(composed: World) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    workers = Here(arguments(home, lock))
    executor = executor_of(home, lock, workers, 2)
    assert len(list(executor.evaluate([1, 2]))) == 2
    workers.fading = executor._idle[0]
    assert list(executor.evaluate([0])) == alone(home, lock, [0])
    assert executor.losses == 1
    assert len(executor._idle) == 1


def test_an_error_of_a_worker_is_that_of_the_evaluation(composed: World) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    Path(block_path(home, str(lock))).unlink()
    with pytest.raises(IncompleteError, match="lock") as caught:
        event_of(Worker(*arguments(home, lock)).load())
    assert caught.value.exit_code == 9


def test_an_error_keeps_its_kind_code_and_hint(
    composed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, lock = composed.node.home, lock_of(composed, "merge.linear")
    worker = Worker(*arguments(home, lock))
    event_of(worker.load())
    error = UnfitSuiteError("item 3 is too long", hint="shorten it", check="length")

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("compose.coalitions.outcomes_of", refuse)
    with pytest.raises(UnfitSuiteError, match="item 3 is too long") as caught:
        event_of(worker.answer(Task((1,), 0, 1).encode()))
    assert (caught.value.code, caught.value.hint) == (error.code, "shorten it")
    assert Lost("x") != caught.value
