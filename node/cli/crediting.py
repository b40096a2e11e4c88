"""Commands about worth: `attribute` and `report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.arguments import ENTRY_ID, PATH
from node.cli.options import command
from node.cli.output import Cell, Fields, Lines, Table
from node.cli.record import to_record

if TYPE_CHECKING:
    from node.cli.session import Session


@command(
    "attribute",
    "pnode attribute bafkreih4a7bq",
    "pnode attribute bafkreih4a7bq --estimator permutation --budget 500 --confidence 0.9",
)
@click.argument("id", type=ENTRY_ID)
@click.option(
    "--estimator",
    type=click.Choice(["auto", "exact", "permutation"]),
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
def attribute_command(
    session: Session, id: str, estimator: str, budget: int | None, confidence: str
) -> None:
    """Compute what each contribution was worth.

    ID is a composition. Coalitions of its members are evaluated (or taken from the cache), and the
    table, the values with their intervals and the estimator are recorded and signed. Exact values
    are fractions; decimals are for reading.
    """
    node = session.node()
    attributed = node.attribute(id, estimator=estimator, budget=budget, confidence=confidence)
    counts = attributed.coalitions
    coalitions = f"{counts['evaluated']} evaluated, {counts['cached']} from the cache"
    session.output.result(
        "attribute",
        attributed,
        Fields(
            [
                ("game", attributed.game),
                ("estimator", _estimator(attributed.estimator)),
                ("coalitions", f"{counts['total']} in the table: {coalitions}"),
                ("efficiency gap", attributed.efficiency_gap),
                ("id", attributed.id),
            ]
        ),
        Lines([""]),
        Table(
            ["CONTRIBUTOR", "CONTRIBUTION", "SHARE", "VALUE", f"{confidence} INTERVAL", "NOTE"],
            [_value(to_record(value)) for value in attributed.values],
        ),
        ids=[attributed.id],
    )
    session.output.hint(
        f"write the page to share with 'pnode report {attributed.id[:16]} -o report.html'"
    )


@command("report", "pnode report bafkreih4a7bq -o report.html")
@click.argument("id", type=ENTRY_ID)
@click.option("-o", "--output", required=True, metavar="FILE.html", type=PATH, help="The page.")
def report_command(session: Session, id: str, output: Path) -> None:
    """Write the governance report as one HTML file.

    ID is an attribution. The page needs no network; a .json and a .csv twin are written beside it.
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


def _value(value: Mapping[str, Any]) -> Sequence[Cell | str]:
    low, high = _interval(value.get("interval"))
    return [
        str(value.get("name") or value["author"]),
        Cell(str(value["contribution"]), id=True),
        decimal(value.get("share"), 2, sign=False),
        decimal(value["value"]),
        f"[{decimal(low)}, {decimal(high)}]" if low is not None else "-",
        _note(low, high),
    ]


def _interval(interval: Any) -> tuple[str | None, str | None]:
    if isinstance(interval, Mapping):
        return interval.get("low"), interval.get("high")
    if isinstance(interval, list) and len(interval) == 2:
        return str(interval[0]), str(interval[1])
    return None, None


def _note(low: str | None, high: str | None) -> str:
    """Say what a reader may not conclude."""
    if low is None or high is None:
        return ""
    try:
        return "not distinguishable from 0" if Fraction(low) <= 0 <= Fraction(high) else ""
    except (ValueError, ZeroDivisionError):
        return ""
