"""What people do with evidence by hand: list what is held, take a file out, bring one in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ledger.database import storage_errors
from ledger.errors import MalformedError, NotFoundError
from ledger.evidence import MAX_EVIDENCE_BYTES, Evidence
from ledger.heldevidence import find_evidence, held_evidence
from node.clock import Clock, utc_now
from node.home import Home
from node.peering.equivocation import keep, publish_evidence


@dataclass(frozen=True, slots=True)
class HeldEvidence:
    """One piece of evidence; `sizes` are those of its two trees, `text` is the file."""

    id: str
    kind: str
    origin: str
    sizes: tuple[int, int]
    text: str
    raw: bytes

    @classmethod
    def of(cls, evidence: Evidence) -> HeldEvidence:
        """Return what a person is told of some evidence."""
        a, b = evidence.checkpoints
        raw = bytes(evidence)
        sizes = (a.size, b.size)
        return cls(evidence.id, evidence.kind, evidence.origin, sizes, raw.decode("utf-8"), raw)


def list_evidence(home: Home) -> list[HeldEvidence]:
    """Return all evidence held, in the order in which it came."""
    with home.reading() as database:
        return [HeldEvidence.of(each) for each in held_evidence(database)]


def show_evidence(home: Home, prefix: str) -> HeldEvidence:
    """Return one piece of evidence by the beginning of its id.

    Raises:
        UsageError: if the prefix is too short or ambiguous.
        NotFoundError: if there is none.
    """
    with home.reading() as database:
        return HeldEvidence.of(find_evidence(database, prefix))


def add_evidence(
    home: Home, files: Sequence[Path], *, clock: Clock = utc_now
) -> list[HeldEvidence]:
    """Keep the evidence in some files and state it in the own log.

    Raises:
        EvidenceError: if one proves nothing; those before it are kept.
        NotFoundError: if a file does not exist.
        StorageError: if this home cannot be written.
    """
    kept = [HeldEvidence.of(keep(home, _read(path))) for path in files]
    publish_evidence(home, clock=clock)
    return kept


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(MAX_EVIDENCE_BYTES + 1)
    if len(data) > MAX_EVIDENCE_BYTES:
        raise MalformedError(f"{path}: too large for an evidence file")
    return data
