"""Composing: a recipe becomes a lock, a system, outcomes, and two signed statements."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.cid import Cid
from ledger.database import storage_errors
from ledger.entry import Entry
from ledger.errors import NotFoundError, PolicyError, UsageError
from ledger.keys import PrivateKey
from ledger.statement import Statement, Subject
from ledger.succession import DOUBTFUL
from ledger.view import LedgerView
from node.artifacts import store_document
from node.bases import KnownBase, add_base, find_base, open_known
from node.clock import Clock, utc_now
from node.digestcache import DigestCache
from node.home import Home
from node.materials import Materials, cached_materials
from node.reading import load_view
from node.saving import save_system

if TYPE_CHECKING:
    from compose.lock import Lock
    from compose.methods.method import Context
    from compose.outcomes import Outcome
    from compose.recipe import Recipe, Threshold
    from compose.resolve import Candidate
    from compose.system import System
    from node.storage.pinning import DaemonPins

Progress = Callable[[str, int, int], None]
"""Called with the name of a step, how much of it is done and how much there is."""

_MAX_RECIPE_BYTES = 1 << 20
_SOFTWARE = ("numpy", "pnode", "tokenizers", "torch")


@dataclass(frozen=True, slots=True)
class Composed:
    """A recorded composition; the ids are None after a dry run."""

    id: str | None
    evaluation: str | None
    lock: str
    system_digest: str | None
    members: list[str]
    exactness: str
    exactness_reason: str
    scores: dict[str, dict[str, Any]]
    weights: dict[str, str]
    adapter: dict[str, Any] | None
    files: list[str]
    warnings: list[str]
    pins: DaemonPins | None = None


def silent(step: str, done: int, total: int) -> None:
    """Report progress to nobody."""
    del step, done, total


def compose(
    home: Home,
    recipe_path: Path,
    *,
    output: Path | None = None,
    dry_run: bool = False,
    offline: bool = False,
    progress: Progress = silent,
    clock: Clock = utc_now,
) -> Composed:
    """Resolve, assemble, evaluate and record what a recipe says.

    Args:
        recipe_path: the recipe, in TOML.
        output: folder for the composed system: a PEFT adapter if it is a merge, else what
            `node.saving.open_system` opens.
        dry_run: stop after the lock.

    Raises:
        UsageError: for a recipe that makes no sense.
        PolicyError: for a member that must not be used.
        IdentityError: if this home cannot sign.
    """
    recipe = _read_recipe(recipe_path)
    if output is not None and output.exists():
        raise UsageError(f"{output}: exists already", hint="give a new folder to -o")
    lock, why, warnings = lock_recipe(home, recipe, offline=offline, progress=progress)
    members = [member.id for member in lock.members]
    if dry_run:
        cid = str(lock.cid())
        return Composed(
            None, None, cid, None, members, lock.exactness, why, {}, {}, None, [], warnings
        )
    # Before the long work: a home without keys could not sign what comes of it.
    author = home.keys().author
    materials = cached_materials(home, lock)
    context = _open(lock, materials, progress)
    if recipe.hygiene is not None:
        _require_hygiene(home, recipe.hygiene, context, progress)
    system, outcomes = _run(lock, context, materials, progress)
    adapter, files = _write(home, lock, system, context, output)
    composed = _record(home, lock, why, system, outcomes, author, clock)
    names = [suite.name for suite in materials.suites]
    for score, name in zip(composed.scores.values(), names, strict=True):
        score["name"] = name
    return replace(
        composed,
        weights=_weights(system, members),
        adapter=adapter,
        files=files,
        warnings=[*warnings, *_near_copies(materials)],
    )


def lock_recipe(
    home: Home, recipe: Recipe, *, offline: bool = False, progress: Progress = silent
) -> tuple[Lock, str, list[str]]:
    """Resolve a recipe against the ledger in force.

    Returns:
        The lock, why it has its exactness class, and what is doubtful about it.
    """
    from compose.exactness import choose_exactness
    from compose.lock import FrontierEntry, LockedBase
    from compose.methods import find_method
    from compose.resolve import resolve

    method = find_method(recipe.method)
    known = _find_or_add_base(home, recipe.base, offline=offline, progress=progress)
    with home.reading() as database:
        ledger = load_view(database)
    lock = resolve(
        recipe,
        _candidates(ledger),
        base=LockedBase(known.name, known.digest, Cid.parse(known.cid)),
        frontier=[
            FrontierEntry(point.origin, point.size, point.root)
            for point in ledger.frontier.checkpoints
        ],
        software=software(),
        method_version=method.version,
        parameters=method.validate(recipe.parameters),
    )
    shape = open_known(home, known, DigestCache(home.cache)).shape
    chosen = choose_exactness(recipe.exactness, method, shape, len(lock.members))
    lock = replace(lock, exactness=chosen.exactness)
    return lock, chosen.reason, list(_doubts(lock, ledger))


def _doubts(lock: Lock, ledger: LedgerView) -> Iterator[str]:
    for named in [*lock.members, *lock.suites, *([lock.dev] if lock.dev else [])]:
        offered = ledger.contributions[named.id]
        if offered.status == DOUBTFUL:
            yield f"{named.id} ({offered.title}) is doubtful: its author's key may have been stolen"


def _near_copies(materials: Materials) -> Iterator[str]:
    """Say which members are near copies of one another: each of them counts as a member."""
    from compose.similarity import similarities

    opened = {id_: adapter.opened for id_, adapter in materials.adapters.items()}
    for (first, second), similarity in similarities(opened).items():
        if similarity.near_copy:
            yield f"members {first} and {second} are near copies: {similarity}"


def software() -> dict[str, str]:
    """Return the versions of everything that computes outcomes."""
    from compose import exact

    versions = {"exact": exact.VERSION}
    for name in _SOFTWARE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "missing"
    return versions


def _read_recipe(path: Path) -> Recipe:
    from compose.recipe import parse_recipe

    if not path.is_file():
        raise NotFoundError(f"{path}: no such recipe", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(_MAX_RECIPE_BYTES + 1)
    return parse_recipe(data, what=str(path))


def _find_or_add_base(home: Home, text: str, *, offline: bool, progress: Progress) -> KnownBase:
    try:
        return find_base(home, text)
    except NotFoundError:
        if Path(text).is_dir() or "/" in text:
            return add_base(home, text, None, offline=offline, progress=progress)
        raise


def _candidates(ledger: LedgerView) -> list[Candidate]:
    from compose.resolve import Candidate

    return [
        Candidate(
            id=offered.id,
            cid=Cid.parse(offered.cid),
            type=offered.type,
            author=offered.author,
            license=offered.license,
            status=offered.status,
            base=offered.base,
            author_keys=ledger.keys.chain(offered.author),
        )
        for offered in ledger.contributions.values()
    ]


def _open(lock: Lock, materials: Materials, progress: Progress) -> Context:
    from compose.system import open_context

    progress("assemble", 0, 1)
    context = open_context(
        lock, materials.base, materials.adapters, materials.dev, materials.titles
    )
    return replace(context, progress=lambda done, total: progress("assemble", done, total))


def _require_hygiene(home: Home, required: Threshold, context: Context, progress: Progress) -> None:
    """Refuse members that keep too little of what the base can do.

    Raises:
        PolicyError: naming them.
    """
    from compose.hygiene import hygiene
    from node.evaluating import open_suite_of

    progress("hygiene", 0, 1)
    public = open_suite_of(home, required.public)
    short = [each for each in hygiene(context, public) if each.falls_short(required.kept)]
    progress("hygiene", 1, 1)
    if short:
        told = ", ".join(
            f"{each.member} keeps {each.public.both} of {each.public.base}" for each in short
        )
        ids = ", ".join(f'"{each.member}"' for each in short)
        raise PolicyError(
            f"the recipe requires members to keep {float(required.kept):g} of the answers of the "
            f"base on {public.name}: {told}",
            hint=f"leave them out: members = {{exclude = [{ids}]}}",
        )


def _run(
    lock: Lock, context: Context, materials: Materials, progress: Progress
) -> tuple[System, dict[str, tuple[Outcome, ...]]]:
    from compose.evaluation import evaluate
    from compose.methods import find_method
    from compose.system import assemble_context

    method = find_method(lock.method.name, version=lock.method.version)
    system = assemble_context(method, context)
    outcomes = {}
    for number, (locked, suite) in enumerate(zip(lock.suites, materials.suites, strict=True)):
        progress("evaluate", number, len(lock.suites))
        outcomes[locked.id] = evaluate(system, suite)
    progress("evaluate", len(lock.suites), len(lock.suites))
    return system, outcomes


def _write(
    home: Home, lock: Lock, system: System, context: Context, output: Path | None
) -> tuple[dict[str, Any] | None, list[str]]:
    """Write the system, and return what is known of an adapter that was written, and the files."""
    from compose.export import export_adapter

    if output is None:
        return None, []
    if system.assembly.merged is None:
        with home.reading() as database:
            ledger = load_view(database)
        entries = {each.id: ledger.entries[each.id].entry.body for each in lock.members}
        return None, save_system(lock, entries, home.store, output)
    exported = asdict(export_adapter(system.assembly, context, output))
    return exported, sorted(str(path) for path in output.iterdir())


def _weights(system: System, members: Sequence[str]) -> dict[str, str]:
    """Return the factor on each member's delta where the system is their weighted sum."""
    weights = system.assembly.coefficients or ()
    return {id_: str(weight) for id_, weight in zip(members, weights, strict=bool(weights))}


def _record(
    home: Home,
    lock: Lock,
    why: str,
    system: System,
    outcomes: Mapping[str, tuple[Outcome, ...]],
    author: PrivateKey,
    clock: Clock,
) -> Composed:
    from compose.outcomes import encode_outcomes

    lock_bytes = lock.encode()
    lock_cid = store_document(lock_bytes, home.store)
    documents = {suite: encode_outcomes(suite, results) for suite, results in outcomes.items()}
    scores = [
        _score(suite, outcomes[suite], store_document(document, home.store))
        for suite, document in documents.items()
    ]
    created = clock()
    composition = Entry.sign(
        Statement(
            "composition",
            (Subject("lock.json", hashlib.sha256(lock_bytes).hexdigest()),),
            {
                "author": home.author,
                "created": created,
                "lock": str(lock_cid),
                "system_digest": system.digest(),
                "method": lock.method.name,
                "base": {
                    "name": lock.base.name,
                    "digest": lock.base.digest,
                    "cid": str(lock.base.cid),
                },
                "members": [member.id for member in lock.members],
                "suites": [suite.id for suite in lock.suites],
                "exactness": lock.exactness,
            },
        ),
        author,
    )
    evaluation = Entry.sign(
        Statement(
            "evaluation",
            tuple(
                Subject(f"{suite}.jsonl", hashlib.sha256(document).hexdigest())
                for suite, document in documents.items()
            ),
            {
                "author": home.author,
                "created": created,
                "composition": composition.id,
                "scores": scores,
                "exactness": lock.exactness,
                "software": dict(lock.software),
            },
        ),
        author,
    )
    with home.writing() as log:
        log.append([composition, evaluation])
    return Composed(
        id=composition.id,
        evaluation=evaluation.id,
        lock=str(lock_cid),
        system_digest=system.digest(),
        members=[member.id for member in lock.members],
        exactness=lock.exactness,
        exactness_reason=why,
        scores={
            score["suite"]: {"correct": score["correct"], "total": score["total"]}
            for score in scores
        },
        weights={},
        adapter=None,
        files=[],
        warnings=[],
    )


def _score(suite: str, outcomes: tuple[Outcome, ...], document: Cid) -> dict[str, Any]:
    from compose.outcomes import outcomes_root

    return {
        "suite": suite,
        "correct": sum(outcome.correct for outcome in outcomes),
        "total": len(outcomes),
        "root": outcomes_root(outcomes).hex(),
        "outcomes": str(document),
    }
