"""Merges against PEFT's own: the same where semantics coincide, and its mistakes are not ours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.base import BaseModel, open_base
from compose.delta import Array, Deltas, delta_of, weighted_sum
from compose.methods.merge_ties import agreeing, ties
from tests.compose.tiny import ATTENTION, save_adapter

# PEFT 0.21.2 asks transformers for a property that 5.23 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")

SETTINGS: tuple[dict[str, Any], ...] = (
    {"r": 2, "lora_alpha": 4},
    {"r": 4, "lora_alpha": 4},
    {"r": 4, "lora_alpha": 2, "use_rslora": True},
)


WHOLE = {"svd_rank": 16, "svd_full_matrices": False}
"""No truncation: 16 is the smaller side of the largest layer."""


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> BaseModel:
    return open_base(tiny_base, name="tiny")


@pytest.fixture(scope="module")
def paths(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of the same layers; PEFT refuses or ignores the rest by type of merge."""
    root = tmp_path_factory.mktemp("attention")
    return [
        save_adapter(
            tiny_base, root / str(seed), seed=30 + seed, target_modules=list(ATTENTION), **each
        )
        for seed, each in enumerate(SETTINGS)
    ]


@pytest.fixture(scope="module")
def members(base: BaseModel, paths: list[Path]) -> list[Deltas]:
    return [delta_of(inspect_adapter(path, base)) for path in paths]


class Peft:
    """A PEFT model with the adapters loaded as "0", "1" and "2"."""

    def __init__(self, base: BaseModel, paths: list[Path]) -> None:
        from peft import PeftModel
        from transformers import LlamaForCausalLM

        plain = LlamaForCausalLM.from_pretrained(base.directory)
        self.model: Any = PeftModel.from_pretrained(plain, paths[0], adapter_name="0")
        for number, path in enumerate(paths[1:], start=1):
            self.model.load_adapter(path, adapter_name=str(number))

    def merged(self, weights: Mapping[int, float], kind: str, **options: Any) -> dict[str, Array]:
        """Return the deltas of a merge, by our names of layers."""
        names = [str(number) for number in weights]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The density", UserWarning)
            self.model.add_weighted_adapter(
                names, [*weights.values()], "merged", combination_type=kind, **options
            )
        deltas = {
            name.removeprefix("base_model.model."): module.get_delta_weight("merged")
            for name, module in self.model.named_modules()
            if hasattr(module, "get_delta_weight")
        }
        self.model.delete_adapter("merged")
        return {name: delta.detach().double().numpy() for name, delta in deltas.items()}


@pytest.fixture(scope="module")
def peft(base: BaseModel, paths: list[Path]) -> Iterator[Peft]:
    yield Peft(base, paths)


def differ(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> float:
    """Return the largest difference of any entry."""
    assert set(ours) == set(theirs)
    return max(float(np.abs(ours[name] - theirs[name]).max()) for name in ours)


@pytest.mark.parametrize(("kind", "options"), [("cat", {}), ("svd", WHOLE)])
def test_a_weighted_sum_is_their_cat_and_their_svd_at_full_rank(
    peft: Peft, members: list[Deltas], kind: str, options: dict[str, Any]
) -> None:
    """`cat` takes negative weights and mixed ranks; rsLoRA members bring their own scale."""
    weights = {0: 0.75, 1: 0.25, 2: -1.5}
    terms = [(each, Fraction(weights[number])) for number, each in enumerate(members)]
    assert differ(weighted_sum(terms), peft.merged(weights, kind, **options)) < 1e-5


def test_their_svd_cuts_the_rank_unless_told_otherwise(peft: Peft, members: list[Deltas]) -> None:
    merged = weighted_sum([(each, Fraction(1)) for each in members])
    weights = dict.fromkeys(range(3), 1.0)
    assert differ(merged, peft.merged(weights, "svd", svd_full_matrices=False)) > 0.1


@pytest.mark.parametrize("density", ["0.25", "0.5", "1"])
def test_ties_is_their_ties_on_products(peft: Peft, members: list[Deltas], density: str) -> None:
    ours = ties(members, density=Fraction(density), scale=Fraction(1))
    weights = dict.fromkeys(range(3), 1.0)
    theirs = peft.merged(weights, "ties_svd", density=float(density), **WHOLE)
    assert differ(ours, theirs) < 1e-5


def test_dare_without_dropping_is_their_dare_on_products(peft: Peft, members: list[Deltas]) -> None:
    ours = {name: agreeing([each[name] for each in members]) for name in members[0]}
    weights = dict.fromkeys(range(3), 1.0)
    theirs = peft.merged(weights, "dare_ties_svd", density=1.0, **WHOLE)
    assert differ(ours, theirs) < 1e-5


def test_factors_merged_apart_are_another_merge(peft: Peft, members: list[Deltas]) -> None:
    """Bug e: their `linear` and `ties` add and prune A and B apart, so cross terms come in."""
    terms = [(members[1], Fraction(1)), (members[2], Fraction(1))]
    weights = {1: 1.0, 2: 1.0}
    assert differ(weighted_sum(terms), peft.merged(weights, "linear")) > 0.1
    ours = ties(members[1:], density=Fraction(1), scale=Fraction(1))
    assert differ(ours, peft.merged(weights, "ties", density=1.0)) > 0.1


def test_their_dare_is_not_the_same_twice(peft: Peft) -> None:
    """Its masks come from torch's global generator; ours have a name (test_streams)."""
    weights = dict.fromkeys(range(3), 1.0)
    first, second = (peft.merged(weights, "dare_ties_svd", density=0.5, **WHOLE) for _ in range(2))
    assert differ(first, second) > 0.1


def test_where_members_cancel_out_we_say_zero_and_they_take_the_positive() -> None:
    import torch
    from peft.utils.merge_utils import ties as their_ties

    one, other = np.array([[1.0, 2.0]]), np.array([[-1.0, 1.0]])
    with pytest.warns(UserWarning, match="no pruning"):
        theirs = their_ties(
            [torch.from_numpy(one), torch.from_numpy(other)], torch.ones(2), density=1.0
        )
    assert theirs.tolist() == [[1.0, 1.5]]
    assert agreeing([one, other]).tolist() == [[0.0, 1.5]]


def test_a_single_rslora_adapter_is_not_itself_in_their_merge(
    peft: Peft, members: list[Deltas]
) -> None:
    """They scale the merged factors as rsLoRA once more; ours give the member back."""
    assert differ(weighted_sum([(members[2], Fraction(1))]), members[2]) == 0
    for kind in ("cat", "linear", "svd"):
        assert differ(members[2], peft.merged({2: 1.0}, kind)) > 0.1, kind
        assert differ(members[1], peft.merged({1: 1.0}, kind)) < 1e-5, kind
