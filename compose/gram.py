"""Gram matrices of what linear layers are given, X^T X over the tokens of some prompts.

The inputs X, [tokens, features], are those of the engine that answers. Each feature is rounded to
integers of at most 12 bits, times a power of two that fits its largest value. The sums of their
products are integers below 2^53, which float64 adds without rounding in whatever order, and so a
Gram matrix has the same bits wherever the rounded inputs are the same: always with the exact
engine. In float64 the inputs of two machines differ by about 1e-14 and round apart with a
probability of about 1e-10 for each number.

Layers that are given the same (q, k and v; gate and up) share a matrix, named by the first of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from compose.errors import MethodError
from compose.exact.decoder import ExactDecoder
from compose.forward import Array, Decoder, by_length
from compose.tokens import Ids

if TYPE_CHECKING:
    import torch

    KeysValues = tuple[torch.Tensor, torch.Tensor]

See = Callable[[str, Array], None]

BITS = 12
MAX_TOKENS = 2 ** (53 - 2 * BITS)
_LEAST = np.int32(-500)
"""Features below 2^-500 are zero; no square of a larger one is lost."""

_FIRST: Mapping[str, str] = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}


def input_of(layer: str) -> str:
    """Return the name of the layer whose Gram matrix is also that of a given layer."""
    parent, _, kind = layer.rpartition(".")
    return f"{parent}.{_FIRST.get(kind, kind)}"


def gram_matrices(
    decoder: Decoder, prompts: Sequence[Ids], layers: Iterable[str]
) -> dict[str, Array]:
    """Return X^T X for the inputs of layers, [features, features], by the names of `input_of`.

    Args:
        decoder: the model whose layers are watched.
        prompts: token ids; every token counts once.
        layers: names of linear layers.

    Raises:
        MethodError: for more tokens than are summed exactly.
    """
    tokens = sum(map(len, prompts))
    if tokens >= MAX_TOKENS:
        raise MethodError(f"the prompts have {tokens} tokens, fewer than {MAX_TOKENS} are summed")
    names = {input_of(layer) for layer in layers}
    sums = _Sums({name: decoder.weights[f"{name}.weight"].shape[1] for name in names})
    exact = isinstance(decoder, ExactDecoder)
    watched = (_WatchedExact if exact else _Watched)(decoder.shape, decoder.weights)
    for see in (sums.measure, sums.add):
        watched.see = see
        for rows in by_length(prompts):
            watched.states([prompts[row] for row in rows])
    return {name: sums.scaled(name) for name in sorted(names)}


class _Sums:
    """What is gathered of the inputs of layers: first their sizes, then sums of integers."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        """Take the number of features of each layer to look at."""
        self._exponents = {name: np.full(size, _LEAST) for name, size in sizes.items()}
        self._sums = {name: np.zeros((size, size)) for name, size in sizes.items()}

    def measure(self, name: str, inputs: Array) -> None:
        """Find the exponent e of each feature, so that all its values are below 2^e."""
        if name in self._sums:
            largest = np.abs(inputs).max(axis=0)
            found = np.where(largest > 0, np.frexp(largest)[1], _LEAST)
            self._exponents[name] = np.maximum(self._exponents[name], found)

    def add(self, name: str, inputs: Array) -> None:
        """Add the products of inputs of at most 12 bits; exact in any order."""
        if name in self._sums:
            integers = np.rint(np.ldexp(inputs, BITS - self._exponents[name]))
            self._sums[name] += integers.T @ integers

    def scaled(self, name: str) -> Array:
        """Return the sums in the units of the inputs; adding zero leaves no -0.0."""
        scale = self._exponents[name] - BITS
        scaled: Array = np.ldexp(self._sums[name], scale[:, None] + scale[None, :]) + 0.0
        return scaled


class _Watched(Decoder):
    """A decoder that shows the input of each linear layer, [tokens, features], as it runs."""

    __slots__ = ("see",)

    see: See

    def _linear(self, states: torch.Tensor, name: str) -> torch.Tensor:
        self.see(name, _rows(states))
        return super()._linear(states, name)


class _WatchedExact(ExactDecoder):
    """The same for the exact engine, which multiplies several layers of one input at once."""

    __slots__ = ("_norms", "_products", "see")

    see: See
    _norms: Iterator[tuple[str, str]]
    _products: Iterator[str]

    def _layer(
        self, states: torch.Tensor, number: int, past: KeysValues | None, begin: int
    ) -> tuple[torch.Tensor, KeysValues]:
        prefix = f"model.layers.{number}"
        # In the order in which a layer comes to them.
        self._norms = iter(
            [
                (f"{prefix}.self_attn.q_proj", f"{prefix}.input_layernorm.weight"),
                (f"{prefix}.mlp.gate_proj", f"{prefix}.post_attention_layernorm.weight"),
            ]
        )
        self._products = iter([f"{prefix}.self_attn.o_proj", f"{prefix}.mlp.down_proj"])
        return super()._layer(states, number, past, begin)

    def _normed(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        snapped, inverse = super()._normed(states)
        # The norm after the last layer is nobody's input.
        for name, weight in islice(self._norms, 1):
            self.see(name, _rows(snapped * inverse * self.weights[weight]))
        return snapped, inverse

    def _product(self, states: torch.Tensor, operand: torch.Tensor) -> torch.Tensor:
        self.see(next(self._products), _rows(states))
        return super()._product(states, operand)


def _rows(states: torch.Tensor) -> Array:
    rows: Array = states.reshape(-1, states.shape[-1]).numpy()
    return rows
