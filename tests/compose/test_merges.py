"""What every merge promises, whichever methods there are, and what each says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.admission import CONFIG, WEIGHTS
from compose.base import open_base
from compose.delta import Array, Deltas, delta_of, weighted_sum
from compose.methods import METHODS
from compose.methods.merge_dare_ties import thin
from compose.methods.merge_ties import agreeing
from compose.methods.method import Assembly
from compose.system import System, assemble
from tests.compose.systems import Workshop, choice_suite, cid_of, exact_suite, prompts

MERGES = sorted(name for name, method in METHODS.items() if method.level == "weight")
SEEDED = {"merge.dare_ties"}
"""Methods that draw random numbers; for all others the seed means nothing."""

AT_WEIGHT_ONE: Mapping[str, Mapping[str, str]] = {
    "merge.ties": {"density": "1"},
    "merge.dare_ties": {"density": "1"},
}
"""Where the defaults do not keep a single member whole: what does."""


@pytest.fixture(scope="module")
def workshop(tiny_base: Path, tiny_adapters: list[Path]) -> Workshop:
    """Four members of two ranks, three scales and three sets of layers; one uses rsLoRA."""
    base = open_base(tiny_base, name="tiny")
    adapters = {
        str(cid_of(f"entry {number}")): inspect_adapter(path, base)
        for number, path in enumerate(tiny_adapters)
    }
    blank = exact_suite("dev", prompts(), ["?"] * len(prompts()))
    shop = Workshop(base, adapters, (blank, choice_suite("choice", prompts()[:3])), blank)
    said = [shop.answers(shop.assemble("merge.linear", [member]))[0] for member in shop.ids]
    gold = [str(said[number % 4][number]) or "?" for number in range(len(prompts()))]
    return replace(shop, dev=exact_suite("dev", prompts(), gold))


def merge(
    shop: Workshop, method: str, members: list[str] | None = None, **parameters: str
) -> Assembly:
    return shop.assemble(method, members, **parameters).assembly


def merged(
    shop: Workshop, method: str, members: list[str] | None = None, **parameters: str
) -> Deltas:
    deltas = merge(shop, method, members, **parameters).merged
    assert deltas is not None
    return deltas


def with_seed(shop: Workshop, method: str, seed: int) -> System:
    lock = replace(shop.lock(method), seed=seed)
    return assemble(lock, shop.base, shop.adapters, shop.dev)


def with_copy(shop: Workshop, number: int = 0, *, times: int = 1) -> tuple[Workshop, list[str]]:
    """Add copies of one member under ids of their own; returns these ids, the original first."""
    original = shop.ids[number]
    copies = {str(cid_of(f"copy {each}")): shop.adapters[original] for each in range(times)}
    return replace(shop, adapters={**shop.adapters, **copies}), [original, *copies]


@pytest.mark.parametrize("method", MERGES)
def test_one_member_at_weight_one_is_the_member(workshop: Workshop, method: str) -> None:
    for member in workshop.ids:
        own = delta_of(workshop.adapters[member])
        assembly = merge(workshop, method, [member], **AT_WEIGHT_ONE.get(method, {}))
        assert assembly.merged is not None
        assert assembly.merged.digest() == own.digest()


@pytest.mark.parametrize("method", MERGES)
def test_the_order_of_arrival_changes_nothing(workshop: Workshop, method: str) -> None:
    turned = replace(workshop, adapters=dict(reversed(workshop.adapters.items())))
    assert turned.assemble(method).digest() == workshop.assemble(method).digest()


@pytest.mark.parametrize("method", MERGES)
def test_the_seed_decides_where_there_is_chance_and_nowhere_else(
    workshop: Workshop, method: str
) -> None:
    first, again, other = (with_seed(workshop, method, seed).digest() for seed in (3, 3, 4))
    assert first == again
    assert (first != other) == (method in SEEDED)


@pytest.mark.parametrize("method", MERGES)
def test_the_digest_names_the_deltas(workshop: Workshop, method: str) -> None:
    assembly = merge(workshop, method)
    assert assembly.merged is not None
    assert assembly.state["deltas"] == assembly.merged.digest()


@pytest.mark.parametrize("method", MERGES)
def test_coefficients_are_those_of_the_merge(workshop: Workshop, method: str) -> None:
    assembly = merge(workshop, method)
    if assembly.coefficients is None:
        return
    deltas = [delta_of(workshop.adapters[each]) for each in workshop.ids]
    expected = weighted_sum(list(zip(deltas, assembly.coefficients, strict=True)))
    assert assembly.state["deltas"] == expected.digest()


@pytest.fixture(scope="module")
def refactored(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Every member with other factors of the same product: A / 2, 8 B and a quarter of alpha."""
    from safetensors.numpy import load_file, save_file

    adapters = {}
    for id_, adapter in workshop.adapters.items():
        directory = tmp_path_factory.mktemp("refactored")
        tensors = load_file(adapter.directory / WEIGHTS)
        changed = {
            name: tensor * np.float32(8 if "lora_B" in name else 0.5)
            for name, tensor in tensors.items()
        }
        save_file(changed, directory / WEIGHTS, metadata={"format": "pt"})
        config = json.loads((adapter.directory / CONFIG).read_text("utf-8"))
        config["lora_alpha"] /= 4
        (directory / CONFIG).write_text(json.dumps(config), "utf-8")
        adapters[id_] = inspect_adapter(directory, workshop.base)
    return replace(workshop, adapters=adapters)


@pytest.mark.parametrize("method", MERGES)
def test_how_an_adapter_is_factored_changes_nothing(
    workshop: Workshop, refactored: Workshop, method: str
) -> None:
    """Bug e of factor-wise merging: A and B combined apart, one alpha / r for everybody."""
    assert len({adapter.scale for adapter in workshop.adapters.values()}) > 1
    assert len({adapter.rank for adapter in workshop.adapters.values()}) > 1
    assert any(adapter.rslora for adapter in workshop.adapters.values())
    layers = {name for each in workshop.adapters.values() for name in each.factors()}
    ours, theirs = merge(workshop, method), merge(refactored, method)
    assert ours.merged is not None
    assert set(ours.merged) == layers
    assert theirs.state == ours.state


def dropped(shop: Workshop, member: str, layer: str, seed: int = 0) -> Array:
    delta = delta_of(shop.adapters[member])[layer]
    return thin(delta, member, layer, seed=seed, density=Fraction(1, 2))


def test_dare_drops_half_and_doubles_the_rest(workshop: Workshop) -> None:
    entries = kept = 0
    for member in workshop.ids:
        for layer, delta in delta_of(workshop.adapters[member]).items():
            thinned = dropped(workshop, member, layer)
            stays = thinned != 0
            assert np.array_equal(thinned[stays], 2 * delta[stays])
            entries, kept = entries + delta.size, kept + int(stays.sum())
    assert abs(kept / entries - 0.5) < 4 * 0.5 / entries**0.5


def test_dare_without_a_member_leaves_the_masks_of_the_others(workshop: Workshop) -> None:
    """A mask keyed by position would change for everybody behind the member that left."""
    whole = merged(workshop, "merge.dare_ties", consensus="sum")
    alone = {each: merged(workshop, "merge.dare_ties", [each]) for each in workshop.ids}
    for left_out in workshop.ids:
        rest = [each for each in workshop.ids if each != left_out]
        smaller = merged(workshop, "merge.dare_ties", rest, consensus="sum")
        for layer in smaller:
            parts = [alone[each][layer] for each in rest if layer in alone[each]]
            assert np.array_equal(smaller[layer], agreeing(parts, average=False))
    assert whole.digest() != smaller.digest()


def test_dare_gives_copies_masks_of_their_own(workshop: Workshop) -> None:
    shop, (original, copy) = with_copy(workshop)
    layer = "model.layers.0.self_attn.q_proj"
    first, second = (dropped(shop, each, layer) for each in (original, copy))
    assert not np.array_equal(first, second)
    both = merged(shop, "merge.dare_ties", [original, copy], consensus="sum")
    assert np.array_equal(both[layer], agreeing([first, second], average=False))


def test_dare_consensus_and_density_are_explicit_and_change_the_merge(workshop: Workshop) -> None:
    """Bug d: no density handed on, so that another library's default of 1 dropped nothing."""
    assert METHODS["merge.dare_ties"].validate({}) == {
        "consensus": "mean",
        "density": "0.5",
        "scale": "1",
    }
    digests = {
        merged(workshop, "merge.dare_ties", **parameters).digest()
        for parameters in ({}, {"density": "1"}, {"consensus": "sum"}, {"scale": "0.5"})
    }
    assert len(digests) == 4


def test_dare_at_density_one_is_ties_without_trimming(workshop: Workshop) -> None:
    expected = merged(workshop, "merge.ties", density="1").digest()
    assert merged(workshop, "merge.dare_ties", density="1").digest() == expected
