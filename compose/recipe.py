"""A recipe: what to compose and how, written by a person in TOML.

    base = "cipher-tiny"
    members = "all"            # or a list of ids, or {author = [], license = [], exclude = []}
    method = "merge.ties"
    parameters = {density = "0.2"}
    dev = "SUITE_ID"
    suites = ["SUITE_ID"]
    seed = 0
    hygiene = {public = "SUITE_ID", kept = "0.9"}
    exactness = "bitwise"      # by default the strictest class that is possible

Unknown keys are errors. Numbers among the parameters are text, so that a recipe has no binary
fractions; which parameters a method has is the method's business, and ids are resolved later,
against the ledger (`compose.lock`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from compose.errors import RecipeError
from compose.lock import EXACTNESS
from compose.untrusted import check_keys, parse_toml, shown
from ledger.encoding import MAX_SAFE_INTEGER

MAX_BYTES = 256 * 1024
MAX_LIST = 4096
MAX_TEXT = 1024
MIN_ID, MAX_ID = 12, 59
ALL = "all"

_REQUIRED = ("base", "members", "method", "suites")
_KNOWN = (*_REQUIRED, "parameters", "dev", "seed", "exactness", "hygiene")
_HYGIENE = ("public", "kept")
_FILTERS = ("author", "license", "exclude")
_ID = re.compile(rf"b[a-z2-7]{{{MIN_ID - 1},{MAX_ID - 1}}}", re.ASCII)
_METHOD = re.compile(r"[a-z][a-z0-9_]{0,31}(?:\.[a-z][a-z0-9_]{0,31})?", re.ASCII)
_SHARE = re.compile(r"0|1|0\.[0-9]{1,12}", re.ASCII)
_PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which adapters take part.

    `ids` names them by id or unique prefix; None means every adapter in force for the base that
    passes the filters. An empty `author` or `license` lets all pass.
    """

    ids: tuple[str, ...] | None = None
    author: tuple[str, ...] = ()
    license: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """What each member must keep by itself: a share of what the base can do on a public suite."""

    public: str
    kept: Fraction


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as written: ids may still be prefixes, parameters may still be left out."""

    base: str
    members: Selection
    method: str
    parameters: Mapping[str, str]
    dev: str | None
    suites: tuple[str, ...]
    seed: int
    exactness: str | None = None
    hygiene: Threshold | None = None


def parse_recipe(data: bytes, *, what: str) -> Recipe:
    """Parse a recipe.

    Args:
        data: the TOML as bytes.
        what: named in errors, for example "recipe demo.toml".

    Raises:
        RecipeError: naming the key that is unknown, missing or makes no sense.
    """
    if len(data) > MAX_BYTES:
        raise RecipeError(f"{what}: {len(data)} bytes, at most {MAX_BYTES} are accepted")
    table = parse_toml(data, what=what, error=RecipeError)
    check_keys(table, _KNOWN, what=what, error=RecipeError, required=_REQUIRED)
    dev = None if "dev" not in table else _id(table["dev"], f"{what}: dev")
    suites = _ids(table["suites"], f"{what}: suites")
    if not suites:
        raise RecipeError(f"{what}: suites is empty; a composition is scored on at least one")
    if dev is not None and any(_may_be_one(dev, suite) for suite in suites):
        raise RecipeError(
            f"{what}: the dev suite {dev} is also in suites",
            hint="a method that fits or selects on a suite cannot be judged by it",
        )
    return Recipe(
        base=_text(table["base"], f"{what}: base"),
        members=_selection(table["members"], f"{what}: members"),
        method=_method(table["method"], f"{what}: method"),
        parameters=_parameters(table.get("parameters", {}), f"{what}: parameters"),
        dev=dev,
        suites=suites,
        seed=_seed(table.get("seed", 0), f"{what}: seed"),
        exactness=_exactness(table.get("exactness"), f"{what}: exactness"),
        hygiene=_hygiene(table.get("hygiene"), f"{what}: hygiene"),
    )


def _may_be_one(prefix: str, other: str) -> bool:
    return prefix.startswith(other) or other.startswith(prefix)


def _selection(value: Any, what: str) -> Selection:
    if value == ALL:
        return Selection()
    if isinstance(value, list):
        ids = _ids(value, what)
        if not ids:
            raise RecipeError(f"{what}: the list is empty", hint='write members = "all" for all')
        return Selection(ids=ids)
    if isinstance(value, dict):
        check_keys(value, _FILTERS, what=what, error=RecipeError)
        return Selection(
            author=_texts(value.get("author", []), f"{what}.author"),
            license=_texts(value.get("license", []), f"{what}.license"),
            exclude=_ids(value.get("exclude", []), f"{what}.exclude"),
        )
    raise RecipeError(
        f"{what} is {shown(value)}",
        hint='write "all", a list of ids, or {author = [...], license = [...], exclude = [...]}',
    )


def _parameters(value: Any, what: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise RecipeError(f"{what} is {shown(value)}, not a table")
    for name, setting in value.items():
        if not _PARAMETER.fullmatch(name):
            raise RecipeError(f"{what}: {shown(name)} is not the name of a parameter")
        if not isinstance(setting, str):
            raise RecipeError(
                f"{what}: {name} is {shown(setting)}, not text",
                hint=f'write {name} = "{shown(setting)}": numbers in a recipe are text',
            )
        _text(setting, f"{what}: {name}")
    return {name: value[name] for name in sorted(value)}


def _method(value: Any, what: str) -> str:
    text = _text(value, what)
    if not _METHOD.fullmatch(text):
        raise RecipeError(f"{what}: {shown(text)} is not the name of a method, such as merge.ties")
    return text


def _exactness(value: Any, what: str) -> str | None:
    if value is None:
        return None
    text = _text(value, what)
    if text not in EXACTNESS:
        raise RecipeError(f"{what} is {shown(text)}", hint=f"write one of {', '.join(EXACTNESS)}")
    return text


def _hygiene(value: Any, what: str) -> Threshold | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise RecipeError(f"{what} is {shown(value)}, not a table")
    check_keys(value, _HYGIENE, what=what, error=RecipeError, required=_HYGIENE)
    kept = value["kept"]
    if not isinstance(kept, str) or not _SHARE.fullmatch(kept):
        raise RecipeError(
            f"{what}: kept is {shown(kept)}, not a share",
            hint='write a decimal number from 0 to 1 as text, such as kept = "0.9"',
        )
    return Threshold(_id(value["public"], f"{what}: public"), Fraction(kept))


def _seed(value: Any, what: str) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SAFE_INTEGER:
        raise RecipeError(f"{what} is {shown(value)}, not an integer in 0..2^53-1")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        raise RecipeError(f"{what} is {shown(value)}, not a text of 1 to {MAX_TEXT} characters")
    return value


def _texts(value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise RecipeError(f"{what} is {shown(value)}, not a list of at most {MAX_LIST} texts")
    texts = tuple(_text(item, f"{what}: item") for item in value)
    if len(set(texts)) != len(texts):
        raise RecipeError(f"{what} names something twice")
    return texts


def _id(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise RecipeError(
            f"{what}: {shown(value)} is not an entry id",
            hint=f"give at least {MIN_ID} characters of an id that 'pnode list' shows",
        )
    return value


def _ids(value: Any, what: str) -> tuple[str, ...]:
    return tuple(_id(text, what) for text in _texts(value, what))
