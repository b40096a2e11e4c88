"""Commands that share: `peer add|list|remove`, `sync`, `serve` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.errors import PnodeError
from node.cli.arguments import PATH
from node.cli.failure import gravest
from node.cli.options import Group, command
from node.cli.output import Cell, Fields, Row, Table
from node.cli.pinning import warn_of_pending

if TYPE_CHECKING:
    from node.cli.session import Session
    from node.peering.sync import SyncReport

_LOCAL = ("127.0.0.1", "::1", "localhost")


@command(
    "add",
    "pnode peer add https://ledger.example",
    "pnode peer add /media/usb/pnode",
    "pnode peer add pnode.example/log/v1/5d0e...+1a2b3c4d+AX...",
)
@click.argument("peer", metavar="URL|DIR|VKEY")
def peer_add(session: Session, peer: str) -> None:
    """Add a peer: a URL, or a directory with the same layout.

    VKEY is the verifier key of a log whose owner may push it to this home, as nodes behind NAT do;
    'pnode key show' prints it there as 'log key'.
    """
    address = str(session.node().add_peer(peer))
    session.output.result("peer.add", {"peer": address}, Fields([("peer", address)]), ids=[address])
    session.output.hint("exchange with it: 'pnode sync'")


@command("list", "pnode peer list", "pnode peer list --json")
def peer_list(session: Session) -> None:
    """List the peers, and the keys of logs that may be pushed here."""
    from node.peering.peers import read_settings
    from node.peering.peerstate import read_records

    home = session.node().home
    settings, records = read_settings(home), read_records(home.path)
    rows: list[Row] = []
    for peer in settings.peers:
        record = records.get(peer)
        state = record.error if record else "not contacted yet"
        rows.append([peer, record.success if record else "", state or "good"])
    rows += [[log, "", "may push"] for log in settings.logs]
    session.output.result(
        "peer.list",
        [*settings.peers, *settings.logs],
        Table(["PEER", "LAST SYNC", "STATE"], rows, "no peers yet; see 'pnode peer add --help'"),
        ids=[*settings.peers, *settings.logs],
    )


@command("remove", "pnode peer remove https://ledger.example")
@click.argument("peer", metavar="URL|DIR|VKEY")
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
@click.option("--no-push", is_flag=True, help="Only pull; do not send this home's own log.")
@click.option("--repair", is_flag=True, help="Hash every block held again; replace damaged ones.")
def sync_command(session: Session, peers: tuple[str, ...], no_push: bool, repair: bool) -> None:
    """Pull logs and blocks from peers, and push your own log.

    With all peers of this home if none is named. Everything is verified before it is kept. A
    directory is only read; a URL that takes no pushes is no error. An IPFS daemon of store.toml
    gets what you published and it lacks.
    """
    node = session.node()
    reports = node.sync(peers, push=not no_push, repair=repair)
    pins = node.pins()
    synced = [_line(report) for report in reports]
    rows: list[Row] = [
        [
            line["peer"],
            f"+{line['added']}",
            f"+{line['pushed']}",
            line["size"],
            Cell(line["state"], _style(line)),
        ]
        for line in synced
    ]
    session.output.result(
        "sync",
        {"peers": synced, "pins": pins},
        Table(["PEER", "ADDED", "PUSHED", "ENTRIES", "STATE"], rows),
        ids=[line["peer"] for line in synced if not line["errors"]],
    )
    errors = [error for line in synced for error in line["errors"]]
    if not session.output.mode.json:
        for error in errors:
            session.output.complain(error["message"], error["hint"])
        for line in synced:
            for log in line["logs"]:
                if log["rejected"]:
                    session.output.warn(
                        f"{log['rejected']} new entries of {log['origin']} are not valid; they "
                        "are kept as part of that log and count for nothing ('pnode audit')"
                    )
            if line["missing"]:
                session.output.warn(
                    f"{line['peer']} lacks {line['missing']} of the blocks its entries name; "
                    "another peer may have them, and 'pnode audit' says what they are"
                )
    if not no_push:
        warn_of_pending(session.output, pins)
    if errors:
        code = gravest([error["exit_code"] for error in errors])
        click.get_current_context().exit(code)


def _line(report: SyncReport) -> dict[str, Any]:
    unread = report.errors and not report.logs
    return {
        "peer": report.peer,
        "added": report.added,
        "size": report.size,
        "state": report.errors[0].code if unread else report.state,
        "blocks": report.blocks,
        "pushed": report.pushed.entries,
        "pushed_blocks": report.pushed.blocks,
        "accepts_push": report.pushed.accepted,
        "missing": len(report.missing),
        "logs": [
            {
                "origin": log.origin,
                "added": log.added,
                "rejected": log.rejected,
                "size": log.size,
                "state": log.state,
            }
            for log in report.logs
        ],
        "errors": [_error(error) for error in report.errors],
    }


def _error(error: PnodeError) -> dict[str, Any]:
    return {
        "code": error.code,
        "exit_code": error.exit_code,
        "message": error.message,
        "hint": error.hint,
    }


def _style(line: dict[str, Any]) -> str:
    if line["errors"]:
        return "bad"
    return "warn" if line["missing"] else "good"


@command(
    "serve",
    "pnode serve",
    "pnode serve --host 0.0.0.0 --port 8080",
    "pnode serve --url https://ledger.example --show-peers",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=7677, show_default=True, help="Port."
)
@click.option("--url", metavar="URL", help="Address others reach this server by, shown on pages.")
@click.option(
    "--show-peers", is_flag=True, help="Tell on the page of peers whom this node follows."
)
def serve_command(
    session: Session, host: str, port: int, url: str | None, show_peers: bool
) -> None:
    """Serve logs, blocks and pages over HTTP.

    Reading needs no account. Only what the ledger names is handed out, never keys.
    """
    from node.web.serve import serve
    from node.web.site import public_url

    home = session.node().home

    def ready(url: str) -> None:
        record = {"url": url, "origin": home.origin}
        session.output.result("serve", record, Fields([("serving", url)]), ids=[url])
        if host not in _LOCAL:
            session.output.warn(f"everyone who reaches {host} can read this ledger")
        session.output.hint(f"others follow it with 'pnode peer add {url}'; stop with Ctrl-C")
        session.output.flush()

    address = None if url is None else public_url(url)
    warn = None if session.settings.offline else session.output.warn
    serve(home, host, port, url=address, show_peers=show_peers, ready=ready, warn=warn)


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
        Fields(
            [
                ("exported", str(exported.directory)),
                ("files", f"{exported.files}, of which {exported.written} are new"),
                ("written", f"{exported.bytes:,} bytes"),
            ]
        ),
        ids=[str(directory)],
    )
    session.output.hint(f"others read it with 'pnode sync {directory}'")
