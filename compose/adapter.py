"""A LoRA adapter in PEFT's file format, inspected before any library opens it.

PEFT 0.21.2 loads an adapter with one tensor too many by overwriting the base model, invents
random values for one too few, and lets NaN pass (its attention swallows them). So every tensor
is accounted for here: exactly one A [r, in] and one B [out, r] per targeted linear layer of every
decoder layer, all values finite, and the update s*B*A bounded against the weight it changes.
`compose.admission` lists all checks.

`open_adapter` reads names, configuration and header and no tensor; `inspect_adapter` then looks at
every number, piece by piece, so neither needs more memory for a larger file.

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
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from compose.adapter_config import TARGETS, AdapterConfig
from compose.adapter_files import check_dense, check_files, read_config
from compose.admission import (
    CONFIG,
    DTYPES,
    MAX_RELATIVE_NORM,
    MAX_RELATIVE_SPECTRAL_NORM,
    MAX_WEIGHTS_BYTES,
    MIN_PRODUCT,
    MIN_RELATIVE_NORM,
    WEIGHTS,
)
from compose.base import BaseModel
from compose.errors import UnfitAdapterError
from compose.header import Header, TensorInfo, decode_tensor, read_bytes, read_header
from compose.untrusted import open_regular
from compose.values import Product, check_values, gram, product
from ledger.encoding import canonical_json
from ledger.errors import DigestError

Factors = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

_TENSOR = re.compile(
    r"base_model\.model\.(model\.layers\.(0|[1-9][0-9]{0,3})\.(\w+\.\w+))\.lora_([AB])\.weight",
    re.ASCII,
)
_VOCABULARY = re.compile(r"embed|lm_head|wte", re.ASCII)


@dataclass(frozen=True, slots=True)
class AdapterLayer:
    """The two factors of one linear layer: `a` is [rank, in], `b` is [out, rank]."""

    linear: str
    a: TensorInfo
    b: TensorInfo


@dataclass(frozen=True, slots=True)
class OpenedAdapter:
    """An adapter whose names, configuration and header passed; no number was looked at yet."""

    directory: Path
    config: AdapterConfig
    header: Header
    layers: tuple[AdapterLayer, ...]

    def read(self, layer: AdapterLayer) -> tuple[Factors, tuple[str, str]]:
        """Return A [rank, in] and B [out, rank] of a layer, and the SHA-256 of the bytes of each.

        The values are float64 without rounding.

        Raises:
            UnfitAdapterError: for a value that is not finite, or if the file changed its size.
        """
        factors, hashes = [], []
        for info in (layer.a, layer.b):
            data = read_bytes(self.directory / WEIGHTS, self.header, info)
            hashes.append(hashlib.sha256(data).hexdigest())
            factors.append(decode_tensor(data, info))
        return (factors[0], factors[1]), (hashes[0], hashes[1])


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
    opened: OpenedAdapter = field(repr=False, compare=False)

    def factors(self) -> dict[str, Factors]:
        """Return A [rank, in] and B [out, rank] per linear layer, in float64 without rounding.

        Raises:
            DigestError: if the file no longer holds the tensors that were inspected.
        """
        result: dict[str, Factors] = {}
        hashes: dict[str, str] = {}
        for layer in self.layers:
            factors, (hash_a, hash_b) = self.opened.read(layer)
            result[layer.linear] = factors
            hashes |= {layer.a.name: hash_a, layer.b.name: hash_b}
        if _tensor_digest(self.opened.header, hashes, self.scale) != self.tensor_digest:
            raise DigestError(f"adapter {self.directory.name}: tensors changed since inspection")
        return result


def open_config(directory: Path) -> AdapterConfig:
    """Check the files of an adapter directory by name and kind, and its configuration.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitAdapterError: naming the file or field that is not accepted.
    """
    what = f"adapter {directory.name}"
    check_files(directory, what=what)
    return AdapterConfig.parse(read_config(directory, what=what), what=f"{what}: {CONFIG}")


def open_adapter(directory: Path, base: BaseModel | None) -> OpenedAdapter:
    """Check everything about an adapter that can be seen without reading a tensor.

    Args:
        directory: `adapter_config.json`, `adapter_model.safetensors`, optionally `README.md` and
            `card.json`, and nothing else.
        base: the base model, or None where it is not at hand; shapes are then only checked among
            the adapter's own tensors.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitAdapterError: naming the file, field or tensor that is not accepted.
    """
    what = f"adapter {directory.name}"
    config = open_config(directory)
    header = read_header(directory / WEIGHTS, what=what, max_bytes=MAX_WEIGHTS_BYTES)
    check_dense(directory, what=what)
    layers = _pair(header, config, base, what)
    _check_shapes(layers, config.rank, base, what)
    return OpenedAdapter(directory, config, header, layers)


def inspect_adapter(directory: Path, base: BaseModel | None) -> Adapter:
    """Check an adapter directory completely and return what composition may rely on.

    Args:
        directory: see `open_adapter`.
        base: the base model, or None where it is not at hand; shapes and norms are then only
            checked among the adapter's own tensors.

    Raises:
        NotFoundError: if there is no such directory.
        UnfitAdapterError: naming the file, field or tensor that is not accepted.
    """
    what = f"adapter {directory.name}"
    opened = open_adapter(directory, base)
    with open_regular(
        directory / WEIGHTS, what=what, max_bytes=opened.header.file_size, error=UnfitAdapterError
    ) as (file, _):
        hashes = _check_numbers(file, opened, base, what)
    config, header = opened.config, opened.header
    return Adapter(
        directory=directory,
        rank=config.rank,
        alpha=config.alpha,
        rslora=config.rslora,
        scale=config.scale,
        target_modules=config.target_modules,
        layers=opened.layers,
        tensor_digest=_tensor_digest(header, hashes, config.scale),
        parameters=sum(info.count for info in header.tensors.values()),
        opened=opened,
    )


def _check_numbers(
    file: BinaryIO, opened: OpenedAdapter, base: BaseModel | None, what: str
) -> dict[str, str]:
    """Look at all numbers and bound every update; return the SHA-256 of each tensor by name."""
    header = opened.header
    hashes = {}
    for info in header.tensors.values():
        hashes[info.name] = check_values(file, header, info, what=what)
    moving = False
    for layer in opened.layers:
        norms = product(
            gram(file, header, layer.a, along=1, what=what),
            gram(file, header, layer.b, along=0, what=what),
        )
        if base is not None:
            _check_norm(norms, opened.config.scale, base, layer.linear, what)
        moving = moving or _moves(norms, opened.config.scale, base, layer.linear)
    if not moving:
        raise UnfitAdapterError(
            f"{what}: its update is zero in every layer",
            hint="train it first: PEFT begins with B at zero, and such an adapter adds nothing",
            check="all-zero",
        )
    return hashes


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
                check="vocabulary" if _VOCABULARY.search(info.name) else "unplaced-tensor",
            )
        linear, factor = match[1], match[4]
        if base is not None and linear not in base.linears:
            raise UnfitAdapterError(
                f"{what}: tensor {info.name} is for a layer that base {base.name} does not have",
                check="unplaced-tensor",
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
                    check="missing-tensor",
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
                    f"only {', '.join(DTYPES)} are accepted",
                    check="dtype",
                )
            if len(info.shape) != 2:
                raise UnfitAdapterError(
                    f"{what}: tensor {info.name} has shape {list(info.shape)}, not two dimensions",
                    check="shape",
                )
        inner = base.linears[layer.linear].in_features if base else layer.a.shape[1]
        outer = base.linears[layer.linear].out_features if base else layer.b.shape[0]
        for info, wanted in ((layer.a, (rank, inner)), (layer.b, (outer, rank))):
            if info.shape != wanted:
                raise UnfitAdapterError(
                    f"{what}: tensor {info.name} has shape {list(info.shape)}, "
                    f"rank {rank} and the layer call for {list(wanted)}",
                    check="shape",
                )


def _check_norm(norms: Product, scale: float, base: BaseModel, linear: str, what: str) -> None:
    weight = base.weight_norm(linear)
    layer = base.linears[linear]
    # The root mean square of the singular values of W: ||W||_F over the root of their number.
    typical = weight / min(layer.in_features, layer.out_features) ** 0.5
    for check, name, value, limit, of in (
        ("norm", "norm", norms.frobenius, MAX_RELATIVE_NORM, weight),
        ("spectral-norm", "spectral norm", norms.spectral, MAX_RELATIVE_SPECTRAL_NORM, typical),
    ):
        if scale * value > limit * of:
            raise UnfitAdapterError(
                f"{what}: the update of {linear} has {name} {scale * value:.4g}, more than "
                f"{limit:g} times the {of:.4g} of the weight it changes",
                hint="train with a smaller learning rate or lora_alpha",
                check=check,
            )


def _moves(norms: Product, scale: float, base: BaseModel | None, linear: str) -> bool:
    """Whether an update is more than rounding, of its own product and of the weight it changes."""
    if norms.frobenius <= MIN_PRODUCT * norms.bound:
        return False
    return base is None or scale * norms.frobenius > MIN_RELATIVE_NORM * base.weight_norm(linear)


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
