"""The command `demo`: the whole story on small real models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import PATH
from node.cli.options import command

if TYPE_CHECKING:
    from node.cli.session import Session


@command("demo", "pnode demo", "pnode demo --keep ./story", "pnode demo --train")
@click.option("--keep", metavar="DIR", type=PATH, help="Keep homes, reports and copies here.")
@click.option(
    "--train",
    metavar="[DIR]",
    type=PATH,
    is_flag=False,
    flag_value="demo-models",
    help="First train base and adapters anew, into DIR (demo-models if not given).",
)
def demo_command(session: Session, keep: Path | None, train: Path | None) -> None:
    """Play the whole story on small real models.

    Several people publish, compose, attribute and audit, and three forgeries are caught. Needs no
    network, no account and no GPU.
    """
    from node.demo.story import run

    told = run(keep, train, progress=session.progress(), say=session.output.tell)
    session.output.result("demo", told, ids=[told.report])
