"""Verdicts on an entry: what its auditors say now, each of them once.

An auditor is a contributor: all keys of one chain speak as one, and the last of them that speaks
decides. Whoever made the entry may record a verdict too, and it counts for nothing: anybody finds
themselves right. Verdicts of closed keys and of the disputed part of a log are left out.

What counts is distinct keys, not distinct people. Whoever relies on a number must know whose keys
they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.placedentry import PlacedEntry
from ledger.view import LedgerView


@dataclass(frozen=True, slots=True)
class AuditorVerdict:
    """The verdict of one auditor; `confirms` are those of others that it says it agrees with.

    `auditor` is the first key of the contributor. `counts` is false for whoever made the entry.
    """

    auditor: str
    name: str
    verdict: str
    checked: int
    id: str
    confirms: list[str]
    counts: bool


def verdicts_on(ledger: LedgerView, target: str) -> list[AuditorVerdict]:
    """Return the last verdict of each auditor of an entry, by auditor."""
    maker = ledger.identity(ledger.entries[target].entry.author)
    last: dict[str, PlacedEntry] = {}
    found = [
        placed
        for placed in ledger.about("verification", "target", target)
        if ledger.dispute_of(placed.entry.id) is None
    ]
    for placed in sorted(found, key=lambda each: _order(ledger, each)):
        last[ledger.identity(placed.entry.author)] = placed
    return [
        _verdict(ledger, auditor, placed, counts=auditor != maker)
        for auditor, placed in sorted(last.items())
    ]


def _order(ledger: LedgerView, placed: PlacedEntry) -> tuple[int, str, int]:
    """Order what one contributor said: an earlier key before a later one, then by place."""
    author = placed.entry.author
    return ledger.keys.chain(author).index(author), placed.origin, placed.index


def _verdict(
    ledger: LedgerView, auditor: str, placed: PlacedEntry, *, counts: bool
) -> AuditorVerdict:
    said = placed.entry.statement.predicate
    return AuditorVerdict(
        auditor=auditor,
        name=ledger.name_of(placed.entry.author),
        verdict=said["verdict"],
        checked=said["checked"],
        id=placed.entry.id,
        confirms=list(said.get("confirms", [])),
        counts=counts,
    )


def agreeing(verdicts: list[AuditorVerdict], verdict: str) -> list[str]:
    """Return the auditors that count and give a verdict."""
    return [each.auditor for each in verdicts if each.counts and each.verdict == verdict]
