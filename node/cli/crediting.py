"""Commands about worth: `attribute` and `report`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.arguments import ENTRY_ID, PATH
from node.cli.options import command
from node.cli.output import Cell, Fields, Lines, Row, Table
from node.cli.pinning import pins_cell, warn_of_pending
from node.cli.record import to_record

if TYPE_CHECKING:
    from node.attributing import EstimatorName
    from node.cli.session import Session


@command(
    "attribute",
    "pnode attribute bafkreih4a7bq",
    "pnode attribute bafkreih4a7bq --budget 500 --until items --confidence 0.9",
    "pnode attribute bafkreih4a7bq --jobs 4",
)
@click.argument("id", type=ENTRY_ID)
@click.option(
    "--estimator",
    type=click.Choice(["auto", "exact", "stratified", "gaussian-process", "permutation"]),
    default="auto",
    show_default=True,
    help="How the values are computed.",
)
@click.option(
    "--budget",
    type=click.IntRange(min=1),
    metavar="N",
    help="At most so many coalitions to evaluate.",
)
@click.option("--confidence", default="0.95", show_default=True, help="Level of the intervals.")
@click.option(
    "--until",
    metavar="RULE",
    help="Stop sampling earlier: at a half-width such as 0.01; 'items', once sampling errs a third "
    "as much as the items; 'ranks', once the groups stay the same.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1, max=1024),
    metavar="N",
    help="Evaluate in N processes; by default in one, on a cluster in one per processor.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Evaluate on a Ray cluster: HOST:PORT of its head node, or 'auto'.",
)
@click.option(
    "--memory",
    type=click.IntRange(min=1),
    default=1536,
    show_default=True,
    metavar="MIB",
    help="What each process may keep beside the weights, to compute nothing twice.",
)
def attribute_command(
    session: Session,
    id: str,
    estimator: EstimatorName,
    budget: int | None,
    confidence: str,
    until: str | None,
    jobs: int | None,
    ray: str | None,
    memory: int,
) -> None:
    """Compute what each contribution was worth.

    ID is a composition. Coalitions of its members are evaluated (or taken from the cache), and the
    table, the values with their intervals and the estimator are recorded and signed. Exact values
    are fractions; decimals are for reading. Every coalition is kept as soon as it is evaluated: a
    run that was interrupted goes on where it ended.
    """
    node = session.node()
    attributed = node.attribute(
        id,
        estimator=estimator,
        budget=budget,
        confidence=confidence,
        until=until,
        jobs=jobs,
        memory=memory,
        ray=ray,
    )
    names = {line.author: line.name for line in node.list()}
    values = to_record(attributed.values)
    counts = attributed.coalitions
    coalitions = (
        f"all, from {counts['answers']} answers about single items"
        if counts["answers"]
        else f"{counts['total']} in the table: {counts['evaluated']} evaluated, "
        f"{counts['cached']} from the cache"
    )
    session.output.result(
        "attribute",
        attributed,
        Fields(
            [
                ("game", attributed.game),
                ("estimator", _estimator(attributed.estimator)),
                ("coalitions", coalitions),
                ("efficiency gap", attributed.efficiency_gap),
                ("intervals", f"{confidence}, from {_sources(values)}"),
                ("id", attributed.id),
                ("ipfs", pins_cell(attributed.pins)),
            ]
        ),
        Lines([""]),
        Table(
            ["CONTRIBUTOR", "CONTRIBUTION", "SHARE", "VALUE", "INTERVAL", "NOTE"],
            [_value(value, names) for value in values],
        ),
        Lines([""]),
        _by_suite(values, names, {line.id: line.title for line in node.list(kind="suite")}),
        Lines([""]),
        Table(
            ["CHECK", "VERDICT", "FOUND"],
            [[check["name"], check["verdict"], check["detail"]] for check in attributed.checks],
        ),
        ids=[attributed.id],
    )
    warn_of_pending(session.output, attributed.pins)
    session.output.hint(
        f"write the page to share with 'pnode report {attributed.id[:16]} -o report.html'"
    )


@command("report", "pnode report bafkreih4a7bq -o report.html")
@click.argument("id", type=ENTRY_ID)
@click.option("-o", "--output", required=True, metavar="FILE.html", type=PATH, help="The page.")
def report_command(session: Session, id: str, output: Path) -> None:
    """Write the governance report as one HTML file.

    ID is an attribution or its composition. The page needs no network; a .json and a .csv twin are
    written beside it.
    """
    reported = session.node().report(id, output)
    session.output.result(
        "report",
        reported,
        Lines([f"wrote  {name}" for name in reported.files]),
        ids=[str(name) for name in reported.files],
    )


def decimal(text: str | None, digits: int = 3, *, sign: bool = True) -> str:
    """Return an exact fraction such as "17/24" as a decimal for reading."""
    if text is None:
        return "-"
    try:
        value = float(Fraction(text))
    except (ValueError, ZeroDivisionError, OverflowError):
        return text
    return f"{value:{'+' if sign else ''}.{digits}f}"


def _estimator(value: object) -> str:
    record = to_record(value)
    if not isinstance(record, dict):
        return str(record)
    reason = record.get("reason")
    return f"{record.get('name', '')}" + (f" ({reason})" if reason else "")


def _sources(values: list[dict[str, Any]]) -> str:
    """Say where the uncertainty comes from: the items of the suites, the sampling, or both."""
    found = {source for value in values for source in (value["interval"] or {}).get("sources", ())}
    return " and ".join(sorted(found)) or "nothing that varies"


def _value(value: Mapping[str, Any], names: Mapping[str, str]) -> Row:
    interval = value["interval"] or {}
    low, high = interval.get("low"), interval.get("high")
    return [
        names.get(value["author"]) or str(value["author"]),
        Cell(str(value["contribution"]), id=True),
        decimal(value.get("share"), 2, sign=False),
        decimal(value["value"]),
        f"[{decimal(low)}, {decimal(high)}]" if low and high else "unknown",
        _note(low, high),
    ]


def _by_suite(
    values: list[dict[str, Any]], names: Mapping[str, str], titles: Mapping[str, str]
) -> Table:
    """Return what each contribution is worth on each suite, in points of its accuracy."""
    suites = [part["suite"] for part in values[0]["by_suite"]] if values else []
    rows: list[Row] = [
        [
            titles.get(suite, suite),
            *(decimal(value["by_suite"][number]["value"]) for value in values),
        ]
        for number, suite in enumerate(suites)
    ]
    people = [names.get(value["author"]) or value["author"][-8:] for value in values]
    return Table(["VALUE ON SUITE", *people], rows)


def _note(low: str | None, high: str | None) -> str:
    """Say what a reader may not conclude."""
    if low is None or high is None:
        return ""
    try:
        return "not distinguishable from 0" if Fraction(low) <= 0 <= Fraction(high) else ""
    except (ValueError, ZeroDivisionError):
        return ""
