"""Recipes are read strictly, and errors are for the person who wrote one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compose.errors import RecipeError
from compose.recipe import Recipe, Selection, Threshold, parse_recipe

A, B = "bafkreiaaaaaa", "bafkreibbbbbb"
FULL = """
base = "cipher-tiny"
members = "all"
method = "merge.ties"
parameters = {density = "0.2", sign = "total"}
dev = "bafkreiaaaaaa"
suites = ["bafkreibbbbbb"]
seed = 7
"""


def test_recipe_of_the_reference() -> None:
    assert _parse(FULL) == Recipe(
        base="cipher-tiny",
        members=Selection(),
        method="merge.ties",
        parameters={"density": "0.2", "sign": "total"},
        dev=A,
        suites=(B,),
        seed=7,
    )


def test_what_may_be_left_out_has_its_default() -> None:
    recipe = _parse(_without("parameters", "dev", "seed"))
    assert (recipe.parameters, recipe.dev, recipe.seed) == ({}, None, 0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"all"', Selection()),
        (f'["{A}", "{B}"]', Selection(ids=(A, B))),
        ("{}", Selection()),
        (
            f'{{author = ["ada"], license = ["CC0-1.0", "MIT"], exclude = ["{A}"]}}',
            Selection(author=("ada",), license=("CC0-1.0", "MIT"), exclude=(A,)),
        ),
    ],
)
def test_three_ways_to_select_members(text: str, wanted: Selection) -> None:
    assert _parse(_with("members", text)).members == wanted


@pytest.mark.parametrize(
    ("key", "near"),
    [("metod", "method"), ("suite", "suites"), ("Seed", "seed"), ("parameter", "parameters")],
)
def test_unknown_key_names_the_nearest_known_one(key: str, near: str) -> None:
    with pytest.raises(RecipeError, match=f"unknown key '{key}'") as caught:
        _parse(FULL + f"\n{key} = 1")
    assert caught.value.hint == f"did you mean '{near}'?"
    assert caught.value.exit_code == 2


def test_key_like_no_other_lists_the_known_ones() -> None:
    with pytest.raises(RecipeError) as caught:
        _parse(FULL + "\nqqqqqqq = 1")
    assert caught.value.hint is not None
    assert "base, dev, exactness, hygiene, members" in caught.value.hint


def test_unknown_filter_names_the_nearest_known_one() -> None:
    with pytest.raises(RecipeError, match="unknown key 'authors'") as caught:
        _parse(_with("members", '{authors = ["ada"]}'))
    assert caught.value.hint == "did you mean 'author'?"


@pytest.mark.parametrize("key", ["base", "members", "method", "suites"])
def test_missing_key_is_named(key: str) -> None:
    with pytest.raises(RecipeError, match=f"key '{key}' is missing"):
        _parse(_without(key))


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("base", '""', "base is ''"),
        ("base", "1", "base is 1"),
        ("members", '"some"', "members is 'some'"),
        ("members", "[]", "members: the list is empty"),
        ("members", '["short"]', "is not an entry id"),
        ("members", '["bafkreiAAAAAA"]', "is not an entry id"),
        ("members", "[1]", "members: item is 1"),
        ("members", f'["{A}", "{A}"]', "twice"),
        ("members", "{author = 'ada'}", "members.author is 'ada'"),
        ("members", "{license = [1]}", "members.license"),
        ("members", "{exclude = ['x']}", "members.exclude"),
        ("method", '"Merge.Ties"', "not the name of a method"),
        ("method", '"os.system(1)"', "not the name of a method"),
        ("method", "[]", "method is"),
        ("exactness", '"exact"', "exactness is 'exact'"),
        ("exactness", "[]", "exactness is"),
        ("parameters", "{density = 0.2}", "density is 0.2, not text"),
        ("parameters", "{n = 1}", "n is 1, not text"),
        ("parameters", "{n = true}", "n is True, not text"),
        ("parameters", '{"A b" = "1"}', "not the name of a parameter"),
        ("parameters", "[]", "not a table"),
        ("dev", '"x"', "dev: 'x' is not"),
        ("dev", '["x"]', "dev: "),
        ("suites", "[]", "suites is empty"),
        ("suites", '"bafkreibbbbbb"', "suites is"),
        ("seed", "-1", "seed is -1"),
        ("seed", '"0"', "seed is '0'"),
        ("seed", "true", "seed is True"),
        ("seed", "9007199254740992", "seed is"),
    ],
)
def test_value_that_makes_no_sense_is_refused(key: str, text: str, reason: str) -> None:
    with pytest.raises(RecipeError) as caught:
        _parse(_with(key, text))
    assert reason in caught.value.message
    assert caught.value.message.startswith("recipe test.toml: ")


def test_number_as_parameter_hints_at_text() -> None:
    with pytest.raises(RecipeError) as caught:
        _parse(_with("parameters", "{density = 0.2}"))
    assert caught.value.hint is not None
    assert 'density = "0.2"' in caught.value.hint


@pytest.mark.parametrize("dev", [B, B + "b", B[:12]])
def test_dev_suite_among_the_suites_is_refused_even_as_a_prefix(dev: str) -> None:
    with pytest.raises(RecipeError, match="also in suites"):
        _parse(_with("dev", f'"{dev}"'))


def test_recipe_beyond_the_limit_is_refused() -> None:
    with pytest.raises(RecipeError, match="at most"):
        _parse(FULL + "#" * 2**18)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_recipe_error(data: bytes) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(data, what="recipe")


def _parse(text: str) -> Recipe:
    return parse_recipe(text.encode(), what="recipe test.toml")


def _without(*keys: str) -> str:
    return "\n".join(line for line in FULL.splitlines() if line.split(" = ")[0] not in keys)


def _with(key: str, value: Any) -> str:
    return _without(key) + f"\n{key} = {value}"


def test_a_threshold_of_hygiene_names_a_suite_and_a_share() -> None:
    recipe = _parse(FULL + f'hygiene = {{public = "{A}", kept = "0.9"}}\n')
    assert recipe.hygiene == Threshold(A, Fraction(9, 10))
    assert _parse(FULL).hygiene is None


@pytest.mark.parametrize(
    "value",
    [
        '"0.9"',
        f'{{public = "{A}"}}',
        '{kept = "0.9"}',
        f'{{public = "{A}", kept = "1.1"}}',
        f'{{public = "{A}", kept = "-0.1"}}',
        f'{{public = "{A}", kept = 0.9}}',
        f'{{public = "{A}", kept = "0.9", own = "{B}"}}',
        '{public = "x", kept = "0.9"}',
    ],
)
def test_another_threshold_is_refused(value: str) -> None:
    with pytest.raises(RecipeError, match="hygiene"):
        _parse(f"{FULL}hygiene = {value}\n")
