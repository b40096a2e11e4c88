"""Auditing: every check on every log and record held, without changing a byte of the home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ledger.checkpoint import open_checkpoint
from ledger.database import Database, storage_errors
from ledger.entry import Entry, PlacedEntry
from ledger.errors import IncompleteError, NotFoundError, PnodeError
from ledger.frontier import Frontier
from ledger.log import Log, find_log, logs
from ledger.note import Note
from ledger.rules import (
    EQUIVOCATION,
    ERROR,
    Finding,
    LogEvidence,
    check_log,
    check_references,
    exit_code,
)
from ledger.view import LedgerView, view
from node.artifactcheck import check_blocks, check_contribution
from node.claims import check_members, claimed_lock, claimed_outcomes, claimed_table
from node.composing import Progress, silent
from node.home import Home
from node.reading import current_frontier


@dataclass(frozen=True, slots=True)
class Audited:
    """The result of an audit; `ok` means nothing bad and nothing missing."""

    ok: bool
    counts: dict[str, int]
    findings: list[Finding]
    exit_code: int


def audit(
    home: Home,
    *,
    replay: int = 0,
    since: Path | None = None,
    progress: Progress = silent,
) -> Audited:
    """Run every check.

    Args:
        replay: how many of the latest compositions to rebuild and score again.
        since: a checkpoint note kept from earlier; its log must still extend it.
    """
    home = replace(home, untouched=True)
    findings: list[Finding] = []
    accepted: list[PlacedEntry] = []
    with home.reading() as database:
        held = logs(database)
        for number, log in enumerate(held):
            progress("logs", number, len(held))
            findings += check_log(_evidence(log), accepted)
        if since is not None:
            findings += _check_since(database, since)
        ledger = view(current_frontier(database), _below(database, accepted))
    findings += check_references(ledger)
    findings += _check_records(home, ledger, accepted, progress)
    if replay:
        findings += _check_replays(home, ledger, replay, progress)
    code = exit_code(findings)
    return Audited(code == 0, _counts(len(held), ledger), findings, code)


def _evidence(log: Log) -> LogEvidence:
    return LogEvidence(log.key, log.bodies(), list(log.checkpoints()), log.tile)


def _below(database: Database, accepted: list[PlacedEntry]) -> Iterator[PlacedEntry]:
    sizes = {point.origin: point.size for point in current_frontier(database).checkpoints}
    return (item for item in accepted if item.index < sizes.get(item.origin, 0))


def _check_since(database: Database, path: Path) -> Iterator[Finding]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such checkpoint file", hint="check the path")
    with storage_errors(path):
        note = path.read_bytes()[: 1 << 20]
    origin = Note.parse(note).text.partition("\n")[0]
    log = find_log(database, origin)
    if log is None:
        missing = IncompleteError(f"the log of {path} is not held here")
        yield Finding.of("log.equivocation", origin, missing)
        return
    old = open_checkpoint(note, log.key)
    if old.size > log.size:
        message = f"held up to {log.size}, but {path} signs {old.size} entries"
        yield Finding.of("log.equivocation", origin, IncompleteError(message))
    elif log.root(old.size) != old.root:
        message = f"the log no longer extends the tree of {old.size} entries in {path}"
        yield Finding("log.equivocation", EQUIVOCATION, origin, message)


def _check_records(
    home: Home, ledger: LedgerView, accepted: list[PlacedEntry], progress: Progress
) -> Iterator[Finding]:
    for number, placed in enumerate(ledger.entries.values()):
        progress("records", number, len(ledger.entries))
        entry = placed.entry
        blocks = list(check_blocks(entry, home.store))
        yield from blocks
        if blocks:
            continue
        if entry.kind == "contribution":
            yield from check_contribution(entry, home.store)
        elif entry.kind == "composition":
            yield from _check_composition(home, entry, accepted)
        elif entry.kind == "evaluation":
            yield from _wrapped(
                "evaluation.outcomes", entry, partial(claimed_outcomes, entry, home.store)
            )
        elif entry.kind == "attribution":
            yield from _wrapped(
                "attribution.values", entry, partial(claimed_table, entry, home.store)
            )


def _check_composition(home: Home, entry: Entry, accepted: list[PlacedEntry]) -> Iterator[Finding]:
    try:
        lock = claimed_lock(entry, home.store)
    except PnodeError as error:
        yield Finding.of("composition.lock", entry.id, error)
        return
    frontier = Frontier.from_records(
        {"origin": point.origin, "size": point.size, "root": point.root.hex()}
        for point in lock.frontier
    )
    sizes = {point.origin: point.size for point in frontier.checkpoints}
    below = [item for item in accepted if item.index < sizes.get(item.origin, 0)]
    try:
        check_members(lock, view(frontier, below))
    except PnodeError as error:
        yield Finding.of("composition.members", entry.id, error)


def _wrapped(check: str, entry: Entry, run: Callable[[], object]) -> Iterator[Finding]:
    try:
        run()
    except PnodeError as error:
        yield Finding.of(check, entry.id, error)


def _check_replays(
    home: Home, ledger: LedgerView, count: int, progress: Progress
) -> Iterator[Finding]:
    from node.replaying import replay

    chosen = [placed.entry.id for placed in ledger.of_kind("composition")][:count]
    for number, id_ in enumerate(chosen):
        progress("replays", number, len(chosen))
        try:
            result = replay(home, id_)
        except PnodeError as error:
            yield Finding.of("replay", id_, error)
            continue
        for mismatch in result.mismatches:
            yield Finding("replay", ERROR, id_, mismatch)


def _counts(held: int, ledger: LedgerView) -> dict[str, int]:
    kinds = Counter(placed.entry.kind for placed in ledger.entries.values())
    return {"logs": held, "entries": len(ledger.entries), **dict(sorted(kinds.items()))}
