"""Tables of decision trees: the same figures as the table of all coalitions, for any number."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import exact
from attribution.analysis import Estimator, analyse, interactions
from attribution.attribute import attribute
from attribution.decision import priority_tree
from attribution.errors import EstimatorError, RecomputeError, TableError
from attribution.filling import TableSource
from attribution.growing import Answer
from attribution.record import Subject, build_record, encode, parse_record, recompute
from attribution.table import CoalitionTable
from attribution.tables import parse_table
from attribution.treetable import TreeTable
from tests.attribution.games import LOCK, ids, suites_of


def routed(seed: int, players: int, *sizes: int) -> TreeTable:
    """A router on random scores, with members that solve half of the items."""
    noise = random.Random(seed)
    trees = []
    for _ in range(sum(sizes)):
        order = noise.sample(range(players), players)
        solved = [noise.random() < 0.5 for _ in range(players)]
        trees.append(priority_tree(order, solved, base=noise.random() < 0.3))
    return TreeTable.of(LOCK, ids("player", players), suites_of(*sizes), trees)


def listed(table: TreeTable) -> CoalitionTable:
    """The same game with a line for each coalition."""
    rows = {mask: table.packed(mask) for mask in range(1 << len(table.players))}
    return CoalitionTable.of(table.lock, table.players, table.suites, rows)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 6), st.lists(st.integers(2, 9), min_size=1, max_size=3)
)
def test_every_published_figure_is_that_of_the_listed_game(
    seed: int, players: int, sizes: list[int]
) -> None:
    table = routed(seed, players, *sizes)
    estimator = Estimator("exact", "test")
    ours = analyse(table, estimator, confidence="0.95")
    theirs = analyse(listed(table), estimator, confidence="0.95")
    assert ours.values == theirs.values
    assert ours.groups == theirs.groups
    assert interactions(table, confidence="0.9") == interactions(listed(table), confidence="0.9")
    assert exact.suite_values(table) == exact.suite_values(listed(table))
    assert {check.verdict for check in ours.checks} == {"pass"}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_encoding_and_parsing_are_inverse(seed: int, players: int) -> None:
    table = routed(seed, players, 3, 2)
    assert parse_table(table.encode()) == table
    assert parse_table(listed(table).encode()) == listed(table)


def test_sixty_players_are_exact() -> None:
    """More players than 64-bit denominators allow, and far more coalitions than rows."""
    table = routed(7, 60, 40)
    result = analyse(table, Estimator("exact", "test"), confidence="0.95")
    gain = table.value(table.everyone) - table.value(0)
    assert sum(worth.value for worth in result.values) == gain
    assert result.efficiency_gap == 0
    assert result.values[0].banzhaf is not None


def ask_of(table: TreeTable) -> TableSource:
    """The source of a router's answers, as a method that selects speakers gives them."""

    def ask(requests: Sequence[tuple[int, int]]) -> list[Answer]:
        answers = []
        for item, mask in requests:
            tree = table.trees[item]
            speaker = next((who for who in tree[::2] if who >= 0 and mask >> who & 1), None)
            solved = bool(table.outcomes(mask)[item])
            answers.append(Answer(0 if speaker is None else 1 << speaker, solved))
        return answers

    def evaluate(masks: Sequence[int]) -> list[tuple[int, bytes]]:
        return [(mask, table.packed(mask)) for mask in masks]

    return TableSource(table.lock, table.players, table.suites, evaluate, {}, ask)


def test_a_method_that_selects_speakers_is_exact_beyond_twenty() -> None:
    table = routed(3, 24, 12)
    seen: list[tuple[int, int]] = []
    result = attribute(ask_of(table), progress=lambda done, total: seen.append((done, total)))
    assert isinstance(result.table, TreeTable)
    assert result.analysis.estimator.name == "exact"
    assert "selects speakers" in result.analysis.estimator.reason
    assert 0 < result.counts.answers <= 12 * 25
    assert seen[-1] == (12, 12)
    direct = analyse(table, result.analysis.estimator, confidence="0.95")
    assert [worth.value for worth in result.analysis.values] == [w.value for w in direct.values]


def test_few_players_are_listed_unless_the_budget_is_too_small() -> None:
    source = ask_of(routed(3, 6, 12))
    assert isinstance(attribute(source).table, CoalitionTable)
    assert isinstance(attribute(source, budget=20).table, TreeTable)
    assert isinstance(attribute(source, estimator="permutation", budget=40).table, CoalitionTable)
    with pytest.raises(EstimatorError, match="exceed the budget"):
        attribute(replace(source, ask=None), estimator="exact", budget=20)


def test_record_of_trees_recomputes_and_changes_are_named() -> None:
    table = routed(5, 22, 15, 6)
    result = analyse(table, Estimator("exact", "automatic: trees"), confidence="0.95")
    authors = dict.fromkeys(table.players, "did:key:z")
    record = build_record(table, result, Subject(str(LOCK), authors, "re-assembled"))
    assert record["table"]["schema"] == "pnode.trees/1"
    assert record["table"]["coalitions"] is None
    recompute(parse_record(encode(record)), parse_table(table.encode()))
    other = TreeTable.of(
        table.lock, table.players, table.suites, [*table.trees[1:], table.trees[0]]
    )
    with pytest.raises(RecomputeError):
        recompute(record, other)


def test_trees_have_no_sampled_values() -> None:
    with pytest.raises(EstimatorError, match="table of coalitions only"):
        analyse(routed(1, 3, 4), Estimator("permutation", "r", "seed", 2), confidence="0.95")


GOOD = routed(9, 2, 2).encode()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"item":0', b'"item":1', "not the line of item 0"),
        (b'"item":0', b'"item":false', "not the line of item 0"),
        (b'"tree":[', b'"tree":[-1,', "negative"),
        (b'"tree":[', b'"tree":[0,', "asks"),
        (b'"tree":[', b'"tree":["a",', "not a list of players"),
        (b'"tree":[', b'"tree":[true,', "goes on after its end"),
        (b"trees/1", b"trees/2", "schema"),
        (b"\n{", b"\n {", "canonical"),
    ],
)
def test_damaged_tree_tables_are_refused(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        parse_table(GOOD.replace(old, new, 1))


def test_a_tree_table_needs_a_line_for_each_item() -> None:
    with pytest.raises(TableError, match="1 trees for 2 items"):
        TreeTable.parse(b"\n".join(GOOD.split(b"\n")[:2]) + b"\n")


def test_players_that_are_never_asked_about_are_worth_nothing() -> None:
    tree = priority_tree([1], [False, True, False], base=False)
    table = TreeTable.of(LOCK, ids("player", 3), suites_of(2), [tree, tree])
    assert table.null_players() == (0, 2)
    assert exact.shapley(table) == (0, Fraction(1), 0)
