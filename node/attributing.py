"""Attribution of a composition: coalition table, values, signed record."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ledger.entry import Entry
from ledger.errors import UsageError
from ledger.log import Log, resolve_id
from ledger.statement import Statement, subjects_of
from ledger.view import LedgerView
from node.artifacts import store_document
from node.checking.claims import (
    attributed_fields,
    check_members,
    check_whole_coalition,
    claimed_lock,
    entry_of,
    frontier_of,
)
from node.clock import Clock, utc_now
from node.coalitions.cache import CoalitionCache, coalition_key
from node.coalitions.spread import ALONE, Spread
from node.composing import Progress, silent
from node.home import Home
from node.materials import Materials, cached_materials
from node.reading import load_view

if TYPE_CHECKING:
    from attribution.attribute import Attribution
    from attribution.filling import TableSource
    from attribution.growing import Answer
    from compose.coalitions import CoalitionEngine
    from compose.lock import Lock
    from node.storage.pinning import DaemonPins

EstimatorName = Literal["auto", "exact", "permutation", "stratified", "gaussian-process"]


@dataclass(frozen=True, slots=True)
class Attributed:
    """A recorded attribution."""

    id: str
    composition: str
    game: str
    estimator: dict[str, Any]
    values: list[dict[str, Any]]
    efficiency_gap: str
    checks: list[dict[str, str]]
    coalitions: dict[str, int]
    record: str
    table: str
    pins: DaemonPins | None = None


def attribute(
    home: Home,
    prefix: str,
    *,
    estimator: EstimatorName = "auto",
    budget: int | None = None,
    confidence: str = "0.95",
    until: str | None = None,
    spread: Spread = ALONE,
    progress: Progress = silent,
    clock: Clock = utc_now,
) -> Attributed:
    """Compute and record what each member of a composition is worth.

    Raises:
        UsageError: if the id is not a composition.
        IncompleteError: if an artifact is missing.
        PnodeError: if workers are lost again and again; what was evaluated is kept.
    """
    from attribution.attribute import attribute as compute

    subject = _subject(home, prefix)
    lock = subject.lock
    materials = cached_materials(home, lock)
    with (
        closing(CoalitionCache(home.cache)) as cache,
        closing(_Evaluation(home, lock, materials, cache, spread)) as evaluation,
    ):
        result = compute(
            _source(lock, materials, evaluation),
            estimator=estimator,
            budget=budget,
            confidence=confidence,
            until=until,
            seed=subject.seed,
            identical=_identical(materials),
            progress=lambda done, total: progress(evaluation.step, done, total),
        )
    check_whole_coalition(result.table, subject.composition, subject.ledger, home.store)
    return _publish(home, subject, result, clock)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is attributed: a composition whose claims were checked, and who made its members.

    The seed of a sampling plan is the root of the log up to the composition: fixed after the lock.
    """

    composition: Entry
    lock: Lock
    ledger: LedgerView
    authors: Mapping[str, str]
    seed: str


def _subject(home: Home, prefix: str) -> _Subject:
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
        placed = ledger.entries.get(id_)
        if placed is None or placed.entry.kind != "composition":
            raise UsageError(
                f"{id_} is not a composition", hint="see 'pnode list --kind composition'"
            )
        lock = claimed_lock(placed.entry, home.store)
        check_members(lock, load_view(database, frontier_of(lock, database)))
        authors = {
            member.id: entry_of(ledger, member.id, "contribution").author for member in lock.members
        }
        root = Log(database, placed.origin).root(placed.index + 1)
    return _Subject(placed.entry, lock, ledger, authors, root.hex())


def _source(lock: Lock, materials: Materials, evaluation: _Evaluation) -> TableSource:
    from attribution.filling import TableSource
    from attribution.game import Suite

    suites = zip(lock.suites, materials.suites, strict=True)
    return TableSource(
        lock=lock.cid(),
        players=tuple(member.id for member in lock.members),
        suites=tuple(Suite(locked.id, suite.name, len(suite.items)) for locked, suite in suites),
        evaluate=evaluation.evaluate,
        known=evaluation.known,
        ask=evaluation.ask if evaluation.selects else None,
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    lock: Lock
    fitted_once: bool

    def of(self, mask: int) -> str:
        return coalition_key(self.lock, mask, fitted_once=self.fitted_once)


class _Known(Mapping[int, bytes]):
    """The cached rows of one lock, looked up as they are asked for."""

    def __init__(self, keys: _Keys, cache: CoalitionCache) -> None:
        self._keys = keys
        self._cache = cache

    def __getitem__(self, mask: int) -> bytes:
        row = self._cache.get(self._keys.of(mask))
        if row is None:
            raise KeyError(mask)
        return row

    def __iter__(self) -> Iterator[int]:
        raise NotImplementedError("rows are found by mask only")

    def __len__(self) -> int:
        raise NotImplementedError("rows are found by mask only")


class _Evaluation:
    """Evaluates coalitions of one lock; the members are loaded when first needed, once."""

    def __init__(
        self,
        home: Home,
        lock: Lock,
        materials: Materials,
        cache: CoalitionCache,
        spread: Spread,
    ) -> None:
        from compose.methods import find_method

        method = find_method(lock.method.name, version=lock.method.version)
        self._lock = lock
        self._materials = materials
        self._keys = _Keys(lock, fitted_once=method.semantics != "re-assembled")
        self._cache = cache
        self._memory = spread.memory_bytes
        self._loaded: CoalitionEngine | None = None
        self._executor = spread.executor(
            home,
            lock.cid(),
            items=sum(len(suite.items) for suite in materials.suites),
            together=method.shares_members,
        )
        self.known = _Known(self._keys, cache)
        self.selects = method.selects

    @property
    def step(self) -> str:
        """What is happening, for people."""
        losses = self._executor.losses if self._executor else 0
        return f"coalitions ({losses} workers lost and replaced)" if losses else "coalitions"

    def evaluate(self, masks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield outcomes, remembering each as soon as it is there."""
        for mask, packed in self._rows(masks):
            self._cache.put(self._keys.of(mask), packed)
            yield mask, packed

    def close(self) -> None:
        """End the workers, if there are any."""
        if self._executor is not None:
            self._executor.close()

    def _rows(self, masks: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        if self._executor is not None:
            yield from self._executor.evaluate(masks)
            return
        from compose.outcomes import pack_cell

        for mask, cell in self._engine().evaluate(masks):
            yield mask, pack_cell(cell)

    def ask(self, requests: Sequence[tuple[int, int]]) -> list[Answer]:
        """Return who had a say in single answers of coalitions, and whether they are right."""
        from attribution.growing import Answer

        return [Answer(*said) for said in self._engine().spoken(requests)]

    def _engine(self) -> CoalitionEngine:
        from compose.coalitions import CoalitionEngine

        if self._loaded is None:
            given = self._materials
            self._loaded = CoalitionEngine(
                self._lock,
                given.base,
                given.adapters,
                given.suites,
                given.dev,
                given.titles,
                memory=self._memory,
            )
        return self._loaded


def _identical(materials: Materials) -> list[list[str]]:
    groups = defaultdict(list)
    for id_, adapter in materials.adapters.items():
        groups[adapter.tensor_digest].append(id_)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _publish(home: Home, subject: _Subject, result: Attribution, clock: Clock) -> Attributed:
    from attribution.record import Subject, build_record, encode
    from compose.methods import find_method

    lock, composition = subject.lock, subject.composition.id
    table = result.table.encode()
    table_cid = store_document(table, home.store)
    semantics = find_method(lock.method.name, version=lock.method.version).semantics
    about = Subject(composition, subject.authors, semantics, table_cid)
    record = build_record(result.table, result.analysis, about)
    data = encode(record)
    record_cid = store_document(data, home.store)
    files = {"record.json": data, "table.jsonl": table}
    id_ = _already(home, composition, str(record_cid)) or _append(
        home, record, str(record_cid), files, clock
    )
    counts = result.counts
    return Attributed(
        id=id_,
        composition=composition,
        game=f"{record['game']['value']}, coalitions {semantics}",
        estimator=record["estimator"],
        values=record["values"],
        efficiency_gap=record["efficiency_gap"],
        checks=record["checks"],
        coalitions={
            "evaluated": counts.evaluated,
            "cached": counts.cached,
            "total": counts.total,
            "answers": counts.answers,
        },
        record=str(record_cid),
        table=str(table_cid),
    )


def _already(home: Home, composition: str, record: str) -> str | None:
    """Return the entry in which this node has published the same record before."""
    with home.reading() as database:
        ledger = load_view(database)
    for placed in ledger.about("attribution", "composition", composition):
        entry = placed.entry
        if entry.author == home.author and entry.statement.predicate["record"] == record:
            return entry.id
    return None


def _append(
    home: Home,
    record: Mapping[str, Any],
    record_cid: str,
    files: Mapping[str, bytes],
    clock: Clock,
) -> str:
    predicate = {
        "author": home.author,
        "created": clock(),
        **attributed_fields(record, record_cid),
    }
    subjects = subjects_of(
        [(name, hashlib.sha256(data).hexdigest()) for name, data in files.items()]
    )
    entry = Entry.sign(Statement("attribution", subjects, predicate), home.keys().author)
    with home.writing() as log:
        log.append([entry])
    return entry.id
