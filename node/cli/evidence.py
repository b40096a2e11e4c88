"""Commands about equivocation: `evidence list|show|add`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Cell, Fields, Row, Table

if TYPE_CHECKING:
    from node.cli.session import Session


@command("list", "pnode evidence list", "pnode evidence list --json")
def evidence_list(session: Session) -> None:
    """List the evidence held here.

    Every log named here has signed two histories and is frozen: not extended and not cosigned.
    """
    held = session.node().evidence()
    rows: list[Row] = [
        [Cell(each.id, id=True), each.kind, f"{each.sizes[0]}, {each.sizes[1]}", each.origin]
        for each in held
    ]
    session.output.result(
        "evidence.list",
        held,
        Table(["ID", "KIND", "TREES OF", "LOG"], rows, "no log is known to have signed twice"),
        ids=[each.id for each in held],
    )


@command(
    "show",
    "pnode evidence show 0f6c2e7d9a1b",
    "pnode evidence show 0f6c2e7d9a1b -o equivocation.txt",
)
@click.argument("id", metavar="ID")
@click.option("-o", "--output", metavar="FILE", type=PATH, help="Standard output if not given.")
def evidence_show(session: Session, id: str, output: Path | None) -> None:
    """Write an evidence file, for others to verify.

    ID is the id of the evidence or the beginning of it, at least 12 characters.
    """
    shown = session.node().evidence_file(id)
    if output is None and not session.output.mode.json:
        session.output.data(shown.raw)
        return
    if output is not None:
        from node.durable import write_atomic

        write_atomic(output, shown.raw)
    fields = Fields([("evidence", shown.id), ("file", str(output))])
    session.output.result("evidence.show", shown, fields, ids=[shown.id])
    session.output.hint(f"anyone checks it with 'pnode verify {output}'")


@command("add", "pnode evidence add equivocation.txt")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=PATH)
def evidence_add(session: Session, files: tuple[Path, ...]) -> None:
    """Keep evidence from a file, and freeze the log it is about.

    It is also stated in your own log. For evidence that reached you by mail or on paper;
    'pnode sync' exchanges it by itself.
    """
    added = session.node().add_evidence(files)
    rows: list[Row] = [[Cell(each.id, id=True), each.kind, each.origin] for each in added]
    session.output.result(
        "evidence.add",
        added,
        Table(["ID", "KIND", "LOG"], rows),
        ids=[each.id for each in added],
    )


evidence_command = Group(
    "evidence",
    commands=[evidence_list, evidence_show, evidence_add],
    help="List, write and add evidence of equivocation.\n\n"
    "Evidence proves that a log signed two histories. 'pnode verify FILE' checks it anywhere.",
)
