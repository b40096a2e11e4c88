"""Help: every command explains itself, and the listing says what the commands say."""

from __future__ import annotations

import shlex

import click
import pytest
from commandline import Pnode

from node.cli.options import Command
from node.cli.program import COMMANDS, program

NAMES = [name for section in COMMANDS.values() for name in section]


def _commands() -> list[tuple[list[str], click.Command]]:
    group = program()
    found: list[tuple[list[str], click.Command]] = []
    for name in NAMES:
        each = group.get_command(click.Context(group), name)
        assert each is not None
        if isinstance(each, click.Group):
            found += [([name, verb], inner) for verb, inner in each.commands.items()]
        else:
            found.append(([name], each))
    return found


def test_help_lists_every_command(pnode: Pnode) -> None:
    result = pnode("--help")
    assert result.code == 0
    for name in NAMES:
        assert f"\n  {name} " in result.out


@pytest.mark.parametrize("path", [path for path, _ in _commands()], ids=" ".join)
def test_every_command_has_help_with_examples(pnode: Pnode, path: list[str]) -> None:
    result = pnode(*path, "--help")
    assert result.code == 0
    assert "Examples:" in result.out
    assert "--home DIR" in result.out
    assert max(len(line) for line in result.out.splitlines()) <= 100


@pytest.mark.parametrize("name", ["peer", "base"])
def test_nouns_list_their_verbs(pnode: Pnode, name: str) -> None:
    assert "list " in pnode(name, "--help").out


def test_the_listing_says_what_the_commands_say() -> None:
    group = program()
    for section in COMMANDS.values():
        for name, listing in section.items():
            each = group.get_command(click.Context(group), name)
            assert each is not None
            assert (each.help or "").split("\n")[0].strip() == listing.help, name


@pytest.mark.parametrize(("path", "each"), _commands(), ids=str)
def test_every_example_names_a_command_and_options_that_exist(
    path: list[str], each: click.Command
) -> None:
    assert isinstance(each, Command)
    group = program()
    for example in each.examples:
        words = shlex.split(example.split(">")[0])
        assert words[0] == "pnode"
        ctx: click.Context = group.make_context("pnode", words[1:], resilient_parsing=True)
        rest = [*ctx._protected_args, *ctx.args]
        command: click.Command | None = group
        while isinstance(command, click.Group):
            command = command.get_command(ctx, rest.pop(0))
        assert command is not None, example
        known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        assert {word for word in rest if word.startswith("-")} <= known, example


def test_every_option_is_explained() -> None:
    for path, each in _commands():
        for param in each.params:
            if isinstance(param, click.Option):
                assert param.help, (path, param.name)
