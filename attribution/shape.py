"""Shapes of JSON documents, checked key by key so that an error names the very field.

A shape is a function from (value, path) that raises, a dict of shapes with exactly these keys, or
a list with the one shape of its elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from attribution.errors import RecordError
from ledger.cid import Cid
from ledger.encoding import decode_hex
from ledger.errors import MalformedError

MAX_LIST: Final = 4096
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,8})\.[0-9]{6}", re.ASCII)
_FRACTION = re.compile(r"-?[0-9]{1,2000}(?:/[0-9]{1,2000})?", re.ASCII)

Check = Callable[[Any, str], None]
Shape = Check | dict[str, Any] | list[Any]


def check_shape(value: Any, shape: Shape, path: str) -> None:
    """Require that a parsed document has a shape.

    Raises:
        RecordError: naming the field that has not.
    """
    if callable(shape):
        shape(value, path)
    elif isinstance(shape, dict):
        if not isinstance(value, dict):
            raise RecordError(f"{path}: not an object")
        for key in sorted(shape.keys() ^ value.keys()):
            fault = "is missing" if key in shape else "is unknown"
            raise RecordError(f"{path}: key '{key[:40]}' {fault}")
        for key, inner in shape.items():
            check_shape(value[key], inner, f"{path}.{key}")
    else:
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise RecordError(f"{path}: not a list of at most {MAX_LIST}")
        for index, element in enumerate(value):
            check_shape(element, shape[0], f"{path}[{index}]")


def nullable(shape: Shape) -> Check:
    """Return a shape that also accepts null."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            check_shape(value, shape, path)

    return check


def one_of(*texts: str) -> Check:
    """Return a shape of a few fixed texts."""

    def check(value: Any, path: str) -> None:
        if value not in texts:
            raise RecordError(f"{path}: {str(value)[:40]!r} is none of {', '.join(texts)}")

    return check


def text(most: int) -> Check:
    """Return a shape of printable text of at most `most` characters."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
            raise RecordError(f"{path}: not printable text of 1 to {most} characters")

    return check


def natural(value: Any, path: str) -> None:
    """Accept a non-negative integer."""
    if type(value) is not int or value < 0:
        raise RecordError(f"{path}: not a non-negative integer")


def cid(value: Any, path: str) -> None:
    """Accept a canonical CID."""
    try:
        Cid.parse(value if isinstance(value, str) else "")
    except MalformedError as error:
        raise RecordError(f"{path}: {error.message}") from None


def sha256(value: Any, path: str) -> None:
    """Accept 32 bytes of lower-case hexadecimal."""
    try:
        decode_hex(value, what=path, length=32)
    except MalformedError as error:
        raise RecordError(error.message) from None


def decimal(value: Any, path: str) -> None:
    """Accept a decimal string of six places; minus zero is not one."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or value == "-0.000000":
        raise RecordError(f"{path}: not a decimal of six places")


def fraction(value: Any, path: str) -> None:
    """Accept a fraction string in lowest terms."""
    if not isinstance(value, str) or not _FRACTION.fullmatch(value):
        raise RecordError(f"{path}: not a fraction such as 17/24")
    _, _, below = value.partition("/")
    if (below and int(below) == 0) or str(Fraction(value)) != value:
        raise RecordError(f"{path}: '{value[:40]}' is not in lowest terms")
