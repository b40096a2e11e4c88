"""Auditing: every check on every log and record held, without changing a byte of the home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Final

from ledger.auditindex import AuditIndex, Work
from ledger.checkpoint import open_checkpoint
from ledger.database import Database, storage_errors
from ledger.entry import Entry
from ledger.errors import IncompleteError, NotFoundError, PnodeError
from ledger.filing import check_filing
from ledger.frontier import Frontier
from ledger.log import Log, find_log, logs
from ledger.note import MAX_NOTE_BYTES, Note
from ledger.observationcheck import check_observations
from ledger.placedentry import PlacedEntry
from ledger.rejected import Placed, place_entries
from ledger.rules import (
    EQUIVOCATION,
    ERROR,
    INCOMPLETE,
    WARNING,
    Finding,
    check_keys,
    check_references,
    check_repeated,
    exit_code,
)
from ledger.succession import Predecessor
from ledger.view import LedgerView, view
from node.checking.artifactcheck import ArtifactChecker
from node.checking.auditlogs import LogAudit, audit_log
from node.checking.auditmemory import AuditMemory
from node.checking.claims import check_claim, check_members, claimed_lock, frontier_of
from node.checking.held import is_intact
from node.composing import Progress, silent
from node.home import Home
from node.peering.taint import check_equivocations

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
    jobs: int | None = None,
    memory: AuditMemory | None = None,
    incremental: bool = False,
    progress: Progress = silent,
) -> Audited:
    """Run every check.

    Args:
        replay: how many compositions to rebuild and score again, the newest of each log first.
        since: a checkpoint note kept from earlier; its log must still extend it.
        jobs: how many processes verify entries; by default what suits their number.
        memory: where to remember what was verified.
        incremental: trust that memory, and verify no signature again that it vouches for.
    """
    home = replace(home, untouched=True)
    remembered = memory.read() if memory is not None and incremental else {}
    findings: list[Finding] = []
    audits: list[LogAudit] = []
    with home.reading() as database, AuditIndex() as index:
        held = logs(database)
        for number, log in enumerate(held):
            progress("logs", number, len(held))
            known = remembered.get(log.origin)
            audits.append(audit_log(log, index, progress, jobs=jobs, remembered=known))
            findings += audits[-1].findings
            findings += check_observations(log)
        index.complete()
        findings += check_repeated(index, {log.row_id: log.origin for log in held})
        if memory is not None:
            sound = (each.latest for each in audits if each.sound)
            memory.write(point for point in sound if point is not None)
        findings += check_filing(database, index)
        if since is not None:
            findings += _check_since(database, since)
        frontier = Frontier.of(each.latest for each in audits if each.latest is not None)
        ledger = _Ledger(database, index, frontier)
        findings += check_references(index, ledger.about_keys.keys)
        findings += check_keys(ledger.about_keys)
        findings += check_equivocations(database, ledger.about_keys, home.store)
        findings += _check_records(home, ledger, progress)
        if replay:
            findings += _check_replays(home, ledger.view, replay, progress)
        counts = index.counts()
    code = exit_code(findings)
    counts = {"logs": len(held), "entries": sum(counts.values()), **counts}
    return Audited(code == 0, counts, findings, code)


_ABOUT_KEYS: Final = frozenset({"succession", "revocation", "evidence"})


class _Ledger:
    """The valid entries of the ledger, read again one by one, or all together where that is needed.

    A view takes some kilobytes of memory per entry. It is made for claims that rest on others, and
    where keys or forks change what entries count for.
    """

    def __init__(self, database: Database, index: AuditIndex, frontier: Frontier) -> None:
        self.database = database
        self.index = index
        self.frontier = frontier
        self._views: dict[str, LedgerView] = {}

    @property
    def view(self) -> LedgerView:
        """The view at the frontier of the audit."""
        return self.at(self.frontier)

    @cached_property
    def about_keys(self) -> LedgerView:
        """A view that says the same about keys as the whole one."""
        geneses = list(self._geneses())
        continued = any(Predecessor.of(item.entry.statement.predicate) for item in geneses)
        if continued or _ABOUT_KEYS & self.index.counts().keys():
            return self.view
        return view(self.frontier, geneses)

    def at(self, frontier: Frontier) -> LedgerView:
        """Return the view at a frontier that is held."""
        found = self._views.get(frontier.digest)
        if found is None:
            if len(self._views) > 1:
                self._views.popitem()  # the first stays: it is that of the audit
            found = self._views[frontier.digest] = view(frontier, self._placed(frontier))
        return found

    def entry(self, work: Work) -> Entry:
        """Read an entry again."""
        sql = "SELECT body FROM entry WHERE log = ? AND idx = ?"
        (row,) = self.database.query(sql, (work.log, work.place))
        return Entry.stored(row[0])

    def is_withdrawn(self, entry: Entry) -> bool:
        """Whether its author, or who continues that author's log, withdrew it."""
        if entry.kind != "contribution":
            return False
        withdrawers = list(self.index.withdrawers(entry.id))
        if not withdrawers:
            return False
        identity = self.about_keys.keys.identity
        return any(identity(each) == identity(entry.author) for each in withdrawers)

    def _placed(self, frontier: Frontier) -> Iterator[Placed]:
        for point in frontier.checkpoints:
            log = Log(self.database, point.origin)
            bodies = ((row.place, row.body) for row in log.rows(0, point.size))
            # What this audit found to be valid, whatever the ledger says of it.
            yield from place_entries(point.origin, bodies, self.index.rejected(log.row_id))

    def _geneses(self) -> Iterator[PlacedEntry]:
        for point in self.frontier.checkpoints:
            first = Frontier((replace(point, size=min(point.size, 1)),)) if point.size else None
            if first is not None:
                placed = list(self._placed(first))
                valid = (item for item in placed if isinstance(item, PlacedEntry))
                yield from (item for item in valid if item.entry.kind == "genesis")


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
        message = (
            f"the log no longer extends the tree of {old.size} entries in {path}; "
            f"'pnode verify {path}' keeps the evidence"
        )
        yield Finding("log.equivocation", EQUIVOCATION, origin, message)


def _check_records(home: Home, ledger: _Ledger, progress: Progress) -> Iterator[Finding]:
    artifacts = ArtifactChecker(home.store)
    found: list[Finding] = []
    clean = b""
    for number, work in enumerate(ledger.index.works()):
        progress("records", number, 0)
        if work.kind not in _CLAIMS and work.digest == clean:
            continue
        entry = ledger.entry(work)
        wrong = list(_check_artifacts(artifacts, entry, withdrawn=ledger.is_withdrawn(entry)))
        found += wrong
        if not wrong:
            clean = work.digest
        if entry.kind in _CLAIMS and all(finding.severity == WARNING for finding in wrong):
            found += _check_claim(home, ledger, entry)
    yield from sorted(found, key=lambda finding: finding.subject)


def _check_artifacts(
    artifacts: ArtifactChecker, entry: Entry, *, withdrawn: bool
) -> Iterator[Finding]:
    blocks = list(artifacts.check_blocks(entry, withdrawn=withdrawn))
    yield from blocks
    sound = all(each.severity == WARNING for each in blocks)
    if entry.kind == "contribution" and sound and artifacts.holds(entry):
        yield from artifacts.check_files(entry)


def _check_claim(home: Home, ledger: _Ledger, entry: Entry) -> Iterator[Finding]:
    check = partial(check_claim, entry, ledger.view, home.store)
    yield from _wrapped(_CLAIMS[entry.kind], entry, check)
    if entry.kind == "composition":
        in_force = partial(_check_in_force, home, ledger, entry)
        yield from _wrapped("composition.members", entry, in_force)


def _check_in_force(home: Home, ledger: _Ledger, composition: Entry) -> None:
    try:
        lock = claimed_lock(composition, home.store)
    except PnodeError:
        return  # reported as composition.lock
    check_members(lock, ledger.at(frontier_of(lock, ledger.database)))


def _wrapped(check: str, entry: Entry, run: Callable[[], object]) -> Iterator[Finding]:
    try:
        run()
    except PnodeError as error:
        yield Finding.of(check, entry.id, error)


def _check_replays(
    home: Home, ledger: LedgerView, count: int, progress: Progress
) -> Iterator[Finding]:
    from node.checking.replaying import replay

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
