"""What the demo measures, checked on cases small enough to count by hand."""

from __future__ import annotations

from fractions import Fraction

from node.demo.measure import by_group, by_task, emergence, priority


def solved(*items: str) -> dict[str, bool]:
    every = ["own0/a", "own0/b", "own1/a", "chain01/a", "chain01/b", "pub1/a"]
    return {item: item in items for item in every}


def test_scores_are_exact_fractions_by_task_and_group() -> None:
    scores = by_task(solved("own0/a", "pub1/a"), ["own0", "own1", "chain01", "pub1"])
    assert scores == {"own0": Fraction(1, 2), "own1": 0, "chain01": 0, "pub1": 1}
    groups = by_group(scores)
    assert groups["own"] == Fraction(1, 4)
    assert groups["all"] == Fraction(3, 8)
    assert "cover" not in groups


def test_emergence_counts_only_what_everybody_fails() -> None:
    alone = [solved("own0/a", "pub1/a"), solved("own0/b", "pub1/a")]
    found = emergence(solved("own0/a", "own1/a", "chain01/a", "pub1/a"), alone)
    assert (found.failed_by_all, found.solved, found.items) == (3, 2, 6)
    assert found.rate == Fraction(2, 3)


def test_a_member_itself_has_no_emergence() -> None:
    alone = [solved("own0/a", "pub1/a"), solved("own0/b")]
    assert all(emergence(each, alone).solved == 0 for each in alone)


def test_emergence_without_a_common_failure_has_no_rate() -> None:
    every = solved(*solved())
    assert emergence(every, [every]).rate is None


def test_cover_items_are_those_that_carry_the_contributors_name() -> None:
    alone = {"own0/1": False, "cover0/cover0-ada-1": True, "cover0/cover0-bo-1": False}
    system = {"own0/1": True, "cover0/cover0-ada-1": False, "cover0/cover0-bo-1": True}
    row = priority("ada", 0, alone, system)
    assert (row.own_alone, row.own_system) == (0, 1)
    assert (row.cover_alone, row.cover_system) == (1, 0)
