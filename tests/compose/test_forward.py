"""The forward pass is the Llama of transformers, without its float32 islands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.base import BaseModel, open_base
from compose.delta import delta_of
from compose.errors import UnfitBaseError
from compose.forward import Decoder

# transformers rounds its norms, rotary table and softmax to float32 even in a float64 model.
ISLANDS = 2e-5
NOISE = 1e-12

ROWS = [[6, 7, 8, 9, 4], [10, 11, 4], [12, 13, 14, 15, 16, 17, 4], [5, 6, 4]]


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> BaseModel:
    return open_base(tiny_base, name="tiny")


@pytest.fixture(scope="module")
def decoder(base: BaseModel) -> Decoder:
    return Decoder.load(base)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_are_those_of_transformers(tiny_base: Path, decoder: Decoder, dtype: str) -> None:
    import torch
    from transformers import LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=getattr(torch, dtype))
    for row in ROWS:
        with torch.inference_mode():
            expected = model(torch.tensor([row])).logits[0].double().numpy()
        assert np.abs(decoder.logits([row])[0] - expected).max() < ISLANDS


def test_tied_embeddings_are_those_of_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import LlamaForCausalLM

    from tests.compose.tiny import llama_config, save_tokenizer

    torch.manual_seed(3)
    model = LlamaForCausalLM(llama_config(tie_word_embeddings=True)).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    decoder = Decoder.load(open_base(tmp_path, name="tied"))
    with torch.inference_mode():
        expected = model(torch.tensor([ROWS[0]])).logits[0].numpy()
    assert np.abs(decoder.logits([ROWS[0]])[0] - expected).max() < ISLANDS


# PEFT 0.21.2 asks transformers for a property that 5.23 deprecates.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")
def test_an_adapter_is_that_of_peft(
    tiny_base: Path, tiny_adapters: list[Path], base: BaseModel, decoder: Decoder
) -> None:
    import torch
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    for path in tiny_adapters:
        plain = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float64)
        model = PeftModel.from_pretrained(plain, path).double().eval()
        with torch.inference_mode():
            expected = model(torch.tensor([ROWS[0]])).logits[0].numpy()
        adapted = decoder.with_deltas(delta_of(inspect_adapter(path, base)))
        assert np.abs(adapted.logits([ROWS[0]])[0] - expected).max() < ISLANDS


def test_padding_and_batch_change_nothing(decoder: Decoder) -> None:
    together = decoder.logits(ROWS)
    for number, row in enumerate(ROWS):
        alone = decoder.logits([row])[0]
        assert np.abs(together[number, : len(row)] - alone).max() < NOISE


def test_last_logits_are_the_last_of_all_logits(decoder: Decoder) -> None:
    last = decoder.last_logits(ROWS)
    for number, row in enumerate(ROWS):
        assert np.abs(last[number] - decoder.logits([row])[0, -1]).max() < NOISE


def test_a_cache_continues_where_the_rows_ended(decoder: Decoder) -> None:
    rows = [[6, 7, 8, 9], [10, 11, 12, 13], [14, 15, 6, 7]]
    _, cache = decoder.start([row[:2] for row in rows])
    order = [2, 0, 0]
    _, cache = decoder.extend(cache.rows(order), [rows[each][2] for each in order])
    logits, cache = decoder.extend(cache, [rows[2][3], rows[0][3], 5])
    whole = decoder.last_logits([rows[2], rows[0], [*rows[0][:3], 5]])
    assert cache.length == 4
    assert np.abs(logits - whole).max() < NOISE


def test_deltas_leave_the_base_as_it_was(
    base: BaseModel, tiny_adapters: list[Path], decoder: Decoder
) -> None:
    before = decoder.logits(ROWS)
    adapted = decoder.with_deltas(delta_of(inspect_adapter(tiny_adapters[0], base)))
    assert np.abs(adapted.logits(ROWS)[0, 0] - before[0, 0]).max() > 1e-3
    assert np.array_equal(decoder.logits(ROWS), before)
    assert decoder.with_deltas(None) is decoder


def test_threads_and_global_settings_do_not_matter(decoder: Decoder) -> None:
    import torch

    before = decoder.logits(ROWS)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.set_default_dtype(torch.float64)
    try:
        assert np.abs(decoder.logits(ROWS) - before).max() < NOISE
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)


def test_a_row_past_the_positions_is_refused(decoder: Decoder) -> None:
    with pytest.raises(UnfitBaseError, match="64 positions"):
        decoder.logits([[6] * 65])
    _, cache = decoder.start([[6] * 64])
    with pytest.raises(UnfitBaseError, match="64 positions"):
        decoder.extend(cache, [6])
