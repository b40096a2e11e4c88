"""The one place where commands write: data to standard output, everything else to standard error.

A command hands over one result with a description for people. What appears depends on the mode,
which is fixed before the command runs: the description, one JSON value, or with `--quiet` one id
per line. Text for people passes through `printable`, because much of it was written by strangers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from node.cli.printable import printable, shortened
from node.cli.record import to_json

_STYLES = {"good": "32", "bad": "31", "warn": "33", "strong": "1"}
_GAP = "  "
_WIDEST_LABEL = 24


class Mode(NamedTuple):
    """How this run prints."""

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    no_color: bool = False
    debug: bool = False


class Cell(NamedTuple):
    """A value in a row; `style` only adds to what the text says, `id` may be shortened."""

    text: str
    style: str = ""
    id: bool = False


Value = Cell | str | int
Row = Sequence[Value]


class Fields(NamedTuple):
    """Labelled values, one per line; rows without a value are left out."""

    rows: Sequence[tuple[str, Value | None]]


class Table(NamedTuple):
    """Rows under headings; `empty` is said instead when there are none."""

    header: Sequence[str]
    rows: Sequence[Row]
    empty: str = "nothing here"


class Lines(NamedTuple):
    """Plain lines."""

    lines: Sequence[str]


Block = Fields | Table | Lines


class Output:
    """The sink of one run."""

    def __init__(
        self,
        mode: Mode,
        out: TextIO,
        err: TextIO,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the streams, and what must happen before a line: progress is cleared away."""
        self.mode = mode
        self._before = before
        self._out = out
        self._err = err
        self._color_out = wants_color(out, mode, os.environ)
        self._color_err = wants_color(err, mode, os.environ)

    def result(self, schema: str, value: Any, *blocks: Block, ids: Iterable[str] = ()) -> None:
        """Write the result of a command.

        Args:
            schema: name of the command; JSON objects carry "pnode.<schema>/1".
            value: the typed result, shown as JSON.
            blocks: the same for people.
            ids: the same for `--quiet`.
        """
        if self.mode.json:
            self._write(to_json(value, f"pnode.{schema}/1"))
        elif self.mode.quiet:
            for id_ in ids:
                self._write(printable(id_))
        else:
            for block in blocks:
                self._block(block)

    def data(self, content: bytes) -> None:
        """Write bytes exactly as they are: an envelope, a checkpoint, a proof."""
        self._out.flush()
        binary = getattr(self._out, "buffer", None)
        if binary is None:
            self._out.write(content.decode("utf-8", errors="backslashreplace"))
        else:
            binary.write(content)
            binary.flush()

    def tell(self, text: str) -> None:
        """Write a paragraph of a long account at once; other modes only get its result."""
        if not (self.mode.json or self.mode.quiet):
            self._block(Lines(text.split("\n")))
            self._out.flush()

    def failure(self, code: str, message: str, hint: str) -> None:
        """Write an error as the command's result."""
        if self.mode.json:
            error = {"code": code, "message": message, "hint": hint}
            self._write(to_json({"error": error}, None))
        else:
            self.complain(message, hint)

    def complain(self, message: str, hint: str = "") -> None:
        """Write an error for people, beside a result that is itself JSON or not."""
        self._say("error", "bad", message)
        if hint:
            self._say("hint", "", hint)

    def warn(self, message: str) -> None:
        """Write a warning."""
        self._say("warning", "warn", message)

    def hint(self, text: str) -> None:
        """Suggest the next step; scripts asked for none."""
        if not (self.mode.quiet or self.mode.json):
            self._say("hint", "", text)

    def note(self, text: str) -> None:
        """Write a detail for `--verbose`."""
        if self.mode.verbose and not self.mode.quiet:
            self._say("note", "", text)

    def flush(self) -> None:
        """Push everything out, so that a reader that has gone is noticed now."""
        self._out.flush()
        self._err.flush()

    def _say(self, label: str, style: str, text: str) -> None:
        self._before()
        shown = paint(f"{label}:", style, on=self._color_err)
        self._err.write(f"pnode: {shown} {printable(text)}\n")

    def _write(self, line: str) -> None:
        self._before()
        self._out.write(line + "\n")

    def _block(self, block: Block) -> None:
        if isinstance(block, Fields):
            self._fields(block)
        elif isinstance(block, Table):
            self._table(block)
        else:
            for line in block.lines:
                self._write(printable(line).rstrip())

    def _fields(self, block: Fields) -> None:
        rows = [
            (printable(label), cell_of(value)) for label, value in block.rows if value is not None
        ]
        width = min(max((len(label) for label, _ in rows), default=0), _WIDEST_LABEL)
        for label, cell in rows:
            shown = paint(printable(cell.text), cell.style, on=self._color_out)
            self._write(f"{label.ljust(width)}{_GAP}{shown}".rstrip())

    def _table(self, block: Table) -> None:
        if not block.rows:
            self._err.write(f"{printable(block.empty)}\n")
            return
        self._before()
        terminal = self._out.isatty()
        rows = [[_clean(cell_of(value), terminal) for value in row] for row in block.rows]
        if terminal:
            _draw_table(self._out, block.header, rows, color=self._color_out)
        else:
            for line in align(block.header, rows):
                self._write(line)


def cell_of(value: Value | None) -> Cell:
    """Return a value as a cell."""
    return value if isinstance(value, Cell) else Cell("" if value is None else str(value))


def align(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> list[str]:
    """Return plain lines with columns as wide as their widest value."""
    table = [list(header), *([cell.text for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(header))]
    return [
        _GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]


def wants_color(stream: TextIO, mode: Mode, environment: Mapping[str, str]) -> bool:
    """Decide about colour: --no-color, then NO_COLOR, then FORCE_COLOR, then the terminal."""
    if mode.no_color or mode.json or environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def paint(text: str, style: str, *, on: bool) -> str:
    """Return the text in a style, if colours are on."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if on and style else text


def _clean(cell: Cell, terminal: bool) -> Cell:
    text = printable(cell.text)
    return Cell(shortened(text) if cell.id and terminal else text, cell.style)


def _draw_table(
    stream: TextIO, header: Sequence[str], rows: Sequence[Sequence[Cell]], *, color: bool
) -> None:
    """Draw a table that fits the terminal; rich is only imported when there is one."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    names = {"good": "green", "bad": "red", "warn": "yellow", "strong": "bold", "": ""}
    table = RichTable(box=None, pad_edge=False, header_style="bold" if color else "")
    for title in header:
        table.add_column(title, overflow="fold")  # an ellipsis would hide part of a hash
    for row in rows:
        # Text, not str: rich would obey [markup] in a stranger's title.
        table.add_row(*(Text(cell.text, style=names[cell.style]) for cell in row))
    console = Console(
        file=stream, color_system="standard" if color else None, markup=False, highlight=False
    )
    console.print(table)
