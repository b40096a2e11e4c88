"""Options that every command takes, before or after its name, and the classes that add them.

Before the command they may also come from the environment (`PNODE_HOME`, `PNODE_JSON`, ...);
after it only from the command line, so that `PNODE_HOME` cannot be shadowed by accident. The
more specific place wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from node.cli.arguments import PATH

if TYPE_CHECKING:
    from node.cli.session import Session

PREFIX = "PNODE"
GLOBALS = (
    "--home DIR",
    "--json",
    "-q",
    "-v",
    "--offline",
    "--ipfs ADDRESS",
    "--yes",
    "--passphrase-file FILE",
    "--no-color",
    "--debug",
)


@dataclass(slots=True)
class Settings:
    """What the global options say; filled while the arguments are parsed.

    `expects_json` is a guess from the raw arguments, for errors that stop the parsing before
    `--json` is reached.
    """

    home: Path | None = None
    json: bool = False
    quiet: bool = False
    verbose: int = 0
    offline: bool = False
    ipfs: str | None = None
    yes: bool = False
    passphrase_file: Path | None = None
    no_color: bool = False
    debug: bool = False
    expects_json: bool = False
    running: bool = False


def global_options(*, top: bool) -> list[click.Parameter]:
    """Return fresh global options: listed in the help and read from the environment if `top`."""

    def option(*names: str, help: str, **attributes: Any) -> click.Option:
        return click.Option(
            [*names],
            help=help,
            expose_value=False,
            callback=_remember,
            hidden=not top,
            allow_from_autoenv=top,
            **attributes,
        )

    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_version,
        hidden=not top,
        allow_from_autoenv=False,
        help="Show the version and exit.",
    )
    return [
        option("--home", type=PATH, metavar="DIR", help="The home to work in."),
        option("--json", is_flag=True, help="Exactly one JSON value on standard output."),
        option("-q", "--quiet", is_flag=True, help="Only ids, one per line; no hints."),
        option("-v", "--verbose", count=True, help="More detail on standard error."),
        option("--offline", is_flag=True, help="Never open a network connection."),
        option(
            "--ipfs",
            metavar="ADDRESS",
            help="The IPFS daemon that keeps what you publish, instead of the one in store.toml.",
        ),
        option("--yes", is_flag=True, help="Answer every question with yes."),
        option(
            "--passphrase-file",
            type=PATH,
            metavar="FILE",
            help="Holds the passphrase of protected keys.",
        ),
        option("--no-color", is_flag=True, help="No colours, also on a terminal."),
        option("--debug", is_flag=True, help="Show a traceback when something fails."),
        version,
    ]


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep a value that was really given, so that the default of one place hides no other."""
    assert param.name is not None
    source = ctx.get_parameter_source(param.name)
    if source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        setattr(ctx.obj.settings, param.name, value)


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    from node.cli.output import Lines

    found = {"version": version("pnode")}
    ctx.obj.output.result("version", found, Lines([f"pnode {found['version']}"]))
    ctx.exit()


class Command(click.Command):
    """A command with the global options and examples that can be pasted."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.examples = tuple(examples)
        self.params = [*self.params, *global_options(top=False)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, one per line as they are, and name the global options."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{example}\n")
        with formatter.section("Also, before or after the command"):
            formatter.write_text(", ".join(GLOBALS))

    def invoke(self, ctx: click.Context) -> None:
        """Run the command; what libraries print meanwhile goes to standard error."""
        session: Session = ctx.obj
        session.settings.running = True
        session.output  # noqa: B018 - binds the real standard output before it is redirected
        with redirect_stdout(session.err):
            super().invoke(ctx)


class Group(click.Group):
    """A noun with verbs, such as `peer add`."""

    command_class = Command

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.params = [*self.params, *global_options(top=False)]

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Name the global options."""
        with formatter.section("Also, before or after the command"):
            formatter.write_text(", ".join(GLOBALS))


def command(name: str, *examples: str, **attributes: Any) -> Callable[[Any], Command]:
    """Declare a command; `examples` are complete command lines."""

    def declare(function: Any) -> Command:
        passed = click.pass_obj(function)
        declared = click.command(name, cls=Command, examples=examples, **attributes)(passed)
        assert isinstance(declared, Command)
        return declared

    return declare


def expects_json(args: Iterable[str], environment: dict[str, str] | Any) -> bool:
    """Guess from unparsed arguments and environment whether the caller wants JSON."""
    for arg in args:
        if arg == "--":
            break
        if arg == "--json":
            return True
    return str(environment.get(f"{PREFIX}_JSON", "")).lower() in (
        "1",
        "true",
        "t",
        "yes",
        "y",
        "on",
    )
