"""`text.vote`: every member answers by itself, and the answer given most often is taken.

Version 1. Answers are compared as the suite compares them: texts after its normalisation, choices
by index. An empty text is no vote. Of answers with equally many votes the one is taken whose best
supporter ranks first: most dev items answered correctly alone, the smaller id among equals; what
is said is that supporter's answer. If nobody votes the base answers. A copy has a vote of its own.

The margin is the smallest one at which the votes that are at least as near could together have
made another answer win.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from compose.answering import Question, Spoken, compared
from compose.bank import Index, Mask
from compose.methods.alone import record_alone
from compose.methods.method import Assembly, Context, Method, Parameters
from compose.panel import Ask, Talk, bits, with_margins
from compose.scoring import MAX_MARGIN


class TextVote(Method):
    """The answer that most members give."""

    name = "text.vote"
    version = "1"
    level = "text"
    exactness = "bitwise"
    selects = True
    needs_dev = True
    parameters: ClassVar[Parameters] = {}

    def assemble(self, context: Context) -> Assembly:
        """Rank the members and gather them."""
        soloists = context.soloists()
        record = record_alone(context, soloists)
        return Assembly(context.panel(soloists, Vote(record.ranking())), record.state(context))


class Vote:
    """The procedure; `ranking` has the members, numbered from 0, best first."""

    def __init__(self, ranking: Sequence[int]) -> None:
        """Take who breaks ties."""
        self._ranking = list(ranking)

    def __call__(self, question: Question, present: Mask) -> Talk:
        """Ask everybody, and count for each coalition."""
        # From here on members have the numbers of their places, the best is 0.
        ranked = [member for member in self._ranking if present[:, member].any()]
        answers = yield [Ask(member + 1, question) for member in ranked]
        forms = [compared(question, answer) for answer in answers]
        votes = [form for form in dict.fromkeys(forms) if form != ""]
        ballots = np.array([[form == vote for form in forms] for vote in votes], dtype=np.bool_)
        ballots = ballots.reshape(len(votes), len(forms))
        here, margins = present[:, ranked], np.array([answer.margin for answer in answers])
        winner = _winner(here, ballots)
        nearest = _margins(here, ballots, margins, winner)
        supporters = np.zeros(present.shape, dtype=np.bool_)
        supporters[:, ranked] = _supporters(here, ballots, winner)
        places = supporters[:, ranked].argmax(axis=1)
        said = dict(enumerate(answers))
        silent = winner < 0
        if silent.any():
            (said[-1],) = yield [Ask(0, question)]
            places[silent] = -1
            nearest[silent] = np.minimum(nearest[silent], said[-1].margin)
        answered = with_margins(said, places.tolist(), nearest.tolist())
        return list(map(Spoken, answered, bits(supporters)))


def _supporters(here: Mask, ballots: Mask, winner: Index) -> Mask:
    """Return who of those here voted for the winner, [coalitions, members]."""
    if not len(ballots):
        return np.zeros(here.shape, dtype=np.bool_)
    return here & ballots[winner] & (winner >= 0)[:, None]


def _winner(here: Mask, ballots: Mask) -> Index:
    """Return the number of the vote that wins in each coalition, -1 if nobody votes.

    Args:
        here: who is present, best first, [coalitions, members].
        ballots: who gives each vote, [votes, members].
    """
    if not len(ballots):
        return np.full(len(here), -1)
    counts, first = _count(here, ballots)
    strength = _strength(counts, first, here.shape[1])
    return np.where(counts.any(axis=1), strength.argmax(axis=1), -1)


def _margins(here: Mask, ballots: Mask, margins: Index, winner: Index) -> Index:
    """Return the smallest margin at which the votes at least as near could elect another.

    Where nobody votes it is the smallest margin, as any vote would win.
    """
    members = here.shape[1]
    result = np.where(winner < 0, np.where(here, margins, MAX_MARGIN).min(axis=1), MAX_MARGIN)
    standing = here.copy()
    changed = np.zeros(len(here), dtype=np.int64)
    best = np.full(len(here), members)
    waiting = winner >= 0
    for member in np.argsort(margins, kind="stable").tolist():
        rows = np.flatnonzero(waiting & here[:, member])
        if not len(rows):
            continue
        standing[rows, member] = False
        changed[rows] += 1
        best[rows] = np.minimum(best[rows], member)
        counts, first = _count(standing[rows], ballots)
        own = np.arange(len(rows)), winner[rows]
        stays = _strength(counts, first, members)[own]
        # All that could change do so together, for one rival or for an answer that nobody gave.
        more, moved = changed[rows], best[rows]
        rivals = _strength(counts + more[:, None], np.minimum(first, moved[:, None]), members)
        rivals[own] = _strength(more, moved, members)
        turned = rows[rivals.max(axis=1) > stays]
        result[turned] = margins[member]
        waiting[turned] = False
    return result


def _count(here: Mask, ballots: Mask) -> tuple[Index, Index]:
    """Return how many give each vote and the best of them, both [coalitions, votes]."""
    supporters = here[:, None] & ballots
    counts = supporters.sum(axis=2)
    return counts, np.where(counts > 0, supporters.argmax(axis=2), here.shape[1])


def _strength(counts: Index, first: Index, members: int) -> Index:
    """Return what is larger for more votes and, of equals, for the better supporter."""
    return counts * (members + 1) - first
