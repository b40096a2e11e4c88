"""Commands about this node itself: `init` and `status`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.options import command
from node.cli.output import Cell, Fields, Table
from node.cli.pinning import pending_table, pins_cell, warn_of_pending

if TYPE_CHECKING:
    from node.api import Node
    from node.cli.session import Session
    from node.storage.pinning import DaemonPins


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
    """How far a log is held, signed and, if there is a policy, witnessed.

    It is frozen if there is evidence that it signed two histories.
    """

    origin: str
    size: int
    signed: int
    witnessed: int | None
    own: bool
    frozen: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What `status` reports."""

    home: Path
    name: str
    origin: str
    author: str
    cosigner: str
    size: int
    unsigned: int
    logs: list[LogStanding]
    bases: list[str]
    peers: list[str]
    can_sign: bool
    pins: DaemonPins | None


@command(
    "init",
    "pnode init --name ada",
    "pnode init --home .pnode",
    "pnode init --passphrase",
)
@click.option("--name", default="", metavar="TEXT", help="A name to be shown beside your key.")
@click.option("--passphrase", is_flag=True, help="Protect the keys on disk by a passphrase.")
def init_command(session: Session, name: str, passphrase: bool) -> None:
    """Create a home: keys, log and first entry.

    Asks for nothing but the passphrase, if one is wanted, and needs no network. The home is --home,
    else PNODE_HOME, else the user's data folder. A home that exists is left as it is.
    """
    from node.api import Node
    from node.location import MARKER, state_folder

    path = session.home_path()
    already = (path / MARKER).exists()
    chosen = session.new_passphrase() if passphrase and not already else None
    home = Node.init(path, state_folder(), name=name, passphrase=chosen).home
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
    if already and passphrase:
        session.output.warn("the keys are left as they are; see 'pnode key passphrase'")
    if not already:
        session.output.warn(
            f"{made.home / 'keys' / 'recovery'} is what brings your log back if its key is lost or "
            "stolen: move it offline with 'pnode key recovery --move FILE'"
        )
        session.output.hint("then publish: 'pnode publish DIR --license Apache-2.0'")


@command("status", "pnode status", "pnode status --json", "pnode --home ./copied-folder status")
def status_command(session: Session) -> None:
    """Show this home: its logs, what is signed, witnessed and pinned, peers."""
    standing = _standing(session.node())
    logs = [
        [
            log.origin,
            log.size,
            log.signed,
            "-" if log.witnessed is None else log.witnessed,
            Cell(_held_as(log), "bad" if log.frozen else ""),
        ]
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
                ("cosigner", standing.cosigner or None),
                ("entries", standing.size),
                ("unsigned", unsigned),
                ("keys", "here" if standing.can_sign else "not here: read-only"),
                ("bases", ", ".join(standing.bases) or "none"),
                ("peers", ", ".join(standing.peers) or "none"),
                ("ipfs", pins_cell(standing.pins)),
            ]
        ),
        Table(["LOG", "ENTRIES", "SIGNED", "WITNESSED", "HELD AS"], logs),
        *pending_table(standing.pins),
        ids=[standing.origin],
    )
    warn_of_pending(session.output, standing.pins)
    if any(log.frozen for log in standing.logs):
        session.output.hint(
            "a frozen log signed two histories: 'pnode evidence list' has the proof"
        )
    elif standing.unsigned:
        session.output.hint("any writing command, such as 'pnode init', finishes signing")
    elif not standing.peers:
        session.output.hint("add a peer with 'pnode peer add URL', or a folder on a USB stick")


def _unknown(origin: str) -> LogStanding:
    return LogStanding(origin, 0, 0, None, own=True, frozen=False)


def _held_as(log: LogStanding) -> str:
    return ("this node" if log.own else "mirror") + (", frozen" if log.frozen else "")


def _standing(node: Node) -> Standing:
    from ledger.heldevidence import frozen_origins
    from ledger.log import logs
    from ledger.observations import cosigner_of
    from node.peering.policyfile import home_policy
    from node.peering.states import witnessed_size

    home = node.home
    policy = home_policy(home)
    held = []
    with home.reading() as database:
        frozen = frozen_origins(database)
        for log in logs(database):
            latest = log.checkpoint()
            signed = latest[0].size if latest is not None else 0
            witnessed = witnessed_size(log, policy) if policy is not None else None
            own = log.origin == home.origin
            held.append(
                LogStanding(log.origin, log.size, signed, witnessed, own, log.origin in frozen)
            )
        cosigner = cosigner_of(database, home.origin)
    mine = next((log for log in held if log.own), _unknown(home.origin))
    return Standing(
        home=home.path.absolute(),
        name=home.name,
        origin=home.origin,
        author=home.author,
        cosigner=str(cosigner) if cosigner else "",
        size=mine.size,
        unsigned=mine.size - mine.signed,
        logs=held,
        bases=[base.name for base in node.bases()],
        peers=list(node.peers()),
        can_sign=(home.path / "keys" / "seed").is_file(),
        pins=node.pins(),
    )
