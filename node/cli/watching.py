"""The command that watches over one's own identity: `watch`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ledger.errors import UsageError
from node.cli.options import command
from node.cli.output import Cell, Lines, Row, Table

if TYPE_CHECKING:
    from node.cli.session import Session


@command(
    "watch",
    "pnode watch",
    "pnode watch --no-sync --json",
    "pnode watch --interval 600 || notify-send 'look at your keys'",
)
@click.option("--once", is_flag=True, help="Look once; this is what happens without --interval.")
@click.option(
    "--interval",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Look again and again, until there is something.",
)
@click.option("--no-sync", is_flag=True, help="Only look at what is held already.")
def watch_command(session: Session, once: bool, interval: int | None, no_sync: bool) -> None:
    """Look for entries under your keys that you did not make.

    Syncs with all peers first. Reports entries in any log that are signed by a key of yours and
    not in your own log, checkpoints of your log that you did not sign, and takeovers of your log.
    Exit code 3 if there is any, 8 if your log was forked, 6 if there is none but a peer could not
    be asked, else 0.
    """
    if once and interval is not None:
        raise UsageError("--once and --interval exclude each other")
    node = session.node()
    watched = node.watch(sync=not no_sync)
    while interval is not None and not watched.alerts:
        time.sleep(interval)
        watched = node.watch(sync=not no_sync)
    rows: list[Row] = [
        [
            Cell(alert.what, "bad"),
            alert.origin,
            "" if alert.index is None else alert.index,
            Cell(alert.id or "", id=True),
            alert.message,
        ]
        for alert in watched.alerts
    ]
    nothing = Lines(["nothing is under your keys that is not of your own log"])
    session.output.result(
        "watch",
        watched,
        Table(["WHAT", "LOG", "INDEX", "ID", "FOUND"], rows) if rows else nothing,
        ids=[alert.id or alert.origin for alert in watched.alerts],
    )
    for peer in watched.unread:
        session.output.warn(f"could not ask {peer}")
    if rows:
        session.output.hint("if your seed was stolen, see docs/how-to/keys.md")
    if watched.exit_code:
        click.get_current_context().exit(watched.exit_code)
