"""Commands that read the ledger: `list`, `show`, `fetch`, `log`, `checkpoint` and `prove`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.arguments import ENTRY_ID, PATH
from node.cli.options import command
from node.cli.output import Cell, Fields, Lines, Row, Table, Value

if TYPE_CHECKING:
    from ledger.verdicts import AuditorVerdict
    from node.cli.session import Session

_STATUSES = ("active", "superseded", "disputed", "withdrawn", "revoked", "doubtful")
_STATUS_STYLE = {
    "revoked": "bad",
    "withdrawn": "bad",
    "disputed": "bad",
    "superseded": "warn",
    "doubtful": "warn",
    "active": "good",
}
_VERDICT_STYLE = {"reproduced": "good", "mismatch": "bad", "inconclusive": "warn"}
_STATE_STYLE = {"appended": "warn", "witnessed": "good"}


@command(
    "list",
    "pnode list",
    "pnode list --kind adapter --status active",
    "pnode list --author ada --json",
)
@click.option("--kind", metavar="KIND", help="adapter, suite, composition, attribution, ...")
@click.option("--author", metavar="NAME|DID", help="Only of this contributor.")
@click.option("--status", type=click.Choice(_STATUSES), help="Only with this status.")
def list_command(
    session: Session, kind: str | None, author: str | None, status: str | None
) -> None:
    """List what is in force."""
    listed = session.node().list(kind=kind, author=author, status=status)
    rows: list[Row] = [
        [
            Cell(line.id, id=True),
            line.kind,
            line.name or line.author,
            line.title,
            line.license,
            Cell(line.status, _STATUS_STYLE.get(line.status, "")),
        ]
        for line in listed
    ]
    empty = "nothing matches" if kind or author or status else "nothing is published here yet"
    session.output.result(
        "list",
        listed,
        Table(["ID", "KIND", "CONTRIBUTOR", "TITLE", "LICENCE", "STATUS"], rows, empty),
        ids=[line.id for line in listed],
    )


@command(
    "show",
    "pnode show bafkreih4a7bq",
    "pnode show bafkreih4a7bq --json",
    "pnode show bafkreih4a7bq --raw > entry.json",
)
@click.argument("id", type=ENTRY_ID)
@click.option(
    "--raw", is_flag=True, help="Only the exact bytes of the envelope (in JSON as base64)."
)
def show_command(session: Session, id: str, raw: bool) -> None:
    """Show one entry and its place in the log.

    Its statement, its status, the signed tree that covers it, who witnessed it and when, its uses,
    the verdicts of those who replayed it, and its credit.
    """
    from ledger.encoding import encode_base64

    shown = session.node().show(id)
    if raw and session.output.mode.json:
        session.output.result("show.raw", {"id": shown.id, "raw": encode_base64(shown.raw)})
        return
    if raw:
        session.output.data(shown.raw)
        return
    predicate: dict[str, Any] = shown.statement.get("predicate", {})
    place = f"index {shown.index} of {shown.origin}"
    signed = f"tree of {shown.size} entries, root {shown.root}" if shown.size else "not yet"
    rows: list[tuple[str, Value | None]] = [
        ("id", shown.id),
        ("kind", shown.kind),
        ("author", f"{shown.name} ({shown.author})" if shown.name else shown.author),
        (
            "status",
            Cell(shown.status, _STATUS_STYLE.get(shown.status, "")) if shown.status else None,
        ),
        ("place", place),
        ("state", Cell(shown.state, _STATE_STYLE.get(shown.state, ""))),
        ("signed", signed),
        ("witnessed", f"since {shown.witnessed_since}" if shown.witnesses else None),
    ]
    rows += [("witness", f"{each.name}  {each.time}") for each in shown.witnesses]
    rows += [("disputed", Cell(f"evidence {id_}", "bad")) for id_ in shown.disputed]
    rows += [("tainted", Cell(f"evidence {id_}", "bad")) for id_ in shown.tainted]
    rows += [("used by", used) for used in shown.uses]
    rows += list(_verdicts(shown.verdicts))
    claims = (f"{item['value']} claimed in {item['attribution']}" for item in shown.credit)
    rows += [("credit", claim) for claim in claims]
    # Indented under a heading: the author chose these names, and could choose one of ours.
    said: list[tuple[str, Value | None]] = [
        (f"  {name}", _brief(value))
        for name, value in predicate.items()
        if name not in ("author", "manifest") and value not in ("", [], {})
    ]
    files = [
        [str(item.get("name", "")), str(item.get("digest", {}).get("sha256", ""))]
        for item in shown.statement.get("subject", [])
    ]
    session.output.result(
        "show",
        shown,
        Fields(rows),
        Lines(["", "its author says"]),
        Fields(said),
        Lines([""]),
        Table(["FILE", "SHA256"], files, "no files"),
        ids=[shown.id],
    )
    session.output.hint(f"check it with 'pnode verify {shown.id[:16]}'")


@command(
    "fetch",
    "pnode fetch bafkreih4a7bq -o ./their-adapter",
    "pnode fetch bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi -o ./copy",
)
@click.argument("target", metavar="ID|CID")
@click.option(
    "-o", "--output", required=True, metavar="DIR", type=PATH, help="A directory to create."
)
def fetch_command(session: Session, target: str, output: Path) -> None:
    """Bring an artifact into a directory, every block verified.

    Takes an entry id or the CID of an artifact. The directory appears complete or not at all.
    Blocks that are not here are read from peers, and from the IPFS daemon and the gateways of
    store.toml.
    """
    fetched = session.node().fetch(target, output)
    session.output.result(
        "fetch",
        fetched,
        Fields([("artifact", fetched.cid), ("into", str(output)), ("files", len(fetched.files))]),
        ids=[fetched.cid],
    )
    if fetched.warning:
        session.output.warn(fetched.warning)
    for used in fetched.providers:
        if used.dropped:
            session.output.warn(f"{used.provider} was not asked again: {used.dropped}")


@command("log", "pnode log", "pnode log --since 10 --json")
@click.option("--origin", metavar="ORIGIN", help="Another log held here; this node's if not given.")
@click.option("--since", type=click.IntRange(min=0), default=0, help="First index to list.")
def log_command(session: Session, origin: str | None, since: int) -> None:
    """List the entries of a log in order.

    One that is not valid is shown as rejected, with the reason; it counts for nothing.
    """
    lines = session.node().log(origin=origin, since=since)
    rows: list[Row] = [
        [
            line.index,
            Cell(line.id, id=True),
            Cell("(rejected)", "bad") if line.rejected else line.kind,
            line.created,
            line.rejected or line.title,
        ]
        for line in lines
    ]
    session.output.result(
        "log",
        lines,
        Table(["INDEX", "ID", "KIND", "CREATED", "TITLE"], rows, "no entries from there on"),
        ids=[line.id for line in lines],
    )


@command("checkpoint", "pnode checkpoint", "pnode checkpoint > kept-for-later.txt")
@click.option("--origin", metavar="ORIGIN", help="Another log held here; this node's if not given.")
def checkpoint_command(session: Session, origin: str | None) -> None:
    """Print the signed checkpoint of a log.

    Keep the text: 'pnode audit --since FILE' later proves that the log only grew.
    """
    from ledger.checkpoint import Checkpoint
    from ledger.note import Note

    note = session.node().checkpoint(origin=origin)
    point = Checkpoint.parse(Note.parse(note).text)
    if not session.output.mode.json:
        session.output.data(note)
        return
    record = {
        "origin": point.origin,
        "size": point.size,
        "root": point.root.hex(),
        "note": note.decode("utf-8"),
    }
    session.output.result("checkpoint", record)


@command(
    "prove",
    "pnode prove bafkreih4a7bq -o entry.tlog-proof",
    "pnode verify entry.tlog-proof",
)
@click.argument("id", type=ENTRY_ID)
@click.option("-o", "--output", metavar="FILE", type=PATH, help="Standard output if not given.")
def prove_command(session: Session, id: str, output: Path | None) -> None:
    """Write the proof that an entry is in its log.

    The file is a C2SP tlog-proof and carries the entry: whoever has it can check it offline. It
    carries the cosignatures of witnesses too, for whoever has a policy that names them.
    """
    proof = session.node().prove(id)
    if output is None and not session.output.mode.json:
        session.output.data(proof)
        return
    record: dict[str, Any] = {"id": id, "bytes": len(proof), "file": None}
    if output is None:
        record["proof"] = proof.decode("utf-8")
    else:
        from node.durable import write_atomic

        write_atomic(output, proof)
        record["file"] = str(output)
    session.output.result(
        "prove",
        record,
        Fields([("proof", f"{output}  {len(proof)} bytes")]),
        ids=[str(output)],
    )
    session.output.hint(f"anyone checks it with 'pnode verify {output}'")


def _verdicts(verdicts: list[AuditorVerdict]) -> Iterator[tuple[str, Value]]:
    """Say how many auditors agree, and what each of them says."""
    from ledger.predicate import VERDICTS
    from ledger.verdicts import agreeing

    for verdict in VERDICTS:
        count = len(agreeing(verdicts, verdict))
        if count:
            auditors = "1 auditor" if count == 1 else f"{count} distinct auditors"
            yield "verdict", Cell(f"{verdict} by {auditors}", _VERDICT_STYLE[verdict])
    for each in verdicts:
        who = each.name if each.counts else f"{each.name}, who made it and does not count"
        yield "auditor", f"{who}: {each.verdict}, {each.checked} outcomes, in {each.id}"


def _brief(value: Any) -> str:
    """Return a value of a statement on one line."""
    if isinstance(value, list):
        return ", ".join(_brief(item) for item in value)
    if isinstance(value, dict):
        parts = (f"{name} {_brief(item)}" for name, item in value.items() if item not in ("", []))
        return ", ".join(parts)
    return str(value)
