"""The forward pass of a Llama decoder in float64, our own so that nothing in it is float32.

Architecture: Touvron et al. 2023 (2302.13971): RMSNorm before each block, rotary positions with
the two halves rotated against each other, SwiGLU, grouped-query attention, optionally tied
embeddings. transformers computes RMSNorm, the rotary table and the eager softmax in float32 even
in a float64 model; here everything is float64, so that batch, padding, threads and instruction set
move a logit by no more than about 1e-14 and a decision only where it is a tie.

`Float32Decoder` gives that up for speed; `compose.exact` needs nothing to be small. Which of the
three runs is a matter of the exactness class (`compose.exactness`).

Padding is on the right and is never attended to, because attention is causal. A cache holds rows
of one length only, so it needs no mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, ClassVar, ParamSpec, Self, TypeVar

import numpy as np
import numpy.typing as npt

from compose.base import BaseModel
from compose.delta import Deltas
from compose.errors import MissingExtraError, UnfitBaseError
from compose.llama import LlamaShape

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[np.float64]
Gate = Callable[["torch.Tensor"], "torch.Tensor"]
"""From what goes into a linear layer to what is added to what comes out, both [..., features]."""
P = ParamSpec("P")
R = TypeVar("R")

MAX_WEIGHT_BYTES = 64 * 2**30
MAX_POSITIONS = 2**15
SERIAL_BELOW = 512
"""Loading a model narrower than this puts torch on one thread for the whole process: sharing its
small products costs more than it gains, and threads that wait for each other on busy cores can be
ten times slower. No answer depends on it."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Keys and values of a batch of equally long rows, per layer [rows, kv_heads, length, dim]."""

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    length: int

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(2 * keys.numel() * keys.element_size() for keys, _ in self.layers)

    def rows(self, index: Sequence[int]) -> Cache:
        """Return a cache of the given rows, repeats allowed."""
        import torch

        if list(index) == list(range(self.layers[0][0].shape[0])):
            return self
        at = torch.tensor(index, dtype=torch.int64)
        layers = tuple((k.index_select(0, at), v.index_select(0, at)) for k, v in self.layers)
        return Cache(layers, self.length)


def _inference_only(function: Callable[P, R]) -> Callable[P, R]:
    """Run without gradients.

    Every operation here is deterministic on the CPU, so `torch.use_deterministic_algorithms` would
    change nothing, and it imports 800 modules, which takes a second.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        import torch

        with torch.inference_mode():
            return function(*args, **kwargs)

    return run


class Decoder:
    """A base model, or a base model plus deltas, ready to run on the CPU."""

    __slots__ = ("_cosine", "_gates", "_sine", "_weights", "shape")

    activation_bytes: ClassVar[int] = 256 * 2**20
    """How large a batch's largest activation may be; no answer depends on it."""
    bytes_per_weight: ClassVar[int] = 8
    dtype: ClassVar[str] = "float64"

    def __init__(self, shape: LlamaShape, weights: Mapping[str, torch.Tensor]) -> None:
        """Take tensors of `dtype` under their checkpoint names; `load` is the usual way in."""
        self.shape = shape
        self._weights = dict(weights)
        self._gates: Mapping[str, Gate] = {}
        self._cosine, self._sine = self._table()

    @classmethod
    def load(cls, base: BaseModel) -> Self:
        """Read the weights of a base model that has been checked.

        Raises:
            UnfitBaseError: if the weights do not fit in memory.
            MissingExtraError: on an install without torch.
        """
        try:
            import torch
        except ImportError:
            raise MissingExtraError("torch is not installed") from None
        if base.shape.hidden_size < SERIAL_BELOW:
            torch.set_num_threads(1)
        needed = base.shape.tensors()
        total = cls.bytes_per_weight * sum(math.prod(shape) for shape in needed.values())
        if total > MAX_WEIGHT_BYTES:
            raise UnfitBaseError(f"{base.name}: {total} bytes in memory, past {MAX_WEIGHT_BYTES}")
        dtype = getattr(torch, cls.dtype)
        weights = {name: torch.from_numpy(base.tensor(name)).to(dtype) for name in needed}
        return cls(base.shape, weights)

    def with_deltas(self, deltas: Deltas | None) -> Self:
        """Return this decoder with deltas added; the weights they do not touch are shared."""
        return type(self)(self.shape, self._adapted(deltas)) if deltas else self

    def with_gates(self, gates: Mapping[str, Gate]) -> Self:
        """Return this decoder with something added to what linear layers put out, by their names.

        Only for engines that multiply layer by layer: not the exact one.
        """
        gated = type(self)(self.shape, self._weights)
        gated._gates = gates  # noqa: SLF001 - of the same class
        return gated

    def _adapted(self, deltas: Deltas) -> dict[str, torch.Tensor]:
        """Return the weights with deltas added, in float64 whatever the engine."""
        import torch

        weights = dict(self._weights)
        for name, delta in deltas.items():
            key = f"{name}.weight"
            adapted = torch.from_numpy(weights[key].numpy() + delta)
            weights[key] = adapted.to(weights[key].dtype)
        return weights

    @property
    def weights(self) -> Mapping[str, torch.Tensor]:
        """The weights by checkpoint name, not to be changed: decoders share them."""
        return self._weights

    @property
    def nbytes(self) -> int:
        """Bytes of all weights, shared ones included."""
        return self.bytes_per_weight * sum(each.numel() for each in self._weights.values())

    @property
    def positions(self) -> int:
        """The longest sequence this decoder takes."""
        return len(self._cosine)

    @_inference_only
    def logits(self, ids: Sequence[Sequence[int]]) -> Array:
        """Return next-token logits at every position, [rows, longest row, vocabulary].

        What stands at and after the end of a shorter row is padding, without meaning.
        """
        chunks = self._chunks(_padded(ids), scored=max(map(len, ids)))
        return np.concatenate([self._all(chunk, head=True) for chunk in chunks])

    @_inference_only
    def states(self, ids: Sequence[Sequence[int]]) -> Array:
        """Return the hidden states after the last norm, [rows, longest row, hidden]."""
        chunks = self._chunks(_padded(ids), scored=0)
        return np.concatenate([self._all(chunk, head=False) for chunk in chunks])

    def last_logits(self, ids: Sequence[Sequence[int]]) -> Array:
        """Return the logits after the last token of each row, [rows, vocabulary]."""
        result = np.empty((len(ids), self.shape.vocab_size))
        for rows in by_length(ids):
            result[rows] = self.start([ids[row] for row in rows])[0]
        return result

    @_inference_only
    def start(self, ids: Sequence[Sequence[int]]) -> tuple[Array, Cache]:
        """Return the logits after equally long rows, [rows, vocabulary], and their cache."""
        import torch

        outputs, caches = [], []
        for chunk in self._chunks(ids, scored=1):
            states, cache = self._blocks(torch.tensor(chunk), None)
            outputs.append(self._head(states[:, -1]).double().numpy())
            caches.append(cache)
        return np.concatenate(outputs), _joined(caches)

    @_inference_only
    def extend(self, cache: Cache, tokens: Sequence[int]) -> tuple[Array, Cache]:
        """Return logits and cache after one more token for each row of a cache."""
        import torch

        column = torch.tensor(tokens, dtype=torch.int64)[:, None]
        states, longer = self._blocks(column, cache)
        return self._head(states[:, -1]).double().numpy(), longer

    def log_probs(self, logits: Array) -> Array:
        """Return the log-softmax of the last axis, which must be finite."""
        shifted = logits - logits.max(axis=-1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return result

    def _table(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and sines, [positions, head_dim], of position * theta^(-2i / head_dim)."""
        import torch

        shape = self.shape
        exponents = np.arange(0, shape.head_dim, 2, dtype=np.float64) / shape.head_dim
        frequencies = 1.0 / np.power(shape.rope_theta, exponents)
        positions = min(shape.max_positions, MAX_POSITIONS)
        angles = np.outer(np.arange(positions, dtype=np.float64), frequencies)
        both = np.concatenate([angles, angles], axis=1)
        dtype = getattr(torch, self.dtype)
        return torch.from_numpy(np.cos(both)).to(dtype), torch.from_numpy(np.sin(both)).to(dtype)

    def _all(self, chunk: list[list[int]], *, head: bool) -> Array:
        import torch

        states, _ = self._blocks(torch.tensor(chunk), None)
        output = self._head(states) if head else self._norm(states, "model.norm")
        result: Array = output.double().numpy()
        return result

    def _chunks(self, ids: Sequence[Sequence[int]], scored: int) -> Iterator[list[list[int]]]:
        """Yield rows in batches whose largest activation stays within a fixed size.

        Args:
            ids: rows of one length.
            scored: at how many positions of a row logits are computed.
        """
        length, shape = len(ids[0]), self.shape
        self._check_length(length)
        widest = length * max(shape.intermediate_size, shape.heads * length)
        step = max(1, self.activation_bytes // (8 * 4 * max(widest, scored * shape.vocab_size)))
        for start in range(0, len(ids), step):
            yield [list(row) for row in ids[start : start + step]]

    def _check_length(self, length: int) -> None:
        if length > self.positions:
            raise UnfitBaseError(f"{length} tokens, but the base has {self.positions} positions")

    def _blocks(self, ids: torch.Tensor, past: Cache | None) -> tuple[torch.Tensor, Cache]:
        """Run all decoder layers; returns the states before the last norm, and the cache."""
        begin = past.length if past else 0
        self._check_length(begin + ids.shape[1])
        states = self._weights["model.embed_tokens.weight"][ids]
        layers = []
        for number in range(self.shape.layers):
            before = past.layers[number] if past else None
            states, kept = self._layer(states, number, before, begin)
            layers.append(kept)
        return states, Cache(tuple(layers), begin + ids.shape[1])

    def _layer(
        self,
        states: torch.Tensor,
        number: int,
        past: tuple[torch.Tensor, torch.Tensor] | None,
        begin: int,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return the states after one layer, and the layer's keys and values so far."""
        prefix = f"model.layers.{number}"
        inner = self._norm(states, f"{prefix}.input_layernorm")
        attended, kept = self._attention(inner, f"{prefix}.self_attn", past, begin)
        states = states + attended
        inner = self._norm(states, f"{prefix}.post_attention_layernorm")
        return states + self._mlp(inner, f"{prefix}.mlp"), kept

    def _attention(
        self,
        states: torch.Tensor,
        prefix: str,
        past: tuple[torch.Tensor, torch.Tensor] | None,
        begin: int,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        import torch

        rows, width, _ = states.shape
        shape = self.shape
        query = self._heads(self._linear(states, f"{prefix}.q_proj"), shape.heads)
        keys = self._heads(self._linear(states, f"{prefix}.k_proj"), shape.kv_heads)
        values = self._heads(self._linear(states, f"{prefix}.v_proj"), shape.kv_heads)
        query, keys = self._rotate(query, begin), self._rotate(keys, begin)
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        kept = (keys, values)
        if shape.heads != shape.kv_heads:
            keys = keys.repeat_interleave(shape.heads // shape.kv_heads, dim=1)
            values = values.repeat_interleave(shape.heads // shape.kv_heads, dim=1)
        scores = (query @ keys.transpose(2, 3)) / math.sqrt(shape.head_dim)
        if width > 1:
            future = torch.ones(width, begin + width, dtype=torch.bool).triu(begin + 1)
            scores = scores.masked_fill(future, -math.inf)
        mixed = torch.softmax(scores, dim=-1) @ values
        mixed = mixed.transpose(1, 2).reshape(rows, width, shape.heads * shape.head_dim)
        return self._linear(mixed, f"{prefix}.o_proj"), kept

    def _mlp(self, states: torch.Tensor, prefix: str) -> torch.Tensor:
        import torch

        gate = torch.nn.functional.silu(self._linear(states, f"{prefix}.gate_proj"))
        inner = gate * self._linear(states, f"{prefix}.up_proj")
        return self._linear(inner, f"{prefix}.down_proj")

    def _head(self, states: torch.Tensor) -> torch.Tensor:
        tied = self.shape.tied_embeddings
        name = "model.embed_tokens" if tied else "lm_head"
        return self._linear(self._norm(states, "model.norm"), name)

    def _norm(self, states: torch.Tensor, name: str) -> torch.Tensor:
        import torch

        mean_square = (states * states).mean(dim=-1, keepdim=True)
        scaled: torch.Tensor = states / torch.sqrt(mean_square + self.shape.rms_norm_eps)
        return scaled * self._weights[f"{name}.weight"]

    def _linear(self, states: torch.Tensor, name: str) -> torch.Tensor:
        result: torch.Tensor = states @ self._weights[f"{name}.weight"].T
        gate = self._gates.get(name)
        return result if gate is None else result + gate(states)

    def _heads(self, states: torch.Tensor, heads: int) -> torch.Tensor:
        rows, width, _ = states.shape
        return states.view(rows, width, heads, self.shape.head_dim).transpose(1, 2)

    def _rotate(self, states: torch.Tensor, begin: int) -> torch.Tensor:
        import torch

        end = begin + states.shape[2]
        half = self.shape.head_dim // 2
        turned = torch.cat([-states[..., half:], states[..., :half]], dim=-1)
        result: torch.Tensor = states * self._cosine[begin:end] + turned * self._sine[begin:end]
        return result


class Float32Decoder(Decoder):
    """The same in float32: half the memory and time, but bits that depend on the machine.

    Batch, padding and instruction set move a logit by 1e-6 to 4e-5; deltas are still added in
    float64.
    """

    __slots__ = ()

    bytes_per_weight = 4
    dtype = "float32"


def _padded(ids: Sequence[Sequence[int]]) -> list[list[int]]:
    width = max(map(len, ids))
    return [[*row, *([0] * (width - len(row)))] for row in ids]


def by_length(ids: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the row numbers grouped by row length, shortest first, in their order."""
    groups: dict[int, list[int]] = {}
    for row, each in enumerate(ids):
        groups.setdefault(len(each), []).append(row)
    return [groups[length] for length in sorted(groups)]


def _joined(caches: list[Cache]) -> Cache:
    import torch

    if len(caches) == 1:
        return caches[0]
    layers = tuple(
        (torch.cat([k for k, _ in parts]), torch.cat([v for _, v in parts]))
        for parts in zip(*(cache.layers for cache in caches), strict=True)
    )
    return Cache(layers, caches[0].length)
