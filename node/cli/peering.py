"""Commands that share: `peer add|list|remove`, `sync`, `serve` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Cell, Fields, Table

if TYPE_CHECKING:
    from node.cli.session import Session

_HINT_SERVE = "others follow it with 'pnode peer add {url}'; stop with Ctrl-C"
_LOCAL = ("127.0.0.1", "::1", "localhost")


@command("add", "pnode peer add https://ledger.example", "pnode peer add /media/usb/pnode")
@click.argument("peer", metavar="URL|DIR")
def peer_add(session: Session, peer: str) -> None:
    """Add a peer: a URL, or a directory with the same layout."""
    address = str(session.node().add_peer(peer))
    session.output.result("peer.add", {"peer": address}, Fields([("peer", address)]), ids=[address])
    session.output.hint("exchange with it: 'pnode sync'")


@command("list", "pnode peer list", "pnode peer list --json")
def peer_list(session: Session) -> None:
    """List the peers of this home."""
    peers = [str(peer) for peer in session.node().peers()]
    session.output.result(
        "peer.list",
        peers,
        Table(["PEER"], [[peer] for peer in peers], "no peers yet; see 'pnode peer add --help'"),
        ids=peers,
    )


@command("remove", "pnode peer remove https://ledger.example")
@click.argument("peer", metavar="URL|DIR")
def peer_remove(session: Session, peer: str) -> None:
    """Remove a peer; what was mirrored from it stays."""
    address = str(session.node().remove_peer(peer))
    session.output.result(
        "peer.remove", {"peer": address}, Fields([("removed", address)]), ids=[address]
    )


peer_command = Group(
    "peer",
    commands=[peer_add, peer_list, peer_remove],
    help="Add, list and remove peers.\n\nWhom you follow is your own setting, never published.",
)


@command("sync", "pnode sync", "pnode sync /media/usb/pnode", "pnode sync https://ledger.example")
@click.argument("peers", metavar="[URL|DIR]...", nargs=-1)
def sync_command(session: Session, peers: tuple[str, ...]) -> None:
    """Exchange logs and blocks with peers.

    With all peers of this home if none is named. Everything is verified before it is kept.
    """
    synced = session.node().sync(list(peers))
    rows = [
        [line.peer, f"+{line.added}", line.size, Cell(line.state, _style(line.state))]
        for line in synced.peers
    ]
    session.output.result(
        "sync",
        synced,
        Table(["PEER", "ADDED", "ENTRIES", "STATE"], rows, "no peers to sync with"),
        ids=[line.peer for line in synced.peers],
    )
    if not synced.peers:
        session.output.hint("add one with 'pnode peer add URL'")


def _style(state: str) -> str:
    return "good" if state in ("ok", "current", "updated") else "warn"


@command("serve", "pnode serve", "pnode serve --host 0.0.0.0 --port 8080")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7677, show_default=True, help="Port."
)
def serve_command(session: Session, host: str, port: int) -> None:
    """Serve logs, blocks and pages over HTTP.

    Reading needs no account. Only what the ledger names is handed out, never keys.
    """
    node = session.node()
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}"
    session.output.result("serve", {"url": url, "origin": node.home.origin}, ids=[url])
    session.output.flush()
    if host not in _LOCAL:
        session.output.warn(f"everyone who reaches {host} can read this ledger")
    session.output.hint(f"serving {url}; " + _HINT_SERVE.format(url=url))
    node.serve(host, port)


@command("export", "pnode export /media/usb/pnode", "pnode --offline export ./mirror")
@click.argument("directory", metavar="DIR", type=PATH)
def export_command(session: Session, directory: Path) -> None:
    """Write everything served into a directory.

    For a USB stick or an ordinary web server: peers sync from DIR as they do from a URL. A second
    export writes only what is new.
    """
    exported = session.node().export(directory)
    session.output.result(
        "export",
        exported,
        Fields([("exported", str(directory))]),
        ids=[str(directory)],
    )
    session.output.hint(f"others read it with 'pnode sync {directory}'")
