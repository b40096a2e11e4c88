"""What a governance report says, as plain values: the one source of page, JSON and CSV.

A report is a function of its model. Values and intervals come from the attribution record; the
model adds what the record does not hold: people, licences, scores, places in logs, verdicts.
All text may come from strangers and is cleaned and escaped where it is shown, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from attribution.analysis import Interaction
from attribution.axioms import Check
from attribution.errors import ReportError
from attribution.game import mean
from attribution.schema import RECORD_SHAPE
from attribution.shape import check_shape


@dataclass(frozen=True, slots=True)
class Fact:
    """One line about the system, such as the base model or the method."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Member:
    """A contribution in the system: who offers what, under which licence, and where it is logged.

    `author` is the did:key, `author_name` what the contributor calls themselves, `artifact` a CID,
    `status` a word such as "in force" or "withdrawn".
    """

    contribution: str
    title: str
    author: str
    author_name: str
    licence: str
    artifact: str
    origin: str
    index: int
    status: str


@dataclass(frozen=True, slots=True)
class ReportSuite:
    """A task suite in words; its id and size are those of the record."""

    id: str
    name: str
    description: str
    scorer: str
    licence: str


@dataclass(frozen=True, slots=True)
class SystemScore:
    """How many items of each suite a system solves, in the order of the record's suites.

    `kind`: the base model, a single member on it, another method, or the composition itself.
    """

    name: str
    kind: Literal["base", "member", "method", "composition"]
    correct: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A log that the report rests on, at one checkpoint; `witnesses` names who cosigned it."""

    origin: str
    size: int
    root: str
    witnesses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """Somebody ran something again: who, what, how much of it, and what came of it."""

    subject: str
    by: str
    verdict: Literal["reproduced", "mismatch", "inconclusive"]
    checked: int
    total: int
    detail: str


@dataclass(frozen=True, slots=True)
class Command:
    """How to check something again, as it can be pasted."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class ReportModel:
    """Everything a governance report says.

    Attributes:
        title: the name of the system.
        summary: what the system is and is for, in a sentence or two.
        attribution: entry id of the attribution, None before it is published.
        record: the attribution record, as `record.parse_record` returns it.
        interactions: strongest first; empty for sampled values.
        checks: what was checked beside the record's own checks.
        contested: open disputes, one sentence each.
        payments: what was paid, one sentence each.
        unknown: what could not be established, one sentence each.
    """

    title: str
    summary: str
    attribution: str | None
    record: Mapping[str, Any]
    facts: tuple[Fact, ...]
    places: tuple[Place, ...]
    members: tuple[Member, ...]
    suites: tuple[ReportSuite, ...]
    scores: tuple[SystemScore, ...]
    interactions: tuple[Interaction, ...] = ()
    checks: tuple[Check, ...] = ()
    replays: tuple[Replay, ...] = ()
    commands: tuple[Command, ...] = ()
    contested: tuple[str, ...] = ()
    payments: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_shape(dict(self.record), RECORD_SHAPE, "report: attribution record")
        suites = [suite["id"] for suite in self.record["game"]["suites"]]
        if [suite.id for suite in self.suites] != suites:
            raise ReportError(
                "report: its suites are not those of the attribution record, in order"
            )
        players = [player["contribution"] for player in self.record["players"]]
        if sorted(member.contribution for member in self.members) != players:
            raise ReportError("report: its members are not the players of the attribution record")
        self._check_scores()

    @property
    def base(self) -> SystemScore:
        """The score of the base model alone."""
        return self._only("base")

    @property
    def composition(self) -> SystemScore:
        """The score of the composed system."""
        return self._only("composition")

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of items of each suite."""
        return tuple(suite["items"] for suite in self.record["game"]["suites"])

    def accuracy(self, score: SystemScore) -> Fraction:
        """Return the mean accuracy over the suites, which is the game's unit."""
        return mean([Fraction(*pair) for pair in zip(score.correct, self.sizes, strict=True)])

    def _only(self, kind: str) -> SystemScore:
        found = [score for score in self.scores if score.kind == kind]
        if len(found) != 1:
            raise ReportError(f"report: {len(found)} scores of kind '{kind}' where one is needed")
        return found[0]

    def _check_scores(self) -> None:
        for score in self.scores:
            if len(score.correct) != len(self.sizes):
                raise ReportError(f"report: the score of '{score.name}' lacks a suite")
            if any(
                not 0 <= got <= size for got, size in zip(score.correct, self.sizes, strict=True)
            ):
                raise ReportError(f"report: the score of '{score.name}' exceeds its suite")
        gain = self.accuracy(self.composition) - self.accuracy(self.base)
        values = sum((Fraction(worth["value"]) for worth in self.record["values"]), Fraction(0))
        if values - Fraction(self.record["efficiency_gap"]) != gain:
            raise ReportError(
                f"report: the values sum to {values}, but the scores say the system gains {gain}"
            )
