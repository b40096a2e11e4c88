"""Student quantiles and the one rounding rule for published decimals.

A published quantile is rounded up to six places; from there on everything is exact: a half-width
is the quantile times a correctly rounded square root of a rational number, rounded up to six
places, and the ends of an interval are rounded outwards to six places. Rounding can only widen an
interval, and every platform prints the same digits.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import Final

from attribution.errors import EstimatorError

PLACES: Final = Decimal("0.000001")
_CONTEXT = Context(prec=60)
_SERIES_UP_TO = 400


def parse_confidence(text: str) -> Fraction:
    """Parse a confidence level such as "0.95".

    Raises:
        EstimatorError: unless it is a plain decimal between 0.5 and 0.9999.
    """
    digits = text.removeprefix("0.")
    if digits == text or not digits.isascii() or not digits.isdigit() or len(digits) > 4:
        raise EstimatorError(f"confidence '{text[:20]}' is not a decimal such as 0.95")
    level = Fraction(text)
    if not Fraction(1, 2) <= level < 1:
        raise EstimatorError(f"confidence {text} is outside 0.5 to 0.9999")
    return level


@lru_cache(maxsize=256)
def student_quantile(confidence: Fraction, freedom: int) -> Decimal:
    """Return t such that [-t, t] holds `confidence` of Student's distribution, rounded up.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom > _SERIES_UP_TO:
        value = _expansion(confidence, freedom)
    else:
        low, high = 0.0, 2.0
        while _central(high, freedom) < confidence:
            high *= 2
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (low, middle) if _central(middle, freedom) >= confidence else (middle, high)
        value = high
    return Decimal(value).quantize(PLACES, rounding=ROUND_CEILING, context=_CONTEXT)


def _central(t: float, freedom: int) -> float:
    """Return P(-t <= T <= t) by the finite series of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    angle = math.atan2(t, math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for step in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _expansion(confidence: Fraction, freedom: int) -> float:
    """Return the quantile by Abramowitz and Stegun 26.7.5, less than 1e-7 off from 400 on."""
    x = NormalDist().inv_cdf(float((1 + confidence) / 2))
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
    )
    return x + sum(term / float(freedom) ** power for power, term in enumerate(terms, start=1))


def root(square: Fraction) -> Decimal:
    """Return the square root of a non-negative fraction to 60 digits."""
    return _CONTEXT.sqrt(decimal(square))


def decimal(value: Fraction) -> Decimal:
    """Return a fraction to 60 digits."""
    return _CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def scaled(factor: Decimal, value: Decimal) -> Decimal:
    """Return a product to 60 digits."""
    return _CONTEXT.multiply(factor, value)


def up(value: Decimal) -> str:
    """Return a decimal string of six places, rounded towards plus infinity."""
    return _text(value.quantize(PLACES, rounding=ROUND_CEILING, context=_CONTEXT))


def down(value: Decimal) -> str:
    """Return a decimal string of six places, rounded towards minus infinity."""
    return _text(value.quantize(PLACES, rounding=ROUND_FLOOR, context=_CONTEXT))


def nearest(value: Fraction, places: int) -> str:
    """Return a decimal string for reading, rounded half to even."""
    step = Decimal(1).scaleb(-places)
    return _text(decimal(value).quantize(step, rounding=ROUND_HALF_EVEN, context=_CONTEXT))


def ends(centre: Fraction, half_width: Decimal) -> tuple[str, str]:
    """Return the two ends of an interval as decimal strings, rounded outwards."""
    middle = decimal(centre)
    return (
        down(_CONTEXT.subtract(middle, half_width)),
        up(_CONTEXT.add(middle, half_width)),
    )


def _text(value: Decimal) -> str:
    return f"{value or value.copy_abs():f}"
