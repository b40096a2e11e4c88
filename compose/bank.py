"""The base and the members of a composition, run once for each distinct prefix.

A composition that mixes or selects token by token has a rule: what a rule keeps of the models'
next-token distributions is observed once per prefix and memoised, and from that any coalition's
decision follows without a further forward pass. So n members cost n + 1 forwards per distinct
prefix, however many coalitions ask (the prefix trie of greedy decoding).

Model 0 is the base; member i (in id order) is model i + 1. A weight merge is a bank of one model.

A rule may keep whole distributions, so no more of what is observed than `MEMO_BYTES` is kept, and
no more than `BATCH_BYTES` is handed to a rule at a time; a decision depends on neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt

from compose.batches import BATCH_BYTES, batches, pieces
from compose.errors import UnfitAdapterError
from compose.forward import Cache, Decoder, by_length
from compose.tokens import Ids

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MEMO_BYTES = 512 * 2**20
CACHE_BYTES = 1024 * 2**20
MEMORY_BYTES = MEMO_BYTES + CACHE_BYTES
_MEMO_OVERHEAD = 256


class Prefix(NamedTuple):
    """Token ids so far, of which the first `prompt` are the prompt."""

    tokens: Ids
    prompt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The next token of each row, its log-probability, and how far (in nat) it leads another."""

    tokens: Index
    margins: Array
    log_probs: Array


class Rule(Protocol):
    """How a bank's models answer together; pure, the same for every coalition and row by row."""

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


class SpeakerRule(Rule, Protocol):
    """A rule by which one model speaks in each row."""

    def speakers(self, observed: Array, present: Mask) -> Index:
        """Return which model speaks in each row; 0 is the base."""
        ...


class _Level(NamedTuple):
    """Caches of all models for rows of one length, kept for the prefixes one token longer."""

    caches: list[Cache]


class _Forced(NamedTuple):
    """What is known before each token after a prompt, and what each model gives that token."""

    observed: Array
    forced: Array


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
        self._forced: dict[Prefix, _Forced] = {}
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

    def decide(self, prefixes: Sequence[Prefix], at: Index, present: Mask) -> Decision:
        """Return the next token of each row.

        Args:
            prefixes: distinct prefixes.
            at: which of them each row is at, [rows]; every prefix has a row.
            present: which members take part in each row, [rows, members].

        Raises:
            UnfitAdapterError: naming a member whose logits are not finite.
        """
        count = len(at)
        decision = Decision(np.empty(count, np.int64), np.empty(count), np.empty(count))
        for rows, observed in self._rows(prefixes, at):
            made = self.rule.decide(observed, present[rows])
            decision.tokens[rows] = made.tokens
            decision.margins[rows] = made.margins
            decision.log_probs[rows] = made.log_probs
        return decision

    def speakers(self, prefixes: Sequence[Prefix], at: Index, present: Mask) -> Index:
        """Return which model speaks in each row; arguments and errors are those of `decide`."""
        speakers = np.empty(len(at), np.int64)
        for rows, observed in self._rows(prefixes, at):
            speakers[rows] = _speaking(self.rule).speakers(observed, present[rows])
        return speakers

    def speakers_of(self, sequences: Sequence[Prefix], masks: Mask) -> list[Index]:
        """Return which model speaks before each token after a prompt, [tokens, coalitions] each."""
        found = {}
        for sequence, known in self._force(list(dict.fromkeys(sequences))):
            shape = len(known.forced), len(masks)
            speakers = np.empty(shape, np.int64)
            for some in pieces(shape[1], known.observed):
                for token, observed in enumerate(known.observed):
                    present = masks[some]
                    rows = np.broadcast_to(observed, (len(present), *observed.shape))
                    speakers[token, some] = _speaking(self.rule).speakers(rows, present)
            found[sequence] = speakers
        return [found[each] for each in sequences]

    def weigh(self, sequences: Sequence[Prefix], masks: Mask) -> list[tuple[Array, Array]]:
        """Return how likely each coalition finds what follows each prompt.

        Args:
            sequences: prompts with at least one token after each.
            masks: which members are present in each coalition, [coalitions, members].

        Returns:
            For each sequence the log-probability of its tokens, summed from left to right, and the
            smallest margin, both [coalitions].

        Raises:
            UnfitAdapterError: naming a member whose logits are not finite.
        """
        distinct = list(dict.fromkeys(sequences))
        weighed = {sequence: self._weigh(known, masks) for sequence, known in self._force(distinct)}
        return [weighed[each] for each in sequences]

    def _rows(self, prefixes: Sequence[Prefix], at: Index) -> Iterator[tuple[Index, Array]]:
        """Yield numbers of rows with what is observed at each, a bounded part at a time."""
        order = np.argsort(at, kind="stable")
        begins = np.searchsorted(at[order], np.arange(len(prefixes) + 1))
        for numbers, observed in self._observe(prefixes):
            parts = [order[begins[number] : begins[number + 1]] for number in numbers]
            rows = np.concatenate(parts)
            local = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            for some, seen in batches(observed, local):
                yield rows[some], seen

    def _weigh(self, known: _Forced, masks: Mask) -> tuple[Array, Array]:
        shape = len(known.forced), len(masks)
        position = np.repeat(np.arange(shape[0]), shape[1])
        coalition = np.tile(np.arange(shape[1]), shape[0])
        log_probs, margins = np.empty(len(position)), np.empty(len(position))
        for some, seen in batches(known.observed, position):
            forced = known.forced[position[some]]
            log_probs[some], margins[some] = self.rule.weigh(seen, forced, masks[coalition[some]])
        total = np.zeros(len(masks))
        for step in log_probs.reshape(shape):
            total += step
        return total, margins.reshape(shape).min(axis=0)

    def _force(self, sequences: Sequence[Prefix]) -> Iterator[tuple[Prefix, _Forced]]:
        """Yield what is known of each sequence, a bounded number of them run at a time."""
        missing = []
        for each in sequences:
            if each in self._forced:
                yield each, self._forced[each]
            else:
                missing.append(each)
        longest = max(len(each.tokens) for each in sequences)
        size = 8 * len(self._decoders) * self._decoders[0].shape.vocab_size * longest
        step = max(1, BATCH_BYTES // size)
        for start in range(0, len(missing), step):
            rows = missing[start : start + step]
            for sequence, known in zip(rows, self._run_forced(rows), strict=True):
                if self._fits(sequence, known.observed.nbytes + known.forced.nbytes):
                    self._forced[sequence] = known
                yield sequence, known

    def _run_forced(self, rows: Sequence[Prefix]) -> list[_Forced]:
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
        parts = zip(np.split(observed, ends), np.split(forced, ends), strict=True)
        # Copied, so that what is kept does not keep the whole batch.
        return [_Forced(seen.copy(), given.copy()) for seen, given in parts]

    def _observe(self, prefixes: Sequence[Prefix]) -> Iterator[tuple[list[int], Array]]:
        """Yield numbers of prefixes with what the rule keeps of them, a bounded part at a time."""
        known, self._frontier = self._frontier, {}
        kept = [number for number, each in enumerate(prefixes) if each in self._memo]
        if kept:
            for some in pieces(len(kept), self._memo[prefixes[kept[0]]][None]):
                numbers = kept[some]
                yield numbers, np.stack([self._memo[prefixes[number]] for number in numbers])
        held = 0
        size = 8 * len(self._decoders) * self._decoders[0].shape.vocab_size
        step = max(1, BATCH_BYTES // size)
        done = set(kept)
        missing = [number for number in range(len(prefixes)) if number not in done]
        for group in self._groups(prefixes, missing, known):
            for start in range(0, len(group), step):
                numbers = group[start : start + step]
                rows = [prefixes[number] for number in numbers]
                log_probs, level = self._run([row.tokens for row in rows], known)
                observed = self.rule.observe(rows, log_probs)
                for row, seen in zip(rows, observed, strict=True):
                    if self._fits(row, seen.nbytes):
                        self._memo[row] = seen.copy()
                held += sum(cache.nbytes for cache in level.caches)
                if held <= self._cache_bytes:
                    self._frontier.update(
                        (row.tokens, (level, number)) for number, row in enumerate(rows)
                    )
                yield numbers, observed

    def _fits(self, prefix: Prefix, size: int) -> bool:
        """Take room for something to be remembered, if there is any."""
        cost = size + 8 * len(prefix.tokens) + _MEMO_OVERHEAD
        if cost > self._memo_left:
            return False
        self._memo_left -= cost
        return True

    def _groups(
        self,
        prefixes: Sequence[Prefix],
        missing: Sequence[int],
        known: dict[Ids, tuple[_Level, int]],
    ) -> list[list[int]]:
        """Split rows into those that extend one level of caches, and by length those that start."""
        extending: dict[int, list[int]] = {}
        starting: list[int] = []
        for number in missing:
            parent = known.get(prefixes[number].tokens[:-1])
            if parent is None:
                starting.append(number)
            else:
                extending.setdefault(id(parent[0]), []).append(number)
        lengths = by_length([prefixes[number].tokens for number in starting])
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
        """Return the log-softmax of the last axis, by the arithmetic of the model."""
        if not np.isfinite(logits).all():
            raise UnfitAdapterError(
                f"{self._names[model]}: logits are not finite", check="not-finite"
            )
        return self._decoders[model].log_probs(logits)


def _speaking(rule: Rule) -> SpeakerRule:
    assert hasattr(rule, "speakers"), "a method that selects has a rule that names the speaker"
    return cast("SpeakerRule", rule)
