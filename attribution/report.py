"""The governance report: one HTML file, and its JSON and CSV twins, from one model.

The page stands alone: no request leaves it, no script runs in it, figures are inline SVG with a
table beside each. The same model gives the same bytes. Whatever a contributor wrote is cleaned of
control characters and escaped by the template engine; the page's own policy forbids everything
but its inline styles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from attribution import display, plots
from attribution.analysis import Interaction
from attribution.plots import Bar
from attribution.reportmodel import Member, ReportModel, SystemScore
from attribution.tabular import values_csv
from ledger.encoding import canonical_json

SCHEMA: Final = "pnode.report/1"
_STRONGEST = 5
_LARGEST_MATRIX = 16
_KINDS = {
    "base": "base model",
    "member": "one contribution alone",
    "method": "another method",
    "composition": "this system",
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """The three files of a report, as bytes."""

    html: bytes
    json: bytes
    csv: bytes


def render(model: ReportModel) -> Rendered:
    """Return the report.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    rows = _value_rows(model)
    suites = [display.clean(suite.name) for suite in model.suites]
    json = canonical_json({"schema": SCHEMA} | display.plain(model)) + b"\n"
    csv = values_csv([_csv_row(row) for row in rows], suites)
    page = _template().render(
        model=display.plain(model),
        rows=rows,
        suites=suites,
        sentence=_sentence(model),
        scores=_score_rows(model),
        pairs=_pair_rows(model),
        checks=_check_rows(model),
        figures=_figures(model, rows, suites),
        digests={
            "json": hashlib.sha256(json).hexdigest(),
            "csv": hashlib.sha256(csv).hexdigest(),
        },
        show=display,
    )
    return Rendered(page.encode("utf-8"), json, csv)


def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("attribution"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _sentence(model: ReportModel) -> dict[str, str]:
    """Return the numbers of the first sentence."""
    base, whole = model.base, model.composition
    return {
        "members": str(len(model.members)),
        "solved": display.grouped(sum(whole.correct)),
        "offered": display.grouped(sum(model.sizes)),
        "base": display.grouped(sum(base.correct)),
        "accuracy": display.percent(model.accuracy(whole)),
        "base_accuracy": display.percent(model.accuracy(base)),
        "gain": display.points(model.accuracy(whole) - model.accuracy(base)),
    }


def _value_rows(model: ReportModel) -> list[dict[str, Any]]:
    """Return the values with their members, highest first."""
    members = {member.contribution: member for member in model.members}
    worths = sorted(
        model.record["values"],
        key=lambda worth: (-Fraction(worth["value"]), worth["contribution"]),
    )
    return [_value_row(worth, members[worth["contribution"]]) for worth in worths]


def _value_row(worth: dict[str, Any], member: Member) -> dict[str, Any]:
    interval = worth["interval"] or {"low": None, "high": None}
    low, high = interval["low"], interval["high"]
    unclear = low is None or (Fraction(low) <= 0 <= Fraction(high))
    best, worst = worth["rank"]["lowest"], worth["rank"]["highest"]
    return {
        **display.plain(member),
        **worth,
        "title": display.clean(member.title) or display.short_id(member.contribution),
        "author_name": display.clean(member.author_name) or display.short_id(member.author),
        "low": low,
        "high": high,
        "rank_best": best,
        "rank_worst": worst,
        "rank_text": str(best) if best == worst else f"{best} to {worst}",
        "without": str(-Fraction(worth["leave_one_out"])),
        "unclear": unclear,
        "note": _note(worth, unclear=unclear),
        "parts": [
            {
                "value": part["value"],
                "certain": _certain(part["low"], part["high"]),
            }
            for part in worth["by_suite"]
        ],
    }


def _note(worth: dict[str, Any], *, unclear: bool) -> str:
    if unclear:
        return "not distinguishable from zero"
    return "makes the system worse" if Fraction(worth["value"]) < 0 else ""


def _certain(low: str | None, high: str | None) -> bool:
    return low is not None and high is not None and (Fraction(low) > 0 or Fraction(high) < 0)


def _csv_row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"by_suite": [part["value"] for part in row["by_suite"]]}


def _score_rows(model: ReportModel) -> list[dict[str, Any]]:
    """Return base, best single member, other methods and this system, with their best marked."""
    members = [score for score in model.scores if score.kind == "member"]
    best_member = max(members, key=model.accuracy, default=None)
    shown = [score for score in model.scores if score.kind != "member" or score is best_member]
    order = ("base", "member", "method", "composition")
    shown.sort(key=lambda score: order.index(score.kind))
    best = max(model.accuracy(score) for score in shown)
    return [_score_row(model, score, best) for score in shown]


def _score_row(model: ReportModel, score: SystemScore, best: Fraction) -> dict[str, Any]:
    accuracy = model.accuracy(score)
    name = display.clean(score.name)
    return {
        "name": f"best single contribution: {name}" if score.kind == "member" else name,
        "kind": _KINDS[score.kind],
        "this": score.kind == "composition",
        "best": accuracy == best,
        "accuracy": display.percent(accuracy),
        "parts": [
            {"percent": display.percent(Fraction(got, size)), "solved": f"{got}/{size}"}
            for got, size in zip(score.correct, model.sizes, strict=True)
        ],
    }


def _pair_rows(model: ReportModel) -> list[dict[str, Any]]:
    """Return the strongest interactions whose interval excludes zero, in words."""
    titles = _titles(model)
    clear = [pair for pair in model.interactions if pair.interval.excludes_zero]
    return [
        {
            "first": titles[pair.first],
            "second": titles[pair.second],
            "value": display.points(pair.value),
            "low": pair.interval.low,
            "high": pair.interval.high,
            "word": "synergy" if pair.value > 0 else "redundancy",
        }
        for pair in clear[:_STRONGEST]
    ]


def _check_rows(model: ReportModel) -> list[dict[str, str]]:
    own = [(one["name"], one["verdict"], one["detail"]) for one in model.record["checks"]]
    other = [(one.name, one.verdict, one.detail) for one in model.checks]
    return [
        {"name": display.clean(name), "verdict": verdict, "detail": display.clean(detail)}
        for name, verdict, detail in own + other
    ]


def _titles(model: ReportModel) -> dict[str, str]:
    return {
        member.contribution: display.clean(member.title) or display.short_id(member.contribution)
        for member in model.members
    }


def _figures(
    model: ReportModel, rows: Sequence[dict[str, Any]], suites: Sequence[str]
) -> dict[str, Any]:
    """Return the figures as markup that is safe to insert."""
    from markupsafe import Markup

    bars = [_bar(row) for row in rows]
    base = float(100 * model.accuracy(model.base))
    cells = [[_heat_cell(part) for part in row["parts"]] for row in rows]
    titles = [row["title"] for row in rows]
    drawn = {
        "worth": plots.whiskers(
            bars,
            name="values",
            description="What each contribution is worth, with its interval; table follows.",
        ),
        "waterfall": plots.waterfall(
            base,
            bars,
            name="waterfall",
            description="From the base model to the composed system, step by step.",
        ),
        "tasks": plots.heat_map(
            titles,
            suites,
            cells,
            name="tasks",
            description="What each contribution is worth on each suite; table follows.",
        ),
    }
    if model.interactions and len(rows) <= _LARGEST_MATRIX:
        drawn["pairs"] = _pair_figure(model.interactions, rows)
    # Text inside was escaped by the SVG writer and by `plots`; nothing else reaches the markup.
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704


def _bar(row: dict[str, Any]) -> Bar:
    low, high = row["low"], row["high"]
    return Bar(
        row["title"],
        float(100 * Fraction(row["value"])),
        None if low is None else float(100 * Fraction(low)),
        None if high is None else float(100 * Fraction(high)),
    )


def _heat_cell(part: dict[str, Any]) -> tuple[float, str, bool]:
    return float(Fraction(part["value"])), display.points(part["value"]), part["certain"]


def _pair_figure(interactions: Sequence[Interaction], rows: Sequence[dict[str, Any]]) -> str:
    places = {row["contribution"]: at for at, row in enumerate(rows)}
    size = len(rows)
    cells = [[(0.0, "", False) for _ in range(size)] for _ in range(size)]
    for pair in interactions:
        first, second = places[pair.first], places[pair.second]
        text = display.points(pair.value)
        cell = (float(pair.value), text, pair.interval.excludes_zero)
        cells[first][second] = cells[second][first] = cell
    return plots.heat_map(
        [f"{at}  {row['title']}" for at, row in enumerate(rows, start=1)],
        [str(at) for at in range(1, size + 1)],
        cells,
        name="pairs",
        description="Which contributions help one another and which do the same work twice.",
    )
