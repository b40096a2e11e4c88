"""Reading back what compositions, evaluations and attributions claim, from verified bytes.

Each function returns the parsed documents of one entry, or raises the precise error that makes the
claim bad evidence. `audit` turns the errors into findings; `replay` and `report` let them pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.errors import DigestError, EvidenceError
from ledger.view import LedgerView
from node.artifactcheck import check_subject
from node.artifacts import read_document

if TYPE_CHECKING:
    from attribution.table import CoalitionTable
    from compose.lock import Lock
    from compose.outcomes import Outcomes


def claimed_lock(entry: Entry, store: BlockStore) -> Lock:
    """Return the lock of a composition.

    Raises:
        DigestError: if the lock does not say what the composition says.
    """
    from compose.lock import Lock

    predicate = entry.statement.predicate
    data = read_document(Cid.parse(predicate["lock"]), store, what="lock")
    check_subject(entry, "lock.json", data)
    lock = Lock.parse(data, what=f"lock of composition {entry.id}")
    said = (
        predicate["members"],
        predicate["suites"],
        predicate["method"],
        predicate["base"]["digest"],
        predicate["exactness"],
    )
    locked = (
        [member.id for member in lock.members],
        [suite.id for suite in lock.suites],
        lock.method.name,
        lock.base.digest,
        lock.exactness,
    )
    if said != locked:
        raise DigestError(f"the lock of composition {entry.id} says something else than it")
    return lock


def check_members(lock: Lock, at_frontier: LedgerView) -> None:
    """Require that every member and suite was in force at the frontier of the lock.

    Raises:
        DigestError: if one is not in the ledger there or names another artifact.
        EvidenceError: if one was withdrawn.
    """
    for locked in [*lock.members, *lock.suites]:
        offered = at_frontier.contributions.get(locked.id)
        if offered is None or offered.cid != str(locked.cid):
            raise DigestError(f"{locked.id} is not that contribution at the frontier")
        if offered.status == "withdrawn":
            raise EvidenceError(f"{locked.id} was withdrawn before this composition")


def claimed_outcomes(entry: Entry, store: BlockStore) -> dict[str, Outcomes]:
    """Return the outcomes of an evaluation by suite id.

    Raises:
        DigestError: if counts or roots do not follow from the outcomes.
    """
    from compose.outcomes import parse_outcomes

    result = {}
    for score in entry.statement.predicate["scores"]:
        suite = score["suite"]
        data = read_document(Cid.parse(score["outcomes"]), store, what="outcomes")
        check_subject(entry, f"{suite}.jsonl", data)
        outcomes = parse_outcomes(data, what=f"outcomes of suite {suite}")
        found = (
            outcomes.suite,
            outcomes.correct,
            len(outcomes.outcomes),
            outcomes.root.hex(),
        )
        if found != (suite, score["correct"], score["total"], score["root"]):
            raise DigestError(
                f"suite {suite}: the outcomes give {outcomes.correct} of "
                f"{len(outcomes.outcomes)} correct, the evaluation says "
                f"{score['correct']} of {score['total']}"
            )
        result[suite] = outcomes
    return result


def claimed_table(entry: Entry, store: BlockStore) -> tuple[dict[str, Any], CoalitionTable]:
    """Return the record and the coalition table of an attribution, values recomputed.

    Raises:
        EvidenceError: if the values do not follow from the table.
    """
    from attribution.record import parse_record, recompute
    from attribution.table import CoalitionTable

    predicate = entry.statement.predicate
    data = read_document(Cid.parse(predicate["table"]), store, what="coalition table")
    check_subject(entry, "table.jsonl", data)
    table = CoalitionTable.parse(data)
    record_data = read_document(Cid.parse(predicate["record"]), store, what="attribution record")
    check_subject(entry, "record.json", record_data)
    record = parse_record(record_data)
    recompute(record, table)
    said = {value["contribution"]: value["value"] for value in predicate["values"]}
    if said != {value["contribution"]: value["value"] for value in record["values"]}:
        raise DigestError(f"attribution {entry.id} states other values than its record")
    if predicate["root"] != table.root().hex() or predicate["composition"] != record["composition"]:
        raise DigestError(f"attribution {entry.id} and its record disagree")
    return record, table
