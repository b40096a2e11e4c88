"""What is filed beside the evidence: columns that repeat what entries and notes say.

Rows are found by their columns, and what they hold is verified on its own. A column that says
something else than its row hides evidence, or shows it under a wrong name, without being evidence
itself; so an audit compares them. Nothing is repaired here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, Final

from ledger.auditindex import AuditIndex
from ledger.checkpoint import Checkpoint
from ledger.database import Database
from ledger.errors import DigestError, MalformedError, PnodeError
from ledger.evidence import Evidence
from ledger.log import Log, logs
from ledger.note import Note
from ledger.rules import Finding

_CHECK: Final = "ledger.rows"
_WITH_LOG: Final = ("entry", "rejected", "tile", "checkpoint", "sighting", "cosignature")


def check_filing(database: Database, index: AuditIndex) -> Iterator[Finding]:
    """Compare every column with what its row holds, and what is marked with what an audit found."""
    for table in _WITH_LOG:
        sql = f"SELECT count(*) FROM {table} WHERE log NOT IN (SELECT id FROM log)"  # noqa: S608
        (lost,) = next(database.query(sql))
        if lost:
            error = MalformedError(f"{lost} rows belong to no log that is held")
            yield Finding.of(_CHECK, f"table {table}", error)
    for log in logs(database):
        yield from _each(f"an entry of {log.origin}", _entries(log))
        yield from _each(f"an entry of {log.origin}", _rejected(log, index))
        yield from _each(f"a checkpoint of {log.origin}", _checkpoints(log))
    yield from _each("evidence", _evidence(database))


def _each(subject: str, checks: Iterator[Callable[[], None]]) -> Iterator[Finding]:
    for check in checks:
        try:
            check()
        except PnodeError as error:
            yield Finding.of(_CHECK, subject, error)


def _entries(log: Log) -> Iterator[Callable[[], None]]:
    # What each entry is filed under is compared where its bytes are hashed (`ledger.entrycheck`).
    if log.count != log.size:
        text = f"{log.count} entries are filed under indices up to {log.size - 1}"
        yield lambda: _fail(text)


def _rejected(log: Log, index: AuditIndex) -> Iterator[Callable[[], None]]:
    """Yield a failure if other entries are marked as rejected than those that are not valid."""
    marked = ((at, "is marked as rejected and is valid") for at in log.rejected())
    found = ((at, "is not valid and not marked as rejected") for at in index.rejected(log.row_id))
    both = groupby(heapq.merge(marked, found), key=lambda each: each[0])
    alone = (each for _, (each, *others) in both if not others)
    first = next(alone, None)
    if first is not None:
        others = sum(1 for _ in alone)
        text = f"entry {first[0]} {first[1]}" + (f", and {others} others" if others else "")
        yield lambda: _fail(text)


def _fail(text: str) -> None:
    raise DigestError(text)


def _checkpoints(log: Log) -> Iterator[Callable[[], None]]:
    sql = "SELECT size, root, note FROM checkpoint WHERE log = ? ORDER BY size"
    for size, root, note in log.database.query(sql, (log.row_id,)):
        yield lambda row=(size, root, note): _require_tree(*row)  # type: ignore[misc]


def _require_tree(size: int, root: bytes, note: bytes) -> None:
    try:
        point = Checkpoint.parse(Note.parse(note).text)
    except MalformedError:
        return  # reported as log.checkpoint
    if (point.size, point.root) != (size, root):
        raise DigestError(f"the checkpoint of {point.size} entries is filed under another tree")


def _evidence(database: Database) -> Iterator[Callable[[], None]]:
    sql = "SELECT id, origin, kind, common, body FROM evidence ORDER BY rowid"
    for row in database.query(sql):
        yield lambda row=row: _require_evidence(*row)  # type: ignore[misc]


def _require_evidence(id_: str, origin: str, kind: str, common: int, body: Any) -> None:
    evidence = Evidence.parse(bytes(body))
    evidence.verify()
    if (evidence.id, evidence.origin, evidence.kind) != (id_, origin, kind):
        raise DigestError(f"the evidence {evidence.id} is filed under another id, log or kind")
    if not 0 <= common <= min(point.size for point in evidence.checkpoints):
        raise MalformedError(f"the evidence {evidence.id} cannot leave {common} entries in common")
