"""`text.vote`: every member answers by itself, and the answer given most often is taken.

Version 1. Answers are compared as the suite compares them: texts after its normalisation, choices
by index. An empty text is no vote. Of answers with equally many votes the one is taken whose best
supporter ranks first: most dev items answered correctly alone, the smaller id among equals; what
is said is that supporter's answer. If nobody votes the base answers. A copy has a vote of its own.

The margin is the smallest one at which the votes that are at least as near could together have
made another answer win.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

from compose.answering import Answer, Question
from compose.methods.alone import record_alone
from compose.methods.method import Assembly, Context, Method, Parameters
from compose.panel import Ask, Panel, Talk
from compose.scoring import MAX_MARGIN, normalise


class TextVote(Method):
    """The answer that most members give."""

    name = "text.vote"
    version = "1"
    level = "text"
    exactness = "bitwise"
    needs_dev = True
    parameters: ClassVar[Parameters] = {}

    def assemble(self, context: Context) -> Assembly:
        """Rank the members and gather them."""
        soloists = context.soloists()
        record = record_alone(context, soloists)
        return Assembly(Panel(soloists, Vote(record.ranking())), record.state(context))


class Vote:
    """The procedure; `ranking` has the members, numbered from 0, best first."""

    def __init__(self, ranking: Sequence[int]) -> None:
        """Take who breaks ties."""
        self._place = {member + 1: place for place, member in enumerate(ranking)}

    def __call__(self, question: Question, present: Sequence[int]) -> Talk:
        """Ask everybody present, and count."""
        answers = yield [Ask(model, question) for model in present]
        ballots = [
            _Ballot(self._place[model], ballot(question, answer), answer)
            for model, answer in zip(present, answers, strict=True)
        ]
        ballots.sort()
        winner = _winner(ballots)
        if winner is None:
            (answer,) = yield [Ask(0, question)]
            return answer._replace(margin=min(answer.margin, *(each.margin for each in answers)))
        return winner.answer._replace(margin=_margin(ballots, winner.vote))


class _Ballot(NamedTuple):
    """A vote, an empty text being none, and the place in the ranking of who gives it."""

    place: int
    vote: int | str
    answer: Answer


def _winner(ballots: Sequence[_Ballot]) -> _Ballot | None:
    """Return the best supporter of what wins, given ballots by place; None if nobody votes."""
    counts = Counter(each.vote for each in ballots if each.vote != "")
    # The first of those with most votes is the one whose best supporter ranks first.
    return max(
        (each for each in ballots if each.vote != ""),
        key=lambda each: counts[each.vote],
        default=None,
    )


def _margin(ballots: Sequence[_Ballot], winner: int | str) -> int:
    """Return the smallest margin at which the votes at least as near could elect another."""
    nearest = sorted(ballots, key=lambda each: each.answer.margin)
    counts = Counter(each.vote for each in ballots)
    # In the place of empty texts, which are no votes: an answer that nobody gave.
    counts[""] = 0
    for changed, each in enumerate(nearest, start=1):
        if each.vote != "":
            counts[each.vote] -= 1
        # All that could change do so together, for one rival.
        strongest = changed + max(count for vote, count in counts.items() if vote != winner)
        if strongest > counts[winner] or (
            strongest == counts[winner] and _beats(nearest, changed, counts, winner)
        ):
            return each.answer.margin
    return MAX_MARGIN


def _beats(
    nearest: Sequence[_Ballot], changed: int, counts: Mapping[int | str, int], winner: int | str
) -> bool:
    """Return whether a rival that draws level with those changed has the better supporter."""
    places: dict[int | str, list[int]] = {vote: [] for vote in counts}
    for each in nearest[changed:]:
        if each.vote != "":
            places[each.vote].append(each.place)
    moved = [each.place for each in nearest[:changed]]
    level = (
        min(*moved, *places[vote], len(nearest))
        for vote, count in counts.items()
        if vote != winner and count + changed == counts[winner]
    )
    return min(level) < min(places[winner], default=len(nearest))


def ballot(question: Question, answer: Answer) -> int | str:
    """Return an answer in the form in which it is compared; an empty text is no vote."""
    if isinstance(answer.value, int):
        return answer.value
    return normalise(answer.value, question.normalisation)
