"""Founding a home: its keys, its log with the genesis, and the marker that comes last.

A home that was interrupted while it was founded is finished by founding it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger.append import OwnLog
from ledger.checkpoint import log_key, log_origin
from ledger.database import Database
from ledger.entry import Entry
from ledger.errors import MalformedError, UsageError
from ledger.keys import NodeKeys, PrivateKey, commitment
from ledger.note import ED25519_COSIGNATURE, NoteKey
from ledger.predicate import line
from ledger.statement import Statement, Subject
from node.durable import make_folder, write_atomic
from node.home import FORMAT, Home, own_log, writer_lock
from node.identity.seeds import keep_seed
from node.location import MARKER


def found(
    path: Path,
    state: Path,
    *,
    name: str,
    seed: bytes | None,
    passphrase: bytes | None,
    cost: int,
) -> None:
    """Found a home, or finish one that was interrupted; see `Home.init`.

    Raises:
        UsageError: for a name that cannot be recorded.
        HomeBusyError: if another process is founding it for too long.
    """
    _check_name(name)
    make_folder(path, mode=0o700)
    with writer_lock(path):
        # Another process may have finished while this one waited.
        if not (path / MARKER).exists():
            _create(path, state, name, seed, passphrase, cost)


def _create(
    path: Path, state: Path, name: str, seed: bytes | None, passphrase: bytes | None, cost: int
) -> None:
    """Write everything a home consists of, the marker last; what is there already is kept."""
    make_folder(path / "keys", mode=0o700)
    node_seed = keep_seed(path / "keys" / "seed", seed, passphrase, cost=cost)
    recovery = PrivateKey(keep_seed(path / "keys" / "recovery", _recovery_of(seed), None))
    keys = NodeKeys.from_seed(node_seed)
    home = Home(path, state, name, log_origin(keys.log.public), keys.author.public.did)
    create_lock(home)
    with Database.create(home.ledger_path) as database:
        writer = own_log(home, database, keys)
        if not writer.log.size:
            writer.append([genesis_entry(keys, commitment(recovery.public), name)])
        # An interrupted `init` may have signed another name; a log has one genesis.
        home = replace(home, name=_signed_name(writer))
    write_marker(home)


def create_lock(home: Home) -> None:
    """Create the signing lock of a log that begins; one that is there is kept."""
    lock = home.signing_lock()
    make_folder(lock.path.parent, mode=0o700)
    lock.create()


def write_marker(home: Home) -> None:
    """Say durably which log is this home's own."""
    write_atomic(home.path / MARKER, _marker(home).encode())


def _check_name(name: str) -> None:
    try:
        line(name)
    except MalformedError as error:
        hint = "give a shorter or simpler --name"
        raise UsageError(f"name: {error.message}", hint=hint) from None


def _marker(home: Home) -> str:
    # What JSON escapes is escaped alike in TOML.
    quoted = json.dumps(home.name, ensure_ascii=False)
    return (
        f"# A pnode home. Copy the whole folder, never ledger.db alone.\n"
        f"format = {FORMAT}\n"
        f"name = {quoted}\n"
        f'origin = "{home.origin}"\n'
        f'author = "{home.author}"\n'
    )


def genesis_entry(
    keys: NodeKeys, committed: str, name: str, continued: Mapping[str, Any] | None = None
) -> Entry:
    """Return the first entry of a log.

    Args:
        keys: those of the log.
        committed: the commitment to its recovery key.
        name: a name to be shown.
        continued: the fields by which it continues another log (`ledger.succession`).
    """
    origin = log_origin(keys.log.public)
    cosigner = NoteKey(origin, ED25519_COSIGNATURE, keys.cosigner.public)
    statement = Statement(
        "genesis",
        (Subject(origin, hashlib.sha256(keys.log.public.raw).hexdigest()),),
        {
            "author": keys.author.public.did,
            "origin": origin,
            "log_key": str(log_key(origin, keys.log.public)),
            "cosigner_key": str(cosigner),
            "recovery": committed,
            "name": name,
            **(continued or {}),
        },
    )
    return Entry.sign(statement, keys.author)


def _signed_name(log: OwnLog) -> str:
    genesis = Entry.stored(next(log.log.bodies(0, 1)))
    return str(genesis.statement.predicate.get("name", ""))


def _recovery_of(seed: bytes | None) -> bytes | None:
    """Derive the recovery seed too when the node's seed is given (tests and the demo)."""
    return None if seed is None else hashlib.sha256(b"pnode recovery" + seed).digest()
