"""Numbers and foreign text, as people read them.

Display only: the exact figures are in the JSON twin. Rounding is half to even, in decimal, so the
page has the same bytes everywhere.
"""

from __future__ import annotations

import unicodedata
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any, Final

from attribution.quantile import nearest

MINUS: Final = "\N{MINUS SIGN}"
THIN: Final = "\N{NARROW NO-BREAK SPACE}"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_UNSHOWABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def clean(text: str) -> str:
    """Return text without control, direction-changing and unassigned characters.

    A line break or a tab becomes a space; anything else of that kind becomes U+FFFD, so that
    nobody can hide or reorder what a reader sees.
    """
    spaced = " ".join(text.split())
    return "".join(
        _REPLACEMENT if unicodedata.category(char) in _UNSHOWABLE else char for char in spaced
    )


def plain(value: Any) -> Any:
    """Return a model as JSON values with all text cleaned and fractions as strings."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Fraction):
        return str(value)
    return clean(value) if isinstance(value, str) else value


def points(value: str | Fraction, places: int = 1) -> str:
    """Return a value as signed percentage points, such as +6.4."""
    return signed(nearest(100 * Fraction(value), places))


def percent(value: str | Fraction) -> str:
    """Return a share or an accuracy, such as 81.1 %."""
    return nearest(100 * Fraction(value), 1).replace("-", MINUS) + f"{THIN}%"


def items(value: str | Fraction) -> str:
    """Return a signed number of items with one decimal."""
    return signed(nearest(Fraction(value), 1))


def signed(text: str) -> str:
    """Return a decimal string with its sign written out, and no sign for zero."""
    if not text.strip("-0."):
        return text.lstrip("-")
    return MINUS + text[1:] if text.startswith("-") else "+" + text


def grouped(number: int) -> str:
    """Return an integer in groups of three digits."""
    return f"{number:,}".replace(",", THIN)


def shortened(text: str, most: int) -> str:
    """Return text cut to `most` characters, marked if it was cut."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def short_id(text: str) -> str:
    """Return an id that a person can compare at a glance: its first 12 and last 4 characters."""
    return text if len(text) <= 20 else f"{text[:12]}\N{HORIZONTAL ELLIPSIS}{text[-4:]}"
