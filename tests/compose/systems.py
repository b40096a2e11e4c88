"""Locks, suites and systems over the tiny base, for the tests of composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from compose.adapter import Adapter, inspect_adapter
from compose.base import BaseModel, open_base
from compose.evaluation import evaluate
from compose.lock import Lock, LockedBase, LockedEntry, LockedMethod
from compose.methods import find_method
from compose.suite import Item, Suite
from compose.system import System, assemble
from ledger.cid import Cid

QUICK: Mapping[str, Mapping[str, str]] = {
    "merge.lorahub": {"objective": "loss", "budget": "6"},
    "merge.model_swarms": {"steps": "2"},
    "merge.regmean": {"prompts": "all"},
}
"""Parameters with which a search is short and yet finds something, whatever the dev suite."""


def cid_of(text: str) -> Cid:
    return Cid.of(text.encode())


@dataclass(frozen=True)
class Workshop:
    """A base with adapters by id, and the suites to evaluate on."""

    base: BaseModel
    adapters: Mapping[str, Adapter]
    suites: tuple[Suite, ...]
    dev: Suite

    @property
    def titles(self) -> dict[str, str]:
        """Each member by a word that some prompts begin with, a letter, and how all end."""
        return {each: f"{'PQ'[n % 2]} {'abcdef'[n % 6]} >" for n, each in enumerate(self.ids)}

    @property
    def ids(self) -> list[str]:
        return sorted(self.adapters)

    def lock(self, method: str, members: Sequence[str] | None = None, **parameters: str) -> Lock:
        chosen = self.ids if members is None else sorted(members)
        return Lock(
            frontier=(),
            base=LockedBase("tiny", self.base.digest, cid_of("base")),
            members=tuple(LockedEntry(each, cid_of(f"artifact {each}")) for each in chosen),
            method=LockedMethod(method, "1", find_method(method).validate(parameters)),
            dev=LockedEntry(str(cid_of("dev")), cid_of("dev items")),
            suites=(LockedEntry(str(cid_of("suite")), cid_of("items")),),
            seed=0,
            exactness="pinned",
            software={},
        )

    def assemble(
        self, method: str, members: Sequence[str] | None = None, **parameters: str
    ) -> System:
        lock = self.lock(method, members, **parameters)
        return assemble(lock, self.base, self.adapters, self.dev, self.titles)

    def answers(self, system: System) -> list[list[int | str]]:
        return [[each.answer for each in evaluate(system, suite)] for suite in self.suites]


def make_workshop(base_directory: Path, adapter_directories: Sequence[Path]) -> Workshop:
    """Return a workshop whose dev suite each member can solve some of: every fourth item."""
    base = open_base(base_directory, name="tiny")
    adapters = {
        str(cid_of(f"entry {number}")): inspect_adapter(path, base)
        for number, path in enumerate(adapter_directories)
    }
    exact = exact_suite("exact", prompts(), ["?"] * len(prompts()))
    short = replace(exact, name="short", max_tokens=2)
    shop = Workshop(base, adapters, (exact, choice_suite("choice", prompts()[:5]), short), exact)
    said = [shop.answers(shop.assemble("merge.linear", [member]))[0] for member in shop.ids]
    gold = [str(said[number % len(said)][number]) or "?" for number in range(len(prompts()))]
    return replace(shop, dev=exact_suite("dev", prompts(), gold))


def exact_suite(name: str, prompts: Sequence[str], answers: Sequence[str]) -> Suite:
    items = tuple(
        Item(f"{name}-{number}", prompt, (), answer)
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True))
    )
    return Suite(name, "CC0-1.0", "exact", 5, "made for a test", None, "whitespace", items)


def choice_suite(name: str, prompts: Sequence[str], answer: int = 0) -> Suite:
    choices = ("a", "b", "c d", "1", "2", "R", "|", "0")
    items = tuple(
        Item(f"{name}-{number}", prompt, choices, answer) for number, prompt in enumerate(prompts)
    )
    return Suite(name, "CC0-1.0", "choice", 5, "made for a test", None, "none", items)


def prompts() -> list[str]:
    """Prompts of two lengths, so that batches hold rows of several."""
    words = "abcdef"
    return [f"P {x} {y} >" for x, y in product(words[:4], words[:3])] + [
        f"Q {x} b c {x} >" for x in words
    ]
