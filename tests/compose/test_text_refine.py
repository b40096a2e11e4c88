"""Rounds of answers: who sees what, who concludes, and what does not matter."""

from __future__ import annotations

import pytest

from compose.bank import Mask
from compose.methods.text_refine import STYLES, Refine, distinct
from compose.panel import Panel
from compose.suite import Suite
from tests.compose.scripted import Scripted, ask_all, coalitions, question
from tests.compose.systems import Workshop

BARE = STYLES["bare"]


def echo(name: str) -> Scripted:
    """A model that says its name and how much it has read."""
    return Scripted(by=lambda prompt: f"{name}{len(prompt.split())}")


def test_a_round_sees_the_answers_of_the_round_before_and_the_best_concludes() -> None:
    models = [echo(name) for name in ("base", "a", "b", "c")]
    panel = Panel(models, Refine([1, 0, 2], BARE, rounds=2))
    assert [each.value for each in ask_all(panel, "q")] == ["b7"]
    first, second = "q", "q a1 | b1 | c1 |"
    assert models[1].asked == [first, second]
    assert models[3].asked == [first, second]
    assert models[2].asked == [first, second, "q a7 | b7 | c7 |"]
    assert not models[0].asked


def test_the_best_of_those_present_concludes() -> None:
    models = [echo(name) for name in ("base", "a", "b", "c")]
    panel = Panel(models, Refine([1, 2, 0], BARE, rounds=1))
    present = coalitions(3)[[0b110, 0b101, 0b100, 0b000]]
    ((one, two, alone, nobody),) = panel.answer([question("q")], present)
    assert [one.value, two.value, alone.value, nobody.value] == ["b5", "c5", "a1", "base1"]


def test_copies_and_empty_answers_are_not_shown_twice_or_at_all() -> None:
    assert distinct([" a ", "", "b", "a\n", "\t"]) == ["a", "b"]
    pair = [echo("base"), echo("a"), echo("b")]
    three = [echo("base"), echo("a"), echo("b"), echo("a"), Scripted(by=lambda _: " ")]
    without = ask_all(Panel(pair, Refine([1, 0], BARE, rounds=3)), "q")
    assert ask_all(Panel(three, Refine([1, 0, 2, 3], BARE, rounds=3)), "q") == without


def test_choices_are_made_in_the_conclusion_only() -> None:
    def pick(prompt: str) -> str:
        return "yes" if "no" in prompt.split() else "no"

    models = [Scripted(by=pick) for _ in range(3)]
    panel = Panel(models, Refine([0, 1], BARE, rounds=1))
    everybody: Mask = coalitions(2)[3:]
    ((answer,),) = panel.answer([question("q", "no", "yes")], everybody)
    assert answer.value == 1
    assert models[1].asked == ["q", "q no |"]
    assert models[2].asked == ["q"]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_templates_show_prompt_and_answers(style: str) -> None:
    models = [echo(name) for name in ("base", "a", "b")]
    ask_all(Panel(models, Refine([0, 1], STYLES[style], rounds=1)), "what?")
    conclusion = models[1].asked[-1]
    assert conclusion.startswith("what?")
    assert conclusion.index("a1") < conclusion.index("b1")


def test_each_style_and_number_of_rounds_is_another_system(workshop: Workshop) -> None:
    short: Suite = workshop.suites[2]
    systems = [
        workshop.assemble("text.refine", workshop.ids[:2], **parameters)
        for parameters in ({}, {"style": "bare"}, {"rounds": "1"})
    ]
    assert short.items
    assert len({system.digest() for system in systems}) == 3
