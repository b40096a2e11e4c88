"""The report: same bytes every time, nothing foreign runs in it, nothing leaves it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from attribution.analysis import Estimator, analyse
from attribution.display import clean, grouped, items, points
from attribution.errors import RecordError, ReportError
from attribution.permutation import PermutationPlan
from attribution.record import Subject, build_record, parse_record
from attribution.report import Rendered, render
from attribution.reportmodel import ReportModel, SystemScore
from attribution.table import CoalitionTable
from attribution.tabular import escape_cell
from compose.errors import MissingExtraError
from ledger.encoding import canonical_json, parse_canonical_json
from tests.attribution.reports import COMPOSITION, hostile_model, town_model, town_table

ATTACKS = [
    "<script>alert(1)</script>",
    "\"'><img src=https://evil.example/x onerror=alert(1)>",
    "</svg></title></style><script>x</script>",
    "{{ 7*7 }} {% raw %} $\\frac{1}{2}$",
    "a\x1b[2Jb\u202ec\u0000d\x85",
    "]]><!-- --><x:y/>",
    '=HYPERLINK("https://evil.example")',
]


class Page(HTMLParser):
    """Collects the elements and attributes of a page."""

    def __init__(self, rendered: Rendered) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(rendered.html.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


@pytest.fixture(scope="module")
def model() -> ReportModel:
    return town_model()


@pytest.fixture(scope="module")
def rendered(model: ReportModel) -> Rendered:
    return render(model)


def test_same_model_gives_the_same_bytes(rendered: Rendered) -> None:
    assert render(town_model()) == rendered


def test_bytes_do_not_depend_on_process_or_matplotlib_configuration(
    rendered: Rendered, tmp_path: Path
) -> None:
    configuration = tmp_path / "matplotlibrc"
    configuration.write_text("font.size: 30\naxes.facecolor: red\nsvg.fonttype: path\n")
    code = (
        "import hashlib; from attribution.report import render; "
        "from tests.attribution.reports import town_model; "
        "print(hashlib.sha256(render(town_model()).html).hexdigest())"
    )
    environment = os.environ | {"MATPLOTLIBRC": str(configuration), "PYTHONHASHSEED": "12345"}
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True
    )
    assert found.stdout.decode().strip() == hashlib.sha256(rendered.html).hexdigest()


def test_first_sentence_and_glance_state_the_result(rendered: Rendered) -> None:
    text = " ".join(Page(rendered).text.split())
    assert "With 8 contributions the system solves 303 of 320 test items" in text
    assert "the base model alone solves 33." in text
    for question in ("contributed", "changed", "was paid", "is contested", "is not verified"):
        assert re.search(rf"(Who|What) {question}", text)
    assert "built-in" not in text


def test_page_is_self_contained_and_without_script(rendered: Rendered) -> None:
    page = Page(rendered)
    assert page.tags["script"] == page.tags["img"] == page.tags["link"] == page.tags["iframe"] == 0
    assert not page.values("src")
    assert all(value.startswith("#") for value in page.values("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    source = rendered.html.decode()
    assert re.findall(r"url\((?!#)", source) == []
    assert "@import" not in source
    assert set(re.findall(r"https?://[^\"' <]+", source)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_ids_are_unique_and_references_resolve(rendered: Rendered) -> None:
    page = Page(rendered)
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    source = rendered.html.decode()
    used = set(re.findall(r"url\(#([^)]+)\)", source))
    used |= {value[1:] for value in page.values("href")}
    assert used
    assert used <= set(ids)


def test_figures_are_well_formed_described_and_follow_the_page(rendered: Rendered) -> None:
    figures = re.findall(r"<svg.*?</svg>", rendered.html.decode(), re.DOTALL)
    assert len(figures) == 4
    for figure in figures:
        element = ET.fromstring(figure)
        assert element.attrib["role"] == "img"
        assert len(element.attrib["aria-label"]) > 20
        assert "var(--ink)" in figure
        assert "#0102" not in figure
        assert "<text" in figure


def test_every_figure_of_the_page_has_a_twin_in_json(
    model: ReportModel, rendered: Rendered
) -> None:
    twin = parse_canonical_json(rendered.json.removesuffix(b"\n"), what="twin")
    assert twin["schema"] == "pnode.report/1"
    assert twin["record"] == model.record
    assert parse_record(canonical_json(twin["record"])) == model.record
    assert len(twin["interactions"]) == 28
    assert [Fraction(pair["value"]) for pair in twin["interactions"]] == [
        pair.value for pair in model.interactions
    ]
    assert len(twin["scores"]) == len(model.scores)


def test_csv_holds_the_exact_values(model: ReportModel, rendered: Rendered) -> None:
    rows = list(csv.DictReader(io.StringIO(rendered.csv.decode())))
    published = {worth["contribution"]: worth for worth in model.record["values"]}
    assert len(rows) == 8
    for row in rows:
        worth = published[row["contribution"]]
        assert row["value"] == worth["value"]
        assert row["low"] == worth["interval"]["low"]
        assert row["value on transit"] == worth["by_suite"][1]["value"]
    values = [Fraction(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True)


def test_page_names_the_digests_of_its_twins(rendered: Rendered) -> None:
    page = rendered.html.decode()
    assert hashlib.sha256(rendered.json).hexdigest() in page
    assert hashlib.sha256(rendered.csv).hexdigest() in page


@pytest.fixture(scope="module")
def harmless() -> Page:
    return Page(render(hostile_model("harmless")))


@pytest.mark.no_cover
@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_text_is_shown_and_never_interpreted(harmless: Page, attack: str) -> None:
    hostile = render(hostile_model(attack))
    page, expected = Page(hostile), harmless
    text_in_figures = {"g", "path", "text", "tspan", "use", "defs", "rect"}
    for tag in page.tags.keys() | expected.tags.keys():
        if tag not in text_in_figures:
            assert page.tags[tag] == expected.tags[tag], tag
    names = {name for name, _ in page.attributes} - {name for name, _ in expected.attributes}
    assert names == set()
    source = hostile.html.decode()
    for figure in re.findall(r"<svg.*?</svg>", source, re.DOTALL):
        ET.fromstring(figure)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", source)
    assert " ".join(clean(attack).split()) in " ".join(page.text.split())
    assert "49" not in page.text.partition("What the system is")[0]


def test_hostile_text_cannot_become_a_formula() -> None:
    hostile = render(hostile_model("=1+1"))
    rows = list(csv.reader(io.StringIO(hostile.csv.decode())))
    number = re.compile(r"-?[0-9]+([./][0-9]+)?")
    for row in rows:
        for cell in row:
            assert number.fullmatch(cell) or not cell.startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-cmd", "'-cmd"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-1/24", "-1/24"),
        ("-0.012500", "-0.012500"),
        ("-1/2/3", "'-1/2/3"),
        ("-1+1", "'-1+1"),
        ("plain = text", "plain = text"),
        ("", ""),
    ],
)
def test_cells_that_a_spreadsheet_would_run_are_escaped(cell: str, expected: str) -> None:
    assert escape_cell(cell) == expected


def test_sampled_values_say_what_their_intervals_cover() -> None:
    whole = town_table(6)
    plan = PermutationPlan("checkpoint 57", whole.lock, 6)
    rows = {mask: whole.rows[mask] for mask in plan.masks(3)}
    table = CoalitionTable.of(whole.lock, whole.players, whole.suites, rows)
    estimator = Estimator("permutation", "requested", "checkpoint 57", 3)
    analysis = analyse(table, estimator, confidence="0.9")
    authors = dict.fromkeys(table.players, "did:key:z6Mk")
    record = build_record(table, analysis, Subject(COMPOSITION, authors, "left out"))
    page = Page(render(replace(town_model(6), record=record, interactions=(), attribution=None)))
    text = " ".join(page.text.split())
    assert "estimates from 6 sampled orders" in text
    assert "covers both the sampling and the choice of test items" in text
    assert "at 90 % confidence" in text
    assert "pairs need every combination" in text
    assert "attribution not published yet" in text
    assert "seed checkpoint 57" in text


def test_unknown_spread_is_shown_as_unknown() -> None:
    model = town_model(3)
    record = json.loads(json.dumps(model.record))
    for worth in record["values"]:
        worth["interval"] = None
        for part in worth["by_suite"]:
            part["low"] = part["high"] = None
    text = " ".join(Page(render(replace(model, record=record))).text.split())
    assert text.count("unknown") >= 3
    assert text.count("not distinguishable from zero") >= 3


def test_scores_that_contradict_the_values_are_refused(model: ReportModel) -> None:
    scores = tuple(
        SystemScore(score.name, score.kind, (score.correct[0] - 1, *score.correct[1:]))
        if score.kind == "composition"
        else score
        for score in model.scores
    )
    with pytest.raises(ReportError, match="the scores say the system gains"):
        replace(model, scores=scores)
    with pytest.raises(ReportError, match="kind 'base'"):
        replace(model, scores=model.scores[1:])
    with pytest.raises(ReportError, match="exceeds its suite"):
        replace(model, scores=(*model.scores, SystemScore("x", "method", (81, 0, 0, 0))))


def test_members_and_suites_must_be_those_of_the_record(model: ReportModel) -> None:
    with pytest.raises(ReportError, match="members"):
        replace(model, members=model.members[1:])
    with pytest.raises(ReportError, match="suites"):
        replace(model, suites=model.suites[::-1])
    with pytest.raises(RecordError, match="schema"):
        replace(model, record=dict(model.record) | {"schema": "other"})


def test_missing_matplotlib_names_the_extra(
    model: ReportModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError) as refused:
        render(model)
    assert "pip install 'pnode[report]'" in refused.value.hint


def test_importing_the_package_does_not_import_matplotlib_or_torch() -> None:
    code = (
        "import sys, attribution.report, attribution.attribute, attribution.record; "
        "print(sorted({'matplotlib', 'torch', 'jinja2', 'click'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    found = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert found.stdout.decode().strip() == "[]"


def test_numbers_for_reading() -> None:
    assert points("1/16") == "+6.2"
    assert points("-1/3") == "\u221233.3"
    assert points("-1/100000") == "0.0"
    assert items("625/12") == "+52.1"
    assert grouped(1234567) == "1\u202f234\u202f567"
    assert clean("a\n b\u202e\x1b") == "a b\ufffd\ufffd"
