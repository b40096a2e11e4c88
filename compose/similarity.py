"""How alike adapters are, by what they do to the base and not by their files.

The same update has endless factors, (B R)(R^-1 A) = B A, so files, hashes and factors say nothing
about a copy. What is compared are the deltas dW = s B A, whose inner product needs no delta:

    <B1 A1, B2 A2> = trace((B1 A1)^T (B2 A2)) = sum of (B1^T B2) * (A1 A2^T), elementwise

Two products of [r1, r2] per layer, O((in + out) r^2). The cosine that follows from it does not
change with R, nor with the scale, the dtype or the rank in which a delta is written down.

    near copy    a cosine above 0.999, over all layers together, or in at least half of the layers
                 of the adapter that changes fewer: so that a copy does not hide behind layers that
                 were added to it or left out

A near copy is reported and never refused: a finding of this kind is evidence for people, and
somebody may have good reasons. A delta that was split into parts which are orthogonal to one
another passes: no comparison of two adapters can see that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from compose.adapter import Factors, OpenedAdapter

NEAR_COPY: Final = 0.999
"""Cosine of two deltas above which one is a near copy of the other."""
LAYERS_ALIKE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Similarity:
    """The cosine of two adapters' deltas over all layers, -1 to 1, and by layer.

    `layers` has every layer that both change; `fewer` is how many layers the adapter changes that
    changes fewer.
    """

    cosine: float
    layers: Mapping[str, float]
    fewer: int

    @property
    def alike(self) -> int:
        """Number of layers with a cosine above `NEAR_COPY`."""
        return sum(cosine > NEAR_COPY for cosine in self.layers.values())

    @property
    def near_copy(self) -> bool:
        """Whether one is a near copy of the other."""
        by_layer = self.alike > 0 and self.alike >= LAYERS_ALIKE * self.fewer
        return self.cosine > NEAR_COPY or by_layer

    def __str__(self) -> str:
        return f"cosine {self.cosine:.6f}, {self.alike} of {self.fewer} layers alike"


def inner_product(first: Factors, second: Factors) -> float:
    """Return <B1 A1, B2 A2> of one layer without forming a delta."""
    (a1, b1), (a2, b2) = first, second
    return float(((b1.T @ b2) * (a1 @ a2.T)).sum())


def similarities(adapters: Mapping[str, OpenedAdapter]) -> dict[tuple[str, str], Similarity]:
    """Compare every pair of adapters of one base, in the order given.

    Reads each tensor once and holds one layer of every adapter at a time.

    Raises:
        UnfitAdapterError: for a value that is not finite, or a file that changed.
    """
    products: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    norms: dict[str, dict[str, float]] = {name: {} for name in adapters}
    places = {
        name: {layer.linear: layer for layer in adapter.layers}
        for name, adapter in adapters.items()
    }
    for linear in sorted({linear for layers in places.values() for linear in layers}):
        held = {
            name: adapters[name].read(layers[linear])[0]
            for name, layers in places.items()
            if linear in layers
        }
        for name, factors in held.items():
            square = inner_product(factors, factors)
            if square > 0.0:
                norms[name][linear] = square
        for pair in combinations(held, 2):
            products[pair][linear] = inner_product(held[pair[0]], held[pair[1]])
    # The scale is one factor for all layers of an adapter, so every cosine is the same without it.
    return {
        (first, second): _similarity(norms[first], norms[second], products[first, second])
        for first, second in combinations(adapters, 2)
    }


def _similarity(
    first: Mapping[str, float], second: Mapping[str, float], products: Mapping[str, float]
) -> Similarity:
    both = first.keys() & second.keys()
    return Similarity(
        cosine=_cosine(
            math.fsum(products.values()), math.fsum(first.values()), math.fsum(second.values())
        ),
        layers={name: _cosine(products[name], first[name], second[name]) for name in sorted(both)},
        fewer=min(len(first), len(second)),
    )


def _cosine(product: float, first: float, second: float) -> float:
    """Return the cosine from an inner product and two squared norms, 0.0 where one is zero."""
    norm = math.sqrt(first) * math.sqrt(second)
    return max(-1.0, min(1.0, product / norm)) if norm > 0.0 else 0.0
