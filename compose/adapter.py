"""A LoRA adapter in PEFT's file format, inspected before any library opens it.

PEFT 0.21.2 loads an adapter with one tensor too many by overwriting the base model, invents
random values for one too few, and lets NaN pass (its attention swallows them). So every tensor
is accounted for here: exactly one A [r, in] and one B [out, r] per targeted linear layer of every
decoder layer, all values finite, and the update s*B*A bounded against the weight it changes.

The tensor digest is the SHA-256 of the canonical JSON of
`{"scale": hex float, "tensors": [{"dtype", "name", "sha256", "shape"}, ...]}`, tensors sorted by
name. It does not depend on file order, metadata or padding, so a re-saved copy keeps it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from compose.adapter_config import TARGETS, AdapterConfig
from compose.base import BaseModel
from compose.errors import UnfitAdapterError
from compose.header import Header, TensorInfo, decode_tensor, read_bytes, read_header
from compose.untrusted import list_names, parse_json_object, read_regular, shown
from ledger.encoding import canonical_json
from ledger.errors import DigestError

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
OPTIONAL = ("README.md", "card.json")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")

MAX_CONFIG_BYTES = 64 * 1024
MAX_OPTIONAL_BYTES = 1024 * 1024
MAX_WEIGHTS_BYTES = 1024 * 1024 * 1024
MAX_VALUE = 1024.0
MAX_RELATIVE_NORM = 8.0
"""Cap on ||s*B*A||_F / ||W||_F: beyond it an adapter replaces the base instead of adapting it."""
DTYPES = ("F32", "F16", "BF16")
ALL_ZERO = "all-zero"
"""Flag of an adapter whose every delta is zero: harmless, but it contributes nothing."""

Factors = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_TENSOR = re.compile(
    r"base_model\.model\.(model\.layers\.(0|[1-9][0-9]{0,3})\.(\w+\.\w+))\.lora_([AB])\.weight",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AdapterLayer:
    """The two factors of one linear layer: `a` is [rank, in], `b` is [out, rank]."""

    linear: str
    a: TensorInfo
    b: TensorInfo


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter that passed every check; `scale` is alpha/r, or alpha/sqrt(r) for rsLoRA."""

    directory: Path
    rank: int
    alpha: str
    rslora: bool
    scale: float
    target_modules: tuple[str, ...]
    layers: tuple[AdapterLayer, ...]
    tensor_digest: str
    parameters: int
    flags: tuple[str, ...]
    header: Header = field(repr=False, compare=False)

    def factors(self) -> dict[str, Factors]:
        """Return A [rank, in] and B [out, rank] per linear layer, in float64 without rounding.

        Raises:
            DigestError: if the file no longer holds the tensors that were inspected.
        """
        result: dict[str, Factors] = {}
        hashes: dict[str, str] = {}
        for layer in self.layers:
            pair = []
            for info in (layer.a, layer.b):
                data = read_bytes(self.directory / WEIGHTS, self.header, info)
                hashes[info.name] = hashlib.sha256(data).hexdigest()
                pair.append(decode_tensor(data, info))
            result[layer.linear] = (pair[0], pair[1])
        if _tensor_digest(self.header, hashes, self.scale) != self.tensor_digest:
            raise DigestError(f"adapter {self.directory.name}: tensors changed since inspection")
        return result


def inspect_adapter(directory: Path, base: BaseModel | None) -> Adapter:
    """Check an adapter directory completely and return what composition may rely on.

    Args:
        directory: `adapter_config.json`, `adapter_model.safetensors`, optionally `README.md` and
            `card.json`, and nothing else.
        base: the base model, or None where it is not at hand; shapes and norms are then only
            checked among the adapter's own tensors.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitAdapterError: naming the file, field or tensor that is not accepted.
    """
    what = f"adapter {directory.name}"
    _check_files(directory, what)
    config_bytes = read_regular(
        directory / CONFIG, what=what, max_bytes=MAX_CONFIG_BYTES, error=UnfitAdapterError
    )
    config_what = f"{what}: {CONFIG}"
    document = parse_json_object(config_bytes, what=config_what, error=UnfitAdapterError)
    config = AdapterConfig.parse(document, what=config_what)
    header = read_header(directory / WEIGHTS, what=what, max_bytes=MAX_WEIGHTS_BYTES)
    layers = _pair(header, config, base, what)
    _check_shapes(layers, config.rank, base, what)
    hashes: dict[str, str] = {}
    moving = False
    for layer in layers:
        a, b = _checked_values(directory, header, layer, hashes, what)
        norm = config.scale * _product_norm(a, b)
        moving = moving or norm > 0
        if base is not None:
            _check_norm(norm, base, layer.linear, what)
    return Adapter(
        directory=directory,
        rank=config.rank,
        alpha=config.alpha,
        rslora=config.rslora,
        scale=config.scale,
        target_modules=config.target_modules,
        layers=layers,
        tensor_digest=_tensor_digest(header, hashes, config.scale),
        parameters=sum(info.count for info in header.tensors.values()),
        flags=() if moving else (ALL_ZERO,),
        header=header,
    )


def _check_files(directory: Path, what: str) -> None:
    names = list_names(directory, what=what, error=UnfitAdapterError)
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
    if pickles and WEIGHTS not in names:
        raise UnfitAdapterError(
            f"{what}: weights only as a pickle ({shown(pickles[0])}), which can run code when "
            "it is opened",
            hint=f"save them as {WEIGHTS} (save_pretrained does so by default)",
        )
    for name in names:
        if name not in (CONFIG, WEIGHTS, *OPTIONAL):
            raise UnfitAdapterError(
                f"{what}: file {shown(name)} is not allowed",
                hint=f"an adapter is {CONFIG} and {WEIGHTS}, optionally {' and '.join(OPTIONAL)}",
            )
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise UnfitAdapterError(f"{what}: {name} is missing")
    for name in OPTIONAL:
        if name in names:
            read_regular(
                directory / name, what=what, max_bytes=MAX_OPTIONAL_BYTES, error=UnfitAdapterError
            )


def _pair(
    header: Header, config: AdapterConfig, base: BaseModel | None, what: str
) -> tuple[AdapterLayer, ...]:
    """Give every tensor its place; none may be left over and no place empty."""
    suffixes = [TARGETS[name] for name in config.target_modules]
    found: dict[str, dict[str, TensorInfo]] = {}
    depth = 0
    for info in header.tensors.values():
        match = _TENSOR.fullmatch(info.name)
        if match is None or match[3] not in suffixes:
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} is not lora_A or lora_B of a layer in "
                f"target_modules {list(config.target_modules)}",
                hint="a loader could overwrite the base model with it; save a plain LoRA only",
            )
        linear, factor = match[1], match[4]
        if base is not None and linear not in base.linears:
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} is for a layer that base {base.name} does not have"
            )
        depth = max(depth, int(match[2]) + 1)
        found.setdefault(linear, {})[factor] = info
    depth = base.shape.layers if base is not None else depth
    return tuple(_complete_layers(found, suffixes, depth, what))


def _complete_layers(
    found: Mapping[str, Mapping[str, TensorInfo]], suffixes: list[str], depth: int, what: str
) -> Iterator[AdapterLayer]:
    names = [f"model.layers.{number}.{suffix}" for number in range(depth) for suffix in suffixes]
    for linear in sorted(names):
        for factor in "AB":
            if factor not in found.get(linear, {}):
                raise UnfitAdapterError(
                    f"{what}: tensor base_model.model.{linear}.lora_{factor}.weight is missing",
                    hint="a loader would fill it with random values; target every layer",
                )
        yield AdapterLayer(linear, found[linear]["A"], found[linear]["B"])


def _check_shapes(
    layers: tuple[AdapterLayer, ...], rank: int, base: BaseModel | None, what: str
) -> None:
    for layer in layers:
        for info in (layer.a, layer.b):
            if info.dtype not in DTYPES:
                raise UnfitAdapterError(
                    f"{what}: tensor {info.name} has dtype {info.dtype}, "
                    f"only {', '.join(DTYPES)} are accepted"
                )
            if len(info.shape) != 2:
                raise UnfitAdapterError(
                    f"{what}: tensor {info.name} has shape {list(info.shape)}, not two dimensions"
                )
        inner = base.linears[layer.linear].in_features if base else layer.a.shape[1]
        outer = base.linears[layer.linear].out_features if base else layer.b.shape[0]
        for info, wanted in ((layer.a, (rank, inner)), (layer.b, (outer, rank))):
            if info.shape != wanted:
                raise UnfitAdapterError(
                    f"{what}: tensor {info.name} has shape {list(info.shape)}, "
                    f"rank {rank} and the layer call for {list(wanted)}"
                )


def _checked_values(
    directory: Path, header: Header, layer: AdapterLayer, hashes: dict[str, str], what: str
) -> Factors:
    """Return A and B and note the hash of the very bytes that were checked."""
    pair = []
    for info in (layer.a, layer.b):
        data = read_bytes(directory / WEIGHTS, header, info)
        hashes[info.name] = hashlib.sha256(data).hexdigest()
        try:
            values = decode_tensor(data, info)
        except UnfitAdapterError as cause:
            raise UnfitAdapterError(f"{what}: {cause.message}") from None
        largest = float(np.abs(values).max())
        if largest > MAX_VALUE:
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} has a value of size {largest:.6g}, "
                f"at most {MAX_VALUE:g} is accepted"
            )
        pair.append(values)
    return pair[0], pair[1]


def _product_norm(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    """Return ||B*A||_F from two r x r products: the square is trace((B'B)(AA'))."""
    square = float(np.sum((b.T @ b) * (a @ a.T)))
    return float(np.sqrt(max(square, 0.0)))


def _check_norm(norm: float, base: BaseModel, linear: str, what: str) -> None:
    weight = base.weight_norm(linear)
    if norm > MAX_RELATIVE_NORM * weight:
        raise UnfitAdapterError(
            f"{what}: the update of {linear} has norm {norm:.4g}, more than "
            f"{MAX_RELATIVE_NORM:g} times the {weight:.4g} of the weight it changes",
            hint="train with a smaller learning rate or lora_alpha",
        )


def _tensor_digest(header: Header, hashes: Mapping[str, str], scale: float) -> str:
    rows = [
        {
            "name": name,
            "dtype": header.tensors[name].dtype,
            "shape": list(header.tensors[name].shape),
            "sha256": hashes[name],
        }
        for name in sorted(header.tensors)
    ]
    document = canonical_json({"scale": scale.hex(), "tensors": rows})
    return hashlib.sha256(document).hexdigest()
