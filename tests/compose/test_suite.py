"""Suites are read strictly: one form, with limits, and errors that say where."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from compose.errors import UnfitSuiteError
from compose.suite import MAX_ITEMS, MAX_LINE_BYTES, Item, open_suite
from ledger.errors import NotFoundError

EXACT = {
    "name": "cipher",
    "license": "CC0-1.0",
    "scorer": "exact",
    "max_tokens": 8,
    "description": "One private operation",
    "normalisation": "last-segment",
}
CHOICE = {key: EXACT[key] for key in EXACT if key != "normalisation"} | {"scorer": "choice"}
EXACT_ITEM = {"id": "a-0", "prompt": "P0 a b >", "answer": "c d"}
CHOICE_ITEM = {"id": "a-0", "prompt": "Q a >", "choices": ["b", "c"], "answer": 1}


def test_exact_suite(tmp_path: Path) -> None:
    second = EXACT_ITEM | {"id": "a-1", "prompt": "\u00fc"}
    suite = open_suite(
        _suite(tmp_path, EXACT | {"priority_of": "did:key:z6"}, [EXACT_ITEM, second])
    )
    assert (suite.name, suite.license, suite.scorer) == ("cipher", "CC0-1.0", "exact")
    assert (suite.max_tokens, suite.normalisation) == (8, "last-segment")
    assert (suite.priority_of, suite.description) == ("did:key:z6", "One private operation")
    assert suite.items == (
        Item("a-0", "P0 a b >", (), "c d"),
        Item("a-1", "\u00fc", (), "c d"),
    )


def test_choice_suite(tmp_path: Path) -> None:
    suite = open_suite(_suite(tmp_path, CHOICE, [CHOICE_ITEM]))
    assert (suite.scorer, suite.normalisation, suite.priority_of) == ("choice", "none", None)
    assert suite.items == (Item("a-0", "Q a >", ("b", "c"), 1),)


def test_last_line_may_lack_its_end_and_a_readme_is_welcome(tmp_path: Path) -> None:
    directory = _suite(tmp_path, EXACT, [EXACT_ITEM])
    (directory / "items.jsonl").write_text(json.dumps(EXACT_ITEM))
    (directory / "README.md").write_text("# Cipher")
    assert len(open_suite(directory).items) == 1


def test_unknown_key_names_the_nearest_known_one(tmp_path: Path) -> None:
    table = {("max_token" if key == "max_tokens" else key): EXACT[key] for key in EXACT}
    with pytest.raises(UnfitSuiteError, match="unknown key 'max_token'") as caught:
        open_suite(_suite(tmp_path, table, [EXACT_ITEM]))
    assert caught.value.hint == "did you mean 'max_tokens'?"
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("key", sorted(set(EXACT) - {"normalisation"}))
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    table = {each: EXACT[each] for each in EXACT if each != key}
    with pytest.raises(UnfitSuiteError, match=f"key '{key}' is missing"):
        open_suite(_suite(tmp_path, table, [EXACT_ITEM]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scorer": "judge"}, "scorer is 'judge'"),
        ({"normalisation": "lower"}, "normalisation is 'lower'"),
        ({"normalisation": 1}, "normalisation is 1"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": 4097}, "max_tokens is 4097"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"name": ""}, "name must be"),
        ({"name": 7}, "name must be"),
        ({"license": " "}, "license must be"),
        ({"description": "x" * 4097}, "description must be"),
        ({"priority_of": ""}, "priority_of must be"),
    ],
)
def test_key_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnfitSuiteError, match=reason):
        open_suite(_suite(tmp_path, EXACT | change, [EXACT_ITEM]))


def test_normalisation_is_for_exact_only(tmp_path: Path) -> None:
    with pytest.raises(UnfitSuiteError, match="for the scorer 'exact'"):
        open_suite(_suite(tmp_path, CHOICE | {"normalisation": "none"}, [CHOICE_ITEM]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ""}, "id is ''"),
        ({"id": "../x"}, "id is"),
        ({"id": "x" * 129}, "id is"),
        ({"id": 1}, "id is 1"),
        ({"prompt": ""}, "prompt must be"),
        ({"prompt": ["x"]}, "prompt must be"),
        ({"answer": 1}, "answer must be a text"),
        ({"answer": ""}, "answer must be a text"),
        ({"answer": "a | "}, "empty after normalisation"),
        ({"choices": ["a", "b"]}, "unknown key 'choices'"),
        ({"tools": []}, "unknown key 'tools'"),
        ({"prompt": "\ud800"}, "surrogate"),
        ({"weight": 0.5}, "not an integer"),
    ],
)
def test_bad_exact_item_is_refused_by_line(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    items = [EXACT_ITEM | {"id": "ok"}, EXACT_ITEM | change]
    with pytest.raises(UnfitSuiteError, match=reason) as caught:
        open_suite(_suite(tmp_path, EXACT, items))
    assert "line 2" in caught.value.message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": 2}, "answer is 2"),
        ({"answer": -1}, "answer is -1"),
        ({"answer": True}, "answer is True"),
        ({"answer": "c"}, "answer is 'c'"),
        ({"choices": ["b"]}, "2 to 64"),
        ({"choices": [str(number) for number in range(65)]}, "2 to 64"),
        ({"choices": "bc"}, "2 to 64"),
        ({"choices": ["b", "b"]}, "same text"),
        ({"choices": ["b", ""]}, "empty"),
        ({"choices": ["b", 1]}, "not a text"),
    ],
)
def test_bad_choice_item_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnfitSuiteError, match=reason):
        open_suite(_suite(tmp_path, CHOICE, [CHOICE_ITEM | change]))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("", "holds no items"),
        ("\n", "line 1: not acceptable JSON"),
        ("[]\n", "line 1: not a JSON object"),
        (json.dumps(EXACT_ITEM) + "\n\n" + json.dumps(EXACT_ITEM), "line 2"),
        (json.dumps(EXACT_ITEM) + "\n" + json.dumps(EXACT_ITEM) + "\n", "line 2: id 'a-0' is used"),
        ('{"id":"a","id":"b","prompt":"p","answer":"x"}\n', "duplicate key"),
        ('{"id":"a","prompt":"p","answer":NaN}\n', "NaN"),
        ('{"id":"a","prompt":"' + "x" * MAX_LINE_BYTES + '","answer":"x"}\n', "at most 65536"),
        ("x\n" * (MAX_ITEMS + 1), f"at most {MAX_ITEMS}"),
        ("[" * 10_000 + "\n", "line 1"),
    ],
    ids=lambda value: value[:20],
)
def test_bad_items_file_is_refused(tmp_path: Path, lines: str, reason: str) -> None:
    directory = _suite(tmp_path, EXACT, [])
    (directory / "items.jsonl").write_text(lines)
    with pytest.raises(UnfitSuiteError, match=reason):
        open_suite(directory)


@pytest.mark.parametrize("name", ["scorer.py", "items.json", ".hidden", "data"])
def test_nothing_else_belongs_in_a_suite(tmp_path: Path, name: str) -> None:
    directory = _suite(tmp_path, EXACT, [EXACT_ITEM])
    (directory / name).mkdir()
    with pytest.raises(UnfitSuiteError, match=f"'{name}' is not allowed"):
        open_suite(directory)


@pytest.mark.parametrize("name", ["suite.toml", "items.jsonl"])
def test_missing_or_linked_file_is_refused(tmp_path: Path, name: str) -> None:
    directory = _suite(tmp_path, EXACT, [EXACT_ITEM])
    (directory / name).rename(tmp_path / "elsewhere")
    with pytest.raises(UnfitSuiteError, match=f"{name} is missing"):
        open_suite(directory)
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnfitSuiteError, match="symbolic link"):
        open_suite(directory)


@pytest.mark.parametrize("text", ["name = ", "name = 1\nname = 2", "\xff", "a." * 5000 + "b = 1"])
def test_bad_toml_is_refused(tmp_path: Path, text: str) -> None:
    directory = _suite(tmp_path, EXACT, [EXACT_ITEM])
    (directory / "suite.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UnfitSuiteError):
        open_suite(directory)


def test_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_suite(tmp_path / "nowhere")


def _suite(root: Path, table: dict[str, Any], items: Sequence[dict[str, Any]]) -> Path:
    directory = root / "suite"
    directory.mkdir()
    # A JSON scalar of plain text is also a TOML value.
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    (directory / "suite.toml").write_text("\n".join(lines))
    rows = "".join(json.dumps(item) + "\n" for item in items)
    (directory / "items.jsonl").write_text(rows, encoding="utf-8")
    return directory
