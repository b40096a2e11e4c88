"""The output sink: one record, three renderings; and hostile text from contributors."""

from __future__ import annotations

import io
import json
import unicodedata
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.cli.output import Cell, Fields, Lines, Mode, Output, Row, Table, wants_color
from node.cli.printable import printable
from node.cli.record import to_json, to_record


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Inner:
    correct: int
    raw: bytes = b"hidden"


@dataclass(frozen=True)
class Outer:
    id: str
    parts: tuple[Inner, ...]


VALUE = Outer("abc", (Inner(3),))
HOSTILE = [
    "\x1b[2Jcleared",
    "\x1b]0;new title\x07after",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31mred",
    "line one\nline two\rover it",
    "abc\u202efdp.exe",
    "\x1bP+q544e\x1b\\x",
    "back\b\b\bspace",
    "zero\u200bwidth",
    "\x1b[38;5;196mdeep\x1b[0m",
    "\x1bcreset",
    "[red]markup[/red]",
]


def _sink(mode: Mode, out: io.StringIO | None = None) -> tuple[Output, io.StringIO, io.StringIO]:
    out, err = out or io.StringIO(), io.StringIO()
    return Output(mode, out, err), out, err


def test_json_is_one_sorted_value_with_its_schema() -> None:
    output, out, err = _sink(Mode(json=True))
    output.result("thing", VALUE, Lines(["for people"]), ids=["abc"])
    output.hint("not for programs")
    assert out.getvalue() == (
        '{"id": "abc", "parts": [{"correct": 3}], "schema": "pnode.thing/1"}\n'
    )
    assert err.getvalue() == ""


def test_quiet_is_one_id_per_line_and_no_hint() -> None:
    output, out, err = _sink(Mode(quiet=True))
    output.result("thing", VALUE, Lines(["for people"]), ids=["abc", "def"])
    output.hint("next")
    assert out.getvalue() == "abc\ndef\n"
    assert err.getvalue() == ""


def test_people_get_aligned_columns_and_hints_beside_the_data() -> None:
    output, out, err = _sink(Mode())
    rows: list[Row] = [["a", 1], [Cell("long", "good"), 22]]
    output.result("thing", VALUE, Fields([("id", "abc"), ("none", None)]), Table(["X", "N"], rows))
    output.hint("next")
    assert out.getvalue() == "id  abc\nX     N\na     1\nlong  22\n"
    assert err.getvalue() == "pnode: hint: next\n"


def test_an_empty_table_leaves_standard_output_empty() -> None:
    output, out, err = _sink(Mode())
    output.result("thing", [], Table(["X"], [], "nothing is here"))
    assert (out.getvalue(), err.getvalue()) == ("", "nothing is here\n")


@pytest.mark.parametrize("title", HOSTILE)
@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_text_reaches_no_terminal(title: str, *, terminal: bool) -> None:
    output, out, err = _sink(Mode(no_color=True), Terminal() if terminal else None)
    rows: list[Row] = [[title, Cell(title, "bad", id=True)]]
    output.result("thing", None, Fields([(title, title)]), Lines([title]), Table(["A", "B"], rows))
    output.complain(title, title)
    output.warn(title)
    for text in (out.getvalue(), err.getvalue()):
        assert all(char == "\n" or unicodedata.category(char)[0] != "C" for char in text)
    assert "red]markup" in out.getvalue() or "markup" not in title
    assert out.getvalue().count("\n") == 4


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_text_in_json_is_escaped_and_kept(title: str) -> None:
    text = to_json({"title": title}, "thing")
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text)["title"] == title


@given(st.text())
def test_printable_text_is_printable_and_stays_so(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert not any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in once)


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert printable(text) == text


def test_the_text_around_an_escape_sequence_survives() -> None:
    assert printable("before \x1b[1;31mred\x1b[0m after") == "before red after"
    assert printable("a\x1b]0;title\x07b") == "ab"


@pytest.mark.parametrize(
    ("mode", "environment", "terminal", "expected"),
    [
        (Mode(), {}, True, True),
        (Mode(), {}, False, False),
        (Mode(no_color=True), {"FORCE_COLOR": "1"}, True, False),
        (Mode(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        (Mode(), {"NO_COLOR": ""}, True, True),
        (Mode(), {"FORCE_COLOR": "1"}, False, True),
        (Mode(), {"TERM": "dumb"}, True, False),
        (Mode(json=True), {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_who_gets_colour(
    mode: Mode, environment: dict[str, str], *, terminal: bool, expected: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    assert wants_color(stream, mode, environment) is expected


def test_colour_never_carries_meaning_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[Cell("ok", "good")], [Cell("BAD", "bad")]]
    shown = []
    for value in ("", "1"):
        monkeypatch.setenv("NO_COLOR", value)
        monkeypatch.setenv("TERM", "xterm")
        output, out, _ = _sink(Mode(), Terminal())
        output.result("thing", None, Fields([("verdict", Cell("ok", "good"))]), Table(["X"], rows))
        shown.append(out.getvalue())
    coloured, plain = shown
    assert "\x1b[32mok\x1b[0m" in coloured
    assert "\x1b" not in plain
    assert printable(coloured).split() == printable(plain).split()


def test_a_terminal_shows_short_ids_and_a_pipe_whole_ones() -> None:
    id_ = "bafkrei" + "a" * 52
    table = Table(["ID"], [[Cell(id_, id=True)]])
    for stream, expected in ((Terminal(), id_[:16]), (io.StringIO(), id_)):
        output, out, _ = _sink(Mode(no_color=True), stream)
        output.result("thing", None, table)
        assert out.getvalue().split() == ["ID", expected]


def test_records_hold_json_types_only() -> None:
    assert to_record({"b": {2, 1}, "a": (None, True)}) == {"b": [1, 2], "a": [None, True]}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"value": float("nan")}, None)


def test_a_story_is_told_to_people_only() -> None:
    for mode, expected in (
        (Mode(), "first\n  second\n"),
        (Mode(json=True), ""),
        (Mode(quiet=True), ""),
    ):
        output, out, _ = _sink(mode)
        output.tell("first\n  second")
        assert out.getvalue() == expected


def test_a_narrow_terminal_hides_no_part_of_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    digest = "0123456789abcdef" * 4
    output, out, _ = _sink(Mode(no_color=True), Terminal())
    output.result("thing", None, Table(["NAME", "DIGEST"], [["a", digest]]))
    assert digest in "".join(out.getvalue().split())
