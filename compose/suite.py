"""A task suite: `suite.toml` says how answers are scored, `items.jsonl` holds one item per line.

`suite.toml` has `name`, `license`, `scorer`, `max_tokens`, `description`, optionally
`normalisation` (for `exact`) and `priority_of` (the author whose own interest the suite
measures). An item has `id` and `prompt`, and either `choices` with the index `answer` or the text
`answer`. Both files are data; nothing in a suite is executed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose.errors import UnfitSuiteError
from compose.scoring import NORMALISATIONS, SCORERS, Normalisation, Scorer, normalise
from compose.untrusted import check_keys, list_names, parse_toml, read_regular, shown
from ledger.encoding import parse_json
from ledger.errors import MalformedError

SUITE, ITEMS, README = "suite.toml", "items.jsonl", "README.md"

MAX_SUITE_BYTES = 64 * 1024
MAX_ITEMS_BYTES = 256 * 1024 * 1024
MAX_README_BYTES = 1024 * 1024
MAX_LINE_BYTES = 64 * 1024
MAX_ITEMS = 100_000
MAX_TOKENS = 4096
MAX_CHOICES = 64
MAX_TEXT = 256
MAX_DESCRIPTION = 4096

_REQUIRED = ("name", "license", "scorer", "max_tokens", "description")
_KNOWN = (*_REQUIRED, "priority_of", "normalisation")
_ITEM_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """One item: `answer` is an index into `choices`, or the expected text if there are none."""

    id: str
    prompt: str
    choices: tuple[str, ...]
    answer: int | str


@dataclass(frozen=True, slots=True)
class Suite:
    """A suite whose every item was checked; items keep the order of the file."""

    name: str
    license: str
    scorer: Scorer
    max_tokens: int
    description: str
    priority_of: str | None
    normalisation: Normalisation
    items: tuple[Item, ...]


def open_suite(directory: Path) -> Suite:
    """Read a suite from its directory.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitSuiteError: naming the file, key, line or item that is not accepted.
    """
    what = f"suite {directory.name}"
    _check_files(directory, what)
    what_toml = f"{what}: {SUITE}"
    table = parse_toml(
        read_regular(
            directory / SUITE, what=what, max_bytes=MAX_SUITE_BYTES, error=UnfitSuiteError
        ),
        what=what_toml,
        error=UnfitSuiteError,
    )
    check_keys(table, _KNOWN, what=what_toml, error=UnfitSuiteError, required=_REQUIRED)
    scorer = _scorer(table, what_toml)
    normalisation = _normalisation(table, scorer, what_toml)
    lines = read_regular(
        directory / ITEMS, what=what, max_bytes=MAX_ITEMS_BYTES, error=UnfitSuiteError
    )
    priority = table.get("priority_of")
    return Suite(
        name=_text(table, "name", what_toml),
        license=_text(table, "license", what_toml),
        scorer=scorer,
        max_tokens=_max_tokens(table, what_toml),
        description=_text(table, "description", what_toml, MAX_DESCRIPTION),
        priority_of=None if priority is None else _text(table, "priority_of", what_toml),
        normalisation=normalisation,
        items=_items(lines, scorer, normalisation, f"{what}: {ITEMS}"),
    )


def _check_files(directory: Path, what: str) -> None:
    names = list_names(directory, what=what, error=UnfitSuiteError)
    for name in names:
        if name not in (SUITE, ITEMS, README):
            raise UnfitSuiteError(f"{what}: file {shown(name)} is not allowed")
    for name in (SUITE, ITEMS):
        if name not in names:
            raise UnfitSuiteError(f"{what}: {name} is missing")
    if README in names:
        read_regular(
            directory / README, what=what, max_bytes=MAX_README_BYTES, error=UnfitSuiteError
        )


def _text(table: dict[str, Any], key: str, what: str, longest: int = MAX_TEXT) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip() or len(value) > longest:
        raise UnfitSuiteError(f"{what}: {key} must be a text of 1 to {longest} characters")
    return value


def _max_tokens(table: dict[str, Any], what: str) -> int:
    value = table["max_tokens"]
    if type(value) is not int or not 1 <= value <= MAX_TOKENS:
        raise UnfitSuiteError(
            f"{what}: max_tokens is {shown(value)}, not an integer in 1..{MAX_TOKENS}"
        )
    return value


def _scorer(table: dict[str, Any], what: str) -> Scorer:
    for scorer in SCORERS:
        if table["scorer"] == scorer:
            return scorer
    raise UnfitSuiteError(
        f"{what}: scorer is {shown(table['scorer'])}", hint=f"use one of {', '.join(SCORERS)}"
    )


def _normalisation(table: dict[str, Any], scorer: Scorer, what: str) -> Normalisation:
    value = table.get("normalisation", "none")
    if scorer == "choice" and "normalisation" in table:
        raise UnfitSuiteError(
            f"{what}: normalisation is for the scorer 'exact'", hint="remove the key"
        )
    for name in NORMALISATIONS:
        if value == name:
            return name
    raise UnfitSuiteError(
        f"{what}: normalisation is {shown(value)}", hint=f"use one of {', '.join(NORMALISATIONS)}"
    )


def _items(
    data: bytes, scorer: Scorer, normalisation: Normalisation, what: str
) -> tuple[Item, ...]:
    items: list[Item] = []
    seen: set[str] = set()
    for number, line in _lines(data, what):
        where = f"{what} line {number}"
        try:
            row = parse_json(line, what=where, max_bytes=MAX_LINE_BYTES)
        except MalformedError as cause:
            raise UnfitSuiteError(cause.message) from None
        if not isinstance(row, dict):
            raise UnfitSuiteError(f"{where}: not a JSON object")
        item = _choice_item(row, where) if scorer == "choice" else _exact_item(row, where)
        if item.id in seen:
            raise UnfitSuiteError(f"{where}: id '{item.id}' is used twice")
        if isinstance(item.answer, str) and not normalise(item.answer, normalisation):
            raise UnfitSuiteError(f"{where}: answer is empty after normalisation {normalisation}")
        seen.add(item.id)
        items.append(item)
    if not items:
        raise UnfitSuiteError(f"{what}: holds no items")
    return tuple(items)


def _lines(data: bytes, what: str) -> Iterator[tuple[int, bytes]]:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) > MAX_ITEMS:
        raise UnfitSuiteError(f"{what}: {len(lines)} lines, at most {MAX_ITEMS} are accepted")
    yield from enumerate(lines, start=1)


def _exact_item(row: dict[str, Any], where: str) -> Item:
    keys = ("id", "prompt", "answer")
    check_keys(row, keys, what=where, error=UnfitSuiteError, required=keys)
    if not isinstance(row["answer"], str) or not row["answer"]:
        raise UnfitSuiteError(f"{where}: answer must be a text, as the scorer is 'exact'")
    return Item(_id(row, where), _prompt(row, where), (), row["answer"])


def _choice_item(row: dict[str, Any], where: str) -> Item:
    keys = ("id", "prompt", "choices", "answer")
    check_keys(row, keys, what=where, error=UnfitSuiteError, required=keys)
    choices, answer = row["choices"], row["answer"]
    if not isinstance(choices, list) or not 2 <= len(choices) <= MAX_CHOICES:
        raise UnfitSuiteError(f"{where}: choices must be a list of 2 to {MAX_CHOICES} texts")
    if not all(isinstance(choice, str) and choice for choice in choices):
        raise UnfitSuiteError(f"{where}: a choice is not a text or is empty")
    if len(set(choices)) != len(choices):
        raise UnfitSuiteError(f"{where}: two choices are the same text")
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise UnfitSuiteError(
            f"{where}: answer is {shown(answer)}, not an index in 0..{len(choices) - 1}"
        )
    return Item(_id(row, where), _prompt(row, where), tuple(choices), answer)


def _id(row: dict[str, Any], where: str) -> str:
    value = row["id"]
    if not isinstance(value, str) or not _ITEM_ID.fullmatch(value):
        raise UnfitSuiteError(
            f"{where}: id is {shown(value)}, not 1 to 128 letters, digits, '.', '_' or '-'"
        )
    return value


def _prompt(row: dict[str, Any], where: str) -> str:
    value = row["prompt"]
    if not isinstance(value, str) or not value:
        raise UnfitSuiteError(f"{where}: prompt must be a text that is not empty")
    return value
