"""A small model whose weights follow from a hash, so that no library's random numbers are in it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compose.llama import LlamaShape

# Nothing is a power of two that need not be: grouped heads, an odd vocabulary, untied embeddings.
SHAPE = LlamaShape(
    vocab_size=33,
    hidden_size=20,
    intermediate_size=28,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=6,
    rms_norm_eps=1e-5,
    rope_theta=500000.0,
    tied_embeddings=False,
    max_positions=300,
)
DEMO_BASE = Path(__file__).parents[3] / "node/demo/data/base"
VECTORS = Path(__file__).parents[2] / "vectors/pnode/exact-1.json"


def vectors() -> dict[str, Any]:
    """Return the frozen digests."""
    document: dict[str, Any] = json.loads(VECTORS.read_bytes())
    return document


def hashed_weights() -> dict[str, npt.NDArray[np.float64]]:
    """Return weights between -1 and 1; number i of a tensor comes from sha256("exact-1:NAME:i")."""
    return {name: _hashed(name, shape) for name, shape in SHAPE.tensors().items()}


def _hashed(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    size = int(np.prod(shape))
    digests = [hashlib.sha256(f"exact-1:{name}:{i}".encode()).digest() for i in range(size)]
    units = [int.from_bytes(each[:4], "big") for each in digests]
    return np.array([unit / 2**31 - 1 for unit in units]).reshape(shape)
