"""The policy of a home: `policy.txt`, which witnesses it takes to call an entry witnessed.

Without the file nothing is ever called witnessed. It is local configuration and never published.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ledger.database import storage_errors
from ledger.errors import MalformedError, NotFoundError

if TYPE_CHECKING:
    from ledger.policy import Policy
    from node.home import Home

POLICY_FILE = "policy.txt"
_HINT = "correct the line or remove the file; see docs/how-to/witness.md"


def home_policy(home: Home) -> Policy | None:
    """Return the policy of a home, or None if it has none.

    Raises:
        MalformedError: naming the line that is wrong.
    """
    path = home.path / POLICY_FILE
    return read_policy(path) if path.is_file() else None


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        NotFoundError: if there is no such file.
        MalformedError: naming the line that is wrong.
    """
    from ledger.policy import MAX_POLICY_BYTES, Policy

    if not path.is_file():
        raise NotFoundError(f"{path}: no such policy file", hint="check the path")
    with storage_errors(path), path.open("rb") as stream:
        data = stream.read(MAX_POLICY_BYTES + 1)
    try:
        return Policy.parse(data)
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", hint=_HINT) from None
