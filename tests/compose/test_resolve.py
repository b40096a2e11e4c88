"""Resolution: what a recipe means against the contributions in force."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from compose.errors import RecipeError
from compose.lock import FrontierEntry, Lock, LockedBase
from compose.recipe import Recipe, Selection
from compose.resolve import Candidate, match_id, resolve
from ledger.cid import DAG_PB, Cid
from ledger.errors import NotFoundError, PolicyError, UsageError

DIGEST, OTHER = "ab" * 32, "cd" * 32
BASE = LockedBase("tiny", DIGEST, Cid.of(b"manifest"))
FRONTIER = (FrontierEntry("y", 2, bytes(32)), FrontierEntry("x", 1, bytes(32)))


def candidate(name: str, **changes: Any) -> Candidate:
    """Return an adapter in force, its id and CID made from its name."""
    plain = Candidate(
        id=str(Cid.of(name.encode())),
        cid=Cid.of(name.encode() + b"!", DAG_PB),
        type="adapter",
        author="ada",
        license="CC0-1.0",
        status="active",
        base=DIGEST,
    )
    return replace(plain, **changes)


ADA, BO, CY = candidate("1"), candidate("2", author="bo", license="MIT"), candidate("3")
OLD, GONE = candidate("4", status="superseded"), candidate("5", status="withdrawn")
FOREIGN = candidate("6", base=OTHER)
FORKED = candidate("f", status="disputed")
SUITE, DEV = candidate("7", type="suite", base=None), candidate("8", type="suite", base=None)
STALE = candidate("9", type="suite", base=None, status="superseded")
PULLED = candidate("10", type="suite", base=None, status="withdrawn")
ALL = (ADA, BO, CY, OLD, GONE, FORKED, FOREIGN, SUITE, DEV, STALE, PULLED)
RECIPE = Recipe(
    base="tiny",
    members=Selection(),
    method="merge.ties",
    parameters={},
    dev=None,
    suites=(SUITE.id,),
    seed=3,
)


def run(candidates: Sequence[Candidate] = ALL, **changes: Any) -> Lock:
    """Resolve the recipe with changes."""
    return resolve(
        replace(RECIPE, **changes),
        candidates,
        base=BASE,
        frontier=FRONTIER,
        software={"pnode": "0.1.0"},
        method_version="1",
        parameters={"density": "0.2"},
    )


def members(lock: Lock) -> set[str]:
    """Return the ids of the members."""
    return {each.id for each in lock.members}


def test_all_takes_the_adapters_in_force_for_the_base() -> None:
    lock = run()
    assert members(lock) == {ADA.id, BO.id, CY.id}
    assert [each.id for each in lock.members] == sorted(members(lock))
    assert {each.id: each.cid for each in lock.members}[BO.id] == BO.cid
    assert [each.origin for each in lock.frontier] == ["x", "y"]
    assert (lock.method.name, lock.method.version) == ("merge.ties", "1")
    assert lock.method.parameters == {"density": "0.2"}
    assert (lock.base, lock.seed, lock.exactness) == (BASE, 3, "pinned")
    assert Lock.parse(lock.encode()) == lock


def test_order_of_candidates_and_members_is_irrelevant() -> None:
    shuffled = list(ALL)
    random.Random(4).shuffle(shuffled)
    assert run(shuffled).encode() == run().encode()
    one = run(members=Selection(ids=(ADA.id, CY.id)))
    other = run(shuffled, members=Selection(ids=(CY.id[:20], ADA.id[:20])))
    assert one.encode() == other.encode()


@pytest.mark.parametrize(
    ("selection", "wanted"),
    [
        (Selection(author=("ada",)), {ADA, CY}),
        (Selection(author=("ada", "bo"), license=("MIT",)), {BO}),
        (Selection(exclude=(ADA.id[:20],)), {BO, CY}),
        (Selection(author=("ada",), exclude=(ADA.id,)), {CY}),
        (Selection(ids=(BO.id[:20],)), {BO}),
    ],
)
def test_selections(selection: Selection, wanted: set[Candidate]) -> None:
    assert members(run(members=selection)) == {each.id for each in wanted}


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        (OLD, "is superseded"),
        (GONE, "is withdrawn"),
        (FORKED, "is disputed"),
        (FOREIGN, OTHER),
    ],
    ids=["superseded", "withdrawn", "disputed", "another base"],
)
def test_named_member_that_cannot_be_used_is_refused_by_id(named: Candidate, reason: str) -> None:
    with pytest.raises(PolicyError, match=reason) as caught:
        run(members=Selection(ids=(ADA.id, named.id)))
    assert named.id in caught.value.message
    assert caught.value.exit_code == 7


def test_no_members_is_a_usage_error() -> None:
    for selection in (Selection(author=("nobody",)), Selection(license=("GPL-3.0-only",))):
        with pytest.raises(UsageError, match="no members: 3 adapters are in force"):
            run(members=selection)
    with pytest.raises(UsageError, match="no members: 0 adapters are in force"):
        run([SUITE, FOREIGN])


def test_suite_as_member_and_adapter_as_suite_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="is a suite, not an adapter"):
        run(members=Selection(ids=(SUITE.id,)))
    with pytest.raises(UsageError, match="is an adapter, not a suite"):
        run(suites=(ADA.id,))
    with pytest.raises(UsageError, match="is an adapter, not a suite"):
        run(dev=ADA.id)


def test_withdrawn_suite_is_refused_and_a_superseded_one_is_not() -> None:
    for change in ({"suites": (PULLED.id,)}, {"dev": PULLED.id}):
        with pytest.raises(PolicyError, match="is withdrawn"):
            run(**change)
    assert [each.id for each in run(suites=(STALE.id, SUITE.id)).suites] == [STALE.id, SUITE.id]


def test_dev_suite_is_never_one_of_the_suites() -> None:
    lock = run(dev=DEV.id[:20])
    assert lock.dev is not None
    assert (lock.dev.id, lock.dev.cid) == (DEV.id, DEV.cid)
    with pytest.raises(UsageError, match="also in suites"):
        run(dev=SUITE.id)


def test_dev_suite_published_again_under_another_id_is_found_out() -> None:
    twin = replace(DEV, cid=SUITE.cid)
    with pytest.raises(UsageError, match="also in suites"):
        run([ADA, SUITE, twin], dev=twin.id)


def test_naming_one_thing_by_two_prefixes_is_an_error() -> None:
    with pytest.raises(UsageError, match="twice"):
        run(members=Selection(ids=(ADA.id, ADA.id[:20])))
    with pytest.raises(UsageError, match="twice"):
        run(suites=(SUITE.id, SUITE.id[:20]))


def test_unknown_id_is_not_found() -> None:
    unknown = candidate("unknown").id
    changes: tuple[dict[str, Any], ...] = (
        {"members": Selection(ids=(unknown,))},
        {"members": Selection(exclude=(unknown,))},
        {"suites": (unknown,)},
        {"dev": unknown},
    )
    for change in changes:
        with pytest.raises(NotFoundError, match=unknown):
            run(**change)


def test_ambiguous_and_short_prefixes_are_usage_errors() -> None:
    twins = _twins()
    prefix = twins[0].id[:12]
    with pytest.raises(UsageError, match="ambiguous: 2 contributions") as caught:
        match_id(prefix, twins)
    assert caught.value.exit_code == 2
    assert caught.value.hint is not None
    assert twins[0].id in caught.value.hint
    assert match_id(twins[0].id, twins) == twins[0]
    with pytest.raises(UsageError, match="too short"):
        match_id(ADA.id[:11], [ADA])


def test_one_contribution_seen_twice_is_not_ambiguous() -> None:
    assert match_id(ADA.id[:12], [ADA, ADA]) == ADA


def test_errors_of_a_recipe_are_usage_errors() -> None:
    assert issubclass(RecipeError, UsageError)


def _twins() -> list[Candidate]:
    """Return two candidates whose ids share their first twelve characters."""
    digest = bytearray(Cid.of(b"twin").digest)
    first = replace(ADA, id=str(Cid(0x55, bytes(digest))))
    digest[-1] ^= 1
    return [first, replace(ADA, id=str(Cid(0x55, bytes(digest))))]
