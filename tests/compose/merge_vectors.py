"""Frozen results of the merges on members that follow from streams; no model is needed.

`python -m tests.compose.merge_vectors` prints the document that
`tests/vectors/pnode/merges-1.json` holds. It never changes: what changes a number is a new version
of a method, with a document of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from compose.delta import Array, Deltas, weighted_sum
from compose.methods.devscores import Coefficients
from compose.methods.merge_dare_ties import dare_ties
from compose.methods.merge_model_swarms import Swarm
from compose.methods.merge_regmean import regmean
from compose.methods.merge_ties import ties
from compose.streams import BELL_WORDS, bell, draw, uniform

FILE = Path(__file__).parents[1] / "vectors" / "pnode" / "merges-1.json"
SHAPES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "ada": {"model.layers.0.mlp.down_proj": (3, 5), "model.layers.0.self_attn.q_proj": (4, 6)},
    "bo": {"model.layers.0.self_attn.q_proj": (4, 6)},
    "cy": {"model.layers.0.mlp.down_proj": (3, 5), "model.layers.0.self_attn.q_proj": (4, 6)},
}
NAMES: tuple[tuple[int, str, str, str | int], ...] = (
    (0, "merge.dare_ties", "ada", "model.layers.0.self_attn.q_proj"),
    (7, "merge.lorahub", "bo", 3),
    (7, "merge.model_swarms", "cy", "ada"),
)


def document() -> dict[str, Any]:
    """Return everything that is frozen."""
    members = {id_: Deltas(_layers(id_, "delta")) for id_ in SHAPES}
    deltas = list(members.values())
    third = Fraction(1, 3)
    mean = weighted_sum([(each, third) for each in deltas])
    merged = {
        "merge.linear 1, form mean": mean,
        "merge.ties 1, density 0.2": ties(deltas, density=Fraction("0.2"), scale=Fraction(1)),
        "merge.dare_ties 1, density 0.5, consensus mean, seed 0": dare_ties(
            members, seed=0, density=Fraction("0.5"), average=True, scale=Fraction(1)
        ),
        "merge.dare_ties 1, density 0.3, consensus sum, seed 1": dare_ties(
            members, seed=1, density=Fraction("0.3"), average=False, scale=Fraction("0.5")
        ),
        "merge.regmean 1, alpha 0.9": regmean(
            deltas, [_grams(id_) for id_ in SHAPES], mean=mean, alpha=0.9
        ),
    }
    swarm = Swarm(list(SHAPES), 7, _score)
    for step in (1, 2, 3, 4, 5):
        swarm.move(step)
    return {
        "streams": [
            {"name": list(name), "words": [f"{int(word):016x}" for word in draw(*name, count=8)]}
            for name in NAMES
        ],
        "uniform": [str(each) for each in uniform(draw(*NAMES[2], count=4))],
        "bell": str(bell(draw(*NAMES[1], count=BELL_WORDS))),
        "members": {id_: each.digest() for id_, each in members.items()},
        "merged": {name: each.digest() for name, each in merged.items()},
        "swarm": [[str(weight) for weight in particle.x] for particle in swarm.particles],
    }


def _score(at: Coefficients) -> Fraction:
    return -sum((abs(weight - Fraction(1, 3)) for weight in at), Fraction(0))


def _layers(id_: str, purpose: str) -> dict[str, Array]:
    """Return numbers in -0.5..0.5 that are multiples of 2^-20."""
    layers = {}
    for layer, shape in SHAPES[id_].items():
        bits = draw(0, "vectors", id_, purpose, layer, count=shape[0] * shape[1])
        units = (bits >> np.uint64(44)).astype(np.float64) - 2.0**19
        layers[layer] = (units * 2.0**-20).reshape(shape)
    return layers


def _grams(id_: str) -> dict[str, Array]:
    """Return a Gram matrix for every layer, of three small integer inputs each."""
    grams = {}
    for layer, (_, features) in SHAPES["ada"].items():
        bits = draw(0, "vectors", id_, "inputs", layer, count=3 * features)
        inputs = (bits >> np.uint64(60)).astype(np.float64).reshape(3, features) - 8.0
        grams[layer] = inputs.T @ inputs
    return grams


if __name__ == "__main__":
    print(json.dumps(document(), indent=1))
