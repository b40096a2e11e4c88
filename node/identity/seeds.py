"""Seeds on disk: read, created once, and replaced only by a complete file."""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path

from ledger.database import storage_errors
from node.durable import write_atomic
from node.identity.keyfile import COST, MAX_BYTES, Unlock, decode_seed, encode_seed, is_sealed
from node.identity.passphrase import from_environment


def keep_seed(
    path: Path, seed: bytes | None, passphrase: bytes | None, *, cost: int = COST
) -> bytes:
    """Return the seed in a key file, creating it if this is the first attempt."""
    if path.exists():
        return read_seed(path, from_environment if passphrase is None else lambda: passphrase)
    created = seed if seed is not None else secrets.token_bytes(32)
    write_atomic(path, encode_seed(created, passphrase, cost=cost), mode=0o600)
    return created


def read_seed(path: Path, unlock: Unlock) -> bytes:
    """Return the seed in a key file.

    Raises:
        MalformedError: if it is not one.
        IdentityError: if it has a passphrase and the right one is not given.
    """
    data = read_key_file(path)
    if not is_sealed(data):
        return decode_seed(data, unlock, what=f"{path}")
    return _opened(data, unlock(), f"{path}")


def read_key_file(path: Path) -> bytes:
    """Return the bytes of a key file."""
    with storage_errors(path), path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


@lru_cache(maxsize=4)
def _opened(data: bytes, passphrase: bytes, what: str) -> bytes:
    """Open a protected file once: that takes 128 MiB and a good part of a second on purpose."""
    return decode_seed(data, lambda: passphrase, what=what)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished key files of processes that died; they hold secrets."""
    with storage_errors(folder):
        for leftover in folder.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)
