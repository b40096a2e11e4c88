"""Answers of a bank of models that decide token by token.

A text is decoded greedily until an end-of-sequence token or the limit; a tie goes to the lowest
token id. Of several choices the one is taken whose tokens have the highest summed log-likelihood
after the prompt, summed from left to right; ties as in `compose.scoring`.

All coalitions are answered together: rows that have said the same so far share a prefix, and a
prefix is run once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from compose.answering import Answer, Question, Spoken
from compose.bank import Array, Index, Mask, MemberBank, Prefix
from compose.errors import UnfitSuiteError
from compose.scoring import all_margin_units, choice_margin, choose
from compose.tokens import Ids, Tokens


@dataclass(frozen=True, slots=True)
class Decoding:
    """A bank and its rule, the tokenizer of the base, and the ids that end an answer."""

    bank: MemberBank
    tokens: Tokens
    eos: Ids

    @property
    def members(self) -> int:
        """Number of members, the base not counted."""
        return self.bank.members

    @property
    def forwards(self) -> int:
        """Prefixes run through a model so far."""
        return self.bank.forwards

    def answer(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        """Return for each question the answer of each coalition; see `Answerer`."""
        texts = [number for number, each in enumerate(questions) if not each.choices]
        choices = [number for number, each in enumerate(questions) if each.choices]
        answers: list[list[Answer]] = [[] for _ in questions]
        for numbers, solve in ((texts, self._texts), (choices, self._choices)):
            if numbers:
                found = solve([questions[number] for number in numbers], masks)
                for number, row in zip(numbers, found, strict=True):
                    answers[number] = row
        return answers

    def spoken(self, questions: Sequence[Question], masks: Mask) -> list[Spoken]:
        """Return the answers and who had a say in them; see `Selector`."""
        found: dict[int, Spoken] = {}
        texts = [number for number, each in enumerate(questions) if not each.choices]
        if texts:
            asked = [questions[number] for number in texts]
            said = self._text(asked, masks[texts])
            speakers = self._way_speakers(asked, masks[texts], said)
            answers = (row[0] for row in self._answers(said))
            found.update(zip(texts, map(Spoken, answers, speakers), strict=True))
        choices = [number for number, each in enumerate(questions) if each.choices]
        for mask in np.unique(masks[choices], axis=0):
            alike = [number for number in choices if (masks[number] == mask).all()]
            asked = [questions[number] for number in alike]
            chosen = (row[0] for row in self._choices(asked, mask[None]))
            heard = (self._choice_speakers(question, mask) for question in asked)
            found.update(zip(alike, map(Spoken, chosen, heard), strict=True))
        return [found[number] for number in range(len(questions))]

    def _way_speakers(self, questions: Sequence[Question], masks: Mask, said: _Said) -> list[int]:
        """Return for each question the members that speak on the way to its one answer."""
        ways = [
            _way(row[0], question.max_tokens)
            for question, row in zip(questions, said.prefixes, strict=True)
        ]
        nodes = list(dict.fromkeys(node for way in ways for node in way))
        number = {node: at for at, node in enumerate(nodes)}
        at = np.array([number[node] for way in ways for node in way], dtype=np.int64)
        lengths = [len(way) for way in ways]
        speakers = self.bank.speakers(nodes, at, np.repeat(masks, lengths, axis=0))
        return [_members(part.tolist()) for part in np.split(speakers, np.cumsum(lengths)[:-1])]

    def _choice_speakers(self, question: Question, mask: Mask) -> int:
        """Return the members that speak anywhere in a question's choices."""
        found = self.bank.speakers_of(self._continuations(question), mask[None])
        return _members(np.concatenate(found)[:, 0].tolist())

    def _texts(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        return self._answers(self._text(questions, np.tile(masks, (len(questions), 1))))

    def _text(self, questions: Sequence[Question], present: Mask) -> _Said:
        """Decode for the coalitions of each question, equally many; `present` lists all in turn."""
        limits = [each.max_tokens for each in questions]
        prompts = [self._prompt(each, each.max_tokens) for each in questions]
        return _greedy(self.bank, prompts, present, limits, self.eos)

    def _answers(self, said: _Said) -> list[list[Answer]]:
        distinct = {prefix for row in said.prefixes for prefix in row}
        text = {each: self.tokens.decode(each.tokens[each.prompt :]) for each in distinct}
        units = all_margin_units(said.margins)
        return [
            [
                Answer(text[prefix], margin, confidence)
                for prefix, margin, confidence in zip(*row, strict=True)
            ]
            for row in zip(said.prefixes, units, said.confidences.tolist(), strict=True)
        ]

    def _choices(self, questions: Sequence[Question], masks: Mask) -> list[list[Answer]]:
        sequences = [self._continuations(each) for each in questions]
        weighed = self.bank.weigh([each for row in sequences for each in row], masks)
        answers, begin = [], 0
        for row in sequences:
            lengths = [len(each.tokens) - each.prompt for each in row]
            answers.append(_best(weighed[begin : begin + len(row)], lengths))
            begin += len(row)
        return answers

    def _prompt(self, question: Question, further: int) -> Ids:
        prompt = self.tokens.encode_prompt(question.prompt, what=question.what)
        self._check_length(question, len(prompt) + further)
        return prompt

    def _continuations(self, question: Question) -> list[Prefix]:
        prompt = self._prompt(question, 0)
        sequences = []
        for choice in question.choices:
            ids = self.tokens.encode_continuation(choice, what=f"{question.what}: choice")
            self._check_length(question, len(prompt) + len(ids))
            sequences.append(Prefix(prompt + ids, len(prompt)))
        return sequences

    def _check_length(self, question: Question, length: int) -> None:
        limit = self.bank.positions
        if length > limit:
            raise UnfitSuiteError(
                f"{question.what} needs {length} tokens, the base has {limit} positions",
                hint="shorten the prompt or lower max_tokens",
            )


def _way(prefix: Prefix, limit: int) -> list[Prefix]:
    """Return the prefixes at which the tokens of an answer were decided, its end included."""
    last = min(len(prefix.tokens), prefix.prompt + limit - 1)
    ends = range(prefix.prompt, last + 1)
    return [Prefix(prefix.tokens[:end], prefix.prompt) for end in ends]


def _members(models: Iterable[int]) -> int:
    """Return a bit mask of the members among models, of which the base is 0."""
    mask = 0
    for model in models:
        mask |= 1 << model >> 1
    return mask


def _best(weighed: Sequence[tuple[Array, Array]], lengths: Sequence[int]) -> list[Answer]:
    """Return the choice of each coalition, given every choice's likelihood, margin and length."""
    margins = np.minimum.reduce([margin for _, margin in weighed])
    sums = np.stack([log_prob for log_prob, _ in weighed], axis=1)
    answers = []
    for scores, units in zip(sums.tolist(), all_margin_units(margins), strict=True):
        chosen = choose(scores)
        lead = choice_margin(scores)
        margin = units if lead is None else min(units, lead)
        answers.append(Answer(chosen, margin, scores[chosen] / lengths[chosen]))
    return answers


@dataclass(frozen=True, slots=True)
class _Said:
    """Per prompt and coalition: the prompt with its answer, end token left out, and how sure."""

    prefixes: list[list[Prefix]]
    margins: Array
    confidences: Array


def _greedy(
    bank: MemberBank, prompts: Sequence[Ids], present: Mask, limits: Sequence[int], eos: Ids
) -> _Said:
    """Decode every prompt for its coalitions, each up to its own number of tokens.

    Args:
        present: of the first prompt's coalitions, then the second's, and so on, equally many.
    """
    count = len(present) // len(prompts)
    shape = len(prompts), count
    # The same question twice is one prefix.
    nodes = list(dict.fromkeys(Prefix(prompt, len(prompt)) for prompt in prompts))
    number = {node: at for at, node in enumerate(nodes)}
    at = np.repeat([number[Prefix(prompt, len(prompt))] for prompt in prompts], count)
    allowed = np.repeat(np.array(limits), count)
    active = np.arange(len(at))
    margins = np.full(len(at), np.inf)
    sums, lengths = np.zeros(len(at)), np.zeros(len(at))
    finished: list[Prefix] = [nodes[node] for node in at.tolist()]
    for step in range(1, max(limits) + 1):
        decision = bank.decide(nodes, at, present[active])
        margins[active] = np.minimum(margins[active], decision.margins)
        sums[active] += decision.log_probs
        lengths[active] = step
        ended = np.isin(decision.tokens, eos)
        _finish(finished, active[ended], nodes, at[ended])
        active, at = active[~ended], at[~ended]
        if not len(active):
            break
        nodes, at = _children(nodes, at, decision.tokens[~ended])
        full = allowed[active] <= step
        _finish(finished, active[full], nodes, at[full])
        active, at = active[~full], at[~full]
        if not len(active):
            break
        nodes, at = _still_needed(nodes, at)
    rows = [finished[start : start + count] for start in range(0, len(finished), count)]
    return _Said(rows, margins.reshape(shape), (sums / lengths).reshape(shape))


def _still_needed(nodes: Sequence[Prefix], at: Index) -> tuple[list[Prefix], Index]:
    """Drop the prefixes at which no row is left."""
    used, where = np.unique(at, return_inverse=True)
    return [nodes[node] for node in used.tolist()], where.reshape(-1)


def _finish(finished: list[Prefix], rows: Index, nodes: Sequence[Prefix], at: Index) -> None:
    for row, node in zip(rows.tolist(), at.tolist(), strict=True):
        finished[row] = nodes[node]


def _children(nodes: Sequence[Prefix], at: Index, tokens: Index) -> tuple[list[Prefix], Index]:
    """Return the prefixes one token longer, each once, and which of them each row is at."""
    width = int(tokens.max()) + 1
    steps, where = np.unique(at * width + tokens, return_inverse=True)
    longer = []
    for step in steps.tolist():
        node, token = divmod(step, width)
        longer.append(Prefix((*nodes[node].tokens, token), nodes[node].prompt))
    return longer, where.reshape(-1)
