"""The sampling plan of stratified values: pairs of complementary coalitions, stratum by stratum.

A stratum s holds the pairs (S, N - S) with |S| = s, for s from 1 to n/2; in the middle one S is the
half with player 0. Stratum 1 belongs to the ends that every plan starts with. Pair k of a stratum
is the combination whose rank is the k-th of a permutation of all ranks that the seed fixes, so a
stratum is drawn without replacement, and a pair is a function of (seed, lock, players, stratum, k)
alone. The permutation is a Feistel network over SHA-256, walked until it stays in the range (Black
and Rogaway 2002).

Which stratum is next depends on how much the outcomes so far vary there (Neyman 1934): first every
stratum in turn, `PILOT` pairs each; then always the one whose next pair lowers the variance most.
What varies is looked at again each time the number of pairs has doubled, and never in between, so
that a longer plan starts with the shorter one and workers need no order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from math import comb
from typing import Final, NamedTuple

from ledger.cid import Cid
from ledger.encoding import canonical_json

VERSION: Final = "1"
PILOT: Final = 4
MIN_PAIRS: Final = 2
"""The fewest pairs of a stratum from which a variance can be told."""
MAX_PAIRS: Final = 2**18
_DOMAIN: Final = b"pnode.stratified/1\0"
_ROUNDS: Final = 8
_LEAST_BITS: Final = 3


class Pair(NamedTuple):
    """A coalition and, implied, its complement."""

    stratum: int
    mask: int


Variances = Callable[[list[Pair]], dict[int, float]]
"""From the pairs so far to how much the difference of a pair varies in each stratum."""


@dataclass(frozen=True, slots=True)
class StratifiedPlan:
    """Which pairs of coalitions to evaluate, in which order."""

    seed: str
    lock: Cid
    players: int

    @property
    def strata(self) -> range:
        """The strata from which pairs are drawn; stratum 1 is among the ends."""
        return range(2, self.players // 2 + 1)

    def size(self, stratum: int) -> int:
        """Return how many pairs a stratum has."""
        return _size(self.players, stratum)

    def ends(self) -> list[Pair]:
        """Return all pairs of stratum 1: each player and everyone else."""
        return [Pair(1, 1 << player) for player in range(self.players)]

    def masks(self, pairs: list[Pair]) -> Iterator[int]:
        """Yield every coalition that pairs need, each once: empty, all, ends, then theirs."""
        everyone = (1 << self.players) - 1
        yield 0
        yield everyone
        for _, mask in [*self.ends(), *pairs]:
            yield mask
            yield everyone ^ mask

    def least(self) -> int:
        """Return the fewest coalitions with two pairs of every stratum."""
        pairs = sum(min(MIN_PAIRS, self.size(stratum)) for stratum in self.strata)
        return 2 + 2 * self.players + 2 * pairs

    def pair(self, stratum: int, index: int) -> Pair:
        """Return a pair of a stratum by its number, below `size`."""
        rank = self._place(stratum, index)
        if 2 * stratum == self.players:
            return Pair(stratum, 1 | _combination(rank, stratum - 1) << 1)
        return Pair(stratum, _combination(rank, stratum))

    def sequence(self, variances: Variances) -> Iterator[Pair]:
        """Yield all pairs in order of need; `variances` is asked at each doubling."""
        drawn = dict.fromkeys(self.strata, 0)
        done: list[Pair] = []

        def take(stratum: int) -> Pair:
            done.append(self.pair(stratum, drawn[stratum]))
            drawn[stratum] += 1
            return done[-1]

        for turn in range(PILOT):
            for stratum in self.strata:
                if turn < self.size(stratum):
                    yield take(stratum)
        while True:
            varied = variances(done)
            heap = [
                (-self._gain(stratum, count, varied[stratum]), stratum)
                for stratum, count in drawn.items()
                if count < self.size(stratum)
            ]
            heapify(heap)
            for _ in range(len(done)):
                if not heap:
                    return
                stratum = heap[0][1]
                yield take(stratum)
                count = drawn[stratum]
                if count < self.size(stratum):
                    heapreplace(heap, (-self._gain(stratum, count, varied[stratum]), stratum))
                else:
                    heappop(heap)

    def _gain(self, stratum: int, count: int, variance: float) -> float:
        """Return by how much one more pair lowers the variance of the values, up to a factor."""
        middle = 0.25 if 2 * stratum == self.players else 1.0
        weight = middle / (stratum * (self.players - stratum))
        return weight * variance / (count * (count + 1))

    def _place(self, stratum: int, index: int) -> int:
        """Return where the permutation of a stratum's ranks sends an index."""
        size = self.size(stratum)
        bits = max(_LEAST_BITS, ((size - 1).bit_length() + 1) // 2)
        name = {
            "lock": str(self.lock),
            "players": self.players,
            "seed": self.seed,
            "stratum": stratum,
        }
        key = hashlib.sha256(_DOMAIN + canonical_json(name))
        place = index
        while True:
            place = _feistel(key.digest(), place, bits)
            if place < size:
                return place


def _size(players: int, stratum: int) -> int:
    if 2 * stratum == players:
        return comb(players - 1, stratum - 1)
    return comb(players, stratum)


def _feistel(key: bytes, value: int, bits: int) -> int:
    """Return a permutation of the integers of 2 * bits bits, applied to one."""
    left, right = value >> bits, value & ((1 << bits) - 1)
    for turn in range(_ROUNDS):
        block = hashlib.sha256(key + bytes([turn]) + right.to_bytes(16, "big")).digest()
        left, right = right, left ^ (int.from_bytes(block, "big") >> (256 - bits))
    return left << bits | right


def _combination(rank: int, size: int) -> int:
    """Return the mask of the combination of that rank in colexicographic order."""
    mask = 0
    for left in range(size, 0, -1):
        place = left - 1
        below = 0
        while (following := comb(place + 1, left)) <= rank:
            place, below = place + 1, following
        rank -= below
        mask |= 1 << place
    return mask
