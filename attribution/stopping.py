"""When sampling has gone far enough, beside the budget.

    a decimal   every player's half-width from sampling is at most this
    items       no player's sampling error is more than a third of the error from the items, so that
                going on could narrow the intervals by at most a twentieth
    ranks       the groups of players that can be told apart came out the same three times in a row

Looking often and stopping when it looks good makes intervals slightly optimistic. So it is looked
at only each time the number of pairs has grown by a quarter.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final, Literal

from attribution.errors import EstimatorError
from attribution.game import ItemValues, Suite, mean
from attribution.interval import SamplingError, rank_groups, spread_of

THIRD: Final = 3
SAME: Final = 3
_GROWTH: Final = Fraction(5, 4)


class Stopping:
    """One rule, followed over a run."""

    def __init__(self, until: str | None, suites: Sequence[Suite], confidence: Fraction) -> None:
        """Take the rule as written, or None for a run that only its budget ends.

        Raises:
            EstimatorError: if there is no such rule.
        """
        self._kind, self._width = _parse(until)
        self._suites = suites
        self._confidence = confidence
        self._seen: list[tuple[tuple[int, ...], ...]] = []
        self._next = 0

    def due(self, pairs: int) -> bool:
        """Return whether it is time to look, after so many pairs."""
        if self._kind is None or pairs < self._next:
            return False
        self._next = int(pairs * _GROWTH) + 1
        return True

    def reached(self, values: ItemValues, error: SamplingError) -> bool:
        """Return whether the values so far are good enough."""
        spread = spread_of(values, self._suites, error, self._confidence)
        players = range(len(error.covariance))
        if self._kind == "width":
            widths = [spread.interval(Fraction(0), at).half_width_sampling for at in players]
            return all(width is not None and Fraction(width) <= self._width for width in widths)
        if self._kind == "items":
            items = spread.items
            return items is not None and all(
                THIRD**2 * error.covariance[at][at] <= items[at][at] for at in players
            )
        totals = [mean(row) for row in values.by_suite(self._suites)]
        self._seen.append(rank_groups(totals, spread))
        return len(self._seen) >= SAME and len(set(self._seen[-SAME:])) == 1


def _parse(until: str | None) -> tuple[Literal["width", "items", "ranks"] | None, Fraction]:
    if until is None:
        return None, Fraction(0)
    if until in ("items", "ranks"):
        return "items" if until == "items" else "ranks", Fraction(0)
    try:
        value = Decimal(until)
    except InvalidOperation:
        raise EstimatorError(
            f"'{until[:20]}' is no rule to stop by: give a half-width such as 0.01, items or ranks"
        ) from None
    if not value.is_finite() or value <= 0:
        raise EstimatorError(f"half-width '{until[:20]}' is not above zero")
    return "width", Fraction(value)
