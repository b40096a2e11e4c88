"""What is observed, handed to a rule a bounded number of rows at a time.

A rule may keep whole distributions, and a prefix may have as many rows as there are coalitions, so
rows are never gathered all at once. Rules work row by row: no decision depends on the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

BATCH_BYTES: Final = 128 * 2**20
_SHARED_BYTES: Final = 2**20
_MANY: Final = 64


def pieces(rows: int, observed: Array) -> Iterator[slice]:
    """Yield slices of rows that are as many as fit, each as large as one of those observed."""
    step = max(1, BATCH_BYTES // max(1, observed[0].nbytes))
    for start in range(0, rows, step):
        yield slice(start, start + step)


def batches(observed: Array, at: Index) -> Iterator[tuple[slice, Array]]:
    """Yield slices of rows with what is observed at each.

    Args:
        observed: [observations, models, anything].
        at: which of them each row is at, ascending.

    Where many rows are at one observation they share its memory, and are few enough for what is
    computed of them to stay in a processor's cache.
    """
    starts = np.flatnonzero(np.diff(at, prepend=-1)).tolist()
    step = max(1, _SHARED_BYTES // (8 * observed.shape[2]))
    pending = 0
    for start, end in zip(starts, [*starts[1:], len(at)], strict=True):
        if end - start < _MANY:
            continue
        yield from _copied(observed, at, pending, start)
        for begin in range(start, end, step):
            some = slice(begin, min(begin + step, end))
            seen = observed[at[begin]]
            yield some, np.broadcast_to(seen, (some.stop - begin, *seen.shape))
        pending = end
    yield from _copied(observed, at, pending, len(at))


def _copied(observed: Array, at: Index, begin: int, end: int) -> Iterator[tuple[slice, Array]]:
    for some in pieces(end - begin, observed):
        rows = slice(begin + some.start, min(begin + some.stop, end))
        yield rows, observed[at[rows]]
