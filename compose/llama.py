"""The shape of a Llama decoder, read from `config.json` and refused when it is anything else.

Every field of the configuration is either one we compute with, one known to be informative, or
neutral (null, false, empty). A field that could change the computation and that we do not
implement is an error naming it, never a silent difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compose.errors import UnfitBaseError
from compose.untrusted import shown

LINEAR_SUFFIXES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""The linear layers of a decoder layer, below `model.layers.<number>.`."""

_SIZES = {
    "vocab_size": 2**21,
    "hidden_size": 2**16,
    "intermediate_size": 2**18,
    "num_hidden_layers": 512,
    "num_attention_heads": 1024,
    "num_key_value_heads": 1024,
    "head_dim": 2**12,
    "max_position_embeddings": 2**24,
}
_EXPECTED: Mapping[str, tuple[Any, ...]] = {
    "model_type": ("llama",),
    "architectures": (None, ["LlamaForCausalLM"]),
    "hidden_act": (None, "silu"),
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "is_llama_config": (None, False, True),
    "rope_interleaved": (None, False),
    "partial_rotary_factor": (None, 1, 1.0),
}
_COMPUTED = {"rms_norm_eps", "rope_theta", "rope_scaling", "rope_parameters", "tie_word_embeddings"}
_INFORMATIVE = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "initializer_range",
    "max_sequence_length",
    "pad_token_id",
    "pretraining_tp",
    "torch_dtype",
    "transformers.js_config",
    "transformers_version",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
}


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """One linear layer that an adapter may target; its weight is [out_features, in_features]."""

    name: str
    out_features: int
    in_features: int


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Everything the forward pass needs to know besides the weights."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    tied_embeddings: bool
    max_positions: int

    @classmethod
    def parse(cls, config: Mapping[str, Any], *, what: str) -> LlamaShape:
        """Read the shape from a parsed `config.json`, defaults as in transformers.

        Raises:
            UnfitBaseError: naming the field that makes it another kind of model.
        """
        _check_fields(config, what)
        heads = _size(config, "num_attention_heads", what)
        kv_heads = _size(config, "num_key_value_heads", what, default=heads)
        hidden_size = _size(config, "hidden_size", what)
        head_dim = _size(config, "head_dim", what, default=max(1, hidden_size // heads))
        if heads % kv_heads:
            raise UnfitBaseError(
                f"{what}: num_attention_heads {heads} is no multiple of "
                f"num_key_value_heads {kv_heads}"
            )
        if head_dim % 2:
            raise UnfitBaseError(f"{what}: head_dim {head_dim} is odd; rotary positions need pairs")
        return cls(
            vocab_size=_size(config, "vocab_size", what),
            hidden_size=hidden_size,
            intermediate_size=_size(config, "intermediate_size", what),
            layers=_size(config, "num_hidden_layers", what),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            rms_norm_eps=_positive(config, "rms_norm_eps", what, default=1e-6),
            rope_theta=_rope_theta(config, what),
            tied_embeddings=_flag(config, "tie_word_embeddings", what),
            max_positions=_size(config, "max_position_embeddings", what, default=2048),
        )

    def linears(self) -> dict[str, LinearLayer]:
        """Return the linear layers by name, such as `model.layers.0.self_attn.q_proj`."""
        hidden, inner = self.hidden_size, self.intermediate_size
        query, value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sizes = (
            (query, hidden),
            (value, hidden),
            (value, hidden),
            (hidden, query),
            (inner, hidden),
            (inner, hidden),
            (hidden, inner),
        )
        layers = [
            LinearLayer(f"model.layers.{number}.{suffix}", *size)
            for number in range(self.layers)
            for suffix, size in zip(LINEAR_SUFFIXES, sizes, strict=True)
        ]
        return {layer.name: layer for layer in layers}

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor the checkpoint must hold, by name."""
        hidden = (self.hidden_size,)
        result: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocab_size, self.hidden_size),
            "model.norm.weight": hidden,
        }
        if not self.tied_embeddings:
            result["lm_head.weight"] = (self.vocab_size, self.hidden_size)
        for number in range(self.layers):
            result[f"model.layers.{number}.input_layernorm.weight"] = hidden
            result[f"model.layers.{number}.post_attention_layernorm.weight"] = hidden
        for layer in self.linears().values():
            result[f"{layer.name}.weight"] = (layer.out_features, layer.in_features)
        return result


def _check_fields(config: Mapping[str, Any], what: str) -> None:
    if config.get("auto_map"):
        raise UnfitBaseError(
            f"{what}: auto_map asks to run code that comes with the model",
            hint="use a model whose architecture is part of transformers",
        )
    if "model_type" not in config:
        raise UnfitBaseError(f"{what}: field 'model_type' is missing")
    for field, value in config.items():
        if field in _EXPECTED:
            if not any(value == ok and type(value) is type(ok) for ok in _EXPECTED[field]):
                raise UnfitBaseError(f"{what}: {field} is {shown(value)}, not a Llama decoder")
        elif field not in _SIZES and field not in _COMPUTED | _INFORMATIVE and not _neutral(value):
            raise UnfitBaseError(
                f"{what}: field {shown(field)} is {shown(value)}, which is not supported",
                hint="only plain Llama decoders are accepted; unknown fields must be null or false",
            )


def _neutral(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _size(config: Mapping[str, Any], field: str, what: str, *, default: int | None = None) -> int:
    value = config.get(field)
    if value is None and default is not None:
        return default
    if type(value) is not int or not 1 <= value <= _SIZES[field]:
        raise UnfitBaseError(
            f"{what}: {field} is {shown(value)}, not an integer in 1..{_SIZES[field]}"
        )
    return value


def _positive(config: Mapping[str, Any], field: str, what: str, *, default: float) -> float:
    value = config.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise UnfitBaseError(f"{what}: {field} is {shown(value)}, not a positive number")
    return float(value)


def _flag(config: Mapping[str, Any], field: str, what: str) -> bool:
    value = config.get(field)
    if value is not None and not isinstance(value, bool):
        raise UnfitBaseError(f"{what}: {field} is {shown(value)}, not true or false")
    return bool(value)


def _rope_theta(config: Mapping[str, Any], what: str) -> float:
    """Return theta from `rope_theta` or, since transformers 5, `rope_parameters`."""
    thetas = []
    if config.get("rope_theta") is not None:
        thetas.append(_positive(config, "rope_theta", what, default=0.0))
    for field in ("rope_parameters", "rope_scaling"):
        table = config.get(field)
        if table is None:
            continue
        if not isinstance(table, dict):
            raise UnfitBaseError(f"{what}: {field} is {shown(table)}, not a table")
        _check_rope(table, f"{what}: {field}")
        if table.get("rope_theta") is not None:
            thetas.append(_positive(table, "rope_theta", f"{what}: {field}", default=0.0))
    if len(set(thetas)) > 1:
        raise UnfitBaseError(f"{what}: rope_theta is given as {thetas[0]} and as {thetas[1]}")
    return thetas[0] if thetas else 10000.0


def _check_rope(table: Mapping[str, Any], what: str) -> None:
    for field, value in table.items():
        if field in ("rope_type", "type"):
            if value != "default":
                raise UnfitBaseError(
                    f"{what}: {field} is {shown(value)}; only 'default' is supported"
                )
        elif field == "partial_rotary_factor":
            if isinstance(value, bool) or value not in (None, 1):
                raise UnfitBaseError(f"{what}: {field} is {shown(value)}; only 1 is supported")
        elif field != "rope_theta" and not _neutral(value):
            raise UnfitBaseError(f"{what}: field {shown(field)} is {shown(value)}, not supported")
