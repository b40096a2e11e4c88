"""Commands about this node itself: `init` and `status`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.options import command
from node.cli.output import Cell, Fields, Table

if TYPE_CHECKING:
    from node.api import Node
    from node.cli.session import Session


@dataclass(frozen=True, slots=True)
class Initialised:
    """A home that exists now; `already` if it did before."""

    home: Path
    name: str
    origin: str
    author: str
    already: bool


@dataclass(frozen=True, slots=True)
class LogStanding:
    """How far a log is held and signed."""

    origin: str
    size: int
    signed: int
    own: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What `status` reports."""

    home: Path
    name: str
    origin: str
    author: str
    size: int
    unsigned: int
    logs: list[LogStanding]
    bases: list[str]
    peers: list[str]
    can_sign: bool


@command(
    "init",
    "pnode init --name ada",
    "pnode init --home .pnode",
)
@click.option("--name", default="", metavar="TEXT", help="A name to be shown beside your key.")
def init_command(session: Session, name: str) -> None:
    """Create a home: keys, log and first entry.

    Asks nothing and needs no network. The home is --home, else PNODE_HOME, else the user's data
    folder. A home that exists is left as it is.
    """
    from node.api import Node
    from node.home import MARKER, state_folder

    path = session.home_path()
    already = (path / MARKER).exists()
    home = Node.init(path, state_folder(), name=name).home
    made = Initialised(home.path.absolute(), home.name, home.origin, home.author, already)
    session.output.result(
        "init",
        made,
        Fields(
            [
                ("home", f"{made.home}" + ("  (existed, left as it is)" if already else "")),
                ("name", made.name or None),
                ("author", made.author),
                ("log", made.origin),
            ]
        ),
        ids=[made.author],
    )
    if already and name and name != home.name:
        session.output.warn(f"the home keeps its name '{home.name}'")
    if not already:
        session.output.hint(
            f"keep a copy of {made.home / 'keys' / 'recovery'} elsewhere and offline; "
            "then 'pnode publish DIR --license Apache-2.0'"
        )


@command("status", "pnode status", "pnode status --json", "pnode --home ./copied-folder status")
def status_command(session: Session) -> None:
    """Show this home: its log, what is unsigned, peers."""
    standing = _standing(session.node())
    logs = [
        [log.origin, log.size, log.signed, "this node" if log.own else "mirror"]
        for log in standing.logs
    ]
    unsigned = Cell(str(standing.unsigned), "warn" if standing.unsigned else "")
    session.output.result(
        "status",
        standing,
        Fields(
            [
                ("home", str(standing.home)),
                ("name", standing.name or None),
                ("author", standing.author),
                ("entries", standing.size),
                ("unsigned", unsigned),
                ("keys", "here" if standing.can_sign else "not here: read-only"),
                ("bases", ", ".join(standing.bases) or "none"),
                ("peers", ", ".join(standing.peers) or "none"),
            ]
        ),
        Table(["LOG", "ENTRIES", "SIGNED", "HELD AS"], logs),
        ids=[standing.origin],
    )
    if standing.unsigned:
        session.output.hint("any writing command, such as 'pnode init', finishes signing")
    elif not standing.peers:
        session.output.hint("add a peer with 'pnode peer add URL', or a folder on a USB stick")


def _standing(node: Node) -> Standing:
    from ledger.log import logs

    home = node.home
    held = []
    with home.reading() as database:
        for log in logs(database):
            latest = log.checkpoint()
            signed = latest[0].size if latest is not None else 0
            held.append(LogStanding(log.origin, log.size, signed, log.origin == home.origin))
    own = next((log for log in held if log.own), LogStanding(home.origin, 0, 0, own=True))
    return Standing(
        home=home.path.absolute(),
        name=home.name,
        origin=home.origin,
        author=home.author,
        size=own.size,
        unsigned=own.size - own.signed,
        logs=held,
        bases=[base.name for base in node.bases()],
        peers=list(node.peers()),
        can_sign=(home.path / "keys" / "seed").is_file(),
    )
