"""The command `store`: the blocks of this home, and which of them it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Cell, Fields, Row, Table

if TYPE_CHECKING:
    from node.cli.session import Session
    from node.storage.keeping import Kept


@command("status", "pnode store status", "pnode --offline store status --json")
def store_status(session: Session) -> None:
    """Show what is here, what contributions in force are not, and the IPFS daemon.

    Of the daemon of store.toml it says whether it answers, and what it does not keep yet.
    """
    found = session.node().store_status()
    fields: list[tuple[str, Cell | str | int | None]] = [
        ("blocks", f"{found.blocks:,}, {found.bytes:,} bytes"),
        ("local", Cell(found.health.detail, "" if found.health.ok else "bad")),
    ]
    if found.daemon is not None:
        fields.append(("IPFS daemon", found.daemon.daemon))
        if found.daemon_health is not None:
            style = "" if found.daemon_health.ok else "bad"
            fields.append(("", Cell(found.daemon_health.detail, style)))
        fields.append(("pinned there", found.daemon.pinned))
    rows: list[Row] = [
        [Cell(each.cid, id=True), Cell(each.entry, id=True), each.title, "not here"]
        for each in found.absent
    ]
    rows += [
        [Cell(each.cid, id=True), Cell(each.entry, id=True), "", "not at the daemon yet"]
        for each in (found.daemon.pending if found.daemon else ())
    ]
    session.output.result(
        "store.status",
        found,
        Fields(fields),
        Table(["CID", "ENTRY", "TITLE", "STATE"], rows, "everything in force is kept"),
        ids=[each.cid for each in found.absent],
    )
    if found.daemon is not None and found.daemon.error:
        session.output.warn(f"{found.daemon.tried}: {found.daemon.error}")
    if rows:
        session.output.hint("keep one with 'pnode store pin CID'")


@command(
    "pin", "pnode store pin bafkreih4a7bq", "pnode store pin bafybeigd... -q", "pnode store pin"
)
@click.argument("artifacts", metavar="[ID|CID]...", nargs=-1)
def store_pin(session: Session, artifacts: tuple[str, ...]) -> None:
    """Bring artifacts here and keep them, here and at the IPFS daemon.

    Blocks that are missing come from peers, the daemon and gateways, each verified. Without a name
    the daemon is asked what it keeps of your own contributions, and sent what it lacks.
    """
    node = session.node()
    done = [node.store_pin(each) for each in artifacts] if artifacts else list(node.store_pin_own())
    value, ids = {"artifacts": done}, [each.cid for each in done]
    session.output.result("store.pin", value, _table("PINNED", done), ids=ids)


@command("unpin", "pnode store unpin bafkreih4a7bq --yes")
@click.argument("artifact", metavar="ID|CID")
def store_unpin(session: Session, artifact: str) -> None:
    """Stop keeping an artifact, here and at the IPFS daemon.

    Its blocks are removed by 'pnode store gc', unless something else that is kept has them too.
    Asks before it lets go of what an entry of this home in force offers. What others keep stays.
    """
    node = session.node()
    done = node.store_unpin(artifact, session.confirm)
    value = {"artifacts": [done]}
    session.output.result("store.unpin", value, _table("UNPINNED", [done]), ids=[done.cid])
    session.output.hint("free the space with 'pnode store gc'")


@command("gc", "pnode store gc --dry-run", "pnode store gc --older-than 0")
@click.option(
    "--older-than",
    metavar="HOURS",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Spare what was stored or used lately.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def store_gc(session: Session, older_than: float, dry_run: bool) -> None:
    """Remove the blocks that nothing pinned has.

    First lets go of what was withdrawn with '--on-withdrawal unpin'. Blocks of a publication or a
    fetch under way are new and stay. With 0 hours, run it only while nothing else works in this
    home.
    """
    cleaned = session.node().store_gc(older_than, dry_run=dry_run)
    done = cleaned.collected
    verb = "would remove" if dry_run else "removed"
    session.output.result(
        "store.gc",
        cleaned,
        Fields(
            [
                ("let go", ", ".join(each.cid for each in cleaned.released) or None),
                (verb, f"{done.removed:,} blocks, {done.removed_bytes:,} bytes"),
                ("too new", f"{done.recent:,} blocks, {done.recent_bytes:,} bytes"),
                ("kept", f"{done.kept:,} blocks"),
            ]
        ),
    )


@command("export", "pnode store export bafkreih4a7bq -o adapter.car")
@click.argument("artifact", metavar="ID|CID")
@click.option("-o", "--output", required=True, metavar="FILE", type=PATH, help="The file to make.")
def store_export(session: Session, artifact: str, output: Path) -> None:
    """Write an artifact as a CAR file, which any IPFS tool imports."""
    made = session.node().store_export(artifact, output)
    session.output.result(
        "store.export",
        made,
        Fields([("root", made.cid), ("blocks", made.blocks), ("wrote", f"{output}")]),
        ids=[made.cid],
    )


@command("import", "pnode store import adapter.car")
@click.argument("file", metavar="FILE", type=PATH)
def store_import(session: Session, file: Path) -> None:
    """Take an artifact from a CAR file and keep it.

    Every block is verified. What it holds becomes part of the ledger by an entry only.
    """
    taken = session.node().store_import(file)
    session.output.result(
        "store.import",
        taken,
        Fields([("pinned", taken.cid), ("blocks", taken.blocks), ("bytes", f"{taken.bytes:,}")]),
        ids=[taken.cid],
    )


store_command = Group(
    "store",
    commands=[store_status, store_pin, store_unpin, store_gc, store_import, store_export],
    help="Show, keep, let go, clean, import and export blocks.\n\n"
    "What is pinned is kept; publishing, syncing and fetching pin by themselves.",
)


def _table(title: str, done: list[Kept]) -> Table:
    rows: list[Row] = [[each.cid, each.error or each.daemon or "none"] for each in done]
    return Table([title, "IPFS DAEMON"], rows)
