"""Arrow: prototypes, gates at every layer and token, and what PEFT makes of the same."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.decoding import Decoding
from compose.delta import delta_of
from compose.forward import Decoder
from compose.methods.method import Member
from compose.methods.route_arrow import Expert, Gated, experts_of, prototype
from compose.system import System
from tests.compose.systems import Workshop, cid_of
from tests.compose.tiny import save_adapter

ROWS = [[6, 7, 8, 9], [20, 21, 22, 4]]


def logits(system: System) -> np.ndarray:
    """The logits of the one model of a system, which no public answer shows."""
    answerer = system.assembly.answerer
    assert isinstance(answerer, Decoding)
    return answerer.bank._decoders[0].logits(ROWS)


def some_members(shop: Workshop) -> list[Member]:
    return [Member(each, shop.adapters[each], delta_of(shop.adapters[each])) for each in shop.ids]


def test_a_prototype_is_the_top_right_singular_vector() -> None:
    random = np.random.default_rng(4)
    a, b = random.normal(size=(3, 8)), random.normal(size=(5, 3)) * [9.0, 1.0, 0.2]
    found = prototype(a, b, random.normal(size=8))
    top = np.linalg.svd(b @ a)[2][0]
    assert abs(found @ top) == pytest.approx(1, abs=1e-9)


def test_a_gate_is_its_formula() -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(5)
    experts = [
        Expert(random.normal(size=(rank, 6)), random.normal(size=(4, rank)), random.normal(size=6))
        for rank in (1, 3, 2)
    ]
    inputs = random.normal(size=(2, 5, 6))
    for top_k, cosine in ((1, True), (2, True), (2, False), (9, True)):
        gate = Gated(experts, top_k=top_k, temperature=0.5, cosine=cosine)
        added = gate(torch.from_numpy(inputs)).numpy()
        for at in np.ndindex(2, 5):
            h = inputs[at]
            like = np.array([abs(h @ each.prototype) for each in experts])
            like = like / np.linalg.norm(h) if cosine else like
            first = np.argsort(-like)[:top_k]
            shares = np.exp(like[first] / 0.5)
            shares /= shares.sum()
            parts = [experts[each].b @ (experts[each].a @ h) for each in first]
            expected = sum(share * part for share, part in zip(shares, parts, strict=True))
            assert np.allclose(added[at], expected, rtol=1e-12, atol=1e-12)


def test_among_equals_the_smaller_id_and_an_input_of_zeros_is_like_nobody() -> None:
    torch = pytest.importorskip("torch")
    one = Expert(np.eye(1, 3), np.ones((2, 1)), np.array([1.0, 0, 0]))
    gate = Gated([one, one, one], top_k=1, temperature=1.0, cosine=True)
    states = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert gate.weights(states).tolist() == [[1.0, 0.0, 0.0]] * 2
    assert gate(states).tolist() == [[2.0, 2.0], [0.0, 0.0]]


def test_one_member_alone_is_that_member(workshop: Workshop) -> None:
    for member in workshop.ids:
        system = workshop.assemble("route.arrow", [member], top_k="3")
        own = Decoder.load(workshop.base).with_deltas(delta_of(workshop.adapters[member]))
        assert np.allclose(logits(system), own.logits(ROWS), rtol=0, atol=1e-10)
        single = workshop.assemble("merge.linear", [member])
        assert workshop.answers(system) == workshop.answers(single)


def test_prototypes_do_not_depend_on_who_else_is_there(workshop: Workshop) -> None:
    members = some_members(workshop)
    together, alone = experts_of(members, 7), experts_of(members[1:2], 7)
    assert alone
    assert set(alone) <= set(together)
    for layer, (expert,) in alone.items():
        assert any(np.array_equal(expert.prototype, each.prototype) for each in together[layer])
    (other, *_), (expert, *_) = experts_of(members, 8)[layer], together[layer]
    assert not np.array_equal(other.prototype, expert.prototype)


def test_a_copy_changes_nothing_where_one_member_is_chosen(workshop: Workshop) -> None:
    first, second = workshop.ids[:2]
    copy = max(str(cid_of(f"copy {number}")) for number in range(9))
    adapters = {each: workshop.adapters[each] for each in (first, second)}
    pair = replace(workshop, adapters=adapters)
    twice = replace(workshop, adapters=adapters | {copy: adapters[first]})
    without, having = pair.assemble("route.arrow"), twice.assemble("route.arrow")
    assert having.digest() != without.digest()
    assert pair.answers(without) == twice.answers(having)


def test_gates_given_the_same_prototypes_are_those_of_peft(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT says cosine and computes the product; it needs equal ranks and layers."""
    import torch
    from peft import ArrowConfig, create_arrow_model
    from transformers import LlamaForCausalLM

    targets = ["q_proj", "v_proj", "down_proj"]
    paths = [
        save_adapter(
            tiny_base, tmp_path / f"{n}", seed=60 + n, r=2, lora_alpha=6, target_modules=targets
        )
        for n in range(3)
    ]
    base = open_base(tiny_base, name="tiny")
    by_id = {str(cid_of(path.name)): path for path in paths}
    order = sorted(by_id)
    adapters = {each: inspect_adapter(by_id[each], base) for each in order}
    members = [Member(each, adapters[each], delta_of(adapters[each])) for each in order]
    experts = experts_of(members, 3)
    gates = {
        layer: Gated(found, top_k=2, temperature=0.7, cosine=False)
        for layer, found in experts.items()
    }
    ours = Decoder.load(base).with_gates(gates).logits(ROWS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = create_arrow_model(
            LlamaForCausalLM.from_pretrained(tiny_base),
            task_specific_adapter_paths=[str(by_id[each]) for each in order],
            arrow_config=ArrowConfig(top_k=2, router_temperature=0.7, rng_seed=1),
        ).eval()
    with torch.no_grad():
        theirs(torch.tensor(ROWS))
        for name, module in theirs.named_modules():
            if hasattr(module, "lora_arrow") and "arrow_router" in module.lora_arrow:
                layer = name.split("base_model.model.")[-1]
                stacked = np.stack([each.prototype for each in experts[layer]])
                module.lora_arrow["arrow_router"].prototypes.copy_(torch.from_numpy(stacked))
        expected = theirs(torch.tensor(ROWS)).logits.numpy()
    assert np.abs(ours - Decoder.load(base).logits(ROWS)).max() > 0.1
    assert np.allclose(ours, expected, rtol=0, atol=1e-4)
