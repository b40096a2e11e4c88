"""The class of a composition: the strictest its method promises and whose models fit in memory."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compose.base import open_base
from compose.errors import MethodError, RecipeError
from compose.exactness import NEAR_TIE, choose_exactness, engine, load_decoder
from compose.llama import LlamaShape
from compose.lock import EXACTNESS
from compose.methods import METHODS, find_method
from ledger.errors import IncompleteError

SMALL = LlamaShape(34, 64, 192, 2, 4, 4, 16, 1e-6, 10000.0, tied_embeddings=True, max_positions=64)
# 2.8e9, 4.3e9 and 9.6e9 weights.
MEDIUM, LARGE, HUGE = (
    replace(SMALL, hidden_size=4096, intermediate_size=16384, heads=32, head_dim=128, layers=layers)
    for layers in (12, 18, 40)
)


@pytest.mark.parametrize(
    ("method", "shape", "members", "expected", "reason"),
    [
        ("merge.linear", SMALL, 8, "bitwise", "the strictest class"),
        ("merge.ties", SMALL, 0, "bitwise", "the strictest class"),
        ("route.trained", SMALL, 8, "bitwise", "the strictest class"),
        ("route.arrow", SMALL, 8, "pinned", "route.arrow promises no more"),
        ("merge.linear", MEDIUM, 8, "pinned", "bitwise takes 86 GiB for 2 models, of 64"),
        ("merge.linear", LARGE, 8, "tolerance", "pinned takes 65 GiB"),
        ("merge.linear", HUGE, 8, "tolerance", "of 64; pinned"),
        ("route.trained", MEDIUM, 8, "pinned", "bitwise takes 385 GiB for 9 models, of 64"),
    ],
)
def test_the_strictest_possible_class_is_the_default(
    method: str, shape: LlamaShape, members: int, expected: str, reason: str
) -> None:
    chosen = choose_exactness(None, find_method(method), shape, members)
    assert chosen.exactness == expected
    assert reason in chosen.reason


def test_a_recipe_may_ask_for_what_the_method_promises() -> None:
    merge, router = find_method("merge.linear"), find_method("route.trained")
    arrow = find_method("route.arrow")
    for asked in ("bitwise", "pinned", "tolerance"):
        chosen = choose_exactness(asked, merge, SMALL, 2)
        assert chosen == (asked, "the recipe asks for it")
    with pytest.raises(MethodError, match="does not promise bitwise"):
        choose_exactness("bitwise", arrow, SMALL, 2)
    # A router fitted on float32 states is another router on the next machine.
    with pytest.raises(MethodError, match="does not promise tolerance"):
        choose_exactness("tolerance", router, SMALL, 2)
    with pytest.raises(RecipeError, match="advisory"):
        choose_exactness("advisory", merge, SMALL, 2)


def test_every_class_but_advisory_has_an_engine_and_a_bound() -> None:
    assert (*NEAR_TIE, "advisory") == EXACTNESS
    sizes = [engine(each).bytes_per_weight for each in NEAR_TIE]
    assert sizes == sorted(sizes, reverse=True)
    assert all(method.exactness in NEAR_TIE for method in METHODS.values())


def test_the_reference_names_the_methods_that_are_not_bitwise() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "methods.md").read_text()
    (sentence,) = (line for line in page.splitlines() if "are at best `pinned`" in line)
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", sentence))
    assert named == {name for name, method in METHODS.items() if method.exactness == "pinned"}


def test_engines_agree_within_their_classes(tiny_base: Path) -> None:
    base = open_base(tiny_base, name="tiny")
    rows = [[6, 7, 8, 9, 4], [12, 13, 14, 15, 16]]
    reference = load_decoder(base, "pinned", {}).logits(rows)
    single = load_decoder(base, "tolerance", {})
    assert 1e-9 < np.abs(single.logits(rows) - reference).max() < 1e-4
    assert single.logits(rows).dtype == np.float64
    exact = load_decoder(base, "bitwise", {"exact": "1"}).logits(rows)
    assert 1e-9 < np.abs(exact - reference).max() < 1e-4


def test_a_lock_of_another_exact_engine_is_not_computed(tiny_base: Path) -> None:
    base = open_base(tiny_base, name="tiny")
    with pytest.raises(IncompleteError, match="version unknown of the exact engine"):
        load_decoder(base, "bitwise", {})
    with pytest.raises(IncompleteError, match="advisory"):
        load_decoder(base, "advisory", {})
