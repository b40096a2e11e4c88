"""A weight merge as one adapter in PEFT's file format, which plain `peft` loads.

A merge that is a weighted sum of its members is written without truncation by concatenating ranks:
A = [A_1; A_2; ...], B = [w_1 s_1 B_1, w_2 s_2 B_2, ...], zeros where a member does not touch a
layer. Any other merge, and one whose ranks add up to more than can be loaded, goes through a
singular value decomposition, cut to the largest rank that is allowed. Factors are stored as
float32, which is what PEFT computes in. `error` says how far the stored product is from the merged
delta, relative in the Frobenius norm over all layers; the file of weights records it in its
metadata as "pnode.error", and the digest of the merged delta as "pnode.deltas".

The exported copy is for use. What names the composition is the digest of the merged delta; the
decomposition is not bit-stable across LAPACK builds and is never digested.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compose.adapter_config import TARGETS
from compose.admission import CONFIG, MAX_RANK, WEIGHTS
from compose.delta import Array, Deltas
from compose.errors import MethodError, MissingExtraError
from compose.methods.method import Assembly, Context
from ledger.errors import StorageError

Factors = dict[str, tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the rank, and the relative error as a decimal string."""

    rank: int
    error: str


def export_adapter(
    assembly: Assembly, context: Context, directory: Path, *, rank: int | None = None
) -> Exported:
    """Write the merge of a context's members as an adapter directory.

    Args:
        assembly: what a method of level "weight" made of the context.
        context: base and members, as for assembling.
        directory: created; must not exist.
        rank: largest rank to keep; by default the largest that can be loaded.

    Raises:
        MethodError: if the assembly is not a merge, or the rank is not one that can be loaded.
        StorageError: if the directory exists.
    """
    if rank is not None and not 1 <= rank <= MAX_RANK:
        raise MethodError(f"rank {rank} is not in 1..{MAX_RANK}")
    merged = assembly.merged
    if merged is None:
        raise MethodError(
            "this composition does not yield one adapter",
            hint="only weight merges of at least one member can be exported",
        )
    if not merged:
        raise MethodError(
            "this composition is the base: every member has weight zero, so there is no adapter",
            hint="leave out the export, or let the method search longer",
        )
    largest = MAX_RANK if rank is None else rank
    factors = _concatenated(assembly, context, largest) or _decomposed(merged, largest)
    rounded, kept = _uniform(factors, context)
    error = f"{_relative_error(merged, rounded):.12f}"
    metadata = {"pnode.deltas": merged.digest(), "pnode.error": error}
    _write(directory, context.base.name, rounded, kept, metadata)
    return Exported(kept, error)


def _concatenated(assembly: Assembly, context: Context, largest: int) -> Factors | None:
    """Return the factors of a weighted sum, None if it is none or its ranks add up to more."""
    if assembly.coefficients is None:
        return None
    taken = [
        (member.adapter, float(member.adapter.scale) * float(weight))
        for member, weight in zip(context.members, assembly.coefficients, strict=True)
        if weight
    ]
    total = sum(adapter.rank for adapter, _ in taken)
    if total > largest:
        return None
    layers: Factors = {}
    begin = 0
    for adapter, factor in taken:
        end = begin + adapter.rank
        for name, (a, b) in adapter.factors().items():
            if name not in layers:
                layers[name] = np.zeros((total, a.shape[1])), np.zeros((b.shape[0], total))
            layers[name][0][begin:end] = a
            layers[name][1][:, begin:end] = b * factor
        begin = end
    return layers


def _decomposed(merged: Deltas, rank: int) -> Factors:
    layers: Factors = {}
    for name, delta in merged.items():
        u, s, vt = np.linalg.svd(delta, full_matrices=False)
        root = np.sqrt(s[:rank])
        layers[name] = root[:, None] * vt[:rank], u[:, :rank] * root
    return layers


def _uniform(factors: Factors, context: Context) -> tuple[dict[str, tuple[Array, Array]], int]:
    """Give every layer of every targeted kind the same rank, as the format wants; round."""
    rank = max((a.shape[0] for a, _ in factors.values()), default=0)
    kinds = {name.rsplit(".", 1)[1] for name in factors}
    result = {}
    for name, layer in context.base.linears.items():
        if name.rsplit(".", 1)[1] not in kinds:
            continue
        a = np.zeros((rank, layer.in_features))
        b = np.zeros((layer.out_features, rank))
        if name in factors:
            kept = factors[name][0].shape[0]
            a[:kept], b[:, :kept] = factors[name]
        result[name] = (_float32(a), _float32(b))
    return result, rank


def _float32(values: Array) -> Array:
    return values.astype(np.float32).astype(np.float64)


def _relative_error(merged: Deltas, factors: Mapping[str, tuple[Array, Array]]) -> float:
    wrong = total = 0.0
    for name, (a, b) in factors.items():
        delta = merged.get(name, np.zeros((1, 1)))
        wrong += float(np.sum((b @ a - delta) ** 2))
        total += float(np.sum(delta**2))
    return math.sqrt(wrong / total) if total else 0.0


def _write(
    directory: Path,
    base: str,
    factors: Mapping[str, tuple[Array, Array]],
    rank: int,
    metadata: Mapping[str, str],
) -> None:
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise MissingExtraError("the safetensors library is not installed") from None
    tensors = {}
    for name, (a, b) in factors.items():
        prefix = f"base_model.model.{name}"
        tensors[f"{prefix}.lora_A.weight"] = np.ascontiguousarray(a, dtype=np.float32)
        tensors[f"{prefix}.lora_B.weight"] = np.ascontiguousarray(b, dtype=np.float32)
    config = {
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.rsplit(".", 1)[1] for name in factors} & TARGETS.keys()),
        "task_type": "CAUSAL_LM",
        "use_rslora": False,
    }
    try:
        directory.mkdir(parents=True)
    except FileExistsError:
        raise StorageError(f"{directory} exists", hint="name a new directory") from None
    (directory / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    save_file(tensors, directory / WEIGHTS, metadata={"format": "pt", **metadata})
