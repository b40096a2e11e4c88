"""Checks that published values must pass, each with its result and what was compared.

Efficiency, null player, symmetry and additivity characterise the Shapley value (Shapley 1953), so
a table that is complete leaves no freedom: a failure means wrong arithmetic, or a method that
treats identical adapters differently. None of them says that the game itself is a good one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from attribution.evidence import Evidence
from attribution.game import mean
from attribution.interval import Spread

Verdict = Literal["pass", "fail", "inconclusive"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, its verdict and one sentence of what was found."""

    name: str
    verdict: Verdict
    detail: str


def efficiency_gap(table: Evidence, values: Sequence[Fraction]) -> Fraction:
    """Return the sum of the values less v(N) - v({}); zero if nothing was lost or invented."""
    return sum(values, Fraction(0)) - (table.value(table.everyone) - table.value(0))


def check_efficiency(table: Evidence, values: Sequence[Fraction]) -> Check:
    """Require that the values sum exactly to what the whole adds to the base."""
    gap = efficiency_gap(table, values)
    return Check("efficiency", _verdict(holds=gap == 0), f"gap {gap}, computed without rounding")


def check_null_players(table: Evidence, values: Sequence[Fraction], spread: Spread) -> Check:
    """Require that a player which never changes an outcome has the value 0.

    A sampled value may differ by chance: then the verdict is inconclusive as long as its interval
    holds zero.
    """
    silent = table.null_players()
    for player in silent:
        if values[player] == 0:
            continue
        detail = f"{table.players[player]} changes no outcome but has value {values[player]}"
        sampled = spread.sampling is not None
        if not sampled or spread.sampling_only(values[player], player).excludes_zero:
            return Check("null-player", "fail", detail)
        return Check("null-player", "inconclusive", f"{detail}, within sampling error")
    if not silent:
        return Check("null-player", "pass", "every contribution changes at least one outcome")
    names = ", ".join(table.players[player] for player in silent)
    return Check("null-player", "pass", f"no outcome ever changed by {names}; value 0")


def check_symmetry(
    table: Evidence,
    values: Sequence[Fraction],
    spread: Spread,
    identical: Sequence[Sequence[str]],
) -> Check:
    """Require equal values for adapters with identical tensors.

    Sampled values may differ by chance: then the verdict is inconclusive as long as the interval of
    the difference holds zero.
    """
    if not identical:
        return Check("symmetry", "pass", "no two contributions have identical tensors")
    worst = Check("symmetry", "pass", f"{len(identical)} groups of identical tensors, difference 0")
    for group in identical:
        first, *others = (table.players.index(player) for player in group)
        for other in others:
            gap = values[first] - values[other]
            if gap == 0:
                continue
            detail = (
                f"{table.players[first]} and {table.players[other]} have identical tensors, "
                f"values differ by {gap}"
            )
            sampled = spread.sampling is not None
            if not sampled or spread.difference(gap, first, other).excludes_zero:
                return Check("symmetry", "fail", detail)
            worst = Check("symmetry", "inconclusive", f"{detail}, within sampling error")
    return worst


def check_additivity(
    by_suite: Sequence[Sequence[Fraction]], independently: Sequence[Fraction]
) -> Check:
    """Require that the suite values, summed from items, give the total found another way."""
    worst = max(abs(mean(row) - total) for row, total in zip(by_suite, independently, strict=True))
    return Check(
        "additivity", _verdict(holds=worst == 0), f"largest difference over suites {worst}"
    )


def check_coalitions(table: Evidence, planned: int) -> Check:
    """State how much of the game was evaluated; nothing missing is ever imputed."""
    total = 1 << len(table.players)
    if table.evaluated is None:
        detail = f"all {total} coalitions follow from the trees of {table.items} items"
        return Check("coalitions", "pass", detail)
    if table.complete:
        return Check("coalitions", "pass", f"all {total} coalitions evaluated, none missing")
    detail = f"all {planned} planned coalitions evaluated, of {total} that exist"
    return Check("coalitions", _verdict(holds=table.evaluated == planned), detail)


def _verdict(*, holds: bool) -> Verdict:
    return "pass" if holds else "fail"
