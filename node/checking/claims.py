"""Reading back what compositions, evaluations and attributions claim, from verified bytes.

Each function returns the parsed documents of one entry, or raises the precise error that makes the
claim bad evidence. `audit` turns the errors into findings; `replay` and `report` let them pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ledger.blocks import BlockStore
from ledger.checkpoint import Checkpoint
from ledger.cid import Cid
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import DigestError, EvidenceError, IncompleteError
from ledger.frontier import Frontier
from ledger.log import find_log
from ledger.view import NOT_IN_FORCE, LedgerView
from node.artifacts import read_document
from node.checking.artifactcheck import check_subject

if TYPE_CHECKING:
    from attribution.evidence import Evidence
    from compose.lock import Lock
    from compose.outcomes import Outcomes


def entry_of(ledger: LedgerView, id_: str, kind: str) -> Entry:
    """Return the entry that another one refers to.

    Raises:
        IncompleteError: if it is not in the ledger at this frontier.
        DigestError: if it is of another kind than the reference says.
    """
    placed = ledger.entries.get(id_)
    if placed is None:
        raise IncompleteError(f"{id_} is not in the ledger at the current frontier")
    if placed.entry.kind != kind:
        raise DigestError(f"{id_} is a {placed.entry.kind}, not a {kind}")
    return placed.entry


def check_claim(entry: Entry, ledger: LedgerView, store: BlockStore) -> None:
    """Check what a composition, evaluation or attribution claims; other kinds claim nothing.

    Raises:
        EvidenceError: if its documents contradict it, each other or what they refer to.
        IncompleteError: if something it rests on is missing.
    """
    if entry.kind == "composition":
        claimed_lock(entry, store)
    elif entry.kind == "evaluation":
        composition = entry_of(ledger, entry.statement.predicate["composition"], "composition")
        claimed_outcomes(entry, store)
        check_scored(entry, composition)
    elif entry.kind == "attribution":
        record, table = claimed_table(entry, store)
        check_attributed(record, ledger)
        composition = entry_of(ledger, record["composition"], "composition")
        check_whole_coalition(table, composition, ledger, store)


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
        predicate["base"],
        predicate["exactness"],
    )
    base = {"name": lock.base.name, "digest": lock.base.digest, "cid": str(lock.base.cid)}
    locked = (
        [member.id for member in lock.members],
        [suite.id for suite in lock.suites],
        lock.method.name,
        base,
        lock.exactness,
    )
    if said != locked:
        raise DigestError(f"the lock of composition {entry.id} says something else than it")
    return lock


def frontier_of(lock: Lock, database: Database) -> Frontier:
    """Return the frontier of a lock, which must be one of the logs held.

    Raises:
        IncompleteError: if it reaches beyond what is held.
        DigestError: if a root of it is not a root of that log.
    """
    frontier = Frontier.of(
        Checkpoint(point.origin, point.size, point.root) for point in lock.frontier
    )
    for point in frontier.checkpoints:
        log = find_log(database, point.origin)
        if log is None or log.size < point.size:
            raise IncompleteError(f"the frontier of the lock needs {point.size} of {point.origin}")
        if log.root(point.size) != point.root:
            raise DigestError(f"the frontier of the lock is no tree of {point.origin}")
    return frontier


def check_members(lock: Lock, at_frontier: LedgerView) -> None:
    """Require that every member and suite was in force at the frontier of the lock.

    Raises:
        DigestError: if one is not in the ledger there or names another artifact.
        EvidenceError: if one was withdrawn or revoked.
    """
    for locked in [*lock.members, *lock.suites]:
        offered = at_frontier.contributions.get(locked.id)
        if offered is None or offered.cid != str(locked.cid):
            raise DigestError(f"{locked.id} is not that contribution at the frontier")
        if offered.status in NOT_IN_FORCE:
            raise EvidenceError(f"{locked.id} was {offered.status} before this composition")


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
    composition = entry_of(ledger, record["composition"], "composition").statement.predicate
    players = [player["contribution"] for player in record["players"]]
    suites = [suite["id"] for suite in record["game"]["suites"]]
    said = (record["lock"], players, suites)
    if said != (composition["lock"], composition["members"], composition["suites"]):
        raise DigestError(
            f"the attribution record has not the lock, members and suites of composition "
            f"{record['composition']}"
        )
    for named in [*record["players"], *record["values"]]:
        author = entry_of(ledger, named["contribution"], "contribution").author
        if named["author"] != author:
            raise DigestError(
                f"the attribution record gives {named['contribution']} to {named['author']}, "
                f"it was signed by {author}"
            )


def check_whole_coalition(
    table: Evidence, composition: Entry, ledger: LedgerView, store: BlockStore
) -> None:
    """Require that the row of all members says what the composer's own evaluations say.

    Raises:
        DigestError: naming the first suite on which they differ.
    """
    solved = [bool(bit) for bit in table.outcomes(table.everyone)]
    for placed in ledger.about("evaluation", "composition", composition.id):
        if placed.entry.author != composition.author:
            continue
        outcomes = claimed_outcomes(placed.entry, store)
        start = 0
        for suite in table.suites:
            row = solved[start : start + suite.items]
            start += suite.items
            evaluated = outcomes.get(suite.id)
            if evaluated is not None and row != [each.correct for each in evaluated.outcomes]:
                raise DigestError(
                    f"suite {suite.id}: the coalition of all members in the table has other "
                    "outcomes than the evaluation of the composition"
                )


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


def claimed_table(entry: Entry, store: BlockStore) -> tuple[dict[str, Any], Evidence]:
    """Return the record and the coalition table of an attribution, values recomputed.

    Raises:
        EvidenceError: if the values do not follow from the table.
    """
    from attribution.record import parse_record, recompute
    from attribution.tables import parse_table

    predicate = entry.statement.predicate
    data = read_document(Cid.parse(predicate["table"]), store, what="coalition table")
    check_subject(entry, "table.jsonl", data)
    table = parse_table(data)
    record_data = read_document(Cid.parse(predicate["record"]), store, what="attribution record")
    check_subject(entry, "record.json", record_data)
    record = parse_record(record_data)
    recompute(record, table)
    expected = attributed_fields(record, predicate["record"])
    for field, value in expected.items():
        if predicate.get(field) != value:
            raise DigestError(f"attribution {entry.id}: its {field} is not that of its record")
    return record, table


def attributed_fields(record: Mapping[str, Any], record_cid: str) -> dict[str, Any]:
    """Return the fields of an attribution statement that follow from its record."""
    return {
        "composition": record["composition"],
        "record": record_cid,
        "table": record["table"]["cid"],
        "root": record["table"]["root"],
        "game": record["game"]["value"],
        "estimator": record["estimator"]["name"],
        "values": [_headline(value) for value in record["values"]],
        "efficiency_gap": record["efficiency_gap"],
    }


def _headline(value: Mapping[str, Any]) -> dict[str, Any]:
    named = ("contribution", "value", "share")
    return {name: value[name] for name in named if value[name] is not None}
