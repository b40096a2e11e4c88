"""Votes: every closed form equals the count over all coalitions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import lcm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import exact, votes
from attribution.votes import Party
from tests.attribution.games import members


def enumerated(players: int, solved: Callable[[frozenset[int]], bool]) -> list[Fraction]:
    game = np.array([[solved(members(mask)) for mask in range(1 << players)]], dtype=np.int64)
    common = lcm(*range(1, players + 1))
    return [Fraction(number, common) for number in exact.shapley_numerators(game)[:, 0].tolist()]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 4))
def test_majority_of_two_answers(right: int, wrong: int) -> None:
    if right + wrong == 0:
        return
    found = enumerated(right + wrong, lambda who: sum(1 if at < right else -1 for at in who) > 0)
    for_right, for_wrong = votes.majority(right, wrong)
    assert found == [for_right] * right + [for_wrong] * wrong


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 4),
    st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=3),
    st.booleans(),
)
def test_plurality_of_any_number_of_answers(
    right: int,
    others: list[tuple[int, bool]],
    base_right: bool,  # noqa: FBT001
) -> None:
    parties = tuple(Party(*each) for each in others)
    answers = [-1] * right + [at for at, party in enumerate(parties) for _ in range(party.voters)]
    if not answers:
        return

    def solved(who: frozenset[int]) -> bool:
        cast = [answers[at] for at in who]
        ours = cast.count(-1)
        if not cast:
            return base_right
        return ours > 0 and all(
            cast.count(at) < ours or (cast.count(at) == ours and not party.wins_ties)
            for at, party in enumerate(parties)
        )

    for_right, for_others = votes.plurality(right, parties, base_right=base_right)
    expected = [for_right if answer < 0 else for_others[answer] for answer in answers]
    assert enumerated(len(answers), solved) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 5), min_size=1, max_size=7), st.integers(-3, 6))
def test_weighted_vote(weights: list[int], quota: int) -> None:
    found = enumerated(len(weights), lambda who: sum(weights[at] for at in who) >= quota)
    assert list(votes.weighted(weights, quota)) == found


def test_weighted_vote_of_many_is_exact_and_efficient() -> None:
    weights = [3 if at % 3 else -2 for at in range(70)]
    values = votes.weighted(weights)
    assert sum(values) == 1
    right, wrong = votes.majority(40, 30)
    equal = votes.weighted([1] * 40 + [-1] * 30)
    assert equal == (right,) * 40 + (wrong,) * 30


def test_security_council() -> None:
    """Five permanent members with a veto, nine of fifteen votes: [39; 7 x 5, 1 x 10]."""
    values = votes.weighted([7] * 5 + [1] * 10, quota=39)
    assert values == (Fraction(421, 2145),) * 5 + (Fraction(4, 2145),) * 10


@pytest.mark.parametrize("voters", [10, 60])
def test_plurality_shares_out_the_whole(voters: int) -> None:
    parties = (Party(voters // 3, wins_ties=True), Party(voters // 4, wins_ties=False))
    right, others = votes.plurality(voters // 2, parties, base_right=True)
    shared = right * (voters // 2)
    shared += sum(
        (value * party.voters for value, party in zip(others, parties, strict=True)), Fraction(0)
    )
    assert shared == 0
