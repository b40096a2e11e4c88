"""Outcomes of one coalition: one bit per item over all suites in order.

Packed most significant bit first; padding bits are zero, so equal outcomes are equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attribution.errors import TableError
from attribution.game import Suite, suite_slices

Outcomes = NDArray[np.bool_]


def pack(outcomes: Outcomes | bytes, items: int, *, what: str) -> bytes:
    """Return outcomes as packed bytes, most significant bit first, and check their length.

    Raises:
        TableError: if there is not exactly one outcome per item, or a padding bit is set.
    """
    if isinstance(outcomes, bytes):
        spare = 8 * len(outcomes) - items
        if not 0 <= spare < 8 or (spare and outcomes[-1] & ((1 << spare) - 1)):
            raise TableError(f"{what}: the outcomes are not one bit per item for {items} items")
        return outcomes
    if outcomes.dtype != np.bool_ or outcomes.shape != (items,):
        raise TableError(
            f"{what}: outcomes of type {outcomes.dtype} and shape {outcomes.shape} "
            f"where booleans of shape ({items},) are needed"
        )
    return np.packbits(outcomes).tobytes()


def unpack(packed: bytes, items: int) -> Outcomes:
    """Return packed outcomes as booleans of shape [items]."""
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=items).astype(np.bool_)


def count(packed: bytes, suites: Sequence[Suite]) -> list[int]:
    """Return how many items of each suite are solved."""
    number = int.from_bytes(packed, "big")
    total = 8 * len(packed)
    return [
        (number >> (total - part.stop) & ((1 << (part.stop - part.start)) - 1)).bit_count()
        for part in suite_slices(suites)
    ]
