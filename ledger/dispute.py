"""Which part of which log is disputed: a pure function of the `evidence` statements in a ledger.

- A statement counts if its evidence verifies and its common prefix is proven, whoever signed it
  and in whichever log it stands: nothing depends on trusting the one who reports.
- About one pair of trees the longest common prefix that somebody has proven counts.
- Over several pairs the shortest counts: a log that forked twice is whole up to its first fork.
- Entries of that log from there on are disputed. Those before it stay valid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ledger.checkpoint import log_key
from ledger.commonprefix import CommonPrefix
from ledger.entry import Entry
from ledger.errors import EvidenceError, MalformedError
from ledger.evidence import Evidence
from ledger.placedentry import PlacedEntry
from ledger.statement import Statement, Subject

EVIDENCE_FILE = "equivocation.txt"


@dataclass(frozen=True, slots=True)
class Dispute:
    """A log that signed two histories: how many entries they share, and the ids of the evidence."""

    origin: str
    common: int
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disputes:
    """The disputed logs of a ledger, by origin."""

    logs: Mapping[str, Dispute]

    def of(self, origin: str, index: int) -> Dispute | None:
        """Return the dispute that an entry at a place falls under."""
        dispute = self.logs.get(origin)
        return dispute if dispute is not None and index >= dispute.common else None


def evidence_statement(
    evidence: Evidence, common: CommonPrefix, *, author: str, created: str
) -> Statement:
    """Return the statement that carries evidence into a ledger."""
    predicate = {
        "author": author,
        "created": created,
        "origin": evidence.origin,
        "evidence": bytes(evidence).decode("utf-8"),
        "common": common.record(),
    }
    return Statement("evidence", (Subject(EVIDENCE_FILE, evidence.id),), predicate)


def stated_evidence(entry: Entry) -> tuple[Evidence, CommonPrefix]:
    """Return what an `evidence` statement proves, verified.

    Raises:
        EvidenceError: if it proves nothing.
    """
    predicate = entry.statement.predicate
    evidence = _verified(predicate["evidence"])
    if predicate["origin"] != evidence.origin:
        raise MalformedError("evidence statement: it names another log than its evidence")
    common = CommonPrefix.parse(predicate["common"])
    common.verify(evidence)
    return evidence, common


def find_disputes(placed: Iterable[PlacedEntry]) -> Disputes:
    """Return the disputes that the evidence statements among some entries amount to."""
    proven: dict[tuple[str, ...], int] = {}
    ids: dict[str, set[str]] = {}
    for evidence, common in _all_stated(placed):
        pair = (evidence.origin, *evidence.contradiction)
        proven[pair] = max(common.size, proven.get(pair, 0))
        ids.setdefault(evidence.origin, set()).add(evidence.id)
    return Disputes(
        {
            origin: Dispute(
                origin,
                min(size for pair, size in proven.items() if pair[0] == origin),
                tuple(sorted(ids[origin])),
            )
            for origin in sorted(ids)
        }
    )


def proven_prefix(evidence: Evidence, placed: Iterable[PlacedEntry]) -> CommonPrefix | None:
    """Return the longest prefix stated about the two trees of some evidence, None if unstated."""
    # The proofs lead to the same two trees, whichever kind of file shows that they contradict.
    stated = (
        common
        for other, common in _all_stated(placed)
        if other.contradiction == evidence.contradiction
    )
    return max(stated, key=lambda common: common.size, default=None)


def _all_stated(placed: Iterable[PlacedEntry]) -> Iterator[tuple[Evidence, CommonPrefix]]:
    for item in placed:
        if item.entry.kind == "evidence":
            try:
                yield stated_evidence(item.entry)
            except EvidenceError:
                continue  # it proves nothing and changes nothing; `audit` reports it


@lru_cache(maxsize=256)
def _verified(text: Any) -> Evidence:
    evidence = Evidence.parse(text.encode("utf-8"))
    log_key(evidence.origin, evidence.key.key)
    evidence.verify()
    return evidence
