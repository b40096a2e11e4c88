"""Gram matrices are those of the inputs that transformers gives each layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compose import gram
from compose.base import open_base
from compose.delta import Array, delta_of
from compose.errors import MethodError
from compose.exact.decoder import ExactDecoder
from compose.forward import Decoder
from compose.gram import BITS, gram_matrices, input_of
from compose.tokens import Ids
from tests.compose.systems import prompts

LAYERS = [
    f"model.layers.{number}.{kind}"
    for number in (0, 1)
    for kind in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj")
]


@pytest.fixture(scope="module", params=[Decoder, ExactDecoder])
def decoder(tiny_base: Path, request: pytest.FixtureRequest) -> Decoder:
    loaded: Decoder = request.param.load(open_base(tiny_base, name="tiny"))
    return loaded


@pytest.fixture(scope="module")
def ids(tiny_base: Path) -> list[Ids]:
    from compose.tokens import Tokens

    tokens = Tokens.open(open_base(tiny_base, name="tiny"))
    return [tokens.encode_prompt(prompt) for prompt in prompts()]


@pytest.fixture(scope="module")
def inputs(tiny_base: Path, ids: list[Ids]) -> dict[str, Array]:
    """What each layer is given over all prompts, by hooks in a float64 transformers model."""
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_base, attn_implementation="eager").double()
    seen: dict[str, list[Array]] = {}
    for name, module in model.named_modules():
        if name in LAYERS:
            module.register_forward_pre_hook(
                lambda _, given, name=name: seen.setdefault(name, []).append(given[0][0].numpy())
            )
    with torch.inference_mode():
        for row in ids:
            model(input_ids=torch.tensor([row]))
    return {name: np.concatenate(rows) for name, rows in seen.items()}


def test_they_are_those_of_what_each_layer_is_given(
    decoder: Decoder, ids: list[Ids], inputs: dict[str, Array]
) -> None:
    found = gram_matrices(decoder, ids, LAYERS)
    assert sorted(found) == sorted(LAYERS)
    for name, matrix in found.items():
        size = np.abs(inputs[name]).max(axis=0)
        # Half a unit of rounding on each of the two factors of a product; transformers computes
        # norms in float32, and the exact engine rounds operands to 20 bits.
        bound = len(inputs[name]) * np.outer(size, size) * 2.0 ** (1 - BITS) + 1e-4
        assert (np.abs(matrix - inputs[name].T @ inputs[name]) <= bound).all()
        assert np.array_equal(matrix, matrix.T)


def test_layers_with_the_same_input_share_a_matrix(decoder: Decoder, ids: list[Ids]) -> None:
    kinds = ["self_attn.k_proj", "self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"]
    names = [f"model.layers.0.{kind}" for kind in kinds]
    assert sorted(gram_matrices(decoder, ids, names)) == sorted({input_of(each) for each in names})
    shared = {"self_attn.q_proj", "mlp.gate_proj", "mlp.down_proj"}
    assert {input_of(each) for each in names} == {f"model.layers.0.{kind}" for kind in shared}


def test_no_order_of_summation_changes_a_bit(decoder: Decoder, ids: list[Ids]) -> None:
    whole = gram_matrices(decoder, ids, LAYERS)
    turned = gram_matrices(decoder, ids[::-1], LAYERS)
    for name, matrix in whole.items():
        assert np.array_equal(matrix, turned[name])
    twice = gram_matrices(decoder, [*ids, *ids], LAYERS)
    for name, matrix in whole.items():
        assert np.array_equal(2 * matrix, twice[name])


def test_an_adapter_changes_what_later_layers_are_given(
    decoder: Decoder, ids: list[Ids], tiny_base: Path, tiny_adapters: list[Path]
) -> None:
    from compose.adapter import inspect_adapter

    base = open_base(tiny_base, name="tiny")
    adapted = decoder.with_deltas(delta_of(inspect_adapter(tiny_adapters[0], base)))
    before, after = (gram_matrices(each, ids, LAYERS) for each in (decoder, adapted))
    same = {name for name in LAYERS if np.array_equal(before[name], after[name])}
    assert same == {"model.layers.0.self_attn.q_proj"}


def test_without_prompts_all_is_zero(decoder: Decoder) -> None:
    assert not any(matrix.any() for matrix in gram_matrices(decoder, [], LAYERS).values())


def test_more_tokens_than_are_exact_are_refused(
    decoder: Decoder, ids: list[Ids], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gram, "MAX_TOKENS", 20)
    with pytest.raises(MethodError, match="fewer than 20"):
        gram_matrices(decoder, ids, LAYERS)
