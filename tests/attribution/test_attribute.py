"""Filling the table: nothing is evaluated twice and nothing unexpected is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from attribution import exact
from attribution.attribute import attribute
from attribution.errors import EstimatorError, OutcomeError, TableError
from attribution.filling import CoalitionCounts, Row, TableSource
from attribution.record import Subject, build_record, recompute
from attribution.table import CoalitionTable
from tests.attribution.games import LOCK, ids, random_table, suites_of


class Evaluator:
    """Scores coalitions from a formula and remembers what it was asked."""

    def __init__(self, players: int, items: int) -> None:
        source = np.random.default_rng(players)
        self.skill = source.normal(0.3, 1, (items, players))
        self.asked: list[int] = []

    def __call__(self, masks: Sequence[int]) -> Iterator[Row]:
        for mask in reversed(masks):
            self.asked.append(mask)
            chosen = np.array([mask >> at & 1 for at in range(self.skill.shape[1])])
            yield mask, self.skill @ chosen > 0.5


def source_of(players: int, items: int = 40) -> tuple[TableSource, Evaluator]:
    evaluator = Evaluator(players, items)
    source = TableSource(LOCK, ids("player", players), suites_of(items), evaluator, {})
    return source, evaluator


def test_small_games_are_exact_and_evaluated_once() -> None:
    source, evaluator = source_of(5)
    result = attribute(source)
    assert result.table.complete
    assert sorted(evaluator.asked) == list(range(32))
    assert result.counts == CoalitionCounts(evaluated=32, cached=0, total=32)
    assert result.analysis.estimator.reason == "automatic: 5 players, 32 coalitions"
    values = tuple(worth.value for worth in result.analysis.values)
    assert values == exact.shapley(result.table)


def test_second_run_evaluates_nothing() -> None:
    source, evaluator = source_of(18)
    first = attribute(source, budget=300)
    evaluator.asked.clear()
    second = attribute(replace(source, known=first.table.rows), budget=300)
    assert evaluator.asked == []
    assert second.counts == CoalitionCounts(0, first.counts.total, first.counts.total)
    assert second.table == first.table
    assert second.analysis == first.analysis


def test_larger_budget_evaluates_only_what_is_new() -> None:
    source, evaluator = source_of(18)
    first = attribute(source, budget=200)
    evaluator.asked.clear()
    second = attribute(replace(source, known=first.table.rows), budget=400)
    assert second.counts.cached == first.counts.total
    assert not set(evaluator.asked) & set(first.table.rows)
    assert len(set(evaluator.asked)) == len(evaluator.asked) == second.counts.evaluated


def test_known_rows_outside_the_plan_are_left_out() -> None:
    source, _ = source_of(17)
    plan = attribute(source, budget=150).table.rows
    stray = next(mask for mask in range(1 << 17) if mask not in plan)
    known = dict(plan) | {stray: np.zeros(40, dtype=bool)}
    assert stray not in attribute(replace(source, known=known), budget=150).table.rows


@pytest.mark.parametrize(("budget", "name"), [(64, "gaussian-process"), (250, "stratified")])
def test_seventeen_players_are_sampled_within_the_budget(budget: int, name: str) -> None:
    source, evaluator = source_of(17)
    result = attribute(source, budget=budget)
    assert result.analysis.estimator.name == name
    assert f"exceed the budget of {budget}" in result.analysis.estimator.reason
    assert len(evaluator.asked) == result.counts.total <= budget
    assert result.analysis.efficiency_gap == 0


def test_many_coalitions_are_evaluated_only_if_asked_for() -> None:
    source, _ = source_of(17)
    result = attribute(source)
    assert result.analysis.estimator.name == "stratified"
    assert "only with a budget" in result.analysis.estimator.reason
    source, _ = source_of(21)
    with pytest.raises(EstimatorError, match="at most 20 players"):
        attribute(source, estimator="exact")


def test_budget_below_two_to_the_n_means_sampling_and_says_so() -> None:
    source, _ = source_of(8)
    result = attribute(source, budget=100)
    assert result.analysis.estimator.reason.endswith("256 coalitions exceed the budget of 100")
    with pytest.raises(EstimatorError, match="out of reach"):
        attribute(source, estimator="exact", budget=100)


@pytest.mark.parametrize(
    ("estimator", "until"),
    [("permutation", "0.03"), *(("stratified", until) for until in ("0.03", "items", "ranks"))],
)
def test_stopping_early_needs_less_and_meets_its_rule(
    estimator: Literal["permutation", "stratified"], until: str
) -> None:
    source, _ = source_of(12, items=60)
    whole = attribute(source, estimator=estimator, budget=1500)
    early = attribute(source, estimator=estimator, budget=1500, until=until)
    assert early.counts.total < whole.counts.total
    pairs, most = early.analysis.estimator.pairs, whole.analysis.estimator.pairs
    assert pairs is not None
    assert most is not None
    assert pairs < most
    for worth in early.analysis.values:
        sampling, items = worth.interval.half_width_sampling, worth.interval.half_width_items
        assert sampling is not None
        assert items is not None
        if until == "0.03":
            assert Fraction(sampling) <= Fraction("0.03")
        if until == "items":
            assert float(sampling) <= float(items) / 2.5
    assert set(early.table.rows) <= set(whole.table.rows)


def test_progress_ends_at_the_total() -> None:
    source, _ = source_of(4)
    seen: list[tuple[int, int]] = []
    attribute(source, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("estimator", ["permutation", "stratified", "gaussian-process"])
def test_record_of_a_sampled_run_recomputes(
    estimator: Literal["permutation", "stratified", "gaussian-process"],
) -> None:
    source, _ = source_of(17)
    result = attribute(source, estimator=estimator, budget=200, seed="checkpoint 57")
    authors = dict.fromkeys(source.players, "did:key:z")
    record = build_record(result.table, result.analysis, Subject(str(LOCK), authors, "left out"))
    recompute(record, CoalitionTable.parse(result.table.encode()))


def twice(masks: Sequence[int]) -> Iterable[Row]:
    return [(masks[0], np.zeros(10, dtype=bool))] * 2


def unasked(masks: Sequence[int]) -> Iterable[Row]:
    return [(max(masks) + 1, np.zeros(10, dtype=bool))]


def silent(masks: Sequence[int]) -> Iterable[Row]:
    del masks
    return []


@pytest.mark.parametrize("evaluate", [twice, unasked, silent])
def test_evaluator_that_answers_something_else_is_refused(
    evaluate: Callable[[Sequence[int]], Iterable[Row]],
) -> None:
    source = TableSource(LOCK, ids("player", 3), suites_of(10), evaluate, {})
    with pytest.raises(OutcomeError, match="evaluator"):
        attribute(source)


def test_row_of_another_length_is_refused() -> None:
    source = TableSource(
        LOCK, ids("player", 1), suites_of(10), lambda masks: [(0, np.zeros(9, dtype=bool))], {}
    )
    with pytest.raises(TableError, match="evaluator, coalition 0"):
        attribute(source)


@pytest.mark.parametrize(
    "options",
    [
        {"confidence": "95"},
        {"budget": 0},
        {"until": "-1"},
        {"until": "NaN"},
        {"until": "narrow"},
        {"estimator": "permutation", "seed": ""},
        {"estimator": "guess"},
    ],
)
def test_unusable_requests_are_refused_before_any_evaluation(options: dict[str, object]) -> None:
    source, evaluator = source_of(4)
    with pytest.raises(EstimatorError):
        attribute(source, **options)  # type: ignore[arg-type]
    assert evaluator.asked == []


def test_table_of_a_known_game_is_reproduced_row_by_row() -> None:
    table = random_table(6, 4, 10, 7)
    source = TableSource(
        table.lock,
        table.players,
        table.suites,
        lambda masks: [(mask, table.outcomes(mask)) for mask in masks],
        {0: table.outcomes(0), 3: table.rows[3]},
    )
    result = attribute(source)
    assert result.table == table
    assert result.counts == CoalitionCounts(14, 2, 16)


def test_a_plan_that_the_budget_covers_whole_is_exact() -> None:
    source, _ = source_of(6)
    result = attribute(source, estimator="stratified", budget=64)
    assert result.analysis.estimator.name == "exact"
    assert result.table.complete
    with pytest.raises(EstimatorError, match="too small"):
        attribute(source_of(12)[0], estimator="stratified", budget=40)
