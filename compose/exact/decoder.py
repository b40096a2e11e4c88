"""A Llama decoder on the exact engine; it answers as `compose.forward.Decoder` does.

What batching, padding, caches and positions need is shared with that class. Per layer, x being the
rows of the residual stream:

    s      = snap(x), used for the norm and for every product below
    r      = 1 / sqrt(mean(s^2) + eps), applied to the products: a norm scales rows only
    q,k,v  = (s @ W^T) r, W with the norm's weight folded in (and 1/sqrt(d) into q), then snapped
    q,k    rotated by the table, each head's row snapped; v rounded to the grid of its weights
    p      = softmax numerators of q @ k^T on the grid 2^-20
    x      = x + snap((p @ v) / sum(p)) @ O^T,  then likewise x + snap(silu(g) * u) @ D^T
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from compose.delta import Deltas
from compose.exact import arithmetic
from compose.exact.rotary import rotary_table
from compose.forward import MAX_POSITIONS, Array, Decoder
from compose.llama import LlamaShape

if TYPE_CHECKING:
    import torch


class _Layer(NamedTuple):
    """The operands of one decoder layer, ready to multiply."""

    qkv: torch.Tensor
    rounder: torch.Tensor
    o: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


class ExactDecoder(Decoder):
    """A base model, or a base model plus deltas, whose every bit is determined."""

    __slots__ = ("_layers", "_outputs")

    activation_bytes = 16 * 2**20
    """A batch small enough for the caches of a processor: there are many passes over it."""
    bytes_per_weight = 16
    """The weight, and the operand made of it."""

    def __init__(
        self,
        shape: LlamaShape,
        weights: Mapping[str, torch.Tensor],
        layers: Mapping[int, _Layer] = MappingProxyType({}),
        outputs: Sequence[torch.Tensor] = (),
    ) -> None:
        """Take float64 tensors under their checkpoint names, and operands already made of them."""
        super().__init__(shape, weights)
        self._layers = dict(layers)
        self._outputs = list(outputs)

    def with_deltas(self, deltas: Deltas | None) -> ExactDecoder:
        """Return this decoder with deltas added; what they do not touch is shared."""
        if not deltas:
            return self
        kept = {
            number: layer
            for number, layer in self._layers.items()
            if not any(name.startswith(f"model.layers.{number}.") for name in deltas)
        }
        return ExactDecoder(self.shape, self._adapted(deltas), kept, self._outputs)

    def log_probs(self, logits: Array) -> Array:
        """Return the log-softmax of the last axis."""
        import torch

        result: Array = arithmetic.log_softmax(torch.from_numpy(logits)).numpy()
        return result

    def _table(self) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        shape = self.shape
        positions = min(shape.max_positions, MAX_POSITIONS)
        cosine, sine = rotary_table(shape.rope_theta, shape.head_dim, positions)
        return torch.from_numpy(cosine)[:, None], torch.from_numpy(sine)[:, None]

    def _layer(
        self,
        states: torch.Tensor,
        number: int,
        past: tuple[torch.Tensor, torch.Tensor] | None,
        begin: int,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        operands = self._operands(number)
        snapped, inverse = self._normed(states)
        mixed, kept = self._attend((snapped @ operands.qkv).mul_(inverse), operands, past, begin)
        states = states + self._product(mixed, operands.o)
        snapped, inverse = self._normed(states)
        gate, up = (snapped @ operands.gate_up).mul_(inverse).chunk(2, dim=-1)
        return states + self._product(arithmetic.gated(gate, up), operands.down), kept

    def _attend(
        self,
        qkv: torch.Tensor,
        operands: _Layer,
        past: tuple[torch.Tensor, torch.Tensor] | None,
        begin: int,
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Return the attention over each row, [rows, width, heads * dim], and keys and values."""
        import torch

        shape = self.shape
        rows, width, _ = qkv.shape
        heads, groups = shape.heads, shape.heads // shape.kv_heads
        qkv = qkv.view(rows, width, heads + 2 * shape.kv_heads, shape.head_dim)
        turned = self._turn(qkv[:, :, : heads + shape.kv_heads], begin)
        arithmetic.snap(turned, arithmetic.bits_for(shape.head_dim))
        query, keys = turned[:, :, :heads].transpose(1, 2), turned[:, :, heads:].transpose(1, 2)
        values = arithmetic.rounded(qkv[:, :, heads + shape.kv_heads :], operands.rounder)
        values = values.transpose(1, 2)
        if past is not None:
            keys = torch.cat([past[0], keys], dim=2)
            values = torch.cat([past[1], values], dim=2)
        query = query.reshape(rows, shape.kv_heads, groups * width, shape.head_dim)
        scores = (query @ keys.transpose(2, 3)).view(rows, shape.kv_heads, groups, width, -1)
        if width > 1:
            future = torch.ones(width, begin + width, dtype=torch.bool).triu(begin + 1)
            scores.masked_fill_(future, -math.inf)
        shares = arithmetic.softmax_numerators(scores).flatten(2, 3)
        mixed = (shares @ values).div_(shares.sum(dim=-1, keepdim=True))
        mixed = mixed.view(rows, heads, width, shape.head_dim).transpose(1, 2)
        return mixed.reshape(rows, width, heads * shape.head_dim), (keys, values)

    def _turn(self, states: torch.Tensor, begin: int) -> torch.Tensor:
        """Return states [rows, width, heads, dim] rotated by their positions."""
        import torch

        end, half = begin + states.shape[1], self.shape.head_dim // 2
        cosine, sine = self._cosine[begin:end], self._sine[begin:end]
        first, second = states[..., :half], states[..., half:]
        turned = torch.empty(states.shape, dtype=states.dtype)
        torch.sub(first * cosine, second * sine, out=turned[..., :half])
        torch.add(second * cosine, first * sine, out=turned[..., half:])
        return turned

    def _head(self, states: torch.Tensor) -> torch.Tensor:
        if not self._outputs:
            tied = self.shape.tied_embeddings
            weight = self._weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
            self._outputs.append(_operand(weight * self._weights["model.norm.weight"]))
        snapped, inverse = self._normed(states)
        # A sum of zeros may have either sign; adding zero leaves the positive one.
        return (snapped @ self._outputs[0]).mul_(inverse).add_(0.0)

    def _norm(self, states: torch.Tensor, name: str) -> torch.Tensor:
        snapped, inverse = self._normed(states)
        return snapped.mul_(inverse).mul_(self._weights[f"{name}.weight"])

    def _normed(self, states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the snapped states and the inverse of their norms, which go together."""
        snapped = arithmetic.snap(states.clone(), arithmetic.bits_for(states.shape[-1]))
        return snapped, arithmetic.inverse_norm(snapped, self.shape.rms_norm_eps)

    def _product(self, states: torch.Tensor, operand: torch.Tensor) -> torch.Tensor:
        return arithmetic.snap(states, arithmetic.bits_for(states.shape[-1])) @ operand

    def _operands(self, number: int) -> _Layer:
        layer = self._layers.get(number)
        if layer is None:
            layer = self._layers[number] = self._prepared(f"model.layers.{number}")
        return layer

    def _prepared(self, prefix: str) -> _Layer:
        import torch

        def weight(name: str) -> torch.Tensor:
            return self._weights[f"{prefix}.{name}.weight"]

        shape = self.shape
        before, after = weight("input_layernorm"), weight("post_attention_layernorm")
        query = weight("self_attn.q_proj") * before * (1.0 / math.sqrt(shape.head_dim))
        values = _operand(weight("self_attn.v_proj") * before)
        rounder = arithmetic.value_rounder(values.T, len(self._cosine))
        return _Layer(
            qkv=torch.cat(
                [_operand(query), _operand(weight("self_attn.k_proj") * before), values], dim=1
            ),
            rounder=rounder.view(shape.kv_heads, shape.head_dim),
            o=_operand(weight("self_attn.o_proj")),
            gate_up=torch.cat(
                [_operand(weight(f"mlp.{each}_proj") * after) for each in ("gate", "up")], dim=1
            ),
            down=_operand(weight("mlp.down_proj")),
        )


def _operand(weight: torch.Tensor) -> torch.Tensor:
    """Return a weight [out, in] as operand [in, out], each output snapped on its own."""
    return arithmetic.snap(weight.clone(), arithmetic.bits_for(weight.shape[-1])).T
