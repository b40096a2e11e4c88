"""Random bits with a name: what a seeded method draws for one contribution and one tensor.

A stream is Philox4x64-10 (Salmon et al. 2011), a generator that only counts, with counter 0 and as
key the first 16 bytes, little-endian, of sha256 over the canonical JSON of

    ["pnode-stream/1", seed, method, contribution, *further]

`further` names a tensor, a step, or another contribution. As the key names the contribution and
nothing else of the composition, the draws of one member do not depend on who else is there:
removing a member changes nobody else's randomness.

Only the generator's 64-bit integers are used, which numpy promises to keep; none of its
distributions, which it may change, and no function whose last bit depends on the machine.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ledger.encoding import canonical_json

_WORD = 2**64
_HALF_WORD = 2**32
BELL_WORDS = 12


def draw(
    seed: int, method: str, contribution: str, *further: str | int, count: int
) -> npt.NDArray[np.uint64]:
    """Return the first `count` 64-bit integers of a stream."""
    name = canonical_json(["pnode-stream/1", seed, method, contribution, *further])
    key = int.from_bytes(hashlib.sha256(name).digest()[:16], "little")
    bits: npt.NDArray[np.uint64] = np.random.Philox(counter=0, key=key).random_raw(count)
    return bits


def below(bits: npt.NDArray[np.uint64], probability: Fraction) -> npt.NDArray[np.bool_]:
    """Return for each 64-bit integer whether it falls below the share `probability` of them."""
    threshold = -(-probability.numerator * _WORD // probability.denominator)
    if threshold >= _WORD:
        return np.ones(bits.shape, dtype=np.bool_)
    return bits < np.uint64(max(threshold, 0))


def uniform(bits: npt.NDArray[np.uint64]) -> list[Fraction]:
    """Return for each 64-bit integer a number in (0, 1], a multiple of 2^-32."""
    return [Fraction(int(each) // _HALF_WORD + 1, _HALF_WORD) for each in bits]


def bell(bits: npt.NDArray[np.uint64]) -> Fraction:
    """Return a number of mean 0 and variance 1: the sum of 12 uniform ones, minus 6.

    The sum of twelve (Irwin-Hall) stands in for a normal variable, which no integer arithmetic
    yields; it never leaves -6..6.
    """
    if len(bits) != BELL_WORDS:
        raise ValueError(f"{len(bits)} integers, {BELL_WORDS} are summed")
    return sum(uniform(bits), Fraction(-BELL_WORDS, 2))
