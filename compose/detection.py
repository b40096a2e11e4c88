"""What a sample can find: the chance that checking k of N items meets a false one.

If f of N items are false, k of them drawn without replacement hold at least one of those with
probability 1 - C(N - f, k) / C(N, k). Everything is exact; floats only make text for people, and
a probability is then rounded down, because 1.0000 must mean certainty.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from ledger.errors import UsageError

ONE_IN_A_HUNDRED: Final = Fraction(1, 100)
"""The part of the items that is taken to be false where nobody says another."""

_PART = re.compile(r"0?\.[0-9]{1,6}", re.ASCII)


def parse_part(text: str, *, what: str) -> Fraction:
    """Parse a decimal between 0 and 1, such as "0.99".

    Raises:
        UsageError: naming `what` if it is something else; 0 and 1 are.
    """
    value = Fraction(text) if _PART.fullmatch(text) else Fraction(0)
    if not value:
        raise UsageError(
            f"{what} '{text[:20]}' is not a decimal between 0 and 1",
            hint="write it with at most six digits, such as 0.99",
        )
    return value


def detection_probability(items: int, false: int, sampled: int) -> Fraction:
    """Return the exact probability that a sample holds at least one false item.

    Raises:
        UsageError: unless 0 <= false, sampled <= items.
    """
    if not (0 <= false <= items and 0 <= sampled <= items):
        raise UsageError(f"{false} false and {sampled} sampled of {items} items makes no sense")
    return 1 - Fraction(*_missed(items, false, sampled))


def _missed(items: int, false: int, sampled: int) -> tuple[int, int]:
    """Return in how many of how many equally likely ways a sample holds no false item.

    It is the same to draw the sample among all or the false ones among all; the smaller of the two
    keeps the numbers small.
    """
    small, large = sorted((false, sampled))
    return math.comb(items - large, small), math.comb(items, small)


def sample_size(items: int, false: int, probability: Fraction) -> int:
    """Return the fewest items to draw so that a false one is found with a probability.

    Raises:
        UsageError: unless 0 < false <= items and 0 <= probability <= 1.
    """
    if not (0 < false <= items and 0 <= probability <= 1):
        raise UsageError(f"no sample of {items} items, {false} false, finds one with {probability}")
    few, enough = 0, items - false + 1
    while few < enough:
        middle = (few + enough) // 2
        missed, ways = _missed(items, false, middle)
        if missed <= (1 - probability) * ways:
            enough = middle
        else:
            few = middle + 1
    return enough


def false_items(items: int, part: Fraction) -> int:
    """Return how many items a part of them is, rounded up: the fewest that are no less."""
    return math.ceil(items * part)


@dataclass(frozen=True, slots=True)
class Detection:
    """That `checked` of `items` were drawn, and what it would find if a `part` were false."""

    items: int
    checked: int
    part: Fraction = ONE_IN_A_HUNDRED

    @property
    def probability(self) -> Fraction:
        """The chance of finding at least one false item; 0 if there are no items."""
        return detection_probability(self.items, false_items(self.items, self.part), self.checked)

    def rounded(self) -> str:
        """Return the probability with four digits, rounded down."""
        return f"{math.floor(self.probability * 10_000) / 10_000:.4f}"

    def describe(self) -> str:
        """Return one sentence for people."""
        if not self.items:
            return "no outcomes are claimed"
        if self.checked == self.items:
            return f"all {self.items:,} items were checked: a false one cannot have been missed"
        false = false_items(self.items, self.part)
        return (
            f"if {float(100 * self.part):g} % of the {self.items:,} items were false "
            f"({false:,}), checking {self.checked:,} would find one "
            f"with probability {self.rounded()}"
        )
