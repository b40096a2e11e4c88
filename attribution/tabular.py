"""The values as CSV (RFC 4180, UTF-8), safe to open in a spreadsheet.

A cell that a spreadsheet could take for a formula is prefixed with an apostrophe (OWASP, "CSV
injection"); plain numbers and fractions keep their minus sign, because they hold nothing else.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

_NUMBER = re.compile(r"-?[0-9]+(?:[./][0-9]+)?", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = (
    "rank_best",
    "rank_worst",
    "contribution",
    "title",
    "author",
    "author_name",
    "licence",
    "value",
    "low",
    "high",
    "share",
    "value_items",
    "leave_one_out",
    "alone",
    "banzhaf",
)


def escape_cell(text: str) -> str:
    """Return a cell that no spreadsheet evaluates."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


def values_csv(rows: Sequence[dict[str, Any]], suites: Sequence[str]) -> bytes:
    """Return the table of values, one line per contribution.

    Args:
        rows: per contribution, the keys of the columns and `by_suite`, the value per suite.
        suites: the names of the suites.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow([*_COLUMNS, *(escape_cell(f"value on {name}") for name in suites)])
    for row in rows:
        cells = [row[column] for column in _COLUMNS] + list(row["by_suite"])
        writer.writerow([escape_cell("" if cell is None else str(cell)) for cell in cells])
    return stream.getvalue().encode("utf-8")
