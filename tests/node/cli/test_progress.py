"""Progress: redrawn on a terminal, rare plain lines elsewhere, nothing when it is off."""

from __future__ import annotations

import io

import pytest

from node.progress import Progress, describe, duration


class Clock:
    """Seconds under the control of a test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_log_gets_one_plain_line_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    for done in range(13):
        progress("coalitions", done, 512)
        clock.now += 1.0
    progress.close()
    assert stream.getvalue().splitlines() == [
        "coalitions: 5 of 512",
        "coalitions: 10 of 512",
    ]


def test_a_short_step_leaves_no_line_in_a_log(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    for done in range(5):
        progress("records", done, 4)
    progress.close()
    assert stream.getvalue() == ""


def test_a_terminal_is_redrawn_and_left_clean(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, tty=True, clock=clock)
    progress("load", 0, 2)
    clock.now += 1
    progress("load", 1, 2)
    progress.close()
    parts = stream.getvalue().split("\r")
    assert "\n" not in stream.getvalue()
    assert [part.strip() for part in parts if part.strip()] == [
        "load: 0 of 2",
        "load: 1 of 2, 1 a second, about 1 s left",
    ]
    assert stream.getvalue().endswith(" " * 79 + "\r")


def test_a_new_name_begins_a_new_step(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    progress("load", 0, 1)
    clock.now += 4
    progress("evaluate", 0, 4)
    clock.now += 4
    progress("evaluate", 1, 4)
    assert stream.getvalue() == ""
    clock.now += 4
    progress("evaluate", 2, 4)
    assert stream.getvalue() == "evaluate: 2 of 4, 15 a minute, about 8 s left\n"


def test_what_was_done_before_is_no_part_of_the_rate() -> None:
    expected = "coalitions: 60 of 80, 2 a second, about 10 s left"
    assert describe("coalitions", 60, 80, 5.0, first=50) == expected
    assert describe("coalitions", 50, 80, 5.0, first=50) == "coalitions: 50 of 80"


def test_slow_steps_count_by_the_hour() -> None:
    assert describe("coalitions", 1, 2, 3600.0).startswith("coalitions: 1 of 2, 1 an hour,")


def test_off_writes_nothing() -> None:
    progress = Progress.off()
    progress("anything", 1, 2)
    progress.close()


@pytest.mark.parametrize(
    ("done", "total", "expected"),
    [(0, 0, "blocks"), (7, 0, "blocks: 7"), (0, 4, "blocks: 0 of 4"), (4, 4, "blocks: 4 of 4")],
)
def test_lines_claim_no_more_than_is_known(done: int, total: int, expected: str) -> None:
    assert describe("blocks", done, total, 3.0) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-1, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected
