"""What every composition method promises, and the bugs it must not have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compose.bank import MemberBank, Prefix
from compose.decoding import Decoding
from compose.delta import Array, Deltas, delta_of, weighted_sum
from compose.errors import MethodError
from compose.evaluation import evaluate
from compose.forward import Decoder
from compose.methods import METHODS, find_method
from compose.methods.logit_select import MostChanged
from compose.methods.merge_ties import ties, trim
from compose.methods.router import Routed, Router
from compose.methods.speaker import Speaker
from compose.system import System, assemble
from compose.tokens import Tokens
from ledger.errors import DigestError, IncompleteError
from tests.compose.systems import QUICK, Workshop, cid_of, exact_suite, prompts

VALUES = st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
MATRICES = hnp.arrays(np.float64, (3, 4), elements=VALUES)


def all_systems(shop: Workshop, members: list[str] | None = None) -> Mapping[str, System]:
    return {name: shop.assemble(name, members, **QUICK.get(name, {})) for name in METHODS}


@pytest.fixture(scope="module")
def systems(workshop: Workshop) -> Mapping[str, System]:
    """Return every method's system of all members."""
    return all_systems(workshop)


def test_systems_give_answers_that_differ(
    workshop: Workshop, systems: Mapping[str, System]
) -> None:
    answers = {name: workshop.answers(each) for name, each in systems.items()}
    assert len({str(each) for each in answers.values()}) >= 4
    assert any(text for text in answers["logit.select"][0])


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("merge.linear", {"form": "mean"}),
        ("merge.linear", {"form": "sum"}),
        ("merge.ties", {"density": "1"}),
        ("route.trained", {}),
        ("route.switch", {}),
    ],
)
def test_one_member_alone_answers_as_itself(
    workshop: Workshop, method: str, parameters: dict[str, str]
) -> None:
    for number, member in enumerate(workshop.ids):
        dev = workshop.dev
        shop = replace(workshop, dev=replace(dev, items=dev.items[number::4]))
        decoder = Decoder.load(shop.base).with_deltas(delta_of(shop.adapters[member]))
        system = shop.assemble(method, [member], **parameters)
        tokens = Tokens.open(shop.base)
        rows = [tokens.encode_prompt(prompt) for prompt in prompts()]
        first = decoder.last_logits(rows).argmax(axis=1).tolist()
        suite = replace(shop.suites[0], max_tokens=1)
        assert [each.answer for each in evaluate(system, suite)] == [
            tokens.decode([token]) for token in first
        ]


def test_one_merged_member_has_exactly_its_deltas(workshop: Workshop) -> None:
    for member in workshop.ids:
        own = delta_of(workshop.adapters[member]).digest()
        for method, parameters in (("merge.linear", {}), ("merge.ties", {"density": "1"})):
            merged = workshop.assemble(method, [member], **parameters).assembly.merged
            assert merged is not None
            assert merged.digest() == own


def test_the_same_members_in_another_order_of_arrival_are_the_same_system(
    workshop: Workshop, systems: Mapping[str, System]
) -> None:
    turned = replace(workshop, adapters=dict(reversed(workshop.adapters.items())))
    for name, other in all_systems(turned).items():
        assert other.digest() == systems[name].digest()
        assert turned.answers(other) == workshop.answers(systems[name])


def test_digests_tell_methods_members_and_parameters_apart(
    workshop: Workshop, systems: Mapping[str, System]
) -> None:
    different = [
        *systems.values(),
        *all_systems(workshop, workshop.ids[:2]).values(),
        workshop.assemble("logit.select", threshold="0.1"),
        workshop.assemble("merge.linear", form="sum"),
        workshop.assemble("merge.ties", density="0.3"),
        workshop.assemble("merge.linear", []),
    ]
    assert len({system.digest() for system in different}) == len(different)


def test_without_members_every_method_is_the_base(workshop: Workshop) -> None:
    assert len({each.digest() for each in all_systems(workshop, []).values()}) == 1


def test_a_copy_counts_twice_in_a_mean_and_not_at_all_in_a_selection(workshop: Workshop) -> None:
    first, second = workshop.ids[:2]
    copy = max(str(cid_of(f"copy {number}")) for number in range(9))
    twice = replace(
        workshop,
        adapters={
            first: workshop.adapters[first],
            second: workshop.adapters[second],
            copy: workshop.adapters[first],
        },
    )
    once = workshop.assemble("logit.select", [first, second])
    assert twice.answers(twice.assemble("logit.select")) == workshop.answers(once)
    merged = twice.assemble("merge.linear").assembly.merged
    deltas = [delta_of(workshop.adapters[each]) for each in (first, second)]
    expected = weighted_sum(list(zip(deltas, (Fraction(2, 3), Fraction(1, 3)), strict=True)))
    assert merged is not None
    for name, delta in expected.items():
        assert np.allclose(merged[name], delta, rtol=1e-14, atol=1e-15)


def test_members_scale_and_signs_survive_a_merge(workshop: Workshop) -> None:
    """Bug e of factor-wise merging: cross terms, lost signs, one alpha / r for all."""
    merged = workshop.assemble("merge.linear", form="sum", scale="-0.5").assembly.merged
    assert merged is not None
    assert len({workshop.adapters[each].scale for each in workshop.ids}) > 1
    for name in merged:
        expected = sum(
            adapter.scale * (adapter.factors()[name][1] @ adapter.factors()[name][0])
            for adapter in workshop.adapters.values()
            if name in adapter.factors()
        )
        assert np.allclose(merged[name], -0.5 * expected, rtol=0, atol=1e-12)


def test_density_is_recorded_and_changes_the_merge(workshop: Workshop) -> None:
    """Bug d: a density left to another library's default of 1, where nothing is dropped."""
    method = find_method("merge.ties")
    assert method.validate({})["density"] == "0.2"
    sparse = workshop.assemble("merge.ties", workshop.ids[:1], density="0.1").assembly.merged
    assert sparse is not None
    for delta in sparse.values():
        assert np.count_nonzero(delta) == -(-delta.size // 10)


@given(MATRICES, st.fractions(Fraction(1, 100), 1))
def test_trim_keeps_the_largest_and_the_lower_index_of_equals(
    array: Array, density: Fraction
) -> None:
    flat = array.reshape(-1)
    kept = -(-density.numerator * flat.size // density.denominator)
    order = sorted(range(flat.size), key=lambda at: (-abs(flat[at]), at))[:kept]
    expected = np.zeros(flat.size)
    expected[order] = flat[order]
    assert np.array_equal(trim(array, density).reshape(-1), expected)


@settings(max_examples=60)
@given(st.lists(MATRICES, min_size=1, max_size=4), st.fractions(Fraction(1, 20), 1))
def test_ties_is_its_definition_entry_by_entry(arrays: list[Array], density: Fraction) -> None:
    merged = ties([Deltas({"x": each}) for each in arrays], density=density, scale=Fraction(2))
    trimmed = [trim(each, density) for each in arrays]
    for at in np.ndindex(3, 4):
        entries = [float(each[at]) for each in trimmed]
        sign = np.sign(sum(entries))
        agreeing = [entry for entry in entries if sign and np.sign(entry) == sign]
        expected = 2 * sum(agreeing) / len(agreeing) if agreeing else 0.0
        assert merged["x"][at] == pytest.approx(expected, rel=1e-15)


def log_probs(*rows: list[float]) -> Array:
    """Return log-probabilities [1, models, vocabulary]."""
    return np.log(np.array([rows]))


def test_select_takes_the_most_changed_member_above_the_threshold() -> None:
    models = log_probs([0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9])
    prefix = [Prefix((1,), 1)]
    divergences = [
        float(np.sum(np.exp(models[0, member]) * (models[0, member] - models[0, 0])))
        for member in (1, 2)
    ]
    assert divergences[0] < divergences[1]
    for threshold, token in ((0.0, 2), (divergences[1] - 1e-7, 2), (divergences[1] + 1e-7, 0)):
        rule = MostChanged(threshold)
        everybody = np.ones((1, 2), dtype=bool)
        assert rule.decide(rule.observe(prefix, models), everybody).tokens.tolist() == [token]


def test_select_margin_is_the_lead_over_a_member_that_says_otherwise() -> None:
    models = log_probs([0.98, 0.01, 0.01], [0.01, 0.98, 0.01], [0.01, 0.01, 0.98])
    rule = MostChanged(0.5)
    everybody = np.ones((1, 2), dtype=bool)
    observed = rule.observe([Prefix((1,), 1)], models)
    near = rule.decide(observed, everybody)
    assert near.tokens.tolist() == [1]
    assert near.margins[0] == pytest.approx(0, abs=1e-12)
    alone = rule.decide(observed, np.array([[True, False]]))
    assert alone.margins[0] > 1


def test_choices_are_numbers_never_text() -> None:
    """Bug a: 'member 3 of 32' read as 32, since choices were looked for in free text."""
    scores = np.zeros((1, 33, 4))
    scores[0, 0, 3] = -np.inf
    scores[0, :, 0] = np.arange(33)
    scores[0, 3, 3] = 1.0
    assert Speaker().speakers(scores, np.ones((1, 32), dtype=bool)).tolist() == [3]


def test_the_lowest_token_wins_a_tie() -> None:
    rule = Speaker()
    observed = rule.observe([Prefix((1,), 1)], log_probs([0.2, 0.4, 0.4]))
    decision = rule.decide(observed, np.ones((1, 0), dtype=bool))
    assert decision.tokens.tolist() == [1]
    assert decision.margins.tolist() == [0.0]


def test_a_switch_looks_at_complete_segments_only() -> None:
    router = Router.__new__(Router)
    switch, plain = Routed(router, delimiter=5), Routed(router)
    assert switch.query(Prefix((5, 7, 8), 2)) == (5, 7)
    assert switch.query(Prefix((6, 7, 8, 5), 2)) == (6, 7, 8, 5)
    assert switch.query(Prefix((6, 7, 8, 5, 9), 2)) == (6, 7, 8, 5)
    assert plain.query(Prefix((6, 7, 8, 5, 9), 2)) == (6, 7)


def test_the_router_learns_who_solves_what(workshop: Workshop) -> None:
    """Trained on its own dev items, it answers more of them than any member alone."""

    def solved(system: System) -> int:
        answers = workshop.answers(system)[0]
        return sum(a == item.answer for a, item in zip(answers, workshop.dev.items, strict=True))

    singles = [solved(workshop.assemble("merge.linear", [each])) for each in workshop.ids]
    assert solved(workshop.assemble("route.trained", l2="0.001")) > max(singles)


def test_fitted_weights_are_on_the_grid_and_in_the_digest(workshop: Workshop) -> None:
    system = workshop.assemble("route.trained")
    other = replace(workshop, dev=replace(workshop.dev, items=workshop.dev.items[:9]))
    assert other.assemble("route.trained").digest() != system.digest()
    answerer = system.assembly.answerer
    assert isinstance(answerer, Decoding)
    rule = answerer.bank.rule
    assert isinstance(rule, Routed)
    assert rule.router.weights.dtype == np.int64
    assert np.abs(rule.router.weights).max() > 1000


def test_routers_need_a_dev_suite_that_somebody_can_solve(workshop: Workshop) -> None:
    lock = workshop.lock("route.trained")
    with pytest.raises(MethodError, match="needs a dev suite"):
        assemble(lock, workshop.base, workshop.adapters)
    hopeless = exact_suite("hopeless", prompts()[:3], ["9 9 9 9 9 9"] * 3)
    with pytest.raises(MethodError, match="no member answers"):
        assemble(lock, workshop.base, workshop.adapters, hopeless)


def test_a_delimiter_must_be_one_token(workshop: Workshop) -> None:
    with pytest.raises(MethodError, match="2 tokens"):
        workshop.assemble("route.switch", delimiter="a b")


@pytest.mark.parametrize(
    ("method", "parameters", "match"),
    [
        ("merge.ties", {"densty": "0.5"}, "unknown parameter 'densty'"),
        ("merge.ties", {"density": "0"}, "not in"),
        ("merge.ties", {"density": "50"}, "not in"),
        ("merge.ties", {"density": "half"}, "decimal"),
        ("merge.linear", {"form": "max"}, "mean, sum"),
        ("merge.linear", {"scale": "1e2"}, "decimal"),
        ("logit.select", {"threshold": "-1"}, "nat"),
        ("route.trained", {"steps": "1.5"}, "whole"),
        ("route.switch", {"delimiter": ""}, "1 to 64"),
        ("route.cascade", {"quantile": "25"}, "share of a member's dev answers"),
        ("route.description", {"threshold": "1.5"}, "cosine"),
        ("route.arrow", {"top_k": "1.5"}, "whole"),
        ("logit.fuse", {"form": "sum"}, "mean, delta"),
        ("logit.contrast", {"k": "0"}, "pairs"),
        ("text.refine", {"rounds": "9"}, "rounds before the conclusion"),
        ("text.vote", {"k": "5"}, "unknown parameter 'k'"),
    ],
)
def test_parameters_have_names_units_and_ranges(
    method: str, parameters: dict[str, str], match: str
) -> None:
    with pytest.raises(MethodError, match=match):
        find_method(method).validate(parameters)


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(MethodError) as caught:
        find_method("merge.tie")
    assert "merge.ties" in caught.value.hint
    with pytest.raises(MethodError) as caught:
        find_method("merge.ties").validate({"densty": "0.5"})
    assert "'density'" in caught.value.hint
    with pytest.raises(MethodError, match="version 2"):
        find_method("merge.ties", version="2")


@pytest.mark.parametrize("name", sorted(METHODS))
def test_defaults_are_written_out_in_canonical_form(name: str) -> None:
    method = METHODS[name]
    canonical = method.validate({})
    assert canonical == method.defaults() == method.validate(canonical)
    assert list(canonical) == sorted(method.parameters)


def test_one_value_has_one_spelling() -> None:
    method = find_method("merge.linear")
    spellings = ("0.5", "0.50", "00.5")
    assert {method.validate({"scale": each})["scale"] for each in spellings} == {"0.5"}
    assert method.validate({"scale": "-0.0"})["scale"] == "0"
    assert method.validate({"scale": "-1.25"})["scale"] == "-1.25"


def test_another_base_or_a_missing_member_is_refused(workshop: Workshop) -> None:
    lock = workshop.lock("merge.linear")
    wrong = replace(lock, base=replace(lock.base, digest="00" * 32))
    with pytest.raises(DigestError, match="the lock pins 00"):
        assemble(wrong, workshop.base, workshop.adapters)
    some = {workshop.ids[0]: workshop.adapters[workshop.ids[0]]}
    with pytest.raises(IncompleteError, match=workshop.ids[1]):
        assemble(lock, workshop.base, some)


def test_a_bank_without_memory_answers_the_same(workshop: Workshop) -> None:
    decoders = [Decoder.load(workshop.base)]
    rows = [Prefix((6, 7, 8), 3), Prefix((6, 7, 8, 9), 3), Prefix((6, 7), 2)]
    full = MemberBank(decoders, Speaker(), names=["base"])
    bare = MemberBank(decoders, Speaker(), names=["base"], memo_bytes=0, cache_bytes=0)
    at, present = np.array([2, 0, 1, 0]), np.ones((4, 0), dtype=bool)
    for _ in range(2):
        ours, theirs = (bank.decide(rows, at, present) for bank in (full, bare))
        assert ours.tokens.tolist() == theirs.tokens.tolist()
        assert np.allclose(ours.margins, theirs.margins, rtol=0, atol=1e-12)
        assert np.allclose(ours.log_probs, theirs.log_probs, rtol=0, atol=1e-12)
    assert (full.forwards, bare.forwards) == (3, 6)
