"""Write `docs/reference/commands.md` from the command line itself.

    python tests/docs/commands_page.py

A test fails while the page differs from what this prints.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "commands.md"

_INTRODUCTION = """\
# Commands

This page is generated from the program (`tests/docs/commands_page.py`) and lists every command
with every option. What a command prints is in [JSON output](json.md), how it can fail in
[Exit codes and errors](exit-codes.md).

Data goes to standard output; progress, hints, warnings and errors go to standard error.
An `ID` is an entry id or any unique prefix of at least 12 characters.
"""

_GLOBAL = """\
## Options of every command

They work before and after the command. Each can also be set by a variable, see
[Configuration](configuration.md).
"""


def render() -> str:
    """Return the page."""
    from node.cli.program import COMMANDS, program

    group = program()
    context = click.Context(group, info_name="pnode")
    parts = [_INTRODUCTION, _GLOBAL, _options(context, group.params)]
    for section, commands in COMMANDS.items():
        parts.append(f"## {section}\n")
        for name in commands:
            command = group.get_command(context, name)
            assert command is not None, name
            parts += _command(command, context, name)
    return "\n".join(parts)


def _command(command: click.Command, parent: click.Context, name: str) -> Iterator[str]:
    context = click.Context(command, parent=parent, info_name=name)
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            found = command.get_command(context, verb)
            assert found is not None, verb
            yield from _command(found, context, verb)
        return
    yield f"### `{context.command_path}`\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    own = [param for param in command.params if not getattr(param, "hidden", False)]
    yield from filter(None, [_options(context, own)])
    examples = getattr(command, "examples", ())
    if examples:
        yield "```text\n" + "\n".join(examples) + "\n```\n"


def _options(context: click.Context, params: list[click.Parameter]) -> str:
    records = [param.get_help_record(context) for param in params]
    rows = [record for record in records if record is not None]
    if not rows:
        return ""
    # A bar would end the cell, also inside code.
    lines = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows]
    return "\n".join(["| option | meaning |", "| --- | --- |", *lines, ""])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


if __name__ == "__main__":
    # Run as a script, the folder of this file and not the root is on the path.
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(render(), "utf-8")
