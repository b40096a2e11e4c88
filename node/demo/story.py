"""The whole story: publish, compose, attribute, audit, and what happens to a forger.

Three kinds of people take part, each with a home and keys of their own: eight contributors, one
who composes, and an auditor who only ever receives copied bytes. Everything printed comes from
their homes; a number without a replay is called a claim.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from ledger.errors import NotFoundError, UsageError
from node.api import Node
from node.attributing import Attributed
from node.checking.claims import claimed_outcomes
from node.checking.replaying import Replayed
from node.composing import Composed, Progress, silent
from node.demo import cast, tell
from node.demo.measure import Emergence, Priority, Solved, emergence, priority
from node.demo.tamper import Caught, flip_artifact, flip_entry, inflate_score
from node.demo.world import TASKS, World
from node.reading import load_view

_MARK = ".pnode-demo"
BEST = "logit.select"
METHODS: Mapping[str, Mapping[str, str]] = {
    "merge.linear": {},
    "merge.ties": {},
    "route.trained": {},
    "route.switch": {},
    # A member that differs less than this from the base, in nat, has nothing to say here.
    BEST: {"threshold": "4"},
}


@dataclass(frozen=True, slots=True)
class Told:
    """The results of the story, by name; fractions are exact strings."""

    report: str
    composition: str
    system_digest: str
    replays: list[dict[str, str]]
    systems: dict[str, dict[str, str]]
    emergence: dict[str, str]
    values: list[dict[str, str]]
    caught: list[Caught]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Composed:
    alone: dict[str, Composed]
    methods: dict[str, Composed]
    base: Solved
    solved: dict[str, Solved]


def run(
    keep: Path | None = None,
    train: Path | None = None,
    *,
    test_items: int = cast.TEST_ITEMS,
    progress: Progress = silent,
    say: Callable[[str], None] = print,
) -> Told:
    """Play the story.

    Args:
        keep: where homes, copies and the report go; a temporary folder that keeps only the
            report if not given.
        train: train base and adapters anew into this folder and use them.
        test_items: items of each task.
        progress: told how far each step is.
        say: receives the story line by line or in blocks, the path of the report last.

    Raises:
        UsageError: if `keep` is a folder that the demo did not make.
    """
    started = time.monotonic()
    data = _data(train, progress)
    folder = _prepare(keep)
    stage = cast.Stage(folder, progress)
    world = cast.load_world()
    say(tell.opening(world))
    ids = cast.publish_adapters(stage, data, world)
    say("\n" + tell.published(stage.folder, ids))
    composer = _gather(stage, ids, data)
    composed = _compose(stage, composer, ids, world, test_items)
    best = composed.methods[BEST]
    attributed = composer.attribute(str(best.id))
    auditor, verdicts = _audit(stage, composer, composed)
    report = composer.report(attributed.id, folder / "report.html")
    caught = _tamper(stage, composer, auditor, ids, composed)
    told = _told(report.files[0], composed, attributed, verdicts, caught, started)
    names = {id_: name for name, id_ in ids.items()}
    _say_results(say, world, composed, tell.values(attributed, names), told)
    if keep is None:
        told = replace(told, report=str(_keep_report_only(folder)))
    say("\n" + tell.closing(told.report, told.seconds, keep))
    return told


def _data(train: Path | None, progress: Progress) -> Path:
    if train is None:
        return cast.DATA
    from node.demo.train import train as train_models

    train_models(train, progress=progress)
    return train


def _prepare(keep: Path | None) -> Path:
    """Return an empty folder that belongs to the demo."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="pnode-demo-"))
    if keep.exists() and any(keep.iterdir()):
        if not (keep / _MARK).is_file():
            raise UsageError(
                f"{keep}: not empty and not made by an earlier demo",
                hint="give a new folder to --keep",
            )
        shutil.rmtree(keep)
    keep.mkdir(parents=True, exist_ok=True)
    (keep / _MARK).write_text("This folder belongs to 'pnode demo' and is replaced by it.\n")
    return keep.resolve()


def _keep_report_only(folder: Path) -> Path:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    return folder / "report.html"


def _gather(stage: cast.Stage, ids: Mapping[str, str], data: Path) -> Node:
    """Let the composition node pull every contributor's copy, verified."""
    composer = stage.node("composer")
    composer.add_base(str(data / "base"), cast.BASE)
    for number, name in enumerate(ids):
        stage.progress("sync", number, len(ids))
        _sync(composer, stage.copy(stage.node(name)))
    return composer


def _sync(node: Node, copy: Path) -> None:
    for report in node.sync([str(copy)]):
        report.raise_gravest()
        if report.missing:
            raise NotFoundError(f"{copy} lacks {len(report.missing)} blocks")


def _compose(
    stage: cast.Stage, composer: Node, ids: dict[str, str], world: World, test_items: int
) -> _Composed:
    tests, dev = cast.publish_suites(stage, composer, world, test_items)
    suites = list(tests.values())
    alone = cast.compose_alone(stage, composer, ids, suites)
    methods = {}
    for number, (method, parameters) in enumerate(METHODS.items()):
        stage.progress("methods", number, len(METHODS))
        fitted_on = dev if method.startswith("route.") else None
        recipe = stage.recipe(method, suites, dev=fitted_on, parameters=parameters)
        methods[method] = composer.compose(recipe)
    tasks = {suite: name for name, suite in tests.items()}
    solved = {
        name: _solved(composer, each, tasks) for name, each in [*alone.items(), *methods.items()]
    }
    return _Composed(alone, methods, _base(composer, methods[BEST], tasks), solved)


def _solved(node: Node, composed: Composed, tasks: Mapping[str, str]) -> Solved:
    """Return which items a composition solves, read back from its published outcomes."""
    with node.home.reading() as database:
        entry = load_view(database).entries[str(composed.evaluation)].entry
    outcomes = claimed_outcomes(entry, node.home.store)
    return {
        f"{tasks[suite]}/{outcome.item}": outcome.correct
        for suite, each in outcomes.items()
        for outcome in each.outcomes
    }


def _base(node: Node, composed: Composed, tasks: Mapping[str, str]) -> Solved:
    """Return which items the base solves alone: the empty coalition of any composition."""
    from compose.coalitions import CoalitionEngine
    from node.materials import cached_materials, read_lock

    lock = read_lock(node.home, composed.lock)
    given = cached_materials(node.home, lock)
    engine = CoalitionEngine(lock, given.base, given.adapters, given.suites, given.dev)
    ((_, cell),) = engine.evaluate([0])
    return {
        f"{tasks[suite.id]}/{outcome.item}": outcome.correct
        for suite, outcomes in zip(lock.suites, cell, strict=True)
        for outcome in outcomes
    }


def _audit(
    stage: cast.Stage, composer: Node, composed: _Composed
) -> tuple[Node, list[dict[str, str]]]:
    """Let the auditor take a copy, check everything, replay, and sign the verdicts."""
    auditor = stage.node("auditor")
    _sync(auditor, stage.copy(composer))
    audited = auditor.audit()
    verdicts = [
        {
            "what": "audit",
            "verdict": "clean" if audited.ok else "findings",
            "detail": f"{audited.counts['entries']} entries in {audited.counts['logs']} logs",
        }
    ]
    # Every replay is a process of its own, so two of them keep two cores busy.
    with ThreadPoolExecutor(max_workers=2) as pool:
        replays = [
            pool.submit(auditor.replay, str(each.id), attest=True)
            for each in composed.methods.values()
        ]
        for number, (replaying, (method, each)) in enumerate(
            zip(replays, composed.methods.items(), strict=True)
        ):
            stage.progress("replay", number, len(replays))
            verdicts.append(_verdict(method, each, replaying.result()))
    _sync(composer, stage.copy(auditor))
    return auditor, verdicts


def _verdict(method: str, composed: Composed, replayed: Replayed) -> dict[str, str]:
    same = "same" if replayed.system_digest == composed.system_digest else "another"
    return {
        "what": method,
        "verdict": replayed.verdict,
        "detail": f"{replayed.checked} items, {same} system digest",
    }


def _tamper(
    stage: cast.Stage, composer: Node, auditor: Node, ids: Mapping[str, str], composed: _Composed
) -> list[Caught]:
    folder = stage.folder / "tampered"
    folder.mkdir()
    stage.progress("tampering", 0, 3)
    target = str(composed.methods["merge.linear"].id)
    return [
        flip_artifact(auditor, folder, next(iter(ids.values()))),
        flip_entry(auditor, folder),
        inflate_score(composer, auditor, stage.copy, target),
    ]


def _told(
    report: str,
    composed: _Composed,
    attributed: Attributed,
    verdicts: list[dict[str, str]],
    caught: list[Caught],
    started: float,
) -> Told:
    tasks = [each.name for each in TASKS]
    individuals = [composed.base, *(composed.solved[name] for name in composed.alone)]
    best = composed.methods[BEST]
    emergent = {
        method: emergence(composed.solved[method], individuals) for method in composed.methods
    }
    return Told(
        report=report,
        composition=str(best.id),
        system_digest=str(best.system_digest),
        replays=verdicts,
        systems=tell.systems(composed.base, composed.alone, composed.solved, tasks),
        emergence={method: _rate(each) for method, each in emergent.items()},
        values=[
            {name: str(value[name]) for name in ("contribution", "author", "value", "share")}
            for value in attributed.values
        ],
        caught=caught,
        seconds=round(time.monotonic() - started, 1),
    )


def _rate(each: Emergence) -> str:
    return f"{each.solved}/{each.failed_by_all}"


def _say_results(
    say: Callable[[str], None],
    world: World,
    composed: _Composed,
    values: str,
    told: Told,
) -> None:
    say("\n" + tell.system_table(told.systems, told.emergence))
    say("\n" + tell.task_table(composed.base, composed.solved, list(composed.alone), [*METHODS]))
    say("\n" + tell.priorities(_priorities(world, composed)))
    say("\n" + values)
    say("\n" + tell.replays(told.replays, told.system_digest))
    say("\n" + tell.caught(told.caught))
    say("\n" + tell.limits())


def _priorities(world: World, composed: _Composed) -> Sequence[Priority]:
    return [
        priority(
            each.name,
            int(each.operation[1:]),
            composed.solved[each.name],
            composed.solved[BEST],
        )
        for each in world.contributors
    ]
