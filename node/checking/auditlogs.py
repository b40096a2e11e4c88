"""The part of an audit that reads every entry: one log after the other, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ledger.auditindex import AuditIndex
from ledger.checkpoint import Checkpoint
from ledger.entrycheck import Batch
from ledger.errors import MalformedError, PnodeError
from ledger.log import Log
from ledger.note import Note
from ledger.rules import ERROR, Finding, LogEvidence, check_batches
from node.checking.entryworkers import check_entries
from node.composing import Progress


@dataclass(frozen=True, slots=True)
class LogAudit:
    """What auditing one log gave; `latest` is its largest checkpoint that can be read."""

    latest: Checkpoint | None
    findings: list[Finding]

    @property
    def sound(self) -> bool:
        """Whether everything held of the log is as it must be."""
        return not any(finding.severity == ERROR for finding in self.findings)


def audit_log(
    log: Log,
    index: AuditIndex,
    progress: Progress,
    *,
    jobs: int | None = None,
    remembered: Checkpoint | None = None,
) -> LogAudit:
    """Check one log and put the outlines of its entries into the index.

    Args:
        remembered: a tree of the log whose entries were verified earlier. Their signatures are
            not checked again if they still hash to it, and if nothing is wrong with the log.
    """
    findings: list[Finding] = []
    points = {point.size: point.root for point, _ in _checkpoints(log, findings)}
    latest = max(points, default=0)
    verified = 0
    if remembered is not None and points.get(remembered.size) == remembered.root:
        verified = remembered.size
    found = _check(log, index, latest, progress, jobs=jobs, verified=verified)
    audited = LogAudit(_latest(log, points), [*findings, *found])
    if verified and not audited.sound:
        # What was remembered is worth nothing now: find out everything.
        index.forget(log.row_id)
        found = _check(log, index, latest, progress, jobs=jobs, verified=0)
        audited = LogAudit(audited.latest, [*findings, *found])
    return audited


def _check(
    log: Log,
    index: AuditIndex,
    covered: int,
    progress: Progress,
    *,
    jobs: int | None,
    verified: int,
) -> list[Finding]:
    size = log.size
    done = 0

    def keep(batch: Batch) -> None:
        nonlocal done
        done += len(batch.leaves)
        progress("entries", done, size)

    evidence = LogEvidence(log.key, (), _checkpoints(log, []), log.tile)
    batches = check_entries(log, index, covered, jobs=jobs, verified=verified)
    return list(check_batches(evidence, batches, keep))


def _latest(log: Log, points: Mapping[int, bytes]) -> Checkpoint | None:
    size = max(points, default=None)
    return None if size is None else Checkpoint(log.origin, size, points[size])


def _checkpoints(log: Log, findings: list[Finding]) -> Iterator[tuple[Checkpoint, bytes]]:
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
