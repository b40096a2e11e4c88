"""Where a passphrase comes from: a variable, a file, or the person at the terminal.

Never from the arguments of a command, which every user of the machine can read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ledger.database import storage_errors
from ledger.errors import IdentityError, MalformedError, NotFoundError
from node.identity.keyfile import normalised

VARIABLE: Final = "PNODE_PASSPHRASE"
FILE_VARIABLE: Final = "PNODE_PASSPHRASE_FILE"
_MAX_FILE_BYTES: Final = 4_096

Ask = Callable[[str], str]
"""Asks a person for a passphrase without showing it."""


def from_environment() -> bytes:
    """Return the passphrase in the file PNODE_PASSPHRASE_FILE names, else PNODE_PASSPHRASE.

    Raises:
        IdentityError: if neither is set.
    """
    return find_passphrase(None, os.environ, None)


def find_passphrase(
    file: Path | None, environment: Mapping[str, str], ask: Ask | None, *, twice: bool = False
) -> bytes:
    """Return a passphrase from the first place that gives one.

    Args:
        file: a file given on the command line.
        environment: the variables, which come next.
        ask: asks the person at the terminal, if there is one.
        twice: ask again and compare, for a passphrase that is set.

    Raises:
        IdentityError: if no place gives one.
    """
    if file is not None:
        return read_passphrase(file)
    if environment.get(FILE_VARIABLE):
        return read_passphrase(Path(environment[FILE_VARIABLE]))
    if environment.get(VARIABLE):
        return normalised(environment[VARIABLE])
    if ask is None:
        raise IdentityError(
            "the keys of this home are protected by a passphrase, and none is given",
            hint=f"set {VARIABLE}, or name a file: --passphrase-file FILE",
        )
    return asked(ask, twice=twice)


def asked(ask: Ask, *, twice: bool) -> bytes:
    """Ask for a passphrase, and again if it is new."""
    answer = ask("New passphrase: " if twice else "Passphrase: ")
    if not answer and not twice:
        raise IdentityError("no passphrase was entered", hint="run the command again to enter it")
    passphrase = normalised(answer)
    if twice and normalised(ask("The same again: ")) != passphrase:
        raise IdentityError("the two passphrases differ", hint="nothing was changed; try again")
    return passphrase


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file: its content, without one line feed at its end."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such passphrase file", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(_MAX_FILE_BYTES + 1)
    try:
        return normalised(data.decode("utf-8").removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        raise MalformedError(f"{path}: a passphrase is UTF-8 text") from None
