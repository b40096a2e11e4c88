"""Resolution: from a recipe and the contributions in force to a lock. A pure function.

An id in a recipe may be any prefix of at least twelve characters that fits one contribution only.
Naming a member is a promise to use it, so a named one that cannot be used is an error; "all" and
filters take what is in force for the base and leave out the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from compose.lock import FrontierEntry, Lock, LockedBase, LockedEntry, LockedMethod
from compose.recipe import MIN_ID, Recipe, Selection
from ledger.cid import Cid
from ledger.errors import NotFoundError, PolicyError, UsageError
from ledger.succession import DOUBTFUL
from ledger.view import ACTIVE, NOT_IN_FORCE, ArtifactType, Status

USABLE_BY_NAME: Final[frozenset[Status]] = frozenset({ACTIVE, DOUBTFUL})
"""A doubtful contribution is used by whoever names it, and by nobody else."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What resolution needs to know of a contribution.

    `base` is the digest it was made for; `author_keys` are all keys of its contributor, so that
    naming one of them selects what the others signed.
    """

    id: str
    cid: Cid
    type: ArtifactType
    author: str
    license: str
    status: Status
    base: str | None
    author_keys: tuple[str, ...] = ()


def resolve(
    recipe: Recipe,
    candidates: Sequence[Candidate],
    *,
    base: LockedBase,
    frontier: Iterable[FrontierEntry],
    software: Mapping[str, str],
    method_version: str,
    parameters: Mapping[str, str],
    exactness: str = "pinned",
) -> Lock:
    """Return the lock of a recipe.

    Args:
        recipe: the recipe as parsed.
        candidates: every contribution at the frontier, whatever its status, in any order.
        base: the base model that the recipe's `base` was found to be.
        frontier: the checkpoints the candidates come from.
        software: versions of what computes the outcomes, by name.
        method_version: the version of the method named in the recipe.
        parameters: every parameter of the method, defaults written out.
        exactness: the exactness class the outcomes will be compared in.

    Raises:
        UsageError: for an ambiguous or too short id, the wrong type, or no members at all.
        NotFoundError: for an id that no candidate has.
        PolicyError: for a named member that is withdrawn, disputed, superseded, revoked or made for
            another base, or a withdrawn, disputed or revoked suite.
    """
    if recipe.members.ids is None:
        members = _filtered(recipe.members, candidates, base)
    else:
        members = _named(recipe.members.ids, candidates, base)
    suites = [_suite(prefix, candidates) for prefix in recipe.suites]
    dev = None if recipe.dev is None else _suite(recipe.dev, candidates)
    _check_suites(suites, dev)
    return Lock(
        frontier=tuple(sorted(frontier, key=lambda entry: entry.origin)),
        base=base,
        members=tuple(_entry(each) for each in sorted(members, key=lambda each: each.id)),
        method=LockedMethod(recipe.method, method_version, dict(parameters)),
        dev=None if dev is None else _entry(dev),
        suites=tuple(_entry(suite) for suite in suites),
        seed=recipe.seed,
        exactness=exactness,
        software=dict(software),
    )


def match_id(prefix: str, candidates: Iterable[Candidate]) -> Candidate:
    """Return the one candidate whose id starts with `prefix`.

    Raises:
        UsageError: if the prefix is shorter than twelve characters or fits several.
        NotFoundError: if it fits none.
    """
    if len(prefix) < MIN_ID:
        raise UsageError(f"'{prefix}' is too short for an id; give at least {MIN_ID} characters")
    found = {each.id: each for each in candidates if each.id.startswith(prefix)}
    if not found:
        raise NotFoundError(f"no contribution {prefix} at this frontier")
    if len(found) > 1:
        first, second = sorted(found)[:2]
        raise UsageError(
            f"'{prefix}' is ambiguous: {len(found)} contributions start like this",
            hint=f"write more of the id, for example {first} or {second}",
        )
    return next(iter(found.values()))


def _named(
    prefixes: Iterable[str], candidates: Sequence[Candidate], base: LockedBase
) -> list[Candidate]:
    members: dict[str, Candidate] = {}
    for prefix in prefixes:
        member = match_id(prefix, candidates)
        if member.id in members:
            raise UsageError(f"recipe: members names {member.id} twice")
        if member.type != "adapter":
            raise UsageError(f"recipe: member {member.id} is a {member.type}, not an adapter")
        if member.status not in USABLE_BY_NAME:
            raise PolicyError(
                f"recipe: member {member.id} is {member.status}",
                hint="remove it from members, or name the contribution that replaced it",
            )
        if member.base != base.digest:
            raise PolicyError(
                f"recipe: member {member.id} was made for the base {member.base}, "
                f"not for {base.name} ({base.digest})",
                hint="compose adapters of one base model only",
            )
        members[member.id] = member
    return list(members.values())


def _filtered(
    selection: Selection, candidates: Sequence[Candidate], base: LockedBase
) -> list[Candidate]:
    excluded = {match_id(prefix, candidates).id for prefix in selection.exclude}
    usable = [
        each
        for each in candidates
        if each.type == "adapter" and each.status == ACTIVE and each.base == base.digest
    ]
    members = [
        each
        for each in usable
        if each.id not in excluded
        and (not selection.author or {each.author, *each.author_keys} & {*selection.author})
        and (not selection.license or each.license in selection.license)
    ]
    if not members:
        raise UsageError(
            f"recipe: no members: {len(usable)} adapters are in force for base {base.name} and "
            "the recipe selects none of them",
            hint="see 'pnode list' for adapters, their authors, licences and status",
        )
    return members


def _suite(prefix: str, candidates: Sequence[Candidate]) -> Candidate:
    suite = match_id(prefix, candidates)
    if suite.type != "suite":
        raise UsageError(f"recipe: {suite.id} is an {suite.type}, not a suite")
    if suite.status in NOT_IN_FORCE:
        raise PolicyError(f"recipe: suite {suite.id} is {suite.status}", hint="use another suite")
    return suite


def _check_suites(suites: Sequence[Candidate], dev: Candidate | None) -> None:
    ids = [suite.id for suite in suites]
    for suite_id in ids:
        if ids.count(suite_id) > 1:
            raise UsageError(f"recipe: suites names {suite_id} twice")
    if dev is not None and any(dev.id == each.id or dev.cid == each.cid for each in suites):
        raise UsageError(
            f"recipe: the dev suite {dev.id} is also in suites",
            hint="a method that fits or selects on a suite cannot be judged by it",
        )


def _entry(candidate: Candidate) -> LockedEntry:
    return LockedEntry(candidate.id, candidate.cid)
