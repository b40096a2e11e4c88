"""The governance report of an attribution: what the ledger knows, gathered into one page.

Everything on it is read back from verified bytes, and the values are recomputed from the coalition
table before a line is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import IncompleteError, PnodeError, UsageError
from ledger.log import resolve_id
from ledger.verdicts import agreeing, verdicts_on
from ledger.view import ACTIVE, LedgerView
from node.checking.claims import (
    check_claim,
    check_members,
    claimed_lock,
    claimed_outcomes,
    claimed_table,
    entry_of,
    frontier_of,
)
from node.durable import make_folder, write_atomic
from node.home import Home
from node.reading import load_view

if TYPE_CHECKING:
    from attribution.analysis import Interaction
    from attribution.axioms import Check
    from attribution.evidence import Evidence
    from attribution.reportmodel import (
        Command,
        Fact,
        Member,
        Place,
        Replay,
        ReportModel,
        ReportSuite,
        SystemScore,
    )
    from compose.lock import Lock


MAX_PAIRED = 32
"""The most contributions whose interactions are listed pair by pair."""


@dataclass(frozen=True, slots=True)
class Reported:
    """The files written: the page and its twins."""

    id: str
    files: list[str]


def report(home: Home, prefix: str, output: Path) -> Reported:
    """Write the report of an attribution, or of the latest one of a composition.

    Args:
        output: the HTML file; `.json` and `.csv` twins are written beside it.

    Raises:
        UsageError: if the id is neither.
        EvidenceError: if what the entry claims does not check out.
    """
    from attribution.report import render

    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output}: the report is an HTML file", hint="use -o report.html")
    with home.reading() as database:
        ledger = load_view(database)
        attribution = _attribution(ledger, resolve_id(database, prefix))
        _check(home, database, ledger, attribution)
    rendered = render(report_model(home, ledger, attribution))
    make_folder(output.resolve().parent)
    files = {
        output: rendered.html,
        output.with_suffix(".json"): rendered.json,
        output.with_suffix(".csv"): rendered.csv,
    }
    for path, data in files.items():
        write_atomic(path, data)
    return Reported(attribution.id, [str(path) for path in files])


def _check(home: Home, database: Database, ledger: LedgerView, attribution: Entry) -> None:
    """Make the checks of an audit that concern this attribution and its composition."""
    check_claim(attribution, ledger, home.store)
    composition = entry_of(ledger, attribution.statement.predicate["composition"], "composition")
    lock = claimed_lock(composition, home.store)
    check_members(lock, load_view(database, frontier_of(lock, database)))


def report_model(home: Home, ledger: LedgerView, attribution: Entry) -> ReportModel:
    """Gather everything the report of a checked attribution says."""
    from attribution.analysis import interactions
    from attribution.reportmodel import ReportModel

    record, table = claimed_table(attribution, home.store)
    composition = entry_of(ledger, record["composition"], "composition")
    lock = claimed_lock(composition, home.store)
    pairs: tuple[Interaction, ...] = ()
    if table.complete and len(table.players) <= MAX_PAIRED:
        pairs = interactions(table, confidence=str(record["confidence"]))
    return ReportModel(
        title=f"{lock.base.name}, composed by {lock.method.name}",
        summary=_summary(lock),
        attribution=attribution.id,
        record=record,
        facts=tuple(_facts(ledger, composition, lock)),
        places=tuple(_places(lock)),
        members=tuple(_members(ledger, lock)),
        suites=tuple(_suites(ledger, lock)),
        scores=tuple(_scores(home, ledger, composition, lock, table)),
        interactions=pairs,
        checks=tuple(_checks(home, ledger, composition)),
        replays=tuple(_replays(ledger, composition)),
        commands=tuple(_commands(attribution.id, composition.id)),
        unknown=tuple(_unknown(ledger, composition, lock)),
    )


def _attribution(ledger: LedgerView, id_: str) -> Entry:
    placed = ledger.entries.get(id_)
    if placed is not None and placed.entry.kind == "attribution":
        return placed.entry
    if placed is not None and placed.entry.kind == "composition":
        found = ledger.about("attribution", "composition", id_)
        if found:
            return found[-1].entry
        raise IncompleteError(
            f"composition {id_} has no attribution yet", hint=f"run 'pnode attribute {id_}'"
        )
    raise UsageError(f"{id_} is neither an attribution nor a composition")


def _summary(lock: Lock) -> str:
    return (
        f"{len(lock.members)} contributions, each a small adapter on the base model "
        f"'{lock.base.name}', work together through the method {lock.method.name}. "
        f"The system was scored on {len(lock.suites)} task suites."
    )


def _facts(ledger: LedgerView, composition: Entry, lock: Lock) -> Iterator[Fact]:
    from attribution.reportmodel import Fact

    parameters = ", ".join(f"{name} = {value}" for name, value in lock.method.parameters.items())
    yield Fact("composed by", f"{ledger.name_of(composition.author)} ({composition.author})")
    yield Fact("base model", f"{lock.base.name}, digest {lock.base.digest}")
    yield Fact("method", f"{lock.method.name} version {lock.method.version} ({parameters})")
    yield Fact("system digest", str(composition.statement.predicate["system_digest"]))
    yield Fact("exactness class", lock.exactness)
    auditors = len(agreeing(verdicts_on(ledger, composition.id), "reproduced"))
    yield Fact(
        "auditors who reproduced it", f"{auditors}, by distinct keys; its author not counted"
    )
    yield Fact("software", ", ".join(f"{name} {value}" for name, value in lock.software.items()))


def _places(lock: Lock) -> Iterator[Place]:
    from attribution.reportmodel import Place

    for point in lock.frontier:
        yield Place(point.origin, point.size, point.root.hex(), ())


def _members(ledger: LedgerView, lock: Lock) -> Iterator[Member]:
    from attribution.reportmodel import Member

    for member in lock.members:
        offered = ledger.contributions[member.id]
        yield Member(
            contribution=offered.id,
            title=offered.title,
            author=offered.author,
            author_name=ledger.names.get(offered.author, ""),
            licence=offered.license,
            artifact=offered.cid,
            origin=offered.origin,
            index=offered.index,
            status="in force" if offered.status == ACTIVE else offered.status,
        )


def _suites(ledger: LedgerView, lock: Lock) -> Iterator[ReportSuite]:
    from attribution.reportmodel import ReportSuite

    for suite in lock.suites:
        offered = ledger.contributions[suite.id]
        facts = ledger.entries[suite.id].entry.statement.predicate.get("suite", {})
        yield ReportSuite(
            id=suite.id,
            name=str(facts.get("name", offered.title)),
            description=str(facts.get("description", "")),
            scorer=str(facts.get("scorer", "")),
            licence=offered.license,
        )


def _scores(
    home: Home, ledger: LedgerView, composition: Entry, lock: Lock, table: Evidence
) -> Iterator[SystemScore]:
    """Yield the base and single members from the table, other methods from their evaluations."""
    from attribution.reportmodel import SystemScore

    yield SystemScore("base model alone", "base", table.counts(0))
    for bit, member in enumerate(lock.members):
        offered = ledger.contributions[member.id]
        name = ledger.names.get(offered.author) or offered.title
        yield SystemScore(f"{name} alone", "member", table.counts(1 << bit))
    for placed in ledger.of_kind("evaluation"):
        target = placed.entry.statement.predicate["composition"]
        other = ledger.entries.get(target)
        if other is None or other.entry.kind != "composition":
            continue
        if target != composition.id:
            score = _comparable(home, placed.entry, other.entry, composition, table)
            if score is not None:
                yield score
    yield SystemScore(lock.method.name, "composition", table.counts(table.everyone))


def _comparable(
    home: Home, evaluation: Entry, other: Entry, composition: Entry, table: Evidence
) -> SystemScore | None:
    """Return the score of another method on the same members and suites, if the claim holds."""
    from attribution.reportmodel import SystemScore

    said = composition.statement.predicate
    predicate = other.statement.predicate
    if any(predicate[name] != said[name] for name in ("members", "suites", "base")):
        return None
    try:
        outcomes = claimed_outcomes(evaluation, home.store)
    except PnodeError:
        return None  # `audit` reports it; a report shows only what checks out
    items = {suite: len(each.outcomes) for suite, each in outcomes.items()}
    if items != {suite.id: suite.items for suite in table.suites}:
        return None
    counts = tuple(outcomes[suite].correct for suite in said["suites"])
    return SystemScore(str(predicate["method"]), "method", counts)


def _checks(home: Home, ledger: LedgerView, composition: Entry) -> Iterator[Check]:
    from attribution.axioms import Check

    yield Check("attribution.values", "pass", "recomputed from the coalition table, all equal")
    yield Check("composition.lock", "pass", "the lock says what the composition says")
    yield Check("composition.members", "pass", "every member was in force at its frontier")
    for placed in ledger.about("evaluation", "composition", composition.id):
        try:
            check_claim(placed.entry, ledger, home.store)
            outcomes = claimed_outcomes(placed.entry, home.store)
        except PnodeError as error:
            if placed.entry.author == composition.author:
                raise
            # A stranger's bad claim about this composition is told, and hinders nobody.
            who = ledger.name_of(placed.entry.author)
            yield Check("evaluation.outcomes", "fail", f"evaluation by {who}: {error.message}")
            continue
        items = sum(len(each.outcomes) for each in outcomes.values())
        yield Check(
            "evaluation.outcomes", "pass", f"{items} item outcomes lead to the published roots"
        )


def _replays(ledger: LedgerView, composition: Entry) -> Iterator[Replay]:
    from attribution.reportmodel import Replay

    total = 0
    for placed in ledger.about("evaluation", "composition", composition.id):
        total = sum(score["total"] for score in placed.entry.statement.predicate["scores"])
    for each in verdicts_on(ledger, composition.id):
        predicate = ledger.entries[each.id].entry.statement.predicate
        detail = _replay_detail(predicate, composition)
        yield Replay(
            subject=composition.id,
            by=each.name,
            verdict=predicate["verdict"],
            checked=each.checked,
            total=max(total, each.checked),
            detail=detail if each.counts else f"{detail}; by its own author, so not counted",
        )


def _replay_detail(predicate: Mapping[str, Any], composition: Entry) -> str:
    same = predicate.get("system_digest") == composition.statement.predicate["system_digest"]
    return "same system digest" if same else f"{predicate['mismatches']} mismatches"


def _commands(attribution: str, composition: str) -> Iterator[Command]:
    from attribution.reportmodel import Command

    yield Command("check every signature, proof, artifact and value", "pnode audit")
    yield Command("check this attribution alone", f"pnode verify {attribution}")
    yield Command("rebuild the system and score it again", f"pnode replay {composition}")
    yield Command("compute the values again", f"pnode attribute {composition}")


def _unknown(ledger: LedgerView, composition: Entry, lock: Lock) -> Iterator[str]:
    verdicts = verdicts_on(ledger, composition.id)
    if not any(each.counts for each in verdicts):
        who = "Nobody but its own author" if verdicts else "Nobody"
        yield f"{who} has recorded a replay of this composition: its scores are claims so far."
    for member in lock.members:
        offered = ledger.contributions[member.id]
        if offered.status != "active":
            yield f"{offered.title} ({member.id}) is {offered.status} since this composition."
    yield "No witness has cosigned the logs behind this report; their owners alone vouch for them."
    yield "Whether an adapter hides a backdoor cannot be told from its form; no such test was run."
    yield "A value holds for these suites, this method and these members. It is not effort."
