"""Auditing: every check on every log and record held, without changing a byte of the home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.database import Database, storage_errors
from ledger.entry import Entry, PlacedEntry
from ledger.errors import (
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
)
from ledger.frontier import Frontier
from ledger.log import Log, find_log, logs
from ledger.note import MAX_NOTE_BYTES, Note
from ledger.rules import (
    EQUIVOCATION,
    ERROR,
    INCOMPLETE,
    WARNING,
    Finding,
    LogEvidence,
    check_keys,
    check_log,
    check_references,
    exit_code,
)
from ledger.view import LedgerView, view
from node.artifactcheck import ArtifactChecker
from node.claims import check_claim, check_members, claimed_lock, frontier_of
from node.composing import Progress, silent
from node.home import Home
from node.verifying import is_intact

_CLAIMS = {
    "composition": "composition.lock",
    "evaluation": "evaluation.outcomes",
    "attribution": "attribution.values",
}


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
        replay: how many compositions to rebuild and score again, the newest of each log first.
        since: a checkpoint note kept from earlier; its log must still extend it.
    """
    home = replace(home, untouched=True)
    findings: list[Finding] = []
    accepted: list[PlacedEntry] = []
    latest: list[Checkpoint] = []
    with home.reading() as database:
        held = logs(database)
        for number, log in enumerate(held):
            progress("logs", number, len(held))
            points = list(_parsed_checkpoints(log, findings))
            findings += check_log(LogEvidence(log.key, log.bodies(), points, log.tile), accepted)
            latest += [max(point for point, _ in points)] if points else []
        if since is not None:
            findings += _check_since(database, since)
        frontier = Frontier.of(latest)
        ledger = view(frontier, _below(frontier, accepted))
        findings += check_references(ledger)
        findings += check_keys(ledger)
        findings += _check_records(home, database, ledger, accepted, progress)
    if replay:
        findings += _check_replays(home, ledger, replay, progress)
    code = exit_code(findings)
    return Audited(code == 0, _counts(len(held), ledger), findings, code)


def _parsed_checkpoints(log: Log, findings: list[Finding]) -> Iterator[tuple[Checkpoint, bytes]]:
    """Yield the checkpoints of a log that can be read; the others become findings."""
    for size, note in log.notes():
        try:
            checkpoint = Checkpoint.parse(Note.parse(note).text)
            if (checkpoint.origin, checkpoint.size) != (log.origin, size):
                raise MalformedError(
                    f"filed here is the checkpoint of {checkpoint.origin} at size {checkpoint.size}"
                )
        except PnodeError as error:
            findings.append(Finding.of("log.checkpoint", f"{log.origin} at size {size}", error))
            continue
        yield checkpoint, note


def _below(frontier: Frontier, accepted: list[PlacedEntry]) -> list[PlacedEntry]:
    sizes = {point.origin: point.size for point in frontier.checkpoints}
    return [item for item in accepted if item.index < sizes.get(item.origin, 0)]


def _check_since(database: Database, path: Path) -> Iterator[Finding]:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such checkpoint file", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        note = stream.read(MAX_NOTE_BYTES + 1)
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
    elif is_intact(log) and log.root(old.size) != old.root:
        message = f"the log no longer extends the tree of {old.size} entries in {path}"
        yield Finding("log.equivocation", EQUIVOCATION, origin, message)


def _check_records(
    home: Home,
    database: Database,
    ledger: LedgerView,
    accepted: list[PlacedEntry],
    progress: Progress,
) -> Iterator[Finding]:
    artifacts = ArtifactChecker(home.store)
    for number, placed in enumerate(ledger.entries.values()):
        progress("records", number, len(ledger.entries))
        entry = placed.entry
        blocks = list(artifacts.check_blocks(entry))
        yield from blocks
        if any(finding.severity != WARNING for finding in blocks):
            continue
        if entry.kind == "contribution":
            yield from artifacts.check_files(entry)
        if entry.kind in _CLAIMS:
            check = partial(check_claim, entry, ledger, home.store)
            yield from _wrapped(_CLAIMS[entry.kind], entry, check)
        if entry.kind == "composition":
            check = partial(_check_in_force, home, database, entry, accepted)
            yield from _wrapped("composition.members", entry, check)


def _check_in_force(
    home: Home, database: Database, composition: Entry, accepted: list[PlacedEntry]
) -> None:
    try:
        lock = claimed_lock(composition, home.store)
    except PnodeError:
        return  # reported as composition.lock
    frontier = frontier_of(lock, database)
    check_members(lock, view(frontier, _below(frontier, accepted)))


def _wrapped(check: str, entry: Entry, run: Callable[[], object]) -> Iterator[Finding]:
    try:
        run()
    except PnodeError as error:
        yield Finding.of(check, entry.id, error)


def _check_replays(
    home: Home, ledger: LedgerView, count: int, progress: Progress
) -> Iterator[Finding]:
    from node.replaying import replay

    # The newest of each log first; between logs there is no order.
    newest = sorted(ledger.of_kind("composition"), key=lambda placed: -placed.index)
    chosen = [placed.entry.id for placed in newest][:count]
    for number, id_ in enumerate(chosen):
        progress("replays", number, len(chosen))
        try:
            result = replay(home, id_)
        except PnodeError as error:
            yield Finding.of("replay", id_, error)
            continue
        if result.verdict != "reproduced":
            severity = ERROR if result.verdict == "mismatch" else INCOMPLETE
            for message in result.mismatches or ["nothing could be compared"]:
                yield Finding("replay", severity, id_, message)


def _counts(held: int, ledger: LedgerView) -> dict[str, int]:
    kinds = Counter(placed.entry.kind for placed in ledger.entries.values())
    return {"logs": held, "entries": len(ledger.entries), **dict(sorted(kinds.items()))}
