"""Argument types with shell completion."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class AnyPath(click.Path):
    """A path that need not exist; whoever opens it says precisely what is wrong with it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse an empty path: an unset shell variable must not mean the current folder."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = AnyPath(path_type=Path)


class PathOrHub(AnyPath):
    """A path, or the name of a model on the Hugging Face hub, which begins with `hf:`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Leave a name on the hub as it is."""
        if isinstance(value, str) and value.startswith("hf:"):
            return value
        return super().convert(value, param, ctx)


PATH_OR_HUB = PathOrHub(path_type=Path)


class EntryId(click.ParamType[str]):
    """An entry id or a unique prefix of at least 12 characters; completed from the home."""

    name = "ID"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the ids in this home that begin as typed, with their titles."""
        from click.shell_completion import CompletionItem

        from node.cli.printable import printable

        with suppress(Exception):  # a home that cannot be read must not print into a prompt
            return [
                CompletionItem(line.id, help=printable(line.title))
                for line in ctx.obj.node().list()
                if line.id.startswith(incomplete)
            ]
        return []


ENTRY_ID = EntryId()
