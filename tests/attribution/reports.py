"""A report model over a small synthetic game, with everything a report can hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attribution.analysis import Estimator, analyse, interactions
from attribution.axioms import Check
from attribution.game import Suite
from attribution.record import Subject, build_record
from attribution.reportmodel import (
    Command,
    Fact,
    Member,
    Place,
    Replay,
    ReportModel,
    ReportSuite,
    SystemScore,
)
from attribution.table import CoalitionTable
from ledger.cid import Cid
from tests.attribution.games import LOCK, ids

COMPOSITION = str(Cid.of(b"composition"))
TITLES = (
    "Transit notices, Catalan",
    "Street names of the old town and its harbour",
    "Permit forms",
    "Waste calendar",
    "Opening hours",
    "Plain language",
    "Noise complaints",
    "Council minutes",
)
NAMES = ("Ada", "Bo", "Cy", "Dee", "Ana Lima", "Farid", "Grace", "Hana")
SUITES = ("permits", "transit", "plain language", "opening hours")


def town_table(players: int = 8, items: int = 80) -> CoalitionTable:
    """Return a game where each member mostly helps one suite, two overlap and one hurts."""
    source = np.random.default_rng(7)
    skill = source.normal(0.1, 0.35, (4 * items, players))
    for player in range(players):
        home = slice(items * (player % 4), items * (player % 4 + 1))
        skill[home, player] += 1.4
    if players > 6:
        skill[:, 6] -= 0.35
    bias = source.normal(-1.0, 0.8, 4 * items)
    rows = {}
    for mask in range(1 << players):
        chosen = np.array([mask >> at & 1 for at in range(players)])
        rows[mask] = bias + np.maximum(skill * chosen, 0).max(axis=1) + 0.25 * skill @ chosen > 0
    suites = tuple(
        Suite(suite, name, items) for suite, name in zip(ids("town", 4), SUITES, strict=True)
    )
    return CoalitionTable.of(LOCK, ids("player", players), suites, rows)


def town_model(players: int = 8) -> ReportModel:
    """Return the report on that game."""
    table = town_table(players)
    analysis = analyse(table, Estimator("exact", "automatic"), confidence="0.95")
    authors = {player: f"did:key:z6Mk{at}{'q' * 40}" for at, player in enumerate(table.players)}
    subject = Subject(COMPOSITION, authors, "the recipe applied to the members of the coalition")
    singles = tuple(
        SystemScore(TITLES[at], "member", table.counts(1 << at)) for at in range(players)
    )
    return ReportModel(
        title="Town hall assistant",
        summary="A small language model that answers questions about town services. "
        "It is a base model joined with adapters that residents and offices contributed.",
        attribution=str(Cid.of(b"attribution")),
        record=build_record(table, analysis, subject),
        facts=(
            Fact("Base model", "cipher-tiny"),
            Fact("Method", "merge.ties, density 0.2"),
            Fact("Exactness", "bitwise by construction"),
        ),
        places=(
            Place("pnode.example/log/v1/5d0e", 57, "c0" * 32, ("witness.example/w1", "bo")),
            Place("pnode.example/log/v1/77aa", 12, "d1" * 32, ()),
        ),
        members=tuple(
            Member(
                player,
                TITLES[at],
                authors[player],
                NAMES[at],
                "Apache-2.0",
                str(Cid.of(player.encode())),
                "pnode.example/log/v1/5d0e",
                40 + at,
                "in force",
            )
            for at, player in enumerate(table.players)
        ),
        suites=tuple(
            ReportSuite(suite.id, suite.name, "Questions from the counter", "choice", "CC-BY-4.0")
            for suite in table.suites
        ),
        scores=(
            SystemScore("cipher-tiny", "base", table.counts(0)),
            *singles,
            SystemScore("merge.linear", "method", table.counts(table.everyone >> 1)),
            SystemScore("merge.ties", "composition", table.counts(table.everyone)),
        ),
        interactions=interactions(table, confidence="0.95"),
        checks=(
            Check("signatures", "pass", "57 of 57 entries verified"),
            Check("replayed share", "inconclusive", "24 of 256 coalitions were run again"),
        ),
        replays=(
            Replay("the composition", "bo", "reproduced", 320, 320, "every outcome equal"),
            Replay("coalitions", "cy", "inconclusive", 24, 256, "base model not available"),
        ),
        commands=(
            Command("Recompute every value from the published table:", "pnode audit"),
            Command("Run the system again and compare:", f"pnode replay {COMPOSITION[:16]}"),
        ),
        contested=("Dee disputes the licence of Waste calendar",),
        unknown=("Training data of Permit forms is stated by its contributor and not verified.",),
    )


def hostile_model(text: str) -> ReportModel:
    """Return a report in which every free text is the one given."""
    model = town_model(3)
    return replace(
        model,
        title=text,
        summary=text,
        facts=(Fact(text, text),),
        places=(Place(text, 1, "00", (text,)),),
        members=tuple(
            replace(member, title=text, author_name=text, licence=text, origin=text, status=text)
            for member in model.members
        ),
        suites=tuple(
            replace(suite, name=text, description=text, scorer=text, licence=text)
            for suite in model.suites
        ),
        scores=tuple(replace(score, name=text) for score in model.scores),
        checks=(Check(text, "pass", text),),
        replays=(Replay(text, text, "mismatch", 1, 2, text),),
        commands=(Command(text, text),),
        contested=(text,),
        payments=(text,),
        unknown=(text,),
    )
