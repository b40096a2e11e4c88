"""Procedures over whole answers: votes, cascades, routes; each with margins that can be trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compose.answering import Answer, Question
from compose.bank import Mask
from compose.evaluation import evaluate
from compose.exact import VERSION
from compose.exactness import SOFTWARE
from compose.methods import METHODS
from compose.methods.alone import Record
from compose.methods.route_cascade import Cascade, thresholds
from compose.methods.route_description import Described
from compose.methods.routing import routed
from compose.methods.text_vote import Vote
from compose.panel import Ask, Panel, Talk
from compose.scoring import MAX_MARGIN
from compose.system import assemble
from tests.compose.panel_vectors import FILE, document
from tests.compose.scripted import Scripted, ask_all, coalitions, question, said
from tests.compose.systems import Workshop


def test_every_model_is_asked_once_however_many_coalitions_ask() -> None:
    models = [Scripted(said("a"), said("b")) for _ in range(5)]
    panel = Panel(models, Vote([0, 1, 2, 3]))
    questions = [question("0"), question("1")]
    table = panel.answer(questions, coalitions(4))
    assert panel.answer(questions, coalitions(4)[3:5]) == [row[3:5] for row in table]
    assert [model.asked for model in models] == [["0", "1"]] * 5
    assert panel.forwards == 10


def test_without_memory_the_answers_are_the_same() -> None:
    models = [Scripted(said("abcd"[n])) for n in range(4)]
    bare = Panel(models, Vote([0, 1, 2]), memo_bytes=0)
    full = Panel(models, Vote([0, 1, 2]))
    for _ in range(2):
        ours, theirs = (each.answer([question("0")], coalitions(3)) for each in (bare, full))
        assert ours == theirs


def test_most_votes_win_and_empty_answers_are_no_votes() -> None:
    """Bug f: 'no answer' was counted as a candidate, and could win."""
    answers = ["base", " ", "", "\t", "x  y", "x y", "z"]
    panel = Panel([Scripted(said(each)) for each in answers], Vote(range(6)))
    assert ask_all(panel, "0")[0].value == "x  y"


def test_the_base_answers_if_nobody_votes() -> None:
    panel = Panel([Scripted(said("base", 9)), Scripted(said("", 4))], Vote([0]))
    assert ask_all(panel, "0") == [said("base", 4)]
    nobody = panel.answer([question("0")], np.zeros((1, 1), dtype=bool))
    assert nobody == [[said("base", 9)]]


def test_a_tied_vote_goes_to_the_best_supporter() -> None:
    models = [Scripted(said(each)) for each in ("base", "x", "y", "x", "y")]
    assert ask_all(Panel(models, Vote([1, 0, 2, 3])), "0")[0].value == "y"
    assert ask_all(Panel(models, Vote([3, 0, 1, 2])), "0")[0].value == "y"
    assert ask_all(Panel(models, Vote([2, 3, 1, 0])), "0")[0].value == "x"


def test_choices_are_voted_on_by_index() -> None:
    panel = Panel([Scripted(said(each)) for each in (3, 0, 1, 0)], Vote([1, 0, 2]))
    everybody = np.ones((1, 3), dtype=bool)
    assert panel.answer([question("0", "a", "b")], everybody)[0][0].value == 0


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.integers(0, 3)), min_size=1, max_size=5)
)
def test_no_votes_nearer_than_the_margin_can_change_a_vote(
    votes: list[tuple[str, int]],
) -> None:
    """The margin against trying all that the votes below it could have been instead."""

    def outcome(values: Sequence[str]) -> Answer:
        pairs = zip(values, (margin for _, margin in votes), strict=True)
        models = [said("base", MAX_MARGIN), *(said(*each) for each in pairs)]
        return ask_all(Panel([Scripted(each) for each in models], Vote(range(len(votes)))), "0")[0]

    values = [value for value, _ in votes]
    result = outcome(values)
    unsure = [margin < result.margin for _, margin in votes]
    options = [
        ("a", "b", "c", "") if near else (v,) for v, near in zip(values, unsure, strict=True)
    ]
    assert {outcome(each).value for each in product(*options)} == {result.value}
    at_it = [margin <= result.margin for _, margin in votes]
    options = [("a", "b", "c", "") if near else (v,) for v, near in zip(values, at_it, strict=True)]
    if result.margin < MAX_MARGIN and result.value != "base":
        assert len({outcome(each).value for each in product(*options)}) > 1


def test_a_threshold_is_a_quantile_of_the_members_own_confidences() -> None:
    """Bug b: every level was calibrated with model 0."""
    own = [[-0.1, -0.4, -0.3, -0.2], [-9.0, -7.0, -8.0, -6.0]]
    answers = tuple(tuple(said("", 5, each) for each in row) for row in own)
    record = Record(answers, np.zeros((4, 2), dtype=bool))
    assert thresholds(record, Fraction(1, 2)) == [-200_000, -7_000_000]
    assert thresholds(record, Fraction(0)) == [-400_000, -9_000_000]
    assert thresholds(record, Fraction(1)) == [-100_000, -6_000_000]
    changed = Record((answers[0][::-1], answers[1][:1] * 4), record.solved)
    assert thresholds(changed, Fraction(1, 2)) == [-200_000, -9_000_000]


def test_the_first_that_is_sure_enough_answers_and_the_last_in_any_case() -> None:
    models = [
        Scripted(said("base")),
        Scripted(said("one", 8, -1.0), said("one", 8, -3.0), said("one", 8, -3.0)),
        Scripted(said("two", 7, -1.0), said("two", 7, -1.0), said("two", 7, -9.0)),
        Scripted(*[said("three", 9, -9.0)] * 3),
    ]
    panel = Panel(models, Cascade([1, 2, 3], [-2_000_000, -2_000_000, 0]))
    assert [each.value for each in ask_all(panel, "0", "1", "2")] == ["one", "two", "three"]
    assert models[3].asked == ["2"]
    assert not models[0].asked


def test_a_confidence_next_to_its_threshold_is_a_near_tie() -> None:
    for confidence, value in ((-2.0, "one"), (-2.000002, "two"), (-1.999998, "one")):
        models = [said("base"), said("one", 900, confidence), said("two", 700)]
        panel = Panel([Scripted(each) for each in models], Cascade([1, 2], [-2_000_000, 0]))
        assert ask_all(panel, "0")[0].value == value
        assert ask_all(panel, "0")[0].margin <= 3


def test_a_route_counts_the_lead_over_rivals_that_say_otherwise() -> None:
    def procedure(scores: dict[int, float]) -> Panel:
        def talk(asked: Question, present: Mask) -> Talk:
            return (yield from routed(asked, np.array([-np.inf, *scores.values()]), present))

        answers = ("base", "x", "x ", "y")
        return Panel([Scripted(said(each, 400)) for each in answers], talk)

    assert ask_all(procedure({1: 1.0, 2: 1.0, 3: 0.5}), "0") == [said("x", 400)]
    assert ask_all(procedure({1: 1.0, 2: 0.0, 3: 1.0}), "0") == [said("x", 0)]
    assert ask_all(procedure({1: 1.0, 2: 0.99999, 3: 0.9995}), "0") == [said("x", 400)]
    assert ask_all(procedure({1: 0.0, 2: 0.0, 3: 1.0}), "0") == [said("y", 400)]


def test_a_route_names_a_model_by_number() -> None:
    """Bug a: 'model 3 of 32' was read as 32, since choices were looked for in free text."""
    scores = np.zeros(33)
    scores[3] = 1.0

    def talk(asked: Question, present: Mask) -> Talk:
        return (yield from routed(asked, scores, present))

    panel = Panel([Scripted(said(f"model {n} of 32")) for n in range(33)], talk)
    assert ask_all(panel, "0")[0].value == "model 3 of 32"


def test_the_member_whose_description_is_most_like_the_prompt_answers() -> None:
    described = Described(["Rotate left", "Rotate right", "Sort letters"], 0.0)

    def chosen(procedure: Described, text: str, *present: int) -> int:
        members = np.array([[each in present for each in range(1, len(procedure.score("")) + 1)]])
        talk = procedure(question(text), members)
        first: Ask = next(talk)[0]
        return first.model

    assert chosen(described, "rotate  THIS to the left", 1, 2, 3) == 1
    assert chosen(described, "rotate this to the right", 1, 2, 3) == 2
    assert chosen(described, "rotate this to the right", 1, 3) == 1
    assert chosen(described, "please SORT", 1, 2, 3) == 3
    assert chosen(described, "7 + 8", 1, 2, 3) == 0
    assert chosen(Described(["a b", "a b"], 0.0), "a b", 1, 2) == 1
    assert chosen(Described(["Sort letters"], 0.9), "sort", 1) == 0


def test_descriptions_are_compared_by_cosine() -> None:
    described = Described(["abc", "abc abc", "zzzz"], 0.0)
    same, twice, other = described.score("ABC")
    assert same == pytest.approx(1)
    assert 0.5 < twice < 1
    assert other == 0
    assert described.score("") == described.score("q") == [0, 0, 0]


def test_panels_of_exact_models_answer_with_the_same_bits_in_any_batch(workshop: Workshop) -> None:
    """Nothing that a procedure computes depends on a library, so it can promise what models do."""
    bitwise = [name for name, each in METHODS.items() if each.exactness == "bitwise"]
    short, choice = workshop.suites[2], workshop.suites[1]
    few = (replace(short, items=short.items[:4]), replace(choice, items=choice.items[:2]))
    shop = replace(workshop, dev=replace(workshop.dev, items=workshop.dev.items[:4]))
    for name in sorted({*bitwise} - {"merge.linear", "merge.ties"}):
        lock = shop.lock(name, shop.ids[:3], **({"style": "bare"} if "refine" in name else {}))
        lock = replace(lock, exactness="bitwise", software={SOFTWARE: VERSION})
        systems = [assemble(lock, shop.base, shop.adapters, shop.dev, shop.titles) for _ in "ab"]
        assert systems[0].digest() == systems[1].digest()
        for suite in few:
            alone = evaluate(systems[0], suite, items_at_once=1)
            assert evaluate(systems[1], suite) == alone


def test_procedures_give_the_frozen_vectors() -> None:
    assert json.loads(json.dumps(document())) == json.loads(FILE.read_text("ascii"))
