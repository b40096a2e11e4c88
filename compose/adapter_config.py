"""`adapter_config.json` of a plain LoRA, by allow-list.

Every field of PEFT 0.21.2's LoraConfig is known here: it is used, informative, or must keep the
neutral value that plain LoRA gives it. Fields of other versions are accepted only when they are
null, false or empty, because a field that is set may change what the adapter computes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from compose.admission import MAX_ALPHA, MAX_RANK, MAX_SCALE, MAX_TEXT, MIN_SCALE
from compose.errors import UnfitAdapterError
from compose.llama import LINEAR_SUFFIXES
from compose.untrusted import shown

TARGETS: Mapping[str, str] = {suffix.rsplit(".", 1)[1]: suffix for suffix in LINEAR_SUFFIXES}
"""The names `target_modules` may hold, each with the suffix of the layers it stands for."""

_USED = {
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "use_rslora",
    "target_modules",
    "init_lora_weights",
    "auto_mapping",
}
_TEXTS = {"base_model_name_or_path", "peft_version", "revision"}
_FLAGS = {"inference_mode"}
# Further values that PEFT writes for plain LoRA although the feature they belong to is off.
_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "megatron_core": ("megatron.core",),
    "qalora_group_size": (16,),
    "runtime_config": ({"ephemeral_gpu_offload": False},),
}
_NEUTRAL = {
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "modules_to_save",
    "monteclora_config",
    "rank_pattern",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
}
KNOWN_FIELDS = frozenset(_USED | _TEXTS | _FLAGS | set(_DEFAULTS) | _NEUTRAL)
# What PEFT writes when the task type was left out. It names a class to import; we never do.
_PLAIN_AUTO_MAPPING = {
    "base_model_class": "LlamaForCausalLM",
    "parent_library": "transformers.models.llama.modeling_llama",
}
# Fields of other loaders that name code to import, from the advisories of these.
_IMPORTS = {
    "_attn_implementation",
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "model_file",
    "trust_remote_code",
}
_CHECK_OF = {
    "alpha_pattern": "pattern",
    "bias": "bias",
    "exclude_modules": "pattern",
    "layers_pattern": "pattern",
    "layers_to_transform": "pattern",
    "lora_bias": "bias",
    "megatron_config": "code-import",
    "megatron_core": "code-import",
    "modules_to_save": "modules-to-save",
    "rank_pattern": "pattern",
    "trainable_token_indices": "vocabulary",
    "use_dora": "dora",
}
"""The check of a field that is not neutral; `feature` for the others."""
_PLAIN_NAME = re.compile(r"[a-z_]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """What composition needs from the configuration of a plain LoRA.

    `base_name` is what it says it was trained on, or ""; a hint, never an authority.
    """

    rank: int
    alpha: str
    rslora: bool
    scale: float
    target_modules: tuple[str, ...]
    base_name: str

    @classmethod
    def parse(cls, config: Mapping[str, Any], *, what: str) -> AdapterConfig:
        """Read a parsed `adapter_config.json`.

        Raises:
            UnfitAdapterError: naming the field that is not that of a plain LoRA.
        """
        _check_kind(config, what)
        for field, value in config.items():
            _check_field(field, value, what)
        rank = _rank(config.get("r"), what)
        alpha = _alpha(config.get("lora_alpha"), what)
        rslora = config.get("use_rslora", False)
        if not isinstance(rslora, bool):
            raise UnfitAdapterError(
                f"{what}: use_rslora is {shown(rslora)}, not true or false", check="scale"
            )
        return cls(
            rank=rank,
            alpha=f"{alpha:f}",
            rslora=rslora,
            scale=_scale(alpha, rank, what, rslora=rslora),
            target_modules=_targets(config.get("target_modules"), what),
            base_name=config.get("base_model_name_or_path") or "",
        )


def _check_kind(config: Mapping[str, Any], what: str) -> None:
    if config.get("peft_type") != "LORA":
        raise UnfitAdapterError(
            f"{what}: peft_type is {shown(config.get('peft_type'))}, only 'LORA' is accepted",
            check="method",
        )
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise UnfitAdapterError(
            f"{what}: task_type is {shown(config['task_type'])}, only 'CAUSAL_LM' is accepted",
            check="task",
        )
    if config.get("auto_mapping") not in (None, {}, _PLAIN_AUTO_MAPPING):
        raise UnfitAdapterError(
            f"{what}: auto_mapping is {shown(config['auto_mapping'])}, "
            "which names code to import elsewhere",
            hint="save the adapter with task_type='CAUSAL_LM'",
            check="code-import",
        )
    if not isinstance(config.get("init_lora_weights", True), bool):
        raise UnfitAdapterError(
            f"{what}: init_lora_weights is {shown(config['init_lora_weights'])}; initialisations "
            "such as PiSSA and OLoRA change the base model when they are loaded",
            hint="convert the adapter to plain LoRA, then save it with init_lora_weights true",
            check="initialisation",
        )
    dropout = config.get("lora_dropout", 0)
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UnfitAdapterError(
            f"{what}: lora_dropout is {shown(dropout)}, not in 0..1", check="dropout"
        )


def _check_field(field: str, value: Any, what: str) -> None:
    if field in _USED or value is None or value is False or value in ("", [], {}):
        return
    if field in _TEXTS:
        if not isinstance(value, str) or len(value) > MAX_TEXT:
            raise UnfitAdapterError(
                f"{what}: {field} is {shown(value)}, not a short text", check="base-override"
            )
    elif field in _FLAGS:
        if not isinstance(value, bool):
            raise UnfitAdapterError(
                f"{what}: {field} is {shown(value)}, not true or false", check="feature"
            )
    elif field in KNOWN_FIELDS:
        if not any(value == ok and type(value) is type(ok) for ok in _DEFAULTS.get(field, ())):
            raise UnfitAdapterError(
                f"{what}: {field} is {shown(value)}; only plain LoRA without it is accepted",
                check=_CHECK_OF.get(field, "feature"),
            )
    elif field in _IMPORTS:
        raise UnfitAdapterError(
            f"{what}: {field} is {shown(value)}, which asks a loader to run code",
            hint="remove the field; an adapter needs no code",
            check="code-import",
        )
    else:
        raise UnfitAdapterError(
            f"{what}: unknown field {shown(field)} is {shown(value)}; fields this version does "
            "not know are accepted only when null, false or empty",
            check="unknown-field",
        )


def _rank(value: Any, what: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_RANK:
        raise UnfitAdapterError(
            f"{what}: r is {shown(value)}, not an integer in 1..{MAX_RANK}", check="rank"
        )
    return value


def _alpha(value: Any, what: str) -> Decimal:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value <= MAX_ALPHA:
        raise UnfitAdapterError(
            f"{what}: lora_alpha is {shown(value)}, not a number in 0..2^20", check="alpha"
        )
    alpha = Decimal(repr(value))
    # 16, 16.0 and 1.6e1 are one number and get one text.
    return alpha.to_integral_value() if alpha == alpha.to_integral_value() else alpha.normalize()


def _scale(alpha: Decimal, rank: int, what: str, *, rslora: bool) -> float:
    scale = float(alpha) / (math.sqrt(rank) if rslora else rank)
    if not MIN_SCALE <= scale <= MAX_SCALE:
        divisor = f"sqrt({rank})" if rslora else str(rank)
        raise UnfitAdapterError(
            f"{what}: scale lora_alpha/r = {alpha}/{divisor} is outside 2^-10..2^10",
            check="scale",
        )
    return scale


def _targets(value: Any, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UnfitAdapterError(
            f"{what}: target_modules is the text {shown(value)}; patterns are not accepted",
            hint=f"list the names of the layers, from: {', '.join(TARGETS)}",
            check="pattern",
        )
    if not isinstance(value, list) or not value:
        raise UnfitAdapterError(
            f"{what}: target_modules is {shown(value)}, not a list of names", check="targets"
        )
    for name in value:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name) or name not in TARGETS:
            raise UnfitAdapterError(
                f"{what}: target_modules names {shown(name)}, not a linear layer of the decoder",
                hint=f"use plain names from: {', '.join(TARGETS)}",
                check="targets",
            )
    if len(set(value)) != len(value):
        raise UnfitAdapterError(f"{what}: target_modules names a layer twice", check="targets")
    return tuple(sorted(value))
