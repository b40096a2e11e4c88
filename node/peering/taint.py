"""What an equivocation spoils: compositions that rest on the disputed part of a log.

A composition rests on a log if a member or a suite of it stands there. Its lock pins how much of
that log it rests on. If that is more than both histories share, the composition is *tainted*: it
is what it was, but another reader of the same log may rightly see other contributions in force.
Evaluations and attributions are tainted with the composition they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ledger.blocks import BlockStore
from ledger.database import Database
from ledger.dispute import Disputes, stated_evidence
from ledger.entry import Entry
from ledger.errors import EvidenceError, PnodeError
from ledger.heldevidence import held_evidence
from ledger.log import find_log
from ledger.rules import EQUIVOCATION, Finding
from ledger.view import LedgerView
from node.checking.claims import claimed_lock

_ABOUT_A_COMPOSITION = ("evaluation", "attribution")


def taint_of(entry: Entry, ledger: LedgerView, store: BlockStore) -> tuple[str, ...]:
    """Return the ids of the evidence that taints an entry; of a composition without its lock none.

    Only compositions, and evaluations and attributions of them, can be tainted.
    """
    if not ledger.disputes.logs:
        return ()
    if entry.kind in _ABOUT_A_COMPOSITION:
        placed = ledger.entries.get(entry.statement.predicate["composition"])
        return () if placed is None else taint_of(placed.entry, ledger, store)
    if entry.kind != "composition":
        return ()
    try:
        lock = claimed_lock(entry, store)
    except PnodeError:
        return ()  # reported as composition.lock
    named = [*lock.members, *lock.suites, *([lock.dev] if lock.dev else [])]
    origins = {ledger.entries[each.id].origin for each in named if each.id in ledger.entries}
    points = ((point.origin, point.size) for point in lock.frontier if point.origin in origins)
    return tuple(sorted(_exceeding(points, ledger.disputes)))


def check_equivocations(
    database: Database, ledger: LedgerView, store: BlockStore
) -> Iterator[Finding]:
    """Check every piece of evidence held or stated, and what it taints."""
    yield from _check_logs(database, ledger)
    for placed in ledger.of_kind("evidence"):
        try:
            stated_evidence(placed.entry)
        except EvidenceError as error:
            yield Finding.of("evidence.proof", placed.entry.id, error)
    for kind in ("composition", *_ABOUT_A_COMPOSITION):
        for placed in ledger.of_kind(kind):
            ids = taint_of(placed.entry, ledger, store)
            if ids:
                message = f"rests on the disputed part of a log, evidence {', '.join(ids)}"
                yield Finding("composition.tainted", EQUIVOCATION, placed.entry.id, message)


def _check_logs(database: Database, ledger: LedgerView) -> Iterator[Finding]:
    accused: dict[str, list[str]] = {
        origin: list(dispute.evidence) for origin, dispute in ledger.disputes.logs.items()
    }
    for evidence in held_evidence(database):
        try:
            evidence.verify()
        except EvidenceError as error:
            yield Finding.of("log.equivocation", evidence.origin, error)
        else:
            accused.setdefault(evidence.origin, []).append(evidence.id)
    for origin, ids in sorted(accused.items()):
        if find_log(database, origin) is not None:
            named = ", ".join(dict.fromkeys(ids))
            message = f"the log signed two histories, evidence {named}"
            yield Finding("log.equivocation", EQUIVOCATION, origin, message)


def _exceeding(points: Iterable[tuple[str, int]], disputes: Disputes) -> Iterator[str]:
    for origin, size in points:
        dispute = disputes.logs.get(origin)
        if dispute is not None and size > dispute.common:
            yield from dispute.evidence
