"""The program: which commands exist, where they live, and how a run begins and ends.

A command's module is imported when the command runs. The names and short helps are written here so
that `pnode --help` imports none of them; a test keeps them equal to what the modules say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from node.cli.failure import READER_GONE, failure_of
from node.cli.options import PREFIX, Settings, expects_json, global_options
from node.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMPLETE_VARIABLE: Final = "_PNODE_COMPLETE"


class Listing(NamedTuple):
    """One command in the list: the module that holds it and one line about it."""

    module: str
    help: str


COMMANDS: Final[dict[str, dict[str, Listing]]] = {
    "Begin": {
        "init": Listing("identity", "Create a home: keys, log and first entry."),
        "status": Listing(
            "identity", "Show this home: its logs, what is signed, witnessed and pinned, peers."
        ),
        "key": Listing("keys", "Show, rotate, recover, revoke and protect the keys of this home."),
        "demo": Listing("story", "Play the whole story on small real models."),
    },
    "Contribute": {
        "publish": Listing("publishing", "Check, store, sign and log an adapter or a suite."),
        "withdraw": Listing("publishing", "Stop the future use of a contribution."),
    },
    "Read": {
        "list": Listing("reading", "List what is in force."),
        "show": Listing("reading", "Show one entry and its place in the log."),
        "fetch": Listing("reading", "Bring an artifact into a directory, every block verified."),
        "log": Listing("reading", "List the entries of a log in order."),
        "checkpoint": Listing("reading", "Print the signed checkpoint of a log."),
        "prove": Listing("reading", "Write the proof that an entry is in its log."),
    },
    "Check": {
        "verify": Listing("checking", "Check entries, proofs, checkpoints and artifacts offline."),
        "audit": Listing("checking", "Check every log and record held here."),
        "evidence": Listing("evidence", "List, write and add evidence of equivocation."),
        "replay": Listing("checking", "Rebuild and score again what an entry claims."),
        "watch": Listing("watching", "Look for entries under your keys that you did not make."),
    },
    "Compose": {
        "base": Listing("composing", "Add and list base models."),
        "methods": Listing(
            "composing", "List the composition methods, or print the reference of one."
        ),
        "compose": Listing("composing", "Lock, assemble, evaluate and record a recipe."),
        "suite": Listing("evaluating", "Make suites from other tools' tasks."),
        "evaluate": Listing(
            "evaluating",
            "Answer suites with a base model, or with one adapter on it, and record nothing.",
        ),
        "hygiene": Listing(
            "evaluating",
            "Report what an adapter keeps of the base's skill, and how much it changes.",
        ),
    },
    "Credit": {
        "attribute": Listing("crediting", "Compute what each contribution was worth."),
        "report": Listing("crediting", "Write the governance report as one HTML file."),
    },
    "Share": {
        "peer": Listing("peering", "Add, list and remove peers."),
        "sync": Listing("peering", "Pull logs and blocks from peers, and push your own log."),
        "serve": Listing("peering", "Serve logs, blocks and pages over HTTP."),
        "export": Listing("peering", "Write everything served into a directory."),
        "store": Listing("storing", "Show, keep, let go, clean, import and export blocks."),
        "describe": Listing("describing", "Write what is published for another tool to read."),
    },
    "Diagnose": {
        "recover": Listing("recovery", "Bring this home's own log back from peers."),
        "doctor": Listing("diagnosis", "Check this installation and home."),
        "completion": Listing("diagnosis", "Print the completion script of a shell."),
    },
}
"""Every command by the section of the help it appears in."""


class Program(click.Group):
    """The group of all commands, each imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        for section in COMMANDS.values():
            if cmd_name in section:
                module = import_module(f"node.cli.{section[cmd_name].module}")
                found: click.Command = getattr(module, f"{cmd_name}_command")
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; suggest near names without importing any."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(
                error.command_name, possibilities=self.list_commands(ctx), ctx=ctx
            ) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        width = max(len(name) for name in self.list_commands(ctx))
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(width), listing.help) for name, listing in section.items()]
                )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Say where else options can be set, and what the exit codes mean."""
        formatter.write_paragraph()
        formatter.write_text(
            "Global options work before and after the command. Every option can be set by a "
            "variable: PNODE_HOME, PNODE_JSON, PNODE_PUBLISH_LICENSE. The home is --home, else "
            "PNODE_HOME, else a .pnode folder here or above, else the user's data folder."
        )
        formatter.write_paragraph()
        formatter.write_text(
            "Exit codes: 0 success, 1 failure, 2 usage, 3 bad evidence, 4 no identity, "
            "5 not found, 6 unavailable, 7 refused, 8 equivocation, 9 incomplete, 130 interrupted."
        )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names without importing the commands."""
        from click.shell_completion import CompletionItem

        items = [
            CompletionItem(name, help=listing.help)
            for section in COMMANDS.values()
            for name, listing in section.items()
            if name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]


def program() -> Program:
    """Return the command line as click sees it."""
    return Program(
        "pnode",
        params=global_options(top=True),
        help=(
            "Turn many people's adapters into one AI system, keep proof of who contributed "
            "what, and let anyone check it again."
        ),
        options_metavar="[OPTIONS]",
    )


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A title in a script the locale cannot encode must not stop a listing.
            stream.reconfigure(errors="backslashreplace")
    settings = Settings(expects_json=expects_json(args, os.environ))
    session = Session(settings)
    code = _complete(session) if COMPLETE_VARIABLE in os.environ else _run(session, list(args))
    return _flush(session, code)


def _run(session: Session, args: list[str]) -> int:
    group = program()
    try:
        with group.make_context("pnode", args, obj=session, auto_envvar_prefix=PREFIX) as ctx:
            group.invoke(ctx)
        return 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except BrokenPipeError:
        return READER_GONE
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - every error is reported
        return _report(session, error)


def _report(session: Session, error: BaseException) -> int:
    """Show how a run failed."""
    if session.settings.debug:
        import traceback

        traceback.print_exception(error, file=session.err)
    failure = failure_of(error)
    output = session.output
    try:
        if isinstance(error, click.exceptions.NoArgsIsHelpError) and not output.mode.json:
            session.err.write(error.ctx.get_help() + "\n")
        else:
            output.failure(failure.code, failure.message, failure.hint)
    except BrokenPipeError:
        return READER_GONE
    except OSError:
        return failure.exit_code  # the very report cannot be written; its code still can
    return failure.exit_code


def _complete(session: Session) -> int:
    """Answer the shell that asks for completions."""
    from click.shell_completion import shell_complete

    instruction = os.environ[COMPLETE_VARIABLE]
    arguments = {"obj": session, "auto_envvar_prefix": PREFIX}
    try:
        return shell_complete(program(), arguments, "pnode", COMPLETE_VARIABLE, instruction)
    except Exception:  # noqa: BLE001 - a broken home must not print into a prompt
        return 1


def _flush(session: Session, code: int) -> int:
    """Flush, so that a reader that has gone (`pnode list | head`) is noticed here."""
    try:
        session.output.flush()
    except BrokenPipeError:
        _abandon(session)
        return READER_GONE
    except ValueError:  # closed already
        return code
    except OSError as error:
        _abandon(session)
        return code or _report(session, error)
    return code


def _abandon(session: Session) -> None:
    """Give Python somewhere to flush to, or it would complain once more at exit."""
    for stream in (session.out, session.err):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
