"""What every merge promises, whichever methods there are, and what each says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.admission import CONFIG, WEIGHTS
from compose.coalitions import CoalitionEngine
from compose.delta import Array, Deltas, delta_of, weighted_sum
from compose.evaluation import evaluate, outcomes_of
from compose.methods import METHODS
from compose.methods.devscores import DevScores
from compose.methods.merge_dare_ties import thin
from compose.methods.merge_lorahub import child
from compose.methods.merge_ties import agreeing
from compose.methods.method import Assembly, Context
from compose.system import System, assemble, open_context
from tests.compose.systems import QUICK, Workshop, choice_suite, cid_of, exact_suite, prompts

MERGES = sorted(name for name, method in METHODS.items() if method.level == "weight")
SEEDED = {"merge.dare_ties", "merge.lorahub", "merge.model_swarms"}
"""Methods that draw random numbers; for all others the seed means nothing."""

LEARNS_ITS_WEIGHT = {"merge.lorahub"}
"""Methods that may give even a single member another weight than one."""

SOLVED_FROM_INPUTS = {"merge.regmean"}
"""Methods that look at what layers are given, of which each engine has its own bits."""

AT_WEIGHT_ONE: Mapping[str, Mapping[str, str]] = {
    "merge.ties": {"density": "1"},
    "merge.dare_ties": {"density": "1"},
}
"""Where the defaults do not keep a single member whole: what does."""


@pytest.fixture(scope="module")
def workshop(workshop: Workshop) -> Workshop:
    """What the mean of two members says is right on dev, so that weights can be found."""
    said = workshop.answers(workshop.assemble("merge.linear", workshop.ids[:2]))[0]
    gold = [str(each) or "?" for each in said]
    return replace(workshop, dev=exact_suite("dev", prompts(), gold))


def system(
    shop: Workshop, method: str, members: list[str] | None = None, **parameters: str
) -> System:
    return shop.assemble(method, members, **{**QUICK.get(method, {}), **parameters})


def merge(
    shop: Workshop, method: str, members: list[str] | None = None, **parameters: str
) -> Assembly:
    return system(shop, method, members, **parameters).assembly


def merged(
    shop: Workshop, method: str, members: list[str] | None = None, **parameters: str
) -> Deltas:
    deltas = merge(shop, method, members, **parameters).merged
    assert deltas is not None
    return deltas


def context_of(shop: Workshop, method: str) -> Context:
    lock = shop.lock(method, **QUICK.get(method, {}))
    return open_context(lock, shop.base, shop.adapters, shop.dev)


def with_seed(shop: Workshop, method: str, seed: int) -> System:
    lock = replace(shop.lock(method, **QUICK.get(method, {})), seed=seed)
    return assemble(lock, shop.base, shop.adapters, shop.dev)


def with_copy(shop: Workshop, number: int = 0, *, times: int = 1) -> tuple[Workshop, list[str]]:
    """Add copies of one member under ids of their own; returns these ids, the original first."""
    original = shop.ids[number]
    copies = {str(cid_of(f"copy {each}")): shop.adapters[original] for each in range(times)}
    return replace(shop, adapters={**shop.adapters, **copies}), [original, *copies]


@pytest.mark.parametrize("method", MERGES)
def test_one_member_at_weight_one_is_the_member(workshop: Workshop, method: str) -> None:
    for member in workshop.ids:
        own = delta_of(workshop.adapters[member])
        assembly = merge(workshop, method, [member], **AT_WEIGHT_ONE.get(method, {}))
        if method in LEARNS_ITS_WEIGHT:
            assert assembly.coefficients is not None
            own = weighted_sum([(own, assembly.coefficients[0])])
        assert assembly.merged is not None
        assert assembly.merged.digest() == own.digest()


@pytest.mark.parametrize("method", MERGES)
def test_the_order_of_arrival_changes_nothing(workshop: Workshop, method: str) -> None:
    turned = replace(workshop, adapters=dict(reversed(workshop.adapters.items())))
    assert system(turned, method).digest() == system(workshop, method).digest()


@pytest.mark.parametrize("method", MERGES)
def test_the_seed_decides_where_there_is_chance_and_nowhere_else(
    workshop: Workshop, method: str
) -> None:
    first, again, other = (with_seed(workshop, method, seed).digest() for seed in (3, 3, 4))
    assert first == again
    assert (first != other) == (method in SEEDED)


@pytest.mark.parametrize("method", MERGES)
def test_the_digest_names_the_deltas(workshop: Workshop, method: str) -> None:
    assembly = merge(workshop, method)
    assert assembly.merged is not None
    assert assembly.state["deltas"] == assembly.merged.digest()


@pytest.mark.parametrize("method", MERGES)
def test_coefficients_are_those_of_the_merge(workshop: Workshop, method: str) -> None:
    assembly = merge(workshop, method)
    if assembly.coefficients is None:
        return
    deltas = [delta_of(workshop.adapters[each]) for each in workshop.ids]
    expected = weighted_sum(list(zip(deltas, assembly.coefficients, strict=True)))
    assert assembly.state["deltas"] == expected.digest()


@pytest.mark.parametrize("method", MERGES)
def test_a_coalition_is_the_merge_of_its_members_alone(workshop: Workshop, method: str) -> None:
    lock = workshop.lock(method, **QUICK.get(method, {}))
    engine = CoalitionEngine(lock, workshop.base, workshop.adapters, (), workshop.dev)
    assert engine.semantics == "re-assembled"
    for mask in (15, 5, 8, 0):
        members = [each for bit, each in enumerate(workshop.ids) if mask >> bit & 1]
        assert engine.system(mask).digest() == system(workshop, method, members).digest()


@pytest.mark.parametrize("method", MERGES)
def test_the_exact_engine_makes_the_same_merge(workshop: Workshop, method: str) -> None:
    """What a search finds does not hang on the engine here; what is solved from inputs does."""
    assert METHODS[method].exactness == "bitwise"
    lock = workshop.lock(method, **QUICK.get(method, {}))
    lock = replace(lock, exactness="bitwise", software={"exact": "1"})
    exact = assemble(lock, workshop.base, workshop.adapters, workshop.dev)
    pinned = system(workshop, method)
    assert (exact.digest() == pinned.digest()) == (method not in SOLVED_FROM_INPUTS)
    assert exact.assembly.merged is not None
    assert pinned.assembly.merged is not None
    for layer, delta in pinned.assembly.merged.items():
        assert np.allclose(exact.assembly.merged[layer], delta, rtol=0, atol=1e-2)


@pytest.mark.parametrize("method", MERGES)
def test_members_of_weight_zero_change_nothing(workshop: Workshop, method: str) -> None:
    assembly = merge(workshop, method)
    if assembly.coefficients is None or all(assembly.coefficients):
        return
    pairs = list(zip(workshop.ids, assembly.coefficients, strict=True))
    taken = [(delta_of(workshop.adapters[each]), weight) for each, weight in pairs if weight]
    assert assembly.state["deltas"] == weighted_sum(taken).digest()


@pytest.mark.parametrize("method", MERGES)
def test_copies_of_one_adapter_make_that_adapter(workshop: Workshop, method: str) -> None:
    """However a method treats copies among others, alone they have nothing to disagree about."""
    shop, twins = with_copy(workshop, times=2)
    assembly = merge(shop, method, twins, **AT_WEIGHT_ONE.get(method, {}))
    own = delta_of(workshop.adapters[workshop.ids[0]])
    weights = assembly.coefficients if method in LEARNS_ITS_WEIGHT else None
    factor = 1.0 if weights is None else float(sum(weights))
    assert assembly.merged is not None
    for layer, delta in own.items():
        found = assembly.merged.get(layer, np.zeros(delta.shape))
        assert np.allclose(found, factor * delta, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def refactored(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Every member with other factors of the same product: A / 2, 8 B and a quarter of alpha."""
    from safetensors.numpy import load_file, save_file

    adapters = {}
    for id_, adapter in workshop.adapters.items():
        directory = tmp_path_factory.mktemp("refactored")
        tensors = load_file(adapter.directory / WEIGHTS)
        changed = {
            name: tensor * np.float32(8 if "lora_B" in name else 0.5)
            for name, tensor in tensors.items()
        }
        save_file(changed, directory / WEIGHTS, metadata={"format": "pt"})
        config = json.loads((adapter.directory / CONFIG).read_text("utf-8"))
        config["lora_alpha"] /= 4
        (directory / CONFIG).write_text(json.dumps(config), "utf-8")
        adapters[id_] = inspect_adapter(directory, workshop.base)
    return replace(workshop, adapters=adapters)


@pytest.mark.parametrize("method", MERGES)
def test_how_an_adapter_is_factored_changes_nothing(
    workshop: Workshop, refactored: Workshop, method: str
) -> None:
    """Bug e of factor-wise merging: A and B combined apart, one alpha / r for everybody."""
    assert len({adapter.scale for adapter in workshop.adapters.values()}) > 1
    assert len({adapter.rank for adapter in workshop.adapters.values()}) > 1
    assert any(adapter.rslora for adapter in workshop.adapters.values())
    ours, theirs = merge(workshop, method), merge(refactored, method)
    weights = ours.coefficients or (1,) * 4
    taken = [each for each, weight in zip(workshop.ids, weights, strict=True) if weight]
    assert ours.merged is not None
    assert set(ours.merged) == {
        name for each in taken for name in workshop.adapters[each].factors()
    }
    assert theirs.state == ours.state


def dropped(shop: Workshop, member: str, layer: str, seed: int = 0) -> Array:
    delta = delta_of(shop.adapters[member])[layer]
    return thin(delta, member, layer, seed=seed, density=Fraction(1, 2))


def test_dare_drops_half_and_doubles_the_rest(workshop: Workshop) -> None:
    entries = kept = 0
    for member in workshop.ids:
        for layer, delta in delta_of(workshop.adapters[member]).items():
            thinned = dropped(workshop, member, layer)
            stays = thinned != 0
            assert np.array_equal(thinned[stays], 2 * delta[stays])
            entries, kept = entries + delta.size, kept + int(stays.sum())
    assert abs(kept / entries - 0.5) < 4 * 0.5 / entries**0.5


def test_dare_without_a_member_leaves_the_masks_of_the_others(workshop: Workshop) -> None:
    """A mask keyed by position would change for everybody behind the member that left."""
    whole = merged(workshop, "merge.dare_ties", consensus="sum")
    alone = {each: merged(workshop, "merge.dare_ties", [each]) for each in workshop.ids}
    for left_out in workshop.ids:
        rest = [each for each in workshop.ids if each != left_out]
        smaller = merged(workshop, "merge.dare_ties", rest, consensus="sum")
        for layer in smaller:
            parts = [alone[each][layer] for each in rest if layer in alone[each]]
            assert np.array_equal(smaller[layer], agreeing(parts, average=False))
    assert whole.digest() != smaller.digest()


def test_dare_gives_copies_masks_of_their_own(workshop: Workshop) -> None:
    shop, (original, copy) = with_copy(workshop)
    layer = "model.layers.0.self_attn.q_proj"
    first, second = (dropped(shop, each, layer) for each in (original, copy))
    assert not np.array_equal(first, second)
    both = merged(shop, "merge.dare_ties", [original, copy], consensus="sum")
    assert np.array_equal(both[layer], agreeing([first, second], average=False))


def test_dare_consensus_and_density_are_explicit_and_change_the_merge(workshop: Workshop) -> None:
    """Bug d: no density handed on, so that another library's default of 1 dropped nothing."""
    assert METHODS["merge.dare_ties"].validate({}) == {
        "consensus": "mean",
        "density": "0.5",
        "scale": "1",
    }
    digests = {
        merged(workshop, "merge.dare_ties", **parameters).digest()
        for parameters in ({}, {"density": "1"}, {"consensus": "sum"}, {"scale": "0.5"})
    }
    assert len(digests) == 4


def test_dare_at_density_one_is_ties_without_trimming(workshop: Workshop) -> None:
    expected = merged(workshop, "merge.ties", density="1").digest()
    assert merged(workshop, "merge.dare_ties", density="1").digest() == expected


def solved(shop: Workshop, answerer: System) -> int:
    """Return how many dev items a system answers."""
    return sum(outcome.correct for outcome in evaluate(answerer, shop.dev))


def test_greedy_soup_is_its_definition_by_means_of_the_members(workshop: Workshop) -> None:
    def score(members: list[str]) -> int:
        return solved(workshop, workshop.assemble("merge.linear", members))

    alone = {each: score([each]) for each in workshop.ids}
    first, *others = sorted(workshop.ids, key=lambda each: (-alone[each], each))
    soup, best = [first], alone[first]
    for member in others:
        if score([*soup, member]) >= best:
            soup, best = [*soup, member], score([*soup, member])
    assert 1 <= len(soup) < len(workshop.ids), "the dev suite tells no members apart"
    found = merge(workshop, "merge.greedy_soup")
    expected = [Fraction(int(each in soup), len(soup)) for each in workshop.ids]
    assert list(found.coefficients or ()) == expected
    assert found.state["deltas"] == merge(workshop, "merge.linear", soup).state["deltas"]


def test_a_copy_of_the_best_joins_the_soup(workshop: Workshop) -> None:
    alone = [solved(workshop, workshop.assemble("merge.linear", [each])) for each in workshop.ids]
    best = alone.index(max(alone))
    shop, twins = with_copy(workshop, best)
    soup = merge(shop, "merge.greedy_soup", twins)
    assert soup.coefficients == (Fraction(1, 2), Fraction(1, 2))
    assert soup.state["deltas"] == merge(workshop, "merge.linear", twins[:1]).state["deltas"]


def test_where_nobody_answers_anything_the_soup_is_everybody(workshop: Workshop) -> None:
    hopeless = exact_suite("hopeless", prompts()[:3], ["9 9 9 9 9 9"] * 3)
    shop = replace(workshop, dev=hopeless)
    assert merge(shop, "merge.greedy_soup").coefficients == (Fraction(1, 4),) * 4


def test_weights_are_searched_within_their_bounds_and_on_their_grid(workshop: Workshop) -> None:
    found = merge(workshop, "merge.lorahub", bound="0.3", budget="6").coefficients
    assert found is not None
    assert any(found)
    assert all(abs(weight) <= Fraction("0.3") for weight in found)
    assert all((weight * 1_000_000).denominator == 1 for weight in found)


@pytest.mark.parametrize("objective", ["accuracy", "loss"])
def test_a_longer_search_is_never_worse_on_its_objective(
    workshop: Workshop, objective: str
) -> None:
    context = context_of(workshop, "merge.lorahub")
    scores = DevScores(context, expected=0)
    costs = []
    for budget in ("1", "4", "8"):
        weights = merge(workshop, "merge.lorahub", objective=objective, budget=budget).coefficients
        assert weights is not None
        missed = scores.loss(weights) if objective == "loss" else 1 - scores.accuracy(weights)
        costs.append(missed + Fraction("0.05") * sum(map(abs, weights), Fraction(0)) / 4)
    assert costs == sorted(costs, reverse=True)
    assert objective == "accuracy" or costs[2] < costs[0]


def test_a_search_of_one_evaluation_is_the_base(workshop: Workshop) -> None:
    found = merge(workshop, "merge.lorahub", budget="1")
    assert found.coefficients == (Fraction(0),) * 4
    assert found.merged is not None
    assert not found.merged


def test_without_a_member_the_steps_of_the_others_stay(workshop: Workshop) -> None:
    context = context_of(workshop, "merge.lorahub")
    zero = (Fraction(0),) * 4
    whole = child(context, zero, Fraction(1, 2), 1)
    fewer = replace(context, members=context.members[1:])
    assert child(fewer, zero[1:], Fraction(1, 2), 1) == whole[1:]
    assert child(context, zero, Fraction(1, 2), 2) != whole


def test_the_loss_is_that_of_the_right_answers(workshop: Workshop) -> None:
    context = context_of(workshop, "merge.lorahub")
    choice = choice_suite("choice", prompts()[:4], answer=2)
    for dev in (workshop.dev, choice):
        loss = DevScores(replace(context, dev=dev, memo={}), expected=1).loss((Fraction(0),) * 4)
        expected = 0.0
        for item in dev.items:
            right = item.answer if isinstance(item.answer, str) else item.choices[item.answer]
            prompt = context.tokens.encode_prompt(item.prompt)
            ids = context.tokens.encode_continuation(right)
            logits = context.decoder.logits([prompt + ids])[0, len(prompt) - 1 : -1]
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            expected -= float(np.log(shares[range(len(ids)), ids]).mean()) / len(dev.items)
        assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_a_sum_is_scored_once_for_all_coalitions(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four members there are fifteen soups, whichever coalition tries them."""
    scored = []

    def counting(*arguments: Any, **named: Any) -> Any:
        scored.append(arguments)
        return outcomes_of(*arguments, **named)

    monkeypatch.setattr("compose.methods.devscores.outcomes_of", counting)
    context = context_of(workshop, "merge.greedy_soup")
    for mask in range(1, 16):
        members = tuple(each for bit, each in enumerate(context.members) if mask >> bit & 1)
        METHODS["merge.greedy_soup"].assemble(replace(context, members=members))
    assert 4 < len(scored) <= 15
    before = len(scored)
    METHODS["merge.greedy_soup"].assemble(context)
    assert len(scored) == before


def test_scores_are_remembered_up_to_a_limit(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compose.methods.devscores.MAX_KNOWN", 3)
    context = context_of(workshop, "merge.greedy_soup")
    assembly = METHODS["merge.greedy_soup"].assemble(context)
    assert len(context.memo["dev scores"]) == 3
    assert assembly.state == merge(workshop, "merge.greedy_soup").state


def test_copies_are_searched_apart(workshop: Workshop) -> None:
    shop, _ = with_copy(workshop)
    context = context_of(shop, "merge.lorahub")
    steps = child(context, (Fraction(0),) * 5, Fraction(1, 2), 1)
    assert len(set(steps)) == 5


@pytest.mark.parametrize("method", ["merge.greedy_soup", "merge.lorahub", "merge.model_swarms"])
def test_a_search_reports_its_progress_to_the_end(workshop: Workshop, method: str) -> None:
    reported: list[tuple[int, int]] = []
    context = replace(
        context_of(workshop, method), progress=lambda done, total: reported.append((done, total))
    )
    METHODS[method].assemble(context)
    total = reported[0][1]
    assert reported == [(done, total) for done in range(1, total + 1)]


def test_a_swarm_is_at_least_as_good_as_its_best_member(workshop: Workshop) -> None:
    alone = [solved(workshop, workshop.assemble("merge.linear", [each])) for each in workshop.ids]
    assert solved(workshop, system(workshop, "merge.model_swarms", steps="5")) > max(alone)


def test_a_swarm_without_patience_ends_early(workshop: Workshop) -> None:
    hopeless = exact_suite("hopeless", prompts()[:3], ["9 9 9 9 9 9"] * 3)
    reported: list[tuple[int, int]] = []
    context = replace(
        context_of(workshop, "merge.model_swarms"),
        dev=hopeless,
        parameters={"steps": "10", "patience": "2"},
        progress=lambda done, total: reported.append((done, total)),
    )
    assembly = METHODS["merge.model_swarms"].assemble(context)
    assert assembly.coefficients == (1, 0, 0, 0)
    assert reported[-1] == (4 * 3, 4 * 11)
