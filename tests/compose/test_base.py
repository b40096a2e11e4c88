"""A base model is pinned by what it computes with, and refused when that is in doubt."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compose.base import PinnedFile, manifest_digest, open_base
from compose.errors import UnfitBaseError
from compose.llama import LlamaShape
from ledger.errors import DigestError, NotFoundError
from tests.compose.hostile import encode, read_tensors
from tests.compose.tiny import save_base

WEIGHTS = "model.safetensors"
PLAIN = {
    "model_type": "llama",
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_base, tmp_path / "base"))


def test_shape_and_tensors_of_a_base_saved_by_transformers(tiny_base: Path) -> None:
    from transformers import LlamaForCausalLM

    base = open_base(tiny_base, name="tiny")
    assert base.shape == LlamaShape(
        vocab_size=36,
        hidden_size=16,
        intermediate_size=24,
        layers=2,
        heads=2,
        kv_heads=1,
        head_dim=8,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        tied_embeddings=False,
        max_positions=64,
    )
    assert base.eos_token_ids == (2,)
    model = LlamaForCausalLM.from_pretrained(tiny_base)
    state = model.state_dict()
    assert base.shape.tensors() == {name: tuple(each.shape) for name, each in state.items()}
    for name, tensor in state.items():
        np.testing.assert_array_equal(base.tensor(name), tensor.double().numpy())
    linears = {
        name: (module.out_features, module.in_features)
        for name, module in model.named_modules()
        if type(module).__name__ == "Linear" and name != "lm_head"
    }
    assert linears == {
        name: (layer.out_features, layer.in_features) for name, layer in base.linears.items()
    }


def test_digest_is_that_of_the_canonical_manifest(tiny_base: Path) -> None:
    base = open_base(tiny_base, name="tiny")
    names = ["config.json", "generation_config.json", WEIGHTS, "tokenizer.json"]
    names.append("tokenizer_config.json")
    rows = ",".join(
        f'{{"bytes":{(tiny_base / name).stat().st_size},"path":"{name}",'
        f'"sha256":"{hashlib.sha256((tiny_base / name).read_bytes()).hexdigest()}"}}'
        for name in names
    )
    assert [each.path for each in base.files] == names
    assert base.digest == hashlib.sha256(f'{{"files":[{rows}]}}'.encode()).hexdigest()
    assert manifest_digest(reversed(base.files)) == base.digest


def test_digest_ignores_the_name_and_what_does_not_compute(copy: Path) -> None:
    before = open_base(copy, name="one")
    (copy / "README.md").write_text("# tiny")
    (copy / ".gitattributes").write_text("")
    (copy / "pytorch_model.bin").write_bytes(b"never opened")
    (copy / "onnx").mkdir()
    assert open_base(copy, name="two").digest == before.digest


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_digest_changes_with_every_pinned_file(copy: Path, name: str) -> None:
    before = open_base(copy, name="tiny")
    path = copy / name
    path.write_text(path.read_text() + "\n")
    assert open_base(copy, name="tiny").digest != before.digest
    with pytest.raises(DigestError, match=name):
        before.check_unchanged()


def test_changed_weights_are_noticed(copy: Path) -> None:
    base = open_base(copy, name="tiny")
    base.check_unchanged()
    data = bytearray((copy / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (copy / WEIGHTS).write_bytes(data)
    with pytest.raises(DigestError, match=WEIGHTS):
        base.check_unchanged()


def test_manifest_digest_tells_files_apart() -> None:
    one, two = PinnedFile("a", "00" * 32, 1), PinnedFile("b", "00" * 32, 1)
    assert len({manifest_digest(files) for files in ([one], [two], [one, two])}) == 3


def test_tied_base_has_no_output_layer(tmp_path: Path, one_thread: None) -> None:
    directory = save_base(tmp_path / "tied", tie_word_embeddings=True)
    base = open_base(directory, name="tied")
    assert base.shape.tied_embeddings
    tensors = read_tensors(directory / WEIGHTS)
    assert "lm_head.weight" not in tensors
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    (directory / WEIGHTS).write_bytes(encode(tensors))
    with pytest.raises(UnfitBaseError, match="tie_word_embeddings"):
        open_base(directory, name="tied")


def test_sharded_base_is_read_through_its_index(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    directory = Path(shutil.copytree(tiny_base, tmp_path / "sharded"))
    (directory / WEIGHTS).unlink()
    model = LlamaForCausalLM.from_pretrained(tiny_base)
    model.save_pretrained(directory, max_shard_size="6KB")
    base = open_base(directory, name="sharded")
    whole = open_base(tiny_base, name="tiny")
    assert len(base.headers) > 1
    assert base.digest != whole.digest
    for name in whole.shape.tensors():
        np.testing.assert_array_equal(base.tensor(name), whole.tensor(name))
    index = directory / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"].pop("model.norm.weight")
    index.write_text(json.dumps(document))
    with pytest.raises(UnfitBaseError, match="weight_map"):
        open_base(directory, name="sharded")
    index.unlink()
    with pytest.raises(UnfitBaseError, match=r"no model\.safetensors\.index\.json"):
        open_base(directory, name="sharded")


def test_weight_norm_is_that_of_the_weight(tiny_base: Path) -> None:
    base = open_base(tiny_base, name="tiny")
    linear = "model.layers.1.mlp.down_proj"
    wanted = np.sqrt(np.square(base.tensor(f"{linear}.weight")).sum())
    assert base.weight_norm(linear) == pytest.approx(wanted, rel=1e-12)


def test_unknown_tensor_is_not_found(tiny_base: Path) -> None:
    with pytest.raises(NotFoundError, match="no tensor"):
        open_base(tiny_base, name="tiny").tensor("model.layers.9.x")


def test_missing_directory_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_base(tmp_path / "nowhere", name="tiny")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: (d / WEIGHTS).rename(d / "pytorch_model.bin"), "no safetensors weights"),
        (lambda d: (d / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda d: (d / "config.json").unlink(), "config.json is missing"),
        (lambda d: shutil.copy(d / WEIGHTS, d / "other.safetensors"), "is in model.safetensors"),
        (lambda d: (d / WEIGHTS).write_bytes(b""), "too short"),
        (lambda d: _link(d / WEIGHTS), "symbolic link"),
        (lambda d: _link(d / "tokenizer.json"), "symbolic link"),
        (lambda d: _retensor(d, lambda t: t.pop("model.norm.weight")), "norm.weight is missing"),
        (lambda d: _retensor(d, lambda t: t.update(x=("F32", [1], bytes(4)))), "x is not part"),
        (lambda d: _retensor(d, _transpose), "has shape [24, 16]"),
        (lambda d: _retensor(d, _integers), "dtype I32"),
        (lambda d: _reconfigure(d, "tokenizer_config.json", auto_map={"x": "y"}), "auto_map"),
        (lambda d: _reconfigure(d, "generation_config.json", eos_token_id=99), "eos_token_id"),
        (lambda d: _reconfigure(d, "config.json", hidden_size=32), "config.json calls for"),
    ],
)
def test_unfit_base_is_refused(copy: Path, change: Callable[[Path], object], reason: str) -> None:
    change(copy)
    with pytest.raises(UnfitBaseError) as caught:
        open_base(copy, name="tiny")
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("auto_map", {"AutoModel": "modeling.py"}),
        ("model_type", "mistral"),
        ("architectures", ["LlamaForSequenceClassification"]),
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("mlp_bias", 1),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8.0}),
        ("rope_scaling", {"type": "linear", "factor": 2.0}),
        ("rope_scaling", "default"),
        ("rope_parameters", {"rope_theta": 1e4, "rope_type": "yarn"}),
        ("rope_parameters", {"rope_theta": 1e4, "factor": 2.0}),
        ("rope_parameters", {"partial_rotary_factor": 0.5}),
        ("partial_rotary_factor", 0.5),
        ("quantization_config", {"bits": 4}),
        ("_attn_implementation", "someone/kernel"),
        ("attn_implementation", "someone/kernel"),
        ("sliding_window", 128),
        ("num_key_value_heads", 3),
        ("head_dim", 7),
        ("vocab_size", 0),
        ("vocab_size", True),
        ("hidden_size", 2**40),
        ("num_hidden_layers", "1"),
        ("rms_norm_eps", 0),
        ("rms_norm_eps", "1e-6"),
        ("tie_word_embeddings", "yes"),
    ],
)
def test_configuration_of_another_model_is_refused_by_field(field: str, value: Any) -> None:
    with pytest.raises(UnfitBaseError, match=field):
        LlamaShape.parse(PLAIN | {field: value}, what="base")


@pytest.mark.parametrize("field", sorted(PLAIN))
def test_missing_field_is_named(field: str) -> None:
    with pytest.raises(UnfitBaseError, match=field):
        LlamaShape.parse({key: PLAIN[key] for key in PLAIN if key != field}, what="base")


@pytest.mark.parametrize(
    "extra",
    [
        {"rope_theta": 500000.0},
        {"rope_theta": 500000, "rope_scaling": None},
        {"rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"}},
        {"rope_theta": 5e5, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}},
        {"rope_scaling": {"type": "default"}, "rope_theta": 5e5},
    ],
)
def test_both_spellings_of_rope_theta_are_read(extra: dict[str, Any]) -> None:
    assert LlamaShape.parse(PLAIN | extra, what="base").rope_theta == 500000.0


def test_contradicting_rope_theta_is_refused() -> None:
    extra = {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}
    with pytest.raises(UnfitBaseError, match="rope_theta is given"):
        LlamaShape.parse(PLAIN | extra, what="base")


def test_defaults_are_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**{k: v for k, v in PLAIN.items() if k != "model_type"})
    saved = json.loads(config.to_json_string())
    assert len(saved) > len(PLAIN)
    assert LlamaShape.parse(PLAIN, what="x") == LlamaShape.parse(saved, what="y")


@pytest.mark.parametrize("extra", [{"invented": None}, {"invented": False}, {"invented": {}}])
def test_unknown_field_passes_only_when_empty(extra: dict[str, Any]) -> None:
    assert LlamaShape.parse(PLAIN | extra, what="x") == LlamaShape.parse(PLAIN, what="x")


@pytest.mark.parametrize(
    ("config", "generation", "wanted"),
    [(5, None, (5,)), (5, 7, (7,)), ([9, 5, 9], None, (5, 9)), (None, None, ())],
)
def test_generation_defaults_say_what_ends_an_answer(
    copy: Path, config: Any, generation: Any, wanted: tuple[int, ...]
) -> None:
    _reconfigure(copy, "config.json", eos_token_id=config)
    _reconfigure(copy, "generation_config.json", eos_token_id=generation)
    assert open_base(copy, name="tiny").eos_token_ids == wanted


def _reconfigure(directory: Path, name: str, **fields: Any) -> None:
    path = directory / name
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _retensor(directory: Path, edit: Callable[[Any], object]) -> None:
    tensors = read_tensors(directory / WEIGHTS)
    edit(tensors)
    (directory / WEIGHTS).write_bytes(encode(tensors))


def _transpose(tensors: Any) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    dtype, shape, data = tensors[name]
    tensors[name] = (dtype, shape[::-1], data)


def _integers(tensors: Any) -> None:
    _, shape, data = tensors["model.norm.weight"]
    tensors["model.norm.weight"] = ("I32", shape, data)


def _link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)
