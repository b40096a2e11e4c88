"""What an auditor checks, in one place and without I/O.

`CHECKS` lists every check of `pnode verify` and `pnode audit`. The checks of logs, entries and
references are implemented here; those of artifacts, compositions, evaluations and attributions
need the packages above this one, which report through the same `Finding`. A finding always names
its subject: an entry id, a CID, or a place in a log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ledger.auditindex import AuditIndex
from ledger.checkpoint import Checkpoint, log_key
from ledger.entry import Entry
from ledger.entrycheck import Accepted, Batch, Row, check_rows
from ledger.errors import EquivocationError, EvidenceError, PnodeError, PolicyError
from ledger.note import NoteKey
from ledger.succession import REVOKED, KeyHistory
from ledger.tile import TileReader
from ledger.treecheck import TreeChecker
from ledger.view import LedgerView

ERROR: Final = "error"
EQUIVOCATION: Final = "equivocation"
INCOMPLETE: Final = "incomplete"
WARNING: Final = "warning"

CHECKS: Final = {
    "log.key": "the origin contains the hash of the log's key",
    "log.genesis": "entry 0 is a genesis that binds this origin and key to its author",
    "log.checkpoint": "every checkpoint is signed by the log's key",
    "log.root": "the entries hash to the root of every checkpoint",
    "log.tiles": "the stored tiles are those of the entries",
    "log.unsigned": "every entry is covered by a signed checkpoint",
    "log.cosignature": "every cosignature held is of the tree and by the key it is filed under",
    "log.sighting": "every checkpoint that was only seen is signed by the log's key",
    "log.equivocation": "no evidence says that the log signed two histories",
    "ledger.rows": "what rows are filed under is what their entries, notes and files say",
    "entry.form": "every entry is an envelope over a statement, in the one accepted form",
    "entry.signature": "every entry is signed by the author it names",
    "entry.filed": "every entry is filed under its own id and leaf hash",
    "entry.repeated": "no entry is in one log twice",
    "reference": "what an entry refers to is in the ledger",
    "withdrawal.author": "a withdrawal is signed by the contributor of what it withdraws",
    "key.author": "an author key is that of one log",
    "key.succession": "a log and its predecessor name each other, or a recovery key joins them",
    "key.revocation": "a revocation is signed by the recovery key that the log committed to",
    "key.closed": "nothing is signed with a key after its log was closed",
    "artifact.blocks": "every block of an artifact is here and is what its CID names",
    "artifact.files": "the files of an artifact are those its statement lists",
    "composition.lock": "the lock is here, well-formed and says what the composition says",
    "evidence.proof": "the evidence in a statement proves that a log signed two histories",
    "composition.tainted": "nothing it rests on stands behind a fork of its log",
    "composition.members": "no member was withdrawn or revoked at the frontier of the composition",
    "evaluation.outcomes": "the outcomes of every item lead to the published counts and root",
    "attribution.values": "the values follow from the published coalition table",
    "replay": "the composition, rebuilt and scored again, gives the same outcomes",
}
"""Every check of `audit` by name, with what it requires."""

VERIFY_CHECKS: Final = {
    "signature": "the entry is in the accepted form and signed by the author it names",
    "inclusion": "the entry is proven to be in its log",
    "artifact": "every block it names is here, and its files are those it lists",
    "claim": "what a composition, evaluation or attribution says follows from its documents",
    "proof": "a proof file is well-formed and about an entry that is known",
    "checkpoint": "a checkpoint file is signed by its log and fits what is held of it",
    "evidence": "an evidence file proves that the log it names has signed two histories",
    "witnessed": "the checkpoint carries the cosignatures that the policy asks for",
}
"""Every check of `verify` by name: the same rules, for one entry or one file."""


MAX_NAMED: Final = 100
"""How many entries of a log a check names; whoever owns the log decides how many are not valid."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a check reports about one subject."""

    check: str
    severity: str
    subject: str
    message: str

    def __post_init__(self) -> None:
        assert self.check in CHECKS, self.check

    @classmethod
    def of(cls, check: str, subject: str, error: PnodeError) -> Finding:
        """Return the finding that an error raised by a check amounts to."""
        # Whatever kept a check from being made leaves it open; it never counts as passed.
        severity = INCOMPLETE
        if isinstance(error, EquivocationError):
            severity = EQUIVOCATION
        elif isinstance(error, EvidenceError):
            severity = ERROR
        elif isinstance(error, PolicyError):
            severity = WARNING
        return cls(check, severity, subject, error.message)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return the exit code of a whole audit: 8, 3, 9 or 0, the gravest first."""
    severities = {finding.severity for finding in findings}
    for severity, code in ((EQUIVOCATION, 8), (ERROR, 3), (INCOMPLETE, 9)):
        if severity in severities:
            return code
    return 0


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """Everything held of one log, as read from storage; nothing of it is trusted.

    Checkpoints come in order of size.
    """

    key: NoteKey
    bodies: Iterable[bytes]
    checkpoints: Iterable[tuple[Checkpoint, bytes]]
    tiles: TileReader

    @property
    def origin(self) -> str:
        """The origin of the log."""
        return self.key.name


def check_log(log: LogEvidence, accepted: list[Accepted]) -> Iterator[Finding]:
    """Check one log completely; valid entries are added to `accepted`."""
    rows = (Row(index, None, None, body) for index, body in enumerate(log.bodies))
    return check_batches(log, check_rows(rows), lambda batch: accepted.extend(batch.accepted))


def check_batches(
    log: LogEvidence, batches: Iterable[Batch], keep: Callable[[Batch], None]
) -> Iterator[Finding]:
    """Check one log whose entries were checked already, in memory that does not grow with it.

    Args:
        log: what is held of it; its bodies are not read.
        batches: what checking its entries gave, in order.
        keep: is given every batch.
    """
    try:
        log_key(log.origin, log.key.key)
    except PnodeError as error:
        yield Finding.of("log.key", log.origin, error)
    tree = TreeChecker(log.key, log.checkpoints, log.tiles)
    named: Counter[str] = Counter()
    for batch in batches:
        tree.add(batch.leaves)
        keep(batch)
        if batch.first is not None:
            yield from _check_genesis(log, Entry.stored(batch.first))
        for problem in batch.problems:
            named[problem.check] += 1
            if named[problem.check] <= MAX_NAMED:
                subject = f"{problem.id} (entry {problem.place} of {log.origin})"
                yield Finding(problem.check, ERROR, subject, problem.message)
    for check, count in named.items():
        yield from _not_named(check, log.origin, count)
    tree.finish()
    for _, wrong in tree.tile_errors:
        yield Finding.of("log.tiles", log.origin, wrong)
    if tree.signed < tree.size:
        message = f"entries from {tree.signed} to {tree.size - 1} are not signed yet"
        yield Finding("log.unsigned", WARNING, log.origin, message)
    for size, check, wrong in tree.checkpoint_errors:
        yield Finding.of(check, f"{log.origin} at size {size}", wrong)


def _not_named(check: str, origin: str, count: int) -> Iterator[Finding]:
    if count > MAX_NAMED:
        yield Finding(check, ERROR, origin, f"{count - MAX_NAMED} more of its entries, not named")


def _check_genesis(log: LogEvidence, entry: Entry) -> Iterator[Finding]:
    predicate = entry.statement.predicate
    if entry.kind != "genesis":
        yield Finding("log.genesis", ERROR, log.origin, "entry 0 is not a genesis")
    elif predicate["origin"] != log.origin or predicate["log_key"] != str(log.key):
        yield Finding("log.genesis", ERROR, log.origin, "the genesis binds another origin or key")


def check_references(index: AuditIndex, keys: KeyHistory) -> Iterator[Finding]:
    """Check that entries refer to what exists, and that withdrawals come from the contributor."""
    found = [
        Finding(
            "reference", INCOMPLETE, id_, f"{field} names {target}, which is not in this ledger"
        )
        for id_, field, target in index.dangling()
    ]
    found += [
        Finding(
            "withdrawal.author",
            WARNING,
            id_,
            f"withdraws {target} of another author; it has no effect",
        )
        for id_, author, target, other in index.foreign_withdrawals()
        if keys.identity(author) != keys.identity(other)
    ]
    yield from sorted(found, key=lambda finding: finding.subject)


def check_repeated(index: AuditIndex, origins: Mapping[int, str]) -> Iterator[Finding]:
    """Check that no log holds an entry twice; `origins` names the logs of the index."""
    named: Counter[int] = Counter()
    for id_, log, first, again in index.repeated():
        named[log] += 1
        if named[log] <= MAX_NAMED:
            subject = f"{id_} (entry {again} of {origins[log]})"
            yield Finding("entry.repeated", ERROR, subject, f"it is already entry {first}")
    for log, count in named.items():
        yield from _not_named("entry.repeated", origins[log], count)


def check_keys(ledger: LedgerView) -> Iterator[Finding]:
    """Report claims about keys that have no effect, and entries of keys that were closed."""
    for objection in ledger.keys.objections:
        severity = INCOMPLETE if objection.incomplete else WARNING
        yield Finding(objection.check, severity, objection.id, objection.message)
    for id_, standing in ledger.standings.items():
        if standing == REVOKED:
            placed = ledger.entries[id_]
            where = f"index {placed.index} of {placed.origin}"
            message = f"a {placed.entry.kind} at {where}, after its author's log was closed"
            yield Finding("key.closed", WARNING, id_, f"{message}; it does not count")
