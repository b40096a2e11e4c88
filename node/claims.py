"""Reading back what compositions, evaluations and attributions claim, from verified bytes.

Each function returns the parsed documents of one entry, or raises the precise error that makes the
claim bad evidence. `audit` turns the errors into findings; `replay` and `report` let them pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.errors import DigestError, EvidenceError, IncompleteError
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


def check_scored(evaluation: Entry, composition: Entry) -> None:
    """Require that an evaluation scores suites of its composition only, each once.

    Raises:
        DigestError: naming a suite that is not one of them, or is scored twice.
    """
    suites = [score["suite"] for score in evaluation.statement.predicate["scores"]]
    for suite in suites:
        if suite not in composition.statement.predicate["suites"] or suites.count(suite) > 1:
            raise DigestError(
                f"evaluation {evaluation.id} scores suite {suite}, which composition "
                f"{composition.id} does not have, or scores it twice"
            )


def check_attributed(record: Mapping[str, Any], ledger: LedgerView) -> None:
    """Require that a record is about the composition it names, and that its authors are right.

    Raises:
        IncompleteError: if the composition or a contribution is not in the ledger.
        DigestError: if the record has another lock, other players, suites or authors.
    """
    composition = _held(ledger, record["composition"]).statement.predicate
    players = [player["contribution"] for player in record["players"]]
    suites = [suite["id"] for suite in record["game"]["suites"]]
    said = (record["lock"], players, suites)
    if said != (composition["lock"], composition["members"], composition["suites"]):
        raise DigestError(
            f"the attribution record has not the lock, members and suites of composition "
            f"{record['composition']}"
        )
    for named in [*record["players"], *record["values"]]:
        author = _held(ledger, named["contribution"]).author
        if named["author"] != author:
            raise DigestError(
                f"the attribution record gives {named['contribution']} to {named['author']}, "
                f"it was signed by {author}"
            )


def check_whole_coalition(table: CoalitionTable, outcomes: Mapping[str, Outcomes]) -> None:
    """Require that the row of all members says what the evaluation of the composition says.

    Raises:
        DigestError: naming the first suite on which they differ.
    """
    solved = [bool(bit) for bit in table.outcomes(table.everyone)]
    start = 0
    for suite in table.suites:
        row = solved[start : start + suite.items]
        start += suite.items
        evaluated = outcomes.get(suite.id)
        if evaluated is not None and row != [each.correct for each in evaluated.outcomes]:
            raise DigestError(
                f"suite {suite.id}: the coalition of all members in the table has other outcomes "
                "than the evaluation of the composition"
            )


def _held(ledger: LedgerView, id_: str) -> Entry:
    placed = ledger.entries.get(id_)
    if placed is None:
        raise IncompleteError(f"{id_} is not in the ledger at the current frontier")
    return placed.entry


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
