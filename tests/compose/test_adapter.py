"""What an adapter must be before anything opens it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.adapter_config import KNOWN_FIELDS, AdapterConfig
from compose.base import BaseModel, open_base
from compose.errors import UnfitAdapterError
from ledger.errors import DigestError, NotFoundError
from tests.compose.hostile import (
    CONFIG,
    Q0,
    WEIGHTS,
    encode,
    read_tensors,
    retensored,
)
from tests.compose.tiny import ATTENTION, save_adapter


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> BaseModel:
    return open_base(tiny_base, name="tiny")


@pytest.fixture
def adapter(tiny_adapters: list[Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_adapters[0], tmp_path / "adapter"))


def test_plain_adapters_saved_by_peft_pass(tiny_adapters: list[Path], base: BaseModel) -> None:
    inspected = [inspect_adapter(each, base) for each in tiny_adapters]
    assert [each.rank for each in inspected] == [2, 4, 4, 2]
    assert [each.alpha for each in inspected] == ["4", "8", "4", "3"]
    assert [each.scale for each in inspected] == [2.0, 2.0, 2.0, 1.5]
    assert [each.rslora for each in inspected] == [False, False, True, False]
    assert inspected[3].target_modules == ("down_proj", "q_proj", "v_proj")
    assert len(inspected[0].layers) == 14
    assert len({each.tensor_digest for each in inspected}) == 4


def test_every_field_that_peft_writes_is_known(adapter: Path) -> None:
    assert set(json.loads((adapter / CONFIG).read_text())) <= KNOWN_FIELDS


def test_every_feature_of_peft_is_refused_when_it_is_on() -> None:
    """A field whose non-neutral value passes must be one that plain LoRA uses or ignores."""
    from peft import LoraConfig

    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
    inert = {"lora_dropout", "inference_mode", "base_model_name_or_path", "peft_version"}
    inert |= {"revision", "use_rslora", "init_lora_weights", *plain}
    fields = {field.lower() for field in LoraConfig().to_dict()} - inert
    assert len(fields) > 25
    for field in fields:
        with pytest.raises(UnfitAdapterError, match=field):
            AdapterConfig.parse(plain | {field: {"on": 1}}, what="adapter")


def test_adapter_saved_without_task_type_passes(
    tiny_base: Path, tmp_path: Path, base: BaseModel
) -> None:
    directory = save_adapter(
        tiny_base, tmp_path / "a", seed=5, r=2, target_modules=list(ATTENTION), task_type=None
    )
    assert json.loads((directory / CONFIG).read_text())["auto_mapping"]
    assert inspect_adapter(directory, base).rank == 2


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_unknown_field_passes_only_when_empty(adapter: Path, base: BaseModel, value: Any) -> None:
    _configure(adapter, invented_later=value)
    assert inspect_adapter(adapter, base).rank == 2


def test_factors_are_the_exact_values_of_the_file(
    tiny_adapters: list[Path], base: BaseModel
) -> None:
    from safetensors.numpy import load_file

    for directory in tiny_adapters:
        raw = load_file(directory / WEIGHTS)
        adapter = inspect_adapter(directory, base)
        factors = adapter.factors()
        assert list(factors) == sorted(factors) == [layer.linear for layer in adapter.layers]
        for linear, (a, b) in factors.items():
            stem = f"base_model.model.{linear}."
            assert a.dtype == b.dtype == np.float64
            np.testing.assert_array_equal(a, raw[stem + "lora_A.weight"].astype(np.float64))
            np.testing.assert_array_equal(b, raw[stem + "lora_B.weight"].astype(np.float64))
            layer = base.linears[linear]
            assert (b @ a).shape == (layer.out_features, layer.in_features)
        assert adapter.parameters == sum(array.size for array in raw.values())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_converted_exactly(adapter: Path, base: BaseModel, dtype: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    half = {
        name: tensor.to(getattr(torch, dtype))
        for name, tensor in load_file(adapter / WEIGHTS).items()
    }
    save_file(half, adapter / WEIGHTS)
    for linear, (a, _) in inspect_adapter(adapter, base).factors().items():
        wanted = half[f"base_model.model.{linear}.lora_A.weight"].double().numpy()
        np.testing.assert_array_equal(a, wanted)


def test_tensor_digest_survives_saving_the_same_tensors_in_another_way(
    adapter: Path, base: BaseModel
) -> None:
    before = inspect_adapter(adapter, base)
    data = (adapter / WEIGHTS).read_bytes()
    tensors = read_tensors(adapter / WEIGHTS)
    reordered = dict(sorted(tensors.items(), reverse=True))
    (adapter / WEIGHTS).write_bytes(encode(reordered, saved_by="somebody else"))
    _configure(adapter, lora_alpha=4.0, base_model_name_or_path="elsewhere", lora_dropout=0.1)
    after = inspect_adapter(adapter, base)
    assert (adapter / WEIGHTS).read_bytes() != data
    assert after.tensor_digest == before.tensor_digest
    assert after.alpha == before.alpha


def test_tensor_digest_changes_with_one_bit_or_the_scale(adapter: Path, base: BaseModel) -> None:
    digests = {inspect_adapter(adapter, base).tensor_digest}
    _configure(adapter, lora_alpha=5)
    digests.add(inspect_adapter(adapter, base).tensor_digest)
    data = bytearray((adapter / WEIGHTS).read_bytes())
    data[-4] ^= 1
    (adapter / WEIGHTS).write_bytes(data)
    digests.add(inspect_adapter(adapter, base).tensor_digest)
    assert len(digests) == 3


def test_order_of_target_modules_is_irrelevant(adapter: Path, base: BaseModel) -> None:
    before = inspect_adapter(adapter, base)
    _configure(adapter, target_modules=list(reversed(before.target_modules)))
    assert replace(inspect_adapter(adapter, base)) == before


def test_tensors_changed_after_inspection_are_not_used(adapter: Path, base: BaseModel) -> None:
    inspected = inspect_adapter(adapter, base)
    data = bytearray((adapter / WEIGHTS).read_bytes())
    data[-4] ^= 1
    (adapter / WEIGHTS).write_bytes(data)
    with pytest.raises(DigestError, match="changed since inspection"):
        inspected.factors()


def test_without_a_base_the_adapter_must_still_fit_itself(
    adapter: Path, tiny_adapters: list[Path], base: BaseModel
) -> None:
    for directory in tiny_adapters:
        assert inspect_adapter(directory, None) == inspect_adapter(directory, base)
    retensored(lambda tensors: tensors.pop(Q0) and None)(adapter)
    with pytest.raises(UnfitAdapterError, match="missing"):
        inspect_adapter(adapter, None)


def test_adapter_of_another_base_does_not_fit(adapter: Path, base: BaseModel) -> None:
    shape = replace(base.shape, layers=3)
    deeper = replace(base, shape=shape, linears=shape.linears())
    with pytest.raises(UnfitAdapterError, match=r"layers\.2\..* is missing"):
        inspect_adapter(adapter, deeper)
    shape = replace(base.shape, hidden_size=32)
    wider = replace(base, shape=shape, linears=shape.linears())
    with pytest.raises(UnfitAdapterError, match="shape"):
        inspect_adapter(adapter, wider)


def test_readme_and_card_are_allowed(adapter: Path, base: BaseModel) -> None:
    (adapter / "README.md").write_text("# mine")
    (adapter / "card.json").write_text("{}")
    assert inspect_adapter(adapter, base).rank == 2


def test_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        inspect_adapter(tmp_path / "nowhere", None)


def _configure(directory: Path, **fields: Any) -> None:
    path = directory / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
