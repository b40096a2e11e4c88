"""The command `recover`: a log that was restored, copied or lost, brought back from peers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from node.cli.options import command
from node.cli.output import Fields

if TYPE_CHECKING:
    from node.cli.session import Session


@command("recover", "pnode recover", "pnode recover https://ledger.example --yes")
@click.argument("peers", metavar="[URL|DIR]...", nargs=-1)
def recover_command(session: Session, peers: tuple[str, ...]) -> None:
    """Bring this home's own log back from peers.

    After a backup was restored, or ledger.db or the signing lock was lost. Asks all peers of this
    home if none is named. Everything is verified, and nothing is signed twice. Asks before the
    signing lock is created or moved.

    Not to be confused with 'pnode key recover', which continues a log under new keys, and 'pnode
    key recovery', which moves the recovery key away.
    """
    recovered = session.node().recover(peers, session.confirm)
    record = {
        "origin": recovered.origin,
        "size": recovered.size,
        "added": recovered.added,
        "state": recovered.state,
        "peers": [
            {
                "peer": asked.peer,
                "size": asked.size,
                "error": asked.error.message if asked.error else "",
            }
            for asked in recovered.asked
        ],
    }
    session.output.result(
        "recover",
        record,
        Fields(
            [
                (recovered.state, f"{recovered.size} entries of {recovered.origin}"),
                ("brought back", str(recovered.added)),
            ]
        ),
        ids=[recovered.origin],
    )
    for asked in recovered.asked:
        if asked.error is not None:
            session.output.warn(f"{asked.peer}: {asked.error.message}")
    session.output.hint("bring the blocks back too: 'pnode sync'")
