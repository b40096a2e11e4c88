"""An evaluation depends on prompts and weights: not on batches, and never on the gold answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.errors import UnfitSuiteError
from compose.evaluation import evaluate
from compose.suite import Suite
from compose.system import System
from tests.compose.systems import Workshop, choice_suite, cid_of, exact_suite, prompts

METHODS = ("merge.linear", "logit.select")


@pytest.fixture(scope="module")
def workshop(tiny_base: Path, tiny_adapters: list[Path]) -> Workshop:
    base = open_base(tiny_base, name="tiny")
    adapters = {
        str(cid_of(f"entry {number}")): inspect_adapter(path, base)
        for number, path in enumerate(tiny_adapters)
    }
    exact = exact_suite("exact", prompts(), ["?"] * len(prompts()))
    return Workshop(base, adapters, (exact, choice_suite("choice", prompts())), exact)


@pytest.fixture(scope="module", params=METHODS)
def system(request: pytest.FixtureRequest, workshop: Workshop) -> System:
    return workshop.assemble(request.param)


def fresh(workshop: Workshop, system: System) -> System:
    """The same system with nothing memoised."""
    return workshop.assemble(str(system.identity["method"]["name"]))


def test_a_batch_of_n_equals_n_batches_of_one(workshop: Workshop, system: System) -> None:
    """Bug c: rows of a batch attended to each other's padding."""
    for suite in workshop.suites:
        together = evaluate(fresh(workshop, system), suite)
        alone = evaluate(fresh(workshop, system), suite, items_at_once=1)
        some = evaluate(fresh(workshop, system), suite, items_at_once=5)
        assert [(o.item, o.answer) for o in together] == [(o.item, o.answer) for o in alone]
        for other in (alone, some):
            for ours, theirs in zip(together, other, strict=True):
                assert ours.answer == theirs.answer
                assert ours.margin is not None
                assert theirs.margin is not None
                assert abs(ours.margin - theirs.margin) <= 1


def test_order_of_items_does_not_matter(workshop: Workshop, system: System) -> None:
    for suite in workshop.suites:
        turned = replace(suite, items=suite.items[::-1])
        forth = {o.item: o.answer for o in evaluate(system, suite)}
        back = {o.item: o.answer for o in evaluate(fresh(workshop, system), turned)}
        assert forth == back


def test_the_gold_answer_is_never_seen(workshop: Workshop, system: System) -> None:
    exact, choice = workshop.suites
    gold: list[Callable[[int], int | str]] = [lambda n: f"other {n}", lambda n: (n + 1) % 8]
    for suite, answer in zip((exact, choice), gold, strict=True):
        items = tuple(replace(each, answer=answer(n)) for n, each in enumerate(suite.items))
        permuted = evaluate(fresh(workshop, system), replace(suite, items=items))
        assert [o.answer for o in permuted] == [o.answer for o in evaluate(system, suite)]


def test_an_answer_equal_to_the_gold_one_is_correct(workshop: Workshop, system: System) -> None:
    for suite in workshop.suites:
        said = [outcome.answer for outcome in evaluate(system, suite)]
        assert len(set(said)) > 1
        right = replace(
            suite,
            items=tuple(replace(i, answer=a) for i, a in zip(suite.items, said, strict=True)),
        )
        assert all(outcome.correct for outcome in evaluate(system, right))
        assert not all(outcome.correct for outcome in evaluate(system, suite))


def test_greedy_text_is_that_of_transformers(tiny_base: Path, workshop: Workshop) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_base)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    suite = workshop.suites[0]
    ours = evaluate(workshop.assemble("merge.linear", []), suite)
    for item, outcome in zip(suite.items, ours, strict=True):
        ids = torch.tensor([tokenizer(item.prompt)["input_ids"]])
        produced = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=5, do_sample=False
        )
        expected = tokenizer.decode(produced[0, ids.shape[1] :], skip_special_tokens=True)
        assert outcome.answer == expected.strip()


def test_choices_are_scored_by_summed_log_likelihood(tiny_base: Path, workshop: Workshop) -> None:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(tiny_base, dtype=torch.float64)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    suite = workshop.suites[1]
    ours = evaluate(workshop.assemble("merge.linear", []), suite)
    for item, outcome in zip(suite.items, ours, strict=True):
        prompt = tokenizer(item.prompt)["input_ids"]
        sums = []
        for choice in item.choices:
            ids = tokenizer(choice)["input_ids"]
            with torch.inference_mode():
                logits = model(torch.tensor([[*prompt, *ids]])).logits[0].log_softmax(-1)
            at = range(len(prompt) - 1, len(prompt) + len(ids) - 1)
            sums.append(sum(float(logits[p, token]) for p, token in zip(at, ids, strict=True)))
        best, second = sorted(sums, reverse=True)[:2]
        assert outcome.answer == sums.index(best)
        assert outcome.margin == pytest.approx((best - second) * 1e6, abs=100)


def test_an_answer_ends_at_max_tokens(workshop: Workshop, system: System) -> None:
    suite = workshop.suites[0]
    longer = evaluate(system, suite)
    shorter = evaluate(system, replace(suite, max_tokens=2))
    for long, short in zip(longer, shorter, strict=True):
        words = str(short.answer).split()
        assert len(words) <= 2
        assert str(long.answer).split()[: len(words)] == words


def test_progress_counts_to_the_end(workshop: Workshop, system: System) -> None:
    seen: list[tuple[int, int]] = []
    suite = workshop.suites[0]
    evaluate(system, suite, progress=lambda *each: seen.append(each), items_at_once=7)
    assert seen == [(7, 18), (14, 18), (18, 18)]


@pytest.mark.parametrize("kind", ["exact", "choice"])
def test_an_item_past_the_positions_is_named(workshop: Workshop, system: System, kind: str) -> None:
    prompt = " ".join(["a"] * 64)
    suite: Suite = exact_suite("long", [prompt], ["b"])
    if kind == "choice":
        suite = choice_suite("long", [prompt])
    with pytest.raises(UnfitSuiteError, match="item long-0 needs"):
        evaluate(system, suite)
