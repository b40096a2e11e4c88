"""`route.arrow`: at every layer and token, the members whose updates answer the input most.

Version 1. Arrow (Ostapenko et al. 2024, 2405.11157), with nothing fitted. For each member and each
linear layer that its update D = s B A changes, the prototype is the top right singular vector of
B A: 15 steps of v <- A^T (B^T B) A v, scaled to length one, from a vector of numbers in [-1, 1)
that are the upper 53 bits of the stream (seed, layer) of `compose.streams`, the same for all
members, so that equal updates have equal prototypes; the result is rounded to 1e-6. For an input h
of the layer

    similarity_i = |h . prototype_i| / |h|             `similarity` "cosine"
                   |h . prototype_i|                   "dot", which is what PEFT computes
    gate         = softmax of similarity / temperature over the `top_k` members of the largest
                   similarity, the smaller id first among equals; zero for the others
    output       = W h + sum of gate_i D_i h

A member whose update is zero at a layer takes no part there. One member alone is that member, to
rounding. A copy changes nothing with `top_k` 1, and otherwise counts twice where it is among the
first. Each coalition is a model of its own. Margins are those of the tokens: by how much a member
missed the first `top_k` somewhere inside is no part of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

import numpy as np

from compose.bank import Array
from compose.errors import UnfitAdapterError
from compose.methods.method import Assembly, Context, Member, Method, Number, Option, Parameters
from compose.streams import draw

if TYPE_CHECKING:
    import torch

STEPS: Final = 15
GRID: Final = 1_000_000


class RouteArrow(Method):
    """A mixture of updates that is chosen anew inside of every layer."""

    name = "route.arrow"
    version = "1"
    level = "api"
    parameters: ClassVar[Parameters] = {
        "top_k": Number("1", "1", "64", "members at each layer and token", integer=True),
        "temperature": Number("1", "0.000001", "1000000", "divisor of similarities"),
        "similarity": Option("cosine", ("cosine", "dot")),
    }

    @property
    def shares_members(self) -> bool:
        """Say no: what a member does inside depends on who else is there."""
        return False

    def assemble(self, context: Context) -> Assembly:
        """Find the prototypes, and gate every layer."""
        experts = experts_of(context.members, context.seed)
        gates = {
            layer: Gated(
                found,
                top_k=int(context.number("top_k")),
                temperature=float(context.number("temperature")),
                cosine=context.parameters["similarity"] == "cosine",
            )
            for layer, found in experts.items()
        }
        decoder = context.decoder.with_gates(gates)
        answerer = context.speaking(decoder, "gated model")
        return Assembly(answerer, {"prototypes": _digest(experts)})


class Expert(NamedTuple):
    """What one member does at one layer: A [rank, in], s B [out, rank], and the prototype [in]."""

    a: Array
    b: Array
    prototype: Array


def experts_of(members: Sequence[Member], seed: int) -> dict[str, list[Expert]]:
    """Return for each linear layer the members that change it, in id order.

    Raises:
        UnfitAdapterError: naming a member whose factors are too large.
    """
    experts: dict[str, list[Expert]] = {}
    for member in members:
        scale = float(member.adapter.scale)
        for layer, (a, b) in sorted(member.adapter.factors().items()):
            if not np.any(member.deltas[layer]):
                continue
            bits = draw(seed, RouteArrow.name, layer, count=a.shape[1])
            start = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0
            with np.errstate(all="ignore"):
                found = np.rint(prototype(a, b, start) * GRID) / GRID
            if not np.isfinite(found).all():
                raise UnfitAdapterError(
                    f"member {member.id}: the prototype of {layer} is not finite",
                    hint="its factors are too large or too small",
                    check="not-finite",
                )
            experts.setdefault(layer, []).append(Expert(a, scale * b, found))
    return dict(sorted(experts.items()))


def prototype(a: Array, b: Array, start: Array) -> Array:
    """Return the top right singular vector of B A, found by power iteration, of length one."""
    inner = b.T @ b
    vector = start
    for _ in range(STEPS):
        vector = a.T @ (inner @ (a @ vector))
        vector /= np.linalg.norm(vector)
    return vector


class Gated:
    """The gate of one layer."""

    def __init__(
        self, experts: Sequence[Expert], *, top_k: int, temperature: float, cosine: bool
    ) -> None:
        """Take who may take part, at least one, and how they are chosen."""
        import torch

        self._prototypes = torch.from_numpy(np.stack([each.prototype for each in experts]))
        self._a = torch.from_numpy(np.concatenate([each.a for each in experts]))
        self._b = torch.from_numpy(np.concatenate([each.b for each in experts], axis=1))
        ranks = torch.tensor([len(each.a) for each in experts])
        self._owner = torch.repeat_interleave(torch.arange(len(experts)), ranks)
        self._top_k = min(top_k, len(experts))
        self._temperature = temperature
        self._cosine = cosine

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Return what is added to the layer's output."""
        inner = states.double()
        gates = self.weights(inner)[..., self._owner]
        added: torch.Tensor = ((inner @ self._a.T) * gates) @ self._b.T
        return added.to(states.dtype)

    def weights(self, states: torch.Tensor) -> torch.Tensor:
        """Return the gate of each expert for each input, [..., experts]."""
        import torch

        similarity = (states @ self._prototypes.T).abs()
        if self._cosine:
            length = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
            # An input of zeros is like nobody.
            similarity = similarity / torch.where(length > 0, length, 1.0)
        best, order = torch.sort(similarity, dim=-1, descending=True, stable=True)
        kept = torch.softmax(best[..., : self._top_k] / self._temperature, dim=-1)
        gates = torch.zeros_like(similarity)
        return gates.scatter(-1, order[..., : self._top_k], kept)


def _digest(experts: Mapping[str, Sequence[Expert]]) -> str:
    """Return the sha256 of all prototypes, as integers in units of 1e-6."""
    state = hashlib.sha256(b"pnode-arrow/1\n")
    for layer, found in experts.items():
        state.update(f"{layer} {len(found)}\n".encode())
        for each in found:
            state.update(np.rint(each.prototype * GRID).astype("<i8").tobytes())
    return state.hexdigest()
