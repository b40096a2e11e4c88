"""merge.regmean solves the least-squares problem that its page states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from compose.delta import Array, Deltas, weighted_sum
from compose.errors import UnfitAdapterError, UnfitSuiteError
from compose.forward import Decoder
from compose.gram import gram_matrices, input_of
from compose.methods import METHODS, merge_regmean
from compose.methods.merge_regmean import regmean, solve
from compose.methods.method import Context
from compose.system import open_context
from compose.tokens import Ids
from ledger.errors import PolicyError
from tests.compose.systems import Workshop, exact_suite, prompts

METHOD = METHODS["merge.regmean"]
LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def workshop(workshop: Workshop) -> Workshop:
    """The first three members answer two thirds of the dev items; the last answers none."""
    shop = workshop
    said = [shop.answers(shop.assemble("merge.linear", [each]))[0] for each in shop.ids]
    gold = ["9 9 9 9 9 9"] * len(prompts())
    for number in range(len(gold)):
        own = str(said[number % 3][number])
        if own and own != said[3][number]:
            gold[number] = own
    return replace(shop, dev=exact_suite("dev", prompts(), gold))


@pytest.fixture(scope="module")
def context(workshop: Workshop) -> Context:
    lock = workshop.lock("merge.regmean")
    return open_context(lock, workshop.base, workshop.adapters, workshop.dev)


def random_members(count: int = 3) -> tuple[list[Deltas], list[dict[str, Array]], Deltas]:
    """Deltas of one layer, [4, 6], and Gram matrices of fewer inputs than features."""
    numbers = np.random.default_rng(2)
    deltas = [Deltas({LAYER: numbers.normal(size=(4, 6))}) for _ in range(count)]
    inputs = [numbers.normal(size=(3, 6)) for _ in range(count)]
    grams = [{LAYER: each.T @ each} for each in inputs]
    mean = weighted_sum([(each, Fraction(1, count)) for each in deltas])
    return deltas, grams, mean


def damped(gram: Array, alpha: float) -> Array:
    result: Array = alpha * gram + (1 - alpha) * np.diag(gram.diagonal())
    return result


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_whole_weights_are_merged_as_published(alpha: float) -> None:
    """RegMean is stated on weights; on deltas of one base it is the same merge."""
    deltas, grams, mean = random_members()
    weight = np.random.default_rng(3).normal(size=(4, 6))
    matrices = [damped(each[LAYER], alpha) for each in grams]
    right = sum(
        matrix @ (weight + each[LAYER]).T for matrix, each in zip(matrices, deltas, strict=True)
    )
    expected = np.linalg.solve(sum(matrices), right).T
    merged = regmean(deltas, grams, mean=mean, alpha=alpha)
    assert np.allclose(weight + merged[LAYER], expected, rtol=0, atol=1e-10)


def test_no_other_merge_is_closer_to_the_members() -> None:
    deltas, grams, mean = random_members()

    def distance(merged: Array) -> float:
        return sum(
            float(
                np.trace(
                    (merged - each[LAYER]) @ damped(gram[LAYER], 0.9) @ (merged - each[LAYER]).T
                )
            )
            for each, gram in zip(deltas, grams, strict=True)
        )

    best = regmean(deltas, grams, mean=mean, alpha=0.9)[LAYER]
    numbers = np.random.default_rng(4)
    for size in (1e-3, 0.1, 1.0):
        assert distance(best) < distance(best + size * numbers.normal(size=best.shape))
    assert distance(best) < distance(mean[LAYER])


def test_a_feature_that_nobody_sees_is_the_mean() -> None:
    deltas, grams, mean = random_members()
    for each in grams:
        each[LAYER][2, :] = each[LAYER][:, 2] = 0.0
    merged = regmean(deltas, grams, mean=mean, alpha=0.9)[LAYER]
    assert np.array_equal(merged[:, 2], mean[LAYER][:, 2])
    assert not np.allclose(merged[:, 1], mean[LAYER][:, 1])


def test_elimination_is_the_solution() -> None:
    numbers = np.random.default_rng(1)
    root = numbers.normal(size=(9, 9))
    matrix, right = root @ root.T, numbers.normal(size=(9, 4))
    assert np.allclose(solve(matrix, right), np.linalg.solve(matrix, right), rtol=0, atol=1e-8)
    matrix[4, :] = matrix[:, 4] = right[4] = 0.0
    left = np.delete(np.delete(matrix, 4, 0), 4, 1)
    expected = np.linalg.solve(left, np.delete(right, 4, 0))
    found = solve(matrix, right)
    assert np.allclose(np.delete(found, 4, 0), expected, rtol=0, atol=1e-8)
    assert not found[4].any()


def test_the_merge_is_that_of_the_items_each_member_answers(context: Context) -> None:
    """The same from the outside: alone, a member's answers; its prompts; its matrices; a solve."""
    prompts_of: Mapping[str, list[str]] = {
        member.id: [
            item.prompt
            for item, right in zip(context.dev.items, answered(context, number), strict=True)
            if right
        ]
        for number, member in enumerate(context.members)
        if context.dev is not None
    }
    sizes = [len(each) for each in prompts_of.values()]
    assert min(sizes[:3]) > 0
    assert sizes[3] == 0
    merged = METHOD.assemble(context).merged
    assert merged is not None
    layer = "model.layers.1.mlp.down_proj"
    total = right_side = 0.0
    for member in context.members:
        ids = [context.tokens.encode_prompt(each) for each in prompts_of[member.id]]
        found = gram_matrices(context.decoder.with_deltas(member.deltas), ids, [layer])
        gram = damped(found[layer], 0.9)
        delta = member.deltas.get(layer, np.zeros(merged[layer].shape))
        total, right_side = total + gram, right_side + gram @ delta.T
    expected = np.linalg.solve(total, right_side).T
    assert np.allclose(merged[layer], expected, rtol=0, atol=1e-9)


def answered(context: Context, number: int) -> list[bool]:
    from compose.evaluation import outcomes_of

    assert context.dev is not None
    model = context.one_model(context.members[number].deltas)
    ((outcomes,),) = outcomes_of(model, [context.dev], np.ones((1, 0), dtype=np.bool_))
    return [outcome.correct for outcome in outcomes]


def test_members_that_answer_nothing_leave_the_mean(workshop: Workshop) -> None:
    hopeless = exact_suite("hopeless", prompts()[:3], ["9 9 9 9 9 9"] * 3)
    shop = replace(workshop, dev=hopeless)
    found = shop.assemble("merge.regmean").assembly.state["deltas"]
    assert found == shop.assemble("merge.linear").assembly.state["deltas"]
    other = shop.assemble("merge.regmean", prompts="all").assembly.state["deltas"]
    assert other != found


def test_a_copy_counts_twice(workshop: Workshop) -> None:
    """The least squares of a, a and b are those of a with its matrix doubled, and b."""
    deltas, grams, _ = random_members(2)
    mean = weighted_sum([(deltas[0], Fraction(2, 3)), (deltas[1], Fraction(1, 3))])
    copied = regmean([deltas[0], *deltas], [grams[0], *grams], mean=mean, alpha=0.9)
    doubled = [{LAYER: 2 * grams[0][LAYER]}, grams[1]]
    once = regmean(deltas, doubled, mean=mean, alpha=0.9)
    assert np.allclose(copied[LAYER], once[LAYER], rtol=0, atol=1e-10)


def test_parameters_change_the_merge(workshop: Workshop) -> None:
    digests = {
        workshop.assemble("merge.regmean", **parameters).assembly.state["deltas"]
        for parameters in ({}, {"prompts": "all"}, {"alpha": "0"}, {"alpha": "0.5"})
    }
    assert len(digests) == 4


def test_matrices_are_found_once_for_all_coalitions(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[tuple[int, str]] = []

    def counting(decoder: Decoder, prompts: Sequence[Ids], layers: Sequence[str]) -> Any:
        found.extend((len(prompts), layer) for layer in layers)
        return gram_matrices(decoder, prompts, layers)

    monkeypatch.setattr(merge_regmean, "gram_matrices", counting)
    fresh = replace(context, memo={})
    for mask in range(1, 16):
        members = tuple(each for bit, each in enumerate(context.members) if mask >> bit & 1)
        METHOD.assemble(replace(fresh, members=members))
    assert len(found) == 4 * len({input_of(layer) for layer in context.base.linears})


def test_a_prompt_that_is_too_long_is_named(context: Context) -> None:
    assert context.dev is not None
    long = exact_suite("long", [prompts()[0], "a " * 70], ["?", "?"])
    parameters = {"prompts": "all", "alpha": "0.9"}
    with pytest.raises(UnfitSuiteError, match="suite long: item long-1 needs 70 tokens"):
        METHOD.assemble(replace(context, dev=long, parameters=parameters, memo={}))


def test_a_member_that_gives_layers_no_numbers_is_named(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(decoder: Decoder, prompts: Sequence[Ids], layers: Sequence[str]) -> Any:
        found = gram_matrices(decoder, prompts, layers)
        found[layers[0]][0, 0] = np.inf
        return found

    monkeypatch.setattr(merge_regmean, "gram_matrices", broken)
    with pytest.raises(UnfitAdapterError, match=f"member {context.members[0].id}: what its"):
        METHOD.assemble(replace(context, memo={}))


def test_matrices_that_take_too_much_memory_are_refused(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge_regmean, "MAX_GRAM_BYTES", 1000)
    with pytest.raises(PolicyError, match="Gram matrices of 4 members take"):
        METHOD.assemble(context)


def test_names_of_inputs_are_layers() -> None:
    assert input_of(LAYER.replace("q_proj", "v_proj")) == LAYER
