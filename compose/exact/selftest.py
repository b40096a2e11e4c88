"""What every machine must get before it may speak of bitwise outcomes: a model with known logits.

Its weights and rows follow from SHA-256, so that no library's random numbers are in it. A machine
that flushes small numbers to zero, fuses operations or rounds otherwise, or a library with an error
in it, gives another digest, and then nothing of class bitwise is computed there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from compose.exact.decoder import ExactDecoder
from compose.llama import LlamaShape
from ledger.errors import IncompleteError

Array = npt.NDArray[np.float64]

# Nothing is a power of two that need not be: grouped heads, an odd vocabulary, untied embeddings.
SHAPE: Final = LlamaShape(
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
LENGTHS: Final = (1, 5, 9, 12, 7)
LOGITS: Final = "d1dc7047107265ae82031ad7cba0ac142123af6416dc47439fa86d6445732231"
LOG_PROBS: Final = "d6faf64df84cbe24aa725d74075368159ce5c6ecaa8a8ba925baa0594e80847c"


def rows() -> list[list[int]]:
    """Return the rows: token i of row r comes from sha256("hashed:r:i")."""
    return [
        [_number(f"hashed:{row}:{at}") % SHAPE.vocab_size for at in range(length)]
        for row, length in enumerate(LENGTHS)
    ]


def weights() -> dict[str, Array]:
    """Return weights between -1 and 1; number i of a tensor comes from sha256("exact-1:NAME:i")."""
    return {
        name: np.array(
            [_number(f"exact-1:{name}:{at}") / 2**31 - 1 for at in range(int(np.prod(shape)))]
        ).reshape(shape)
        for name, shape in SHAPE.tensors().items()
    }


def digest_of(arrays: Iterable[Array]) -> str:
    """Return the SHA-256 of arrays one after another, as little-endian float64."""
    state = hashlib.sha256()
    for each in arrays:
        state.update(np.ascontiguousarray(each, dtype="<f8").tobytes())
    return state.hexdigest()


@cache
def check_arithmetic() -> None:
    """Require that this machine, with these libraries, computes as the exact engine is specified.

    Raises:
        IncompleteError: if it does not.
    """
    import torch

    model = ExactDecoder(SHAPE, {name: torch.from_numpy(each) for name, each in weights().items()})
    lines = rows()
    logits = [each[: len(row)] for each, row in zip(model.logits(lines), lines, strict=True)]
    found = digest_of(logits), digest_of(model.log_probs(each) for each in logits)
    if found != (LOGITS, LOG_PROBS):
        raise IncompleteError(
            f"this machine, with torch {torch.__version__} and numpy {np.__version__}, does not "
            f"compute as the exact engine does: {found[0][:16]}... instead of {LOGITS[:16]}...",
            hint="bitwise outcomes need IEEE float64; try other versions, or exactness = 'pinned'",
        )


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
