"""Progress of long steps: a name, a count and an estimate, on standard error only.

Whatever takes long calls `progress(step, done, total)`. On a terminal one line is redrawn; anywhere
else (a pipe, a CI log) one plain line appears every few seconds, so that a log stays readable.
Quiet and JSON runs get `Progress.off()`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_REDRAW_SECONDS = 0.1
_PLAIN_SECONDS = 5.0
_WIDTH = 79


class Progress:
    """Where progress is drawn.

    Args:
        stream: where lines go, or None for nowhere.
        tty: whether `stream` is a terminal that can redraw a line.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        tty: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._tty = tty
        self._clock = clock
        self._step = ""
        self._started = 0.0
        self._first = 0
        self._shown = 0.0
        self._drawn = False

    @classmethod
    def off(cls) -> Progress:
        """Return a progress that shows nothing."""
        return cls(None)

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report how far a step is; a new name begins a new step.

        Args:
            step: what is happening, in a few words ("coalitions").
            done: how many units are finished.
            total: how many there are, 0 if that is not known.
        """
        if self._stream is None:
            return
        now = self._clock()
        if step != self._step:
            self.close()
            self._step, self._started, self._first = step, now, done
            # A terminal shows a step at once; a log only hears of those that last.
            self._shown = now - _PLAIN_SECONDS if self._tty else now
        if now - self._shown >= (_REDRAW_SECONDS if self._tty else _PLAIN_SECONDS):
            self._shown = now
            self._draw(describe(step, done, total, now - self._started, self._first))

    def close(self) -> None:
        """End the current step and leave no half-drawn line."""
        if self._stream is not None and self._drawn and self._tty:
            self._stream.write("\r" + " " * _WIDTH + "\r")
            self._stream.flush()
        self._step = ""
        self._drawn = False

    def _draw(self, line: str) -> None:
        assert self._stream is not None
        if self._tty:
            self._stream.write("\r" + line[:_WIDTH].ljust(_WIDTH))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()
        self._drawn = True


def describe(step: str, done: int, total: int, elapsed: float, first: int = 0) -> str:
    """Return one line: name, count, and the rate and the time left if they can be estimated.

    `first` units were done before the time began.
    """
    if not total:
        return f"{step}: {done}" if done else step
    line = f"{step}: {done} of {total}"
    new = done - first
    # The first units of a step often carry the work of all, so an estimate from few misleads.
    if total - first <= new * 20 and done < total and elapsed > 0:
        left = duration(elapsed / new * (total - done))
        line += f", {_rate(new / elapsed)}, about {left} left"
    return line


def _rate(each_second: float) -> str:
    if each_second >= 1:
        return f"{each_second:.3g} a second"
    if each_second >= 1 / 60:
        return f"{each_second * 60:.2g} a minute"
    return f"{each_second * 3600:.2g} an hour"


def duration(seconds: float) -> str:
    """Return a length of time in words short enough for one line."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
