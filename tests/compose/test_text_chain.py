"""Stages of a prompt, answered one after another by whom each is routed to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from compose.bank import Array
from compose.methods.text_chain import MAX_STAGES, Chain, Form
from compose.panel import Panel
from compose.tokens import Ids
from tests.compose.scripted import Scripted, ask_all, coalitions, question
from tests.compose.systems import Workshop

DEV = ("rev a b >", "up c d e >", "rev up a b >")
FORM = Form.of(DEV)


class Words:
    """A tokenizer whose ids are the characters of a text."""

    def encode_prompt(self, text: str, *, what: str) -> Ids:
        assert what
        return tuple(map(ord, text))


class ByFirstWord:
    """A router that knows who does what."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def scores(self, queries: Sequence[Ids]) -> Array:
        heads = ["".join(map(chr, each)).split()[0] for each in queries]
        return np.array([[float(head == name) for name in self._names] for head in heads])


def reverse(prompt: str) -> str:
    return " ".join(reversed(prompt.split()[1:-1]))


def upper(prompt: str) -> str:
    return f" {' '.join(prompt.split()[1:-1]).upper()} "


def chain(*models: Scripted) -> Panel:
    # The procedure asks its parts for one method each, which these have.
    return Panel(models, Chain(FORM, ByFirstWord("rev", "up"), Words()))  # type: ignore[arg-type]


def test_the_dev_suite_shows_what_names_a_stage_and_how_prompts_end() -> None:
    assert Form(frozenset({"rev", "up"}), (">",)) == FORM
    assert Form.of(["x"]) == Form(frozenset({"x"}), ())
    assert Form.of(["x a ?", "x b !"]).ending == ()
    assert Form.of(["x a = ?", "y a = ?"]).ending == ("a", "=", "?")
    assert Form.of([" ", "x y"]).stages == {"x"}


@pytest.mark.parametrize(
    ("prompt", "stages", "given"),
    [
        ("rev up a b >", ["rev", "up"], "a b"),
        ("up  rev\tup a >", ["up", "rev", "up"], "a"),
        ("rev up >", ["rev", "up"], ""),
        ("rev a up >", [], ""),
        ("rev up a b", [], ""),
        ("a rev up >", [], ""),
        (">", [], ""),
        ("", [], ""),
        ("rev " * 10 + "a >", ["rev"] * MAX_STAGES, "rev rev a"),
    ],
)
def test_a_prompt_is_split_into_stages(prompt: str, stages: list[str], given: str) -> None:
    assert FORM.parse(prompt) == (stages, given)


def test_each_stage_works_on_what_the_one_before_has_written() -> None:
    base, reversing, raising = (Scripted(by=by) for by in (str.title, reverse, upper))
    panel = chain(base, reversing, raising)
    answers = ask_all(panel, "rev up a b >", "up rev up a b >", "up a b >", "what else ?")
    assert [each.value for each in answers] == [" B A ", " B A ", " A B ", "else"]
    assert {"up a b >", "up b a >", "up B A >"} <= set(raising.asked)
    assert not base.asked


def test_a_stage_goes_to_the_best_router_choice_among_those_present() -> None:
    panel = chain(*(Scripted(by=by) for by in (str.title, reverse, upper)))
    ((nobody, only_upper, only_reverse, both),) = panel.answer(
        [question("rev up a b >")], coalitions(2)
    )
    assert nobody.value == "Rev Up A B >"
    assert [only_upper.value, only_reverse.value, both.value] == [" A B ", "a b", " B A "]


def test_the_last_stage_alone_chooses_among_choices() -> None:
    panel = chain(*(Scripted(by=by) for by in (str.title, reverse, lambda p: p.split()[1].upper())))
    everybody = coalitions(2)[3:]
    ((answer,),) = panel.answer([question("rev up a b >", "A", "B")], everybody)
    assert answer.value == 1


def test_a_chain_of_real_models_is_the_members_one_after_another(workshop: Workshop) -> None:
    system = workshop.assemble("text.chain", workshop.ids[:1])
    alone = workshop.assemble("merge.linear", workshop.ids[:1])
    assert workshop.answers(system) == workshop.answers(alone)
