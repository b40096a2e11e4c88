"""What an auditor checks, in one place and without I/O.

`CHECKS` lists every check of `pnode verify` and `pnode audit`. The checks of logs, entries and
references are implemented here; those of artifacts, compositions, evaluations and attributions
need the packages above this one, which report through the same `Finding`. A finding always names
its subject: an entry id, a CID, or a place in a log.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint, log_key, open_checkpoint
from ledger.entry import Entry, PlacedEntry, entry_id
from ledger.errors import EquivocationError, EvidenceError, PnodeError, PolicyError
from ledger.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from ledger.note import NoteKey
from ledger.succession import REVOKED
from ledger.tile import TILE_WIDTH, Tile, TileReader, perfect_root, tiles_of
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
    "log.equivocation": "the log still extends a checkpoint kept from earlier",
    "entry.form": "every entry is an envelope over a statement, in the one accepted form",
    "entry.signature": "every entry is signed by the author it names",
    "reference": "what an entry refers to is in the ledger",
    "withdrawal.author": "a withdrawal is signed by the author of what it withdraws",
    "key.author": "an author key is that of one log",
    "key.succession": "a log and its predecessor name each other, or a recovery key joins them",
    "key.revocation": "a revocation is signed by the recovery key that the log committed to",
    "key.closed": "nothing is signed with a key after its log was closed",
    "artifact.blocks": "every block of an artifact is here and is what its CID names",
    "artifact.files": "the files of an artifact are those its statement lists",
    "composition.lock": "the lock is here, well-formed and says what the composition says",
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
}
"""Every check of `verify` by name: the same rules, for one entry or one file."""


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
    """Everything held of one log, as read from storage; nothing of it is trusted."""

    key: NoteKey
    bodies: Iterable[bytes]
    checkpoints: Sequence[tuple[Checkpoint, bytes]]
    tiles: TileReader

    @property
    def origin(self) -> str:
        """The origin of the log."""
        return self.key.name


def check_log(log: LogEvidence, accepted: list[PlacedEntry]) -> Iterator[Finding]:
    """Check one log completely; valid entries are added to `accepted`."""
    try:
        log_key(log.origin, log.key.key)
    except PnodeError as error:
        yield Finding.of("log.key", log.origin, error)
    roots = yield from _check_entries(log, accepted)
    yield from _check_checkpoints(log, roots)


def _check_entries(
    log: LogEvidence, accepted: list[PlacedEntry]
) -> Generator[Finding, None, dict[int, bytes]]:
    wanted = {checkpoint.size for checkpoint, _ in log.checkpoints}
    leaves: list[bytes] = []
    tree = CompactRange()
    roots: dict[int, bytes] = {0: EMPTY_ROOT}
    for index, body in enumerate(log.bodies):
        leaves.append(leaf_hash(body))
        tree.append(leaves[-1])
        if tree.size in wanted:
            roots[tree.size] = tree.root()
        try:
            entry = Entry.parse(body)
        except PnodeError as error:
            check = "entry.signature" if error.code == "bad-signature" else "entry.form"
            yield Finding.of(check, f"{entry_id(body)} (entry {index} of {log.origin})", error)
            continue
        accepted.append(PlacedEntry(log.origin, index, entry))
        if index == 0:
            yield from _check_genesis(log, entry)
    yield from _check_tiles(log, leaves)
    if max(wanted, default=0) < tree.size:
        message = f"entries from {max(wanted, default=0)} to {tree.size - 1} are not signed yet"
        yield Finding("log.unsigned", WARNING, log.origin, message)
    return roots


def _check_genesis(log: LogEvidence, entry: Entry) -> Iterator[Finding]:
    predicate = entry.statement.predicate
    if entry.kind != "genesis":
        yield Finding("log.genesis", ERROR, log.origin, "entry 0 is not a genesis")
    elif predicate["origin"] != log.origin or predicate["log_key"] != str(log.key):
        yield Finding("log.genesis", ERROR, log.origin, "the genesis binds another origin or key")


def _check_tiles(log: LogEvidence, leaves: Sequence[bytes]) -> Iterator[Finding]:
    level_hashes: Sequence[bytes] = leaves
    level = 0
    for tile in tiles_of(len(leaves)):
        if tile.level != level:
            level = tile.level
            starts = range(0, len(level_hashes) - TILE_WIDTH + 1, TILE_WIDTH)
            level_hashes = [perfect_root(level_hashes[i : i + TILE_WIDTH]) for i in starts]
        start = tile.index * TILE_WIDTH
        expected = level_hashes[start : start + tile.width]
        yield from _check_tile(log, tile, expected)


def _check_tile(log: LogEvidence, tile: Tile, expected: Sequence[bytes]) -> Iterator[Finding]:
    try:
        stored = list(log.tiles(tile))
    except PnodeError as error:
        yield Finding.of("log.tiles", log.origin, error)
        return
    if stored != list(expected):
        message = f"{tile.path} is not the tile of the entries"
        yield Finding("log.tiles", ERROR, log.origin, message)


def _check_checkpoints(log: LogEvidence, roots: dict[int, bytes]) -> Iterator[Finding]:
    for claimed, note in log.checkpoints:
        subject = f"{log.origin} at size {claimed.size}"
        try:
            checkpoint = open_checkpoint(note, log.key)
        except PnodeError as error:
            yield Finding.of("log.checkpoint", subject, error)
            continue
        if checkpoint.size not in roots:
            message = "the ledger holds fewer entries than this checkpoint signs"
            yield Finding("log.root", ERROR, subject, message)
        elif roots[checkpoint.size] != checkpoint.root:
            message = "the entries do not hash to the root of this checkpoint"
            yield Finding("log.root", ERROR, subject, message)


_REFERENCES = {
    "withdrawal": ("target",),
    "evaluation": ("composition",),
    "attribution": ("composition",),
    "verification": ("target",),
    "contribution": ("supersedes", "derived_from"),
    "composition": ("members", "suites"),
}


def check_references(ledger: LedgerView) -> Iterator[Finding]:
    """Check that entries refer to what exists, and that withdrawals come from the author."""
    for id_, placed in ledger.entries.items():
        predicate = placed.entry.statement.predicate
        for field in _REFERENCES.get(placed.entry.kind, ()):
            value = predicate.get(field, [])
            for target in value if isinstance(value, list) else [value]:
                if target not in ledger.entries:
                    message = f"{field} names {target}, which is not in this ledger"
                    yield Finding("reference", INCOMPLETE, id_, message)
        if placed.entry.kind == "withdrawal":
            target = ledger.entries.get(predicate["target"])
            if target is None:
                continue
            authors = (target.entry.author, placed.entry.author)
            if len({ledger.identity(author) for author in authors}) > 1:
                message = f"withdraws {predicate['target']} of another author; it has no effect"
                yield Finding("withdrawal.author", WARNING, id_, message)


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
