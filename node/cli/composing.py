"""Commands that build systems: `base add`, `base list`, `methods` and `compose`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Fields, Lines, Table
from node.cli.pinning import pins_cell, warn_of_pending

if TYPE_CHECKING:
    from node.cli.session import Session


@command(
    "add",
    "pnode base add ./cipher-tiny",
    "pnode base add HuggingFaceTB/SmolLM2-135M --name smol",
)
@click.argument("source", metavar="DIR|HUB_ID")
@click.option("--name", metavar="NAME", help="What to call it; from the directory if not given.")
def base_add(session: Session, source: str, name: str | None) -> None:
    """Add a base model, pinned by the digest of its files.

    A hub id is downloaded, which --offline refuses; write OWNER/NAME@REVISION to name a revision.
    """
    base = session.node().add_base(source, name=name)
    session.output.result(
        "base.add",
        base,
        Fields([("base", base.name), ("digest", f"sha256:{base.digest}"), ("cid", base.cid)]),
        ids=[base.name],
    )
    session.output.hint(f"publish adapters for it with 'pnode publish DIR --base {base.name}'")


@command("list", "pnode base list", "pnode base list --json")
def base_list(session: Session) -> None:
    """List the base models known here."""
    bases = session.node().bases()
    session.output.result(
        "base.list",
        bases,
        Table(
            ["NAME", "DIGEST"],
            [[base.name, f"sha256:{base.digest}"] for base in bases],
            "no base model yet; add one with 'pnode base add DIR'",
        ),
        ids=[base.name for base in bases],
    )


base_command = Group(
    "base",
    commands=[base_add, base_list],
    help="Add and list base models.\n\nA base is pinned by digest; its name is for people.",
)


@command("methods", "pnode methods", "pnode methods merge.ties", "pnode methods --json")
@click.argument("name", metavar="[NAME]", required=False)
def methods_command(session: Session, name: str | None) -> None:
    """List the composition methods, or print the reference of one.

    The text of a method is its exact specification; a recipe names the method and sets parameters.
    """
    from compose.methods import METHODS, find_method
    from compose.methods.reference import reference

    if name is None:
        known = [reference(METHODS[each]) for each in sorted(METHODS)]
        rows = [[each.name, each.level, _yes(each.needs_dev), each.summary] for each in known]
        table = Table(["NAME", "LEVEL", "DEV SUITE", "WHAT IT DOES"], rows)
        session.output.result("methods", known, table, ids=[each.name for each in known])
        session.output.hint("read one with 'pnode methods NAME'")
        return
    found = reference(find_method(name))
    parameters = [[each.name, each.default, each.values] for each in found.parameters]
    session.output.result(
        "methods",
        found,
        Fields(
            [
                ("method", found.name),
                ("version", found.version),
                ("level", found.level),
                ("dev suite", "needed" if found.needs_dev else "not needed"),
                ("with -o", "a PEFT adapter" if found.exports else "a folder that Python opens"),
                ("coalitions", found.coalitions),
            ]
        ),
        Lines(["", found.summary, "", *found.text.split("\n"), ""]),
        Table(["PARAMETER", "DEFAULT", "VALUES"], parameters, "it takes no parameters"),
        ids=[found.name],
    )


def _adapter_cell(adapter: dict[str, Any] | None) -> str | None:
    if adapter is None:
        return None
    return f"rank {adapter['rank']}, relative error {adapter['error']}"


def _yes(needed: bool) -> str:
    return "needed" if needed else "no"


@command(
    "compose",
    "pnode compose recipe.toml --dry-run",
    "pnode compose recipe.toml -o ./composed",
)
@click.argument("recipe", type=PATH)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=PATH,
    help="Also write the system.",
)
@click.option("--dry-run", is_flag=True, help="Resolve the recipe to its lock, and stop there.")
def compose_command(session: Session, recipe: Path, output: Path | None, dry_run: bool) -> None:
    """Lock, assemble, evaluate and record a recipe.

    RECIPE is a TOML file that names a base, members, a method and suites. A member that
    was withdrawn or made for another base is refused. With -o a merge becomes a PEFT adapter,
    another system a folder that node.saving.open_system opens.
    """
    composed = session.node().compose(recipe, output=output, dry_run=dry_run)
    count = len(composed.members)
    scores = [
        (f"{score['name']}", f"{score['correct']} of {score['total']}  ({suite})")
        for suite, score in composed.scores.items()
    ]
    session.output.result(
        "compose",
        composed,
        Fields(
            [
                ("members", count),
                ("lock", composed.lock),
                ("system", composed.system_digest),
                ("exactness", f"{composed.exactness}: {composed.exactness_reason}"),
                ("id", composed.id),
                ("evaluation", composed.evaluation),
                *((f"weight {id_[:16]}", weight) for id_, weight in composed.weights.items()),
                *((f"score {name}", text) for name, text in scores),
                ("adapter", _adapter_cell(composed.adapter)),
                ("ipfs", pins_cell(composed.pins)),
            ]
        ),
        Lines([f"wrote  {name}" for name in composed.files]),
        ids=[composed.id or composed.lock],
    )
    for warning in composed.warnings:
        session.output.warn(warning)
    warn_of_pending(session.output, composed.pins)
    if composed.id is None:
        session.output.hint("nothing was run or signed; run it again without --dry-run")
    else:
        session.output.hint(
            f"what was each worth? 'pnode attribute {composed.id[:16]}'; "
            f"anyone repeats it with 'pnode replay {composed.id[:16]}'"
        )
