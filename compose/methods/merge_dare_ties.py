"""`merge.dare_ties`: drop entries at random, rescale, elect signs (Yu et al. 2023, 2311.03099).

Version 1, per linear layer, on deltas:

1. Drop: each entry of each member stays with probability `density` and is then divided by it; the
   others become zero. Entry k, counted along rows, stays if the k-th integer of the stream of
   (seed, contribution, layer) is below density * 2^64 (`compose.streams`).
2. Elect and merge as `merge.ties` does, without trimming: `consensus` "mean" averages the members
   that have the elected sign, "sum" adds them up, which is MergeKit with `normalize: false`; times
   `scale`.

Members have weight one. A mask hangs on the contribution's id and never on who else is there. Two
copies of an adapter under two ids have two masks. At density 1 nothing is dropped, and one member
is that member, bit for bit. The merged delta is dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import ClassVar

import numpy as np

from compose.delta import Array, Deltas
from compose.methods.merge_ties import agreeing
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.streams import below, draw


class MergeDareTies(Method):
    """Randomly thinned, sign-elected mean or sum of the members' deltas."""

    name = "merge.dare_ties"
    version = "1"
    level = "weight"
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "density": Number("0.5", "0.000001", "1", "share of entries kept"),
        "consensus": Option("mean", ("mean", "sum")),
        "scale": Number("1", "-16", "16", "factor on the merged delta"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Merge the members into one model."""
        merged = dare_ties(
            {member.id: member.deltas for member in context.members},
            seed=context.seed,
            density=context.number("density"),
            average=context.parameters["consensus"] == "mean",
            scale=context.number("scale"),
        )
        return context.merged(merged)


def dare_ties(
    members: Mapping[str, Deltas], *, seed: int, density: Fraction, average: bool, scale: Fraction
) -> Deltas:
    """Return the merged deltas of members given by id, in id order."""
    layers = {}
    for name in sorted({layer for deltas in members.values() for layer in deltas}):
        thinned = [
            thin(deltas[name], id_, name, seed=seed, density=density)
            for id_, deltas in members.items()
            if name in deltas
        ]
        layers[name] = agreeing(thinned, average=average) * float(scale)
    return Deltas(layers)


def thin(delta: Array, contribution: str, layer: str, *, seed: int, density: Fraction) -> Array:
    """Keep each entry of one layer with probability `density`, divided by it."""
    bits = draw(seed, MergeDareTies.name, contribution, layer, count=delta.size)
    stays = below(bits, density).reshape(delta.shape)
    return np.where(stays, delta / float(density), 0.0)
