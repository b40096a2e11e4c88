"""The base and the members of a composition, run once for each distinct prefix.

A composition that needs its members at inference has a rule: what a rule keeps of the models'
next-token distributions is observed once per prefix and memoised, and from that any coalition's
decision follows without a further forward pass. So n members cost n + 1 forwards per distinct
prefix, however many coalitions ask (the prefix trie of greedy decoding).

Model 0 is the base; member i (in id order) is model i + 1. A weight merge is a bank of one model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from compose.errors import UnfitAdapterError
from compose.forward import Cache, Decoder, by_length
from compose.tokens import Ids

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MEMO_BYTES = 512 * 2**20
CACHE_BYTES = 1024 * 2**20
_BATCH_BYTES = 128 * 2**20
_MEMO_OVERHEAD = 256


class Prefix(NamedTuple):
    """Token ids so far, of which the first `prompt` are the prompt."""

    tokens: Ids
    prompt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The next token of each row, and how far (in nat) each decision was from another one."""

    tokens: npt.NDArray[np.int64]
    margins: Array


class Rule(Protocol):
    """How a bank's models answer together; pure, the same for every coalition."""

    def observe(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:
        """Return what is kept of next-token log-probabilities [rows, models, vocabulary].

        The result is [rows, models, anything] and all that the other functions see.
        """
        ...

    def decide(self, observed: Array, present: Mask) -> Decision:
        """Return the next token of each row; `present` is [rows, members]."""
        ...

    def weigh(self, observed: Array, forced: Array, present: Mask) -> tuple[Array, Array]:
        """Return the system's log-probability of a given next token, and its margin.

        Args:
            observed: as kept, [rows, models, anything].
            forced: the log-probability each model gives the token, [rows, models].
            present: which members take part, [rows, members].
        """
        ...


class _Level(NamedTuple):
    """Caches of all models for rows of one length, kept for the prefixes one token longer."""

    caches: list[Cache]


class MemberBank:
    """Models that share a base, a rule, and the memory of what was observed.

    `forwards` counts the prefixes run through a model, the measure of work done.
    """

    def __init__(
        self,
        decoders: Sequence[Decoder],
        rule: Rule,
        *,
        names: Sequence[str],
        memo_bytes: int = MEMO_BYTES,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Take the models, base first, and the name of each for errors."""
        self.rule = rule
        self.forwards = 0
        self._decoders = tuple(decoders)
        self._names = tuple(names)
        self._memo: dict[Prefix, Array] = {}
        self._forced: dict[Prefix, tuple[Array, Array]] = {}
        self._memo_left = memo_bytes
        self._cache_bytes = cache_bytes
        self._frontier: dict[Ids, tuple[_Level, int]] = {}

    @property
    def members(self) -> int:
        """Number of members, the base not counted."""
        return len(self._decoders) - 1

    @property
    def positions(self) -> int:
        """The longest sequence the base takes."""
        return self._decoders[0].positions

    def observe(self, prefixes: Sequence[Prefix]) -> Array:
        """Return what the rule keeps of each prefix, [rows, models, anything].

        Raises:
            UnfitAdapterError: naming a member whose logits are not finite.
        """
        missing = [each for each in dict.fromkeys(prefixes) if each not in self._memo]
        fresh = self._observe_fresh(missing)
        rows = [fresh[each] if each in fresh else self._memo[each] for each in prefixes]
        for prefix, row in fresh.items():
            cost = row.nbytes + 8 * len(prefix.tokens) + _MEMO_OVERHEAD
            if cost <= self._memo_left:
                self._memo_left -= cost
                self._memo[prefix] = row
        return np.stack(rows)

    def observe_forced(self, sequences: Sequence[Prefix]) -> list[tuple[Array, Array]]:
        """Return what is observed before each token after a prompt, and what it is given.

        Returns:
            For each sequence observations [tokens, models, anything], and the log-probability
            each model gives the token that follows, [tokens, models].

        Raises:
            UnfitAdapterError: naming a member whose logits are not finite.
        """
        missing = [each for each in dict.fromkeys(sequences) if each not in self._forced]
        longest = max(len(each.tokens) for each in sequences)
        size = 8 * len(self._decoders) * self._decoders[0].shape.vocab_size * longest
        step = max(1, _BATCH_BYTES // size)
        fresh: dict[Prefix, tuple[Array, Array]] = {}
        for start in range(0, len(missing), step):
            rows = missing[start : start + step]
            fresh.update(zip(rows, self._run_forced(rows), strict=True))
        results = [fresh[each] if each in fresh else self._forced[each] for each in sequences]
        for sequence, (observed, forced) in fresh.items():
            cost = observed.nbytes + forced.nbytes + 8 * len(sequence.tokens) + _MEMO_OVERHEAD
            if cost <= self._memo_left:
                self._memo_left -= cost
                self._forced[sequence] = observed, forced
        return results

    def _run_forced(self, rows: Sequence[Prefix]) -> list[tuple[Array, Array]]:
        """Run all models over whole sequences and observe what follows the prompts."""
        outputs = []
        for model, decoder in enumerate(self._decoders):
            logits = decoder.logits([row.tokens[:-1] for row in rows])
            spans = [
                logits[number, row.prompt - 1 : len(row.tokens) - 1]
                for number, row in enumerate(rows)
            ]
            outputs.append(self._log_probs(model, np.concatenate(spans)))
            self.forwards += len(rows)
        log_probs = np.stack(outputs, axis=1)
        prefixes = [
            Prefix(row.tokens[:end], row.prompt)
            for row in rows
            for end in range(row.prompt, len(row.tokens))
        ]
        following = np.array([token for row in rows for token in row.tokens[row.prompt :]])
        observed = self.rule.observe(prefixes, log_probs)
        forced = np.take_along_axis(log_probs, following[:, None, None], axis=2)[:, :, 0]
        ends = np.cumsum([len(row.tokens) - row.prompt for row in rows])[:-1]
        return list(zip(np.split(observed, ends), np.split(forced, ends), strict=True))

    def _observe_fresh(self, missing: list[Prefix]) -> dict[Prefix, Array]:
        """Run the models on prefixes not seen before, a bounded number of rows at a time."""
        known, self._frontier = self._frontier, {}
        held = 0
        fresh: dict[Prefix, Array] = {}
        size = 8 * len(self._decoders) * self._decoders[0].shape.vocab_size
        step = max(1, _BATCH_BYTES // size)
        for group in self._groups(missing, known):
            for start in range(0, len(group), step):
                rows = group[start : start + step]
                log_probs, level = self._run([row.tokens for row in rows], known)
                observed = self.rule.observe(rows, log_probs)
                fresh.update(zip(rows, observed, strict=True))
                held += sum(cache.nbytes for cache in level.caches)
                if held <= self._cache_bytes:
                    self._frontier.update(
                        (row.tokens, (level, number)) for number, row in enumerate(rows)
                    )
        return fresh

    def _groups(
        self, missing: list[Prefix], known: dict[Ids, tuple[_Level, int]]
    ) -> list[list[Prefix]]:
        """Split rows into those that extend one level of caches, and by length those that start."""
        extending: dict[int, list[Prefix]] = {}
        starting: list[Prefix] = []
        for each in missing:
            parent = known.get(each.tokens[:-1])
            if parent is None:
                starting.append(each)
            else:
                extending.setdefault(id(parent[0]), []).append(each)
        lengths = by_length([each.tokens for each in starting])
        return [
            *extending.values(),
            *([starting[row] for row in rows] for rows in lengths),
        ]

    def _run(self, ids: list[Ids], known: dict[Ids, tuple[_Level, int]]) -> tuple[Array, _Level]:
        """Return log-probabilities after each row, [rows, models, vocabulary], and the caches."""
        parents = [known.get(row[:-1]) for row in ids]
        outputs, caches = [], []
        for model, decoder in enumerate(self._decoders):
            if parents[0] is None:
                logits, cache = decoder.start(ids)
            else:
                rows = [parent[1] for parent in parents if parent is not None]
                before = parents[0][0].caches[model].rows(rows)
                logits, cache = decoder.extend(before, [row[-1] for row in ids])
            outputs.append(self._log_probs(model, logits))
            caches.append(cache)
            self.forwards += len(ids)
        return np.stack(outputs, axis=1), _Level(caches)

    def _log_probs(self, model: int, logits: Array) -> Array:
        """Return the log-softmax of the last axis."""
        if not np.isfinite(logits).all():
            raise UnfitAdapterError(
                f"{self._names[model]}: logits are not finite", check="not-finite"
            )
        shifted = logits - logits.max(axis=-1, keepdims=True)
        result: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        return result
