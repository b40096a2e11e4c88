"""Commands that offer a contribution and take it back: `publish` and `withdraw`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.arguments import ENTRY_ID, PATH_OR_HUB
from node.cli.options import command
from node.cli.output import Cell, Fields, Lines
from node.cli.pinning import pins_cell, warn_of_pending

if TYPE_CHECKING:
    from node.api import Node
    from node.cli.session import Session
    from node.publish import Published, Withdrawn


@command(
    "publish",
    "pnode publish ./my-adapter --license Apache-2.0",
    "pnode publish ./my-adapter --base cipher-tiny --title 'caesar shift' --license MIT",
    "pnode publish ./my-suite --dry-run",
    "pnode publish hf:ada/caesar-lora@v1.0 --base cipher-tiny",
)
@click.argument("source", metavar="DIR|HUB_ID", type=PATH_OR_HUB)
@click.option("--title", metavar="TEXT", help="A title; the name of the directory if not given.")
@click.option("--license", metavar="SPDX", help="The licence, as an SPDX expression.")
@click.option("--base", metavar="NAME", help="The base model an adapter belongs to.")
@click.option("--terms", metavar="TEXT", help="Conditions of use beyond the licence.")
@click.option("--supersedes", type=ENTRY_ID, help="The contribution this one replaces.")
@click.option(
    "--derived-from", type=ENTRY_ID, multiple=True, help="A contribution this one builds on."
)
@click.option(
    "--on-withdrawal",
    type=click.Choice(("keep", "unpin")),
    help="What you ask of those who hold it, should you withdraw it.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, store and sign nothing.")
def publish_command(
    session: Session,
    source: Path | str,
    title: str | None,
    license: str | None,
    base: str | None,
    terms: str | None,
    supersedes: str | None,
    derived_from: tuple[str, ...],
    on_withdrawal: str | None,
    dry_run: bool,
) -> None:
    """Check, store, sign and log an adapter or a suite.

    DIR is a PEFT LoRA adapter (adapter_config.json and safetensors) or a task suite (suite.toml and
    items.jsonl); which one is recognised. Nothing in it is executed. The same bytes again with the
    same terms return the entry that exists.

    HUB_ID is hf:OWNER/NAME@REVISION on the Hugging Face hub. The revision (a branch, tag or commit;
    main if not given) becomes a commit, which the statement names. Only the files of an adapter or
    a suite are fetched.
    """
    node = session.node()
    published = node.publish(
        source,
        title=title,
        license=license,
        base=base,
        terms=terms,
        supersedes=supersedes,
        derived_from=derived_from,
        on_withdrawal=on_withdrawal,
        dry_run=dry_run,
    )
    size = sum(file.bytes for file in published.files)
    rows: list[tuple[str, Cell | str | None]] = [
        ("from", str(published.source) if published.source else None),
        ("checked", f"{published.kind}  {published.summary}"),
        ("files", f"{len(published.files)}, {size:,} bytes"),
        ("cid" if dry_run else "stored", published.cid),
    ]
    if published.id is not None:
        place = f"entry {published.index}  by {_author(node)}"
        rows.append(
            (published.state, place + ("  (was there already)" if published.already else ""))
        )
        rows.append(("id", published.id))
    rows.append(("ipfs", pins_cell(published.pins)))
    if published.source and published.source.left_out:
        session.output.note(f"not fetched: {', '.join(published.source.left_out)}")
    session.output.result("publish", published, Fields(rows), ids=[published.id or published.cid])
    _tell_near_copies(session, published)
    warn_of_pending(session.output, published.pins)
    if published.id is None:
        session.output.hint("nothing was stored or signed; run it again without --dry-run")
    else:
        session.output.hint(
            f"hand it on with 'pnode export DIR' or 'pnode serve', "
            f"check it with 'pnode verify {published.id[:16]}'"
        )


def _tell_near_copies(session: Session, published: Published) -> None:
    for near in published.near_copies:
        if not near.declared:
            session.output.warn(
                f"this is nearly {near.id} ({near.title}): cosine {near.cosine}, "
                f"{near.alike} of {near.layers} layers alike"
            )
            session.output.hint(f"if it builds on that one, say so: --derived-from {near.id[:16]}")
    if published.not_compared:
        count = len(published.not_compared)
        session.output.warn(
            f"not compared with {count} adapter{'' if count == 1 else 's'} whose bytes are not here"
        )


@command("withdraw", "pnode withdraw bafkreih4a7bq --reason 'trained on data I may not share'")
@click.argument("id", type=ENTRY_ID)
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is published.")
def withdraw_command(session: Session, id: str, reason: str) -> None:
    """Stop the future use of a contribution.

    Only its author's key counts. A withdrawal is an entry like any other: it cannot be taken back,
    and it deletes nothing. If the contribution was published with '--on-withdrawal unpin', this
    home and its IPFS daemon keep the artifact no longer, and others are asked to do the same. What
    they hold already cannot be taken from them.
    """
    withdrawn = session.node().withdraw(id, reason)
    count = len(withdrawn.affected)
    session.output.result(
        "withdraw",
        withdrawn,
        Fields(
            [
                ("withdrawn", withdrawn.target),
                ("id", withdrawn.id),
                ("stops", "every composition from now on refuses it"),
                ("unpinned", ", ".join(each.cid for each in withdrawn.released) or None),
                ("stays", _what_stays(withdrawn)),
                ("affected", f"{count} earlier composition{'' if count == 1 else 's'}"),
            ]
        ),
        Lines([f"  {id_}" for id_ in withdrawn.affected]),
        ids=[withdrawn.id],
    )
    session.output.hint("peers learn of it with the next 'pnode sync'")


def _what_stays(withdrawn: Withdrawn) -> str:
    if withdrawn.released:
        return "the entry, its bytes here until 'pnode store gc', and every copy that others keep"
    return "the entry and its bytes, so that the past can still be checked"


def _author(node: Node) -> str:
    home = node.home
    return f"{home.name} ({home.author})" if home.name else home.author
