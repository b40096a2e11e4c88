"""Commands about the keys of this home: `key show`, `rotate`, `recover`, `revoke` and others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledger.errors import UsageError
from node.cli.arguments import PATH
from node.cli.options import Group, command
from node.cli.output import Cell, Fields, Row, Table, Value

if TYPE_CHECKING:
    from node.cli.session import Session
    from node.identity.keyring import ChainLink
    from node.identity.rotation import Renewed

RECOVERY = click.option(
    "--recovery", metavar="FILE", type=PATH, required=True, help="The file of the recovery key."
)
PASSPHRASE = click.option(
    "--passphrase", is_flag=True, help="Protect the new keys on disk by a passphrase."
)


@command("show", "pnode key show", "pnode key show --json")
def key_show(session: Session) -> None:
    """Show the keys of this home and their history.

    Reads public things and the names of files; asks for no passphrase.
    """
    ring = session.node().keys()
    here = Cell("here; move it offline: pnode key recovery --move FILE", "warn")
    protected: Value = "by a passphrase" if ring.protected else "no passphrase"
    session.output.result(
        "key.show",
        ring,
        Fields(
            [
                ("name", ring.name or None),
                ("author", ring.author),
                ("contributor", ring.contributor if ring.contributor != ring.author else None),
                ("log", ring.origin),
                ("log key", ring.log_key),
                ("cosigner key", ring.cosigner_key),
                ("seed", protected if ring.can_sign else "not here: read-only"),
                ("recovery", f"sha256:{ring.recovery}"),
                ("recovery key", here if ring.recovery_here else "not in this home"),
                ("change", Cell("interrupted, run it again", "bad") if ring.pending else None),
            ]
        ),
        Table(["AUTHOR", "LOG", "CLOSED AT"], _links(ring.chain)),
        ids=[ring.author],
    )


def _links(chain: list[ChainLink]) -> list[Row]:
    return [
        [link.author, link.origin, "" if link.closed_at is None else link.closed_at]
        for link in chain
    ]


@command("rotate", "pnode key rotate")
def key_rotate(session: Session) -> None:
    """Take new keys and continue your log under them.

    The old log ends with an entry that names the new one, and stays readable. Both are one
    contributor from then on. The recovery key stays valid and is not needed. If a rotation was
    interrupted, this finishes it and begins no other.
    """
    node = session.node()
    before = node.home.author
    renewed = node.rotate_key()
    session.output.result("key.rotate", renewed, _described(renewed), ids=[renewed.author])
    session.output.hint(f"the seed of {before} is gone; peers learn of the new log when they sync")


@command(
    "recover",
    "pnode key recover --recovery /media/usb/recovery",
    "pnode key recover --recovery ./recovery --predecessor 4f1c --passphrase",
)
@RECOVERY
@click.option(
    "--predecessor",
    metavar="ORIGIN",
    help="The log to continue, or the beginning of its hash, if the key fits several.",
)
@PASSPHRASE
def key_recover(
    session: Session, recovery: Path, predecessor: str | None, passphrase: bool
) -> None:
    """Continue a log whose key is lost, by its recovery key.

    The log must be held here: in the home that lost its key, or in a new one after 'pnode sync'.
    It is closed at the largest tree held that witnesses have seen as the policy asks, else at the
    largest signed one, and of a forked log at most where the fork begins, as far as that is proven.
    It goes on under new keys with a new recovery key. If a recovery was interrupted, this finishes
    it.

    Not to be confused with 'pnode recover', which brings back entries under the same key, and
    'pnode key recovery', which moves the recovery key away.
    """
    node = session.node()
    chosen = session.new_passphrase() if passphrase else None
    renewed = node.recover_key(recovery, predecessor, chosen)
    session.output.result("key.recover", renewed, _described(renewed), ids=[renewed.author])
    _warn_of_recovery(session, node.home.path)


@command(
    "revoke",
    "pnode key revoke --recovery /media/usb/recovery --from 17",
    "pnode key revoke --recovery ./recovery --from 17 --log 4f1c --reason 'laptop stolen in May'",
)
@RECOVERY
@click.option(
    "--from",
    "start",
    metavar="INDEX",
    required=True,
    type=click.IntRange(min=0),
    help="The first entry that may not be yours.",
)
@click.option(
    "--log",
    metavar="ORIGIN",
    help="The log, or the beginning of its hash; this home's own, or the one it continues.",
)
@click.option("--reason", default="", metavar="TEXT", help="Said publicly.")
@PASSPHRASE
def key_revoke(
    session: Session,
    recovery: Path,
    start: int,
    log: str | None,
    reason: str,
    passphrase: bool,
) -> None:
    """Say that a stolen key is not to be trusted from an index on.

    Entries of that log from the index on are doubtful: kept, shown, and used only by whoever names
    them. A log that is still in use is first closed and continued under new keys, as with
    'pnode key recover'; what the thief adds to it later does not count.
    """
    node = session.node()
    chosen = session.new_passphrase() if passphrase else None
    revoked = node.revoke_key(recovery, start, log, reason, chosen)
    session.output.result(
        "key.revoke",
        revoked,
        Fields(
            [
                ("revocation", revoked.id),
                ("log", revoked.origin),
                ("doubtful from", revoked.start),
                ("author now", node.home.author),
                ("log now", node.home.origin),
            ]
        ),
        ids=[revoked.id],
    )
    if revoked.renewed is not None:
        _warn_of_recovery(session, node.home.path)
    session.output.hint("publish again what is yours among the doubtful; see 'pnode list'")


@command(
    "passphrase",
    "pnode key passphrase",
    "pnode key passphrase --new-passphrase-file ./new",
    "pnode key passphrase --remove",
)
@click.option(
    "--new-passphrase-file", metavar="FILE", type=PATH, help="Holds the passphrase to set."
)
@click.option("--remove", is_flag=True, help="Keep the keys without a passphrase from now on.")
def key_passphrase(session: Session, new_passphrase_file: Path | None, remove: bool) -> None:
    """Set, change or remove the passphrase of the keys on disk.

    The passphrase that holds now comes from --passphrase-file, PNODE_PASSPHRASE or the terminal;
    so does the first one. A new one that replaces it comes from --new-passphrase-file or the
    terminal. The old file stays until the new one is complete.
    """
    if remove and new_passphrase_file is not None:
        raise UsageError("--remove and --new-passphrase-file exclude each other")
    from node.identity.keyring import change_passphrase

    home = session.node().home

    def choose() -> bytes:
        replaces = home.is_protected
        file = new_passphrase_file or (None if replaces else session.settings.passphrase_file)
        return session.ask_passphrase(file, {} if replaces else os.environ, new=True)

    changed = change_passphrase(home, None if remove else choose)
    text = "protected by a passphrase" if changed.protected else "not protected"
    session.output.result(
        "key.passphrase", changed, Fields([("keys", text)]), ids=[str(changed.home)]
    )
    if changed.protected:
        session.output.hint("copies of the old file, in backups for example, are as they were")


@command("recovery", "pnode key recovery --move /media/usb/pnode-recovery")
@click.option(
    "--move", "file", metavar="FILE", type=PATH, required=True, help="A new file elsewhere."
)
def key_recovery(session: Session, file: Path) -> None:
    """Move the recovery key out of this home.

    It is removed here only when the copy is whole. Whoever has the file can take over your log:
    keep it offline.

    Not to be confused with 'pnode key recover', which uses that key to continue a log under new
    keys, and 'pnode recover', which brings back entries under the same key.
    """
    moved = session.node().move_recovery_key(file)
    session.output.result(
        "key.recovery",
        moved,
        Fields([("recovery key", str(moved.file)), ("commitment", f"sha256:{moved.recovery}")]),
        ids=[str(moved.file)],
    )
    session.output.hint("unplug the medium and keep it; nobody can make this file again")


def _described(renewed: Renewed) -> Fields:
    return Fields(
        [
            ("author", renewed.author),
            ("log", renewed.origin),
            ("continues", renewed.predecessor),
            ("closed at", renewed.closed_at),
        ]
    )


def _warn_of_recovery(session: Session, home: Path) -> None:
    session.output.warn(
        f"{home.absolute() / 'keys' / 'recovery'} is a new recovery key: move it offline with "
        "'pnode key recovery --move FILE', and keep the old one, which alone can revoke old keys"
    )


key_command = Group(
    "key",
    commands=[key_show, key_rotate, key_recover, key_revoke, key_passphrase, key_recovery],
    help=(
        "Show, rotate, recover, revoke and protect the keys of this home.\n\n"
        "New keys mean a new log; the ledger joins both to one contributor."
    ),
)
