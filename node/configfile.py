"""Configuration files of a home: small TOML files in one strict form.

Unknown keys are errors that name the nearest known one: a setting that is misspelt must not be
ignored in silence.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ledger.database import storage_errors
from ledger.errors import MalformedError, PnodeError

Settings = TypeVar("Settings")

_MAX_BYTES = 4 << 20


def read_config(
    path: Path, parse: Callable[[dict[str, Any]], Settings], *, hint: str
) -> Settings | None:
    """Return what a file says, read by `parse`; None if there is no such file.

    Raises:
        MalformedError: naming the file, if it is not TOML or `parse` refuses it; with `hint`.
    """
    with storage_errors(path):
        if not path.exists():
            return None
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    try:
        if len(content) > _MAX_BYTES:
            raise MalformedError(f"more than {_MAX_BYTES} bytes")
        return parse(tomllib.loads(content.decode("utf-8")))
    except (ValueError, RecursionError, PnodeError) as error:
        raise MalformedError(f"{path}: {error}", hint=hint) from None


def check_names(table: Mapping[str, object], known: Sequence[str], prefix: str = "") -> None:
    """Require that a table has known keys only; `prefix` is what stands before them in errors.

    Raises:
        MalformedError: naming the unknown key and the nearest known one.
    """
    for name in table:
        if name not in known:
            near = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.5)
            meant = f", did you mean '{prefix}{near[0]}'" if near else ""
            raise MalformedError(f"unknown key '{prefix}{name[:80]}'{meant}")


def distinct_texts(table: Mapping[str, Any], name: str, *, at_most: int) -> tuple[str, ...]:
    """Return a list of texts that all differ; none if the key is missing.

    Raises:
        MalformedError: if it is anything else, or longer than `at_most`.
    """
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise MalformedError(f"'{name}' is a list of texts")
    if len(value) > at_most:
        raise MalformedError(f"'{name}' has more than {at_most} items")
    if len(set(value)) != len(value):
        raise MalformedError(f"one of '{name}' is listed twice")
    return tuple(value)
