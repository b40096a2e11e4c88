"""Commands that measure without recording: `suite import`, `evaluate` and `hygiene`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Fields, Table

if TYPE_CHECKING:
    from node.cli.session import Session


@command("import", "pnode suite import task.yaml -o my-suite --license CC0-1.0")
@click.argument("task", type=PATH)
@click.option("-o", "--output", required=True, metavar="DIR", type=PATH, help="The suite to make.")
@click.option("--license", "license_name", required=True, metavar="NAME", help="Of the items.")
def suite_import(session: Session, task: Path, output: Path, license_name: str) -> None:
    """Make a suite from a task of lm-evaluation-harness.

    TASK is its YAML file, over JSON lines that lie beside it. What would not give the same answers
    here is refused by name. No code is run.
    """
    from node.importing import import_task

    made = import_task(task, output, license_name=license_name)
    session.output.result(
        "suite.import",
        made,
        Fields([("suite", made.name), ("items", made.items), ("wrote", made.directory)]),
        ids=[made.directory],
    )
    session.output.hint(f"publish it with 'pnode publish {made.directory}'")


suite_command = Group("suite", commands=[suite_import], help="Make suites from other tools' tasks.")


@command(
    "evaluate",
    "pnode evaluate --base cipher-tiny --suite my-suite",
    "pnode evaluate ./composed --base cipher-tiny --suite bafkreih4a7bq",
)
@click.argument("adapter", metavar="[DIR|ID]", required=False)
@click.option("--base", required=True, metavar="NAME", help="The base model, see 'base list'.")
@click.option(
    "--suite",
    "suites",
    multiple=True,
    required=True,
    metavar="DIR|ID",
    help="What to answer; more than once for several.",
)
def evaluate_command(
    session: Session, adapter: str | None, base: str, suites: tuple[str, ...]
) -> None:
    """Answer suites with a base model, or with one adapter on it, and record nothing.

    DIR|ID is an adapter, such as a merge that 'compose -o' wrote; without it the base answers.
    """
    done = session.node().evaluate(suites, base=base, adapter=adapter)
    rows = [[score.name, f"{score.correct} of {score.total}"] for score in done.scores]
    session.output.result(
        "evaluate",
        done,
        Table(["SUITE", "CORRECT"], rows, ""),
        ids=[str(score.correct) for score in done.scores],
    )


@command(
    "hygiene",
    "pnode hygiene ./adapter --base cipher-tiny --public public-suite",
    "pnode hygiene bafkreih4a7bq --base cipher-tiny --public bafkreiabc --own my-suite",
)
@click.argument("adapter", metavar="DIR|ID")
@click.option("--base", required=True, metavar="NAME", help="The base model, see 'base list'.")
@click.option("--public", required=True, metavar="DIR|ID", help="What the base should keep.")
@click.option("--own", metavar="DIR|ID", help="What the adapter is for.")
def hygiene_command(
    session: Session, adapter: str, base: str, public: str, own: str | None
) -> None:
    """Report what an adapter keeps of the base's skill, and how much it changes.

    A recipe can require it of every member: hygiene = {public = "ID", kept = "0.9"}.
    """
    found = session.node().hygiene(adapter, base=base, public=public, own=own)
    skill = found.public
    rows: list[tuple[str, str | None]] = [
        ("kept", f"{skill.both} of the {skill.base} items that the base answers"),
        ("public", f"{skill.adapter} of {skill.total}, the base {skill.base}"),
        (
            "own",
            None
            if found.own is None
            else f"{found.own.adapter} of {found.own.total}, the base {found.own.base}",
        ),
        ("change", f"{found.change} of the weights, in the layer that changes most"),
    ]
    session.output.result("hygiene", found, Fields(rows), ids=[f"{skill.both}"])
