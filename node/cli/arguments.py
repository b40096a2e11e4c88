"""Argument types with shell completion."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

PATH = click.Path(path_type=Path)
"""A path that need not exist; whoever opens it says precisely what is wrong with it."""


class EntryId(click.ParamType[str]):
    """An entry id or a unique prefix of at least 12 characters; completed from the home."""

    name = "ID"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the ids in this home that begin as typed, with their titles."""
        from node.cli.printable import printable

        with suppress(Exception):  # a home that cannot be read must not print into a prompt
            return [
                CompletionItem(line.id, help=printable(line.title))
                for line in ctx.obj.node().list()
                if line.id.startswith(incomplete)
            ]
        return []


ENTRY_ID = EntryId()
