"""Evaluation: what a system answers on the items of a suite, and whether that is correct.

Scorer `exact`: greedy decoding until an end-of-sequence token or `max_tokens`; a tie goes to the
lowest token id; the produced text is normalised and compared. Scorer `choice`: the choice whose
tokens have the highest summed log-likelihood after the prompt, summed from left to right; ties as
in `compose.scoring`. The gold answer is looked at only after the answer is there.

The margin of an outcome is the smallest lead of any decision behind it: token over token, choice
over choice, and speaker over a speaker that would have said something else. A margin near zero is
a near tie, which another machine may break the other way.

All coalitions of a bank are answered together: rows that have said the same so far share a prefix,
and a prefix is run once. Items are taken in order, a fixed number at a time; what is answered
depends neither on that number nor on which coalitions are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from compose.bank import Array, Mask, MemberBank, Prefix
from compose.errors import UnfitSuiteError
from compose.outcomes import Outcome
from compose.scoring import (
    MAX_MARGIN,
    choice_margin,
    choose,
    is_correct,
    margin_units,
    normalise,
)
from compose.suite import Item, Suite
from compose.tokens import Ids, Tokens

if TYPE_CHECKING:
    from compose.system import System

Progress = Callable[[int, int], None]
Cell = tuple[tuple[Outcome, ...], ...]
"""The outcomes of one coalition: per suite, per item."""

ROWS_AT_ONCE = 512


def evaluate(
    system: System,
    suite: Suite,
    *,
    progress: Progress | None = None,
    items_at_once: int | None = None,
) -> tuple[Outcome, ...]:
    """Return the outcome of a system on each item of a suite, in the suite's order.

    Args:
        system: what answers.
        suite: the items.
        progress: called with the number of items done and of all items.
        items_at_once: how many items share a batch; it does not change an answer.

    Raises:
        UnfitSuiteError: naming an item that does not fit into the base's positions.
    """
    bank = system.assembly.bank
    everybody = np.ones((1, bank.members), dtype=np.bool_)
    return answers(
        bank,
        system.tokens,
        system.eos_token_ids,
        [suite],
        everybody,
        progress=progress,
        items_at_once=items_at_once,
    )[0][0]


def answers(
    bank: MemberBank,
    tokens: Tokens,
    eos_token_ids: Sequence[int],
    suites: Sequence[Suite],
    masks: Mask,
    *,
    progress: Progress | None = None,
    items_at_once: int | None = None,
) -> list[Cell]:
    """Return the outcomes of several coalitions of one bank on several suites.

    Args:
        bank: the models and the rule.
        tokens: the tokenizer of the base.
        eos_token_ids: the ids that end an answer.
        suites: the items; those of scorer `exact` share batches across suites.
        masks: which members are present in each coalition, [coalitions, members].
        progress: called with the number of items done and of all items.
        items_at_once: how many items share a batch; by default fewer where there are more models.

    Returns:
        For each coalition, for each suite, the outcome of each item.
    """
    run = _Run(bank, tokens, tuple(eos_token_ids), masks)
    size = items_at_once or max(16, ROWS_AT_ONCE // (bank.members + 1))
    tasks = [
        _Task(number, suite, item) for number, suite in enumerate(suites) for item in suite.items
    ]
    results: list[list[list[Outcome]]] = [[[] for _ in suites] for _ in masks]
    done = 0
    for scorer, solve in (("exact", run.texts), ("choice", run.choices)):
        queue = [task for task in tasks if task.suite.scorer == scorer]
        for start in range(0, len(queue), size):
            part = queue[start : start + size]
            for task, outcomes in zip(part, solve(part), strict=True):
                for result, outcome in zip(results, outcomes, strict=True):
                    result[task.number].append(outcome)
            done += len(part)
            if progress is not None:
                progress(done, len(tasks))
    return [tuple(tuple(row) for row in result) for result in results]


class _Task(NamedTuple):
    """One item of the suite of that number."""

    number: int
    suite: Suite
    item: Item

    @property
    def what(self) -> str:
        return f"suite {self.suite.name}: item {self.item.id}"


@dataclass(frozen=True, slots=True)
class _Run:
    """A bank and the coalitions that are to answer."""

    bank: MemberBank
    tokens: Tokens
    eos: Ids
    masks: Mask

    def texts(self, tasks: Sequence[_Task]) -> list[list[Outcome]]:
        """Answer items of scorer `exact`; per item, the outcome of each coalition."""
        limits = [task.suite.max_tokens for task in tasks]
        prompts = [self._prompt(*each) for each in zip(tasks, limits, strict=True)]
        prefixes, margins = _greedy(self.bank, prompts, self.masks, limits, self.eos)
        results = []
        for task, produced, leads in zip(tasks, prefixes, margins.tolist(), strict=True):
            judged = {prefix: self._judge(task, prefix) for prefix in set(produced)}
            results.append(
                [
                    Outcome(task.item.id, *judged[prefix], margin_units(lead))
                    for prefix, lead in zip(produced, leads, strict=True)
                ]
            )
        return results

    def choices(self, tasks: Sequence[_Task]) -> list[list[Outcome]]:
        """Answer items of scorer `choice`; per item, the outcome of each coalition."""
        sequences = [self._continuations(task) for task in tasks]
        flat = iter(self.bank.observe_forced([each for row in sequences for each in row]))
        results = []
        for task, row in zip(tasks, sequences, strict=True):
            seen = list(islice(flat, len(row)))
            results.append([self._choose(task.item, seen, mask) for mask in self.masks])
        return results

    def _prompt(self, task: _Task, further: int) -> Ids:
        prompt = self.tokens.encode_prompt(task.item.prompt, what=task.what)
        self._check_length(task, len(prompt) + further)
        return prompt

    def _continuations(self, task: _Task) -> list[Prefix]:
        prompt = self._prompt(task, 0)
        sequences = []
        for choice in task.item.choices:
            ids = self.tokens.encode_continuation(choice, what=f"{task.what}: choice")
            self._check_length(task, len(prompt) + len(ids))
            sequences.append(Prefix(prompt + ids, len(prompt)))
        return sequences

    def _check_length(self, task: _Task, length: int) -> None:
        if length > self.bank.positions:
            raise UnfitSuiteError(
                f"{task.what} needs {length} tokens, the base has {self.bank.positions} positions",
                hint="shorten the prompt or lower max_tokens",
            )

    def _judge(self, task: _Task, prefix: Prefix) -> tuple[str, bool]:
        """Return the normalised answer and whether it is the gold one."""
        text = self.tokens.decode(prefix.tokens[prefix.prompt :])
        normalisation = task.suite.normalisation
        correct = is_correct(text, str(task.item.answer), normalisation)
        return normalise(text, normalisation), correct

    def _choose(self, item: Item, seen: Sequence[tuple[Array, Array]], mask: Mask) -> Outcome:
        sums, margin = [], MAX_MARGIN
        for observed, forced in seen:
            present = np.broadcast_to(mask, (len(forced), len(mask)))
            log_probs, leads = self.bank.rule.weigh(observed, forced, present)
            total = 0.0
            for log_prob in log_probs.tolist():
                total += log_prob
            sums.append(total)
            margin = min(margin, margin_units(float(leads.min())))
        lead = choice_margin(sums)
        answer = choose(sums)
        return Outcome(
            item.id, answer, answer == item.answer, margin if lead is None else min(margin, lead)
        )


def _greedy(
    bank: MemberBank, prompts: Sequence[Ids], masks: Mask, limits: Sequence[int], eos: Ids
) -> tuple[list[list[Prefix]], Array]:
    """Decode every prompt for every coalition, each up to its own number of tokens.

    Returns:
        Per prompt and coalition the prompt with its answer, end token left out, and the smallest
        margin, [prompts, coalitions].
    """
    count = len(masks)
    nodes = [Prefix(prompt, len(prompt)) for prompt in prompts]
    at = np.repeat(np.arange(len(prompts)), count)
    allowed = np.repeat(np.array(limits), count)
    active = np.arange(len(at))
    margins = np.full(len(at), np.inf)
    finished: list[Prefix] = [nodes[node] for node in at]
    for step in range(1, max(limits) + 1):
        observed = bank.observe(nodes)
        decision = bank.rule.decide(observed[at], masks[active % count])
        margins[active] = np.minimum(margins[active], decision.margins)
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
    return rows, margins.reshape(len(prompts), count)


def _still_needed(
    nodes: Sequence[Prefix], at: npt.NDArray[np.int64]
) -> tuple[list[Prefix], npt.NDArray[np.int64]]:
    """Drop the prefixes at which no row is left."""
    used, where = np.unique(at, return_inverse=True)
    return [nodes[node] for node in used.tolist()], where.reshape(-1)


def _finish(
    finished: list[Prefix],
    rows: npt.NDArray[np.int64],
    nodes: Sequence[Prefix],
    at: npt.NDArray[np.int64],
) -> None:
    for row, node in zip(rows.tolist(), at.tolist(), strict=True):
        finished[row] = nodes[node]


def _children(
    nodes: Sequence[Prefix], at: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
) -> tuple[list[Prefix], npt.NDArray[np.int64]]:
    """Return the prefixes one token longer, each once, and which of them each row is at."""
    width = int(tokens.max()) + 1
    steps, where = np.unique(at * width + tokens, return_inverse=True)
    longer = []
    for step in steps.tolist():
        node, token = divmod(step, width)
        longer.append(Prefix((*nodes[node].tokens, token), nodes[node].prompt))
    return longer, where.reshape(-1)
