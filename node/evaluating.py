"""Evaluating without recording: a base model, or it with one adapter, on suites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import NotFoundError, UsageError
from node.artifacts import extract_once
from node.bases import find_base, open_known
from node.composing import Progress, silent
from node.digestcache import DigestCache
from node.fetching import find_artifact
from node.home import Home

if TYPE_CHECKING:
    from compose.hygiene import Hygiene
    from compose.methods.method import Context
    from compose.outcomes import Outcome
    from compose.suite import Suite

EXACTNESS = "pinned"


@dataclass(frozen=True, slots=True)
class Score:
    """How many items of a suite were answered correctly."""

    name: str
    correct: int
    total: int


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What was answered; `outcomes` has them for each suite, in the order given."""

    base: str
    adapter: str | None
    exactness: str
    scores: list[Score]
    outcomes: list[list[Outcome]]


def evaluate(
    home: Home,
    suites: Sequence[str],
    *,
    base: str,
    adapter: str | None = None,
    progress: Progress = silent,
) -> Evaluated:
    """Answer suites and count what is right; nothing is signed or kept.

    Args:
        home: where the base is known, and what ids name.
        suites: a directory, or the id of a contribution that is here, each.
        base: the name or digest of a base model.
        adapter: likewise a directory or an id, such as what `compose -o` wrote; none is the base.

    Raises:
        NotFoundError: if one of them is not here.
        IncompleteError: if blocks are missing.
        UnfitAdapterError, UnfitSuiteError: if one is not what it should be.
    """
    import numpy as np

    from compose.evaluation import outcomes_of
    from compose.methods.speaker import Speaker

    if not suites:
        raise UsageError("no suite was named", hint="add --suite DIR or --suite ID")
    opened = [open_suite_of(home, each) for each in suites]
    context = _open(home, base, adapter)
    answerer = (
        context.one_model(context.members[0].deltas)
        if context.members
        else context.together(Speaker())
    )
    everybody = np.ones((1, answerer.members), dtype=np.bool_)
    (cell,) = outcomes_of(
        answerer,
        opened,
        everybody,
        progress=lambda done, total: progress("evaluate", done, total),
    )
    scores = [
        Score(suite.name, sum(each.correct for each in row), len(row))
        for suite, row in zip(opened, cell, strict=True)
    ]
    return Evaluated(context.base.name, adapter, EXACTNESS, scores, [list(row) for row in cell])


def report_hygiene(
    home: Home, adapter: str, *, base: str, public: str, own: str | None = None
) -> Hygiene:
    """Report what an adapter keeps of the base's skill, what it adds, and how much it changes.

    Args:
        home: where the base is known, and what ids name.
        adapter: a directory, or the id of a contribution that is here; so are the suites.
        base: the name or digest of a base model.
        public: what the base should still be able to do.
        own: what the adapter is for.

    Raises:
        As `evaluate`.
    """
    from compose.hygiene import hygiene

    suites = [open_suite_of(home, each) for each in (public, own) if each is not None]
    (report,) = hygiene(_open(home, base, adapter), *suites)
    return report


def open_suite_of(home: Home, named: str) -> Suite:
    """Return a suite, given by its directory or by the id of its entry."""
    from compose.suite import open_suite

    return open_suite(_directory(home, named))


def _open(home: Home, base: str, adapter: str | None) -> Context:
    """Return a base with one adapter, or with none, as methods see them."""
    from compose.adapter import inspect_adapter
    from compose.delta import delta_of
    from compose.exactness import load_decoder
    from compose.methods.method import Context, Member
    from compose.tokens import Tokens

    known = open_known(home, find_base(home, base), DigestCache(home.cache))
    members: tuple[Member, ...] = ()
    if adapter is not None:
        checked = inspect_adapter(_directory(home, adapter), known)
        members = (Member(adapter, checked, delta_of(checked, name=f"adapter {adapter}")),)
    decoder = load_decoder(known, EXACTNESS, {})
    return Context(known, decoder, Tokens.open(known), members, {}, None, 0, {})


def _directory(home: Home, named: str) -> Path:
    """Return the folder of an artifact, given as one or by the id of its entry."""
    if Path(named).is_dir():
        return Path(named)
    try:
        cid = find_artifact(home, named).cid
    except UsageError:
        # Too short for an id, or not of this alphabet: most likely a path.
        raise NotFoundError(f"{named}: no such folder, and no id of an artifact here") from None
    target = home.cache / "artifacts" / str(cid)
    extract_once(cid, home.store, target)
    return target
