"""When an answer counts as correct: two scorers, three normalisations, one tie rule.

`exact`: the greedy continuation of the prompt, ended before the first end-of-sequence token or
after `max_tokens`, equals the item's answer after both went through the suite's normalisation:

    none          the text as it is
    whitespace    runs of space, tab, LF, VT, FF and CR become one space; none at either end
    last-segment  the text after the last '|', then `whitespace`

No case folding and no Unicode normalisation: texts that differ in a code point differ.

`choice`: the choice whose tokens have the highest summed log-likelihood after the prompt. Sums
are compared on a grid of 1e-6 nat (rounded half to even) and the lowest index wins a tie, so that
choices of equal likelihood do not hang on the last bit of a sum. Prompt and choice are the only
input: which index is right is looked at after choosing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Scorer = Literal["choice", "exact"]
Normalisation = Literal["none", "whitespace", "last-segment"]

SCORERS: tuple[Scorer, ...] = get_args(Scorer)
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)

UNITS_PER_NAT = 1_000_000
MAX_MARGIN = 10**9
SEPARATOR = "|"

# Not str.split(), whose idea of white space grows with the Unicode version of the interpreter.
_WHITE_SPACE = re.compile(r"[ \t\n\v\f\r]+")


def normalise(text: str, name: Normalisation) -> str:
    """Return the text in the form that is compared.

    Raises:
        ValueError: for a normalisation that does not exist.
    """
    if name == "none":
        return text
    if name == "last-segment":
        text = text.rpartition(SEPARATOR)[2]
    elif name != "whitespace":
        raise ValueError(f"no normalisation '{name}'")
    return _WHITE_SPACE.sub(" ", text).strip(" ")


def is_correct(text: str, answer: str, normalisation: Normalisation) -> bool:
    """Return whether a produced text equals the answer after normalisation of both."""
    return normalise(text, normalisation) == normalise(answer, normalisation)


def choose(log_likelihoods: Sequence[float]) -> int:
    """Return the index of the best choice; the lowest index wins a tie on the 1e-6 nat grid.

    Raises:
        ValueError: for no choices, or a sum that is not a finite number.
    """
    if not log_likelihoods:
        raise ValueError("no choices")
    grid = [_on_grid(value) for value in log_likelihoods]
    return grid.index(max(grid))


def choice_margin(log_likelihoods: Sequence[float]) -> int | None:
    """Return how far the best choice leads the second, in margin units; None with one choice."""
    if len(log_likelihoods) < 2:
        return None
    second, best = sorted(log_likelihoods)[-2:]
    return margin_units(best - second)


def margin_units(gap: float) -> int:
    """Return a decision's lead, given in nat, in whole units of 1e-6 nat, at most 10^9.

    A small margin tells a reader that another machine could decide otherwise.

    Raises:
        ValueError: for a gap that is negative or no number.
    """
    if not gap >= 0:
        raise ValueError(f"a lead of {gap} nat makes no sense")
    # Compared before scaling: an infinite lead (one admissible token) has no floor.
    if gap >= MAX_MARGIN / UNITS_PER_NAT:
        return MAX_MARGIN
    return math.floor(gap * UNITS_PER_NAT)


def all_margin_units(gaps: npt.NDArray[np.float64]) -> list[Any]:
    """Return `margin_units` of each gap, as lists nested like the array.

    Raises:
        ValueError: for a gap that is negative or no number.
    """
    if not (gaps >= 0).all():
        raise ValueError("a lead that is negative or no number makes no sense")
    capped = np.minimum(gaps, MAX_MARGIN / UNITS_PER_NAT)
    units: list[Any] = np.floor(capped * UNITS_PER_NAT).astype(np.int64).tolist()
    return units


def _on_grid(log_likelihood: float) -> int:
    if not math.isfinite(log_likelihood):
        raise ValueError(f"log-likelihood {log_likelihood} is not finite")
    return round(log_likelihood * UNITS_PER_NAT)
