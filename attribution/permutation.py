"""Shapley values by antithetic permutation sampling, for any number of players.

Castro, Gomez and Tejada (2009): the marginal contribution of a player to those before it in a
uniform random order has the Shapley value as its mean. Every order is used together with its
reverse (Mitchell et al. 2022), which cancels all pairwise interaction. No order is ever cut short:
truncation biases the result and breaks its intervals.

The plan is a pure function of (seed, lock, number of players, version), without history: pair k
reads SHA-256 of a counter and nothing else, so a longer plan starts with the shorter one and
workers need no order. The plan first asks for the empty and the grand coalition, every single
player and everyone but one (which also give the leave-one-out and alone values), then for the
prefixes of pair 0, 1, ... Sampled values are exact means: their denominators are the number of
orders times the number of items, and they sum exactly to v(N) - v({}).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import lcm
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import EstimatorError
from attribution.game import ItemValues
from attribution.outcomes import count, unpack
from attribution.table import CoalitionTable
from ledger.cid import Cid
from ledger.encoding import canonical_json

VERSION: Final = "1"
MIN_PAIRS: Final = 2
MAX_PAIRS: Final = 2**15
MAX_WORK: Final = 2**31
"""The most orders times players times items that a record may make others go through."""
_DOMAIN: Final = b"pnode.permutation/1\0"


@dataclass(frozen=True, slots=True)
class PermutationPlan:
    """Which coalitions to evaluate, in which order."""

    seed: str
    lock: Cid
    players: int

    def order(self, pair: int) -> tuple[int, ...]:
        """Return the order of the players in pair number `pair`; its partner is the reverse."""
        stream = _Stream(self, pair)
        order = list(range(self.players))
        # Fisher and Yates (Durstenfeld 1964), last place first.
        for place in range(self.players - 1, 0, -1):
            chosen = stream.below(place + 1)
            order[place], order[chosen] = order[chosen], order[place]
        return tuple(order)

    def ends(self) -> Iterator[int]:
        """Yield the coalitions that every plan starts with, each once."""
        everyone = (1 << self.players) - 1
        ends = [0, everyone]
        for player in range(self.players):
            ends += [1 << player, everyone ^ (1 << player)]
        return iter(dict.fromkeys(ends))

    def pair_masks(self, pair: int) -> Iterator[int]:
        """Yield the coalitions on the way of one order and of its reverse."""
        order = self.order(pair)
        for direction in (order, order[::-1]):
            yield from prefixes(direction)

    def masks(self, pairs: int) -> Iterator[int]:
        """Yield every coalition that `pairs` pairs need, each once, in order of need."""
        seen = set()
        for mask in self.ends():
            seen.add(mask)
            yield mask
        for pair in range(pairs):
            for mask in self.pair_masks(pair):
                if mask not in seen:
                    seen.add(mask)
                    yield mask

    def pairs_within(self, budget: int) -> int:
        """Return how many whole pairs need at most `budget` distinct coalitions.

        Raises:
            EstimatorError: if the budget does not reach for two pairs, the least with an error bar.
        """
        seen = set(self.ends())
        pairs = 0
        # In a small game every coalition is soon known and further orders cost nothing, so the
        # budget bounds the number of orders too.
        while pairs < min(max(MIN_PAIRS, budget // 2), MAX_PAIRS):
            seen.update(self.pair_masks(pairs))
            if len(seen) > budget:
                break
            pairs += 1
        if pairs < MIN_PAIRS:
            least = sum(1 for _ in self.masks(MIN_PAIRS))
            raise EstimatorError(
                f"a budget of {budget} coalitions is too small for {self.players} players",
                hint=f"allow at least {least} coalitions with --budget {least}",
            )
        return pairs


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """The value each pair of orders gives each player: `numerators[pair, player] / denominator`."""

    numerators: NDArray[np.int64] | NDArray[np.object_]
    denominator: int


class RunningSums:
    """What the pairs seen so far add up to; pairs are added in order, from a table."""

    def __init__(self, table: CoalitionTable, plan: PermutationPlan) -> None:
        self._table = table
        self._plan = plan
        self._items = np.zeros((plan.players, table.items), dtype=np.int64)
        self._pairs: list[list[int]] = []
        sizes = [suite.items for suite in table.suites]
        self._common = lcm(*sizes)
        self._weights = [self._common // size for size in sizes]

    @property
    def pairs(self) -> int:
        """How many pairs have been added."""
        return len(self._pairs)

    def add(self, table: CoalitionTable) -> None:
        """Add the next pair from a table that holds its coalitions.

        Raises:
            MissingCoalitionsError: if one of them was not evaluated.
        """
        values = [0] * self._plan.players
        order = self._plan.order(self.pairs)
        for direction in (order, order[::-1]):
            rows = [table.packed(mask) for mask in prefixes(direction)]
            outcomes = np.stack([unpack(row, table.items) for row in rows]).astype(np.int64)
            self._items[list(direction)] += np.diff(outcomes, axis=0)
            worth = [self._worth(row) for row in rows]
            for place, player in enumerate(direction):
                values[player] += worth[place + 1] - worth[place]
        self._pairs.append(values)

    def item_values(self) -> ItemValues:
        """Return the mean over all orders so far, per player and item."""
        return ItemValues(self._items.copy(), 2 * self.pairs)

    def pair_sums(self) -> PairSums:
        """Return what each pair says, for the error of the mean."""
        suites = len(self._weights)
        bound = 2 * suites * self._common
        # int64 holds the sums of squares in all but contrived games; Python integers do the rest.
        if self.pairs * bound**2 < 2**62:
            return PairSums(np.array(self._pairs, dtype=np.int64), bound)
        return PairSums(np.array(self._pairs, dtype=np.object_), bound)

    def _worth(self, row: bytes) -> int:
        counts = count(row, self._table.suites)
        return sum(weight * solved for weight, solved in zip(self._weights, counts, strict=True))


def sample(table: CoalitionTable, plan: PermutationPlan, pairs: int) -> tuple[ItemValues, PairSums]:
    """Return the value per item over 2 * pairs orders and what each pair says.

    Raises:
        MissingCoalitionsError: if the table lacks a planned coalition.
    """
    running = RunningSums(table, plan)
    for _ in range(pairs):
        running.add(table)
    return running.item_values(), running.pair_sums()


def prefixes(order: tuple[int, ...]) -> list[int]:
    """Return the masks of the first 0, 1, ..., n players of an order."""
    masks = [0]
    for player in order:
        masks.append(masks[-1] | 1 << player)
    return masks


class _Stream:
    """Unbiased integers from SHA-256 in counter mode, one stream per pair."""

    def __init__(self, plan: PermutationPlan, pair: int) -> None:
        name = {"lock": str(plan.lock), "pair": pair, "players": plan.players, "seed": plan.seed}
        self._key = _DOMAIN + canonical_json(name) + b"\0"
        self._block = 0
        self._words: list[int] = []

    def below(self, bound: int) -> int:
        """Return the next integer in [0, bound), by rejection, so that none is favoured."""
        limit = 2**32 - 2**32 % bound
        while True:
            if not self._words:
                digest = hashlib.sha256(self._key + self._block.to_bytes(8, "big")).digest()
                words = [digest[at : at + 4] for at in range(0, 32, 4)]
                self._words = [int.from_bytes(word, "big") for word in reversed(words)]
                self._block += 1
            word = self._words.pop()
            if word < limit:
                return word % bound
