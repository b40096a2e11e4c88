"""Attesting: a verdict on an entry becomes a signed statement in the own log."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from ledger.entry import Entry
from ledger.statement import Statement, Subject
from ledger.verdicts import verdicts_on
from node.clock import Clock
from node.composing import software
from node.home import Home
from node.reading import load_view

_MAX_CONFIRMED: Final = 100
"""How many verdicts of others one verdict names, so that it fits into an entry."""


def attest(home: Home, target: Entry, verdict: str, fields: Mapping[str, Any], clock: Clock) -> str:
    """Sign a verdict, append it, and return its id.

    Args:
        target: the entry that was replayed.
        verdict: one of `ledger.predicate.VERDICTS`.
        fields: what else the verification says: `checked`, `mismatches`, `exactness`, ...
        clock: the time that it claims.

    Raises:
        IdentityError: if this home cannot sign.
    """
    predicate = {
        "author": home.author,
        "created": clock(),
        "target": target.id,
        "verdict": verdict,
        "software": software(),
        "confirms": _confirmed(home, target.id, verdict),
        **fields,
    }
    subject = Subject(target.id, hashlib.sha256(target.body).hexdigest())
    entry = Entry.sign(Statement("verification", (subject,), predicate), home.keys().author)
    with home.writing() as log:
        log.append([entry])
    return entry.id


def _confirmed(home: Home, target: str, verdict: str) -> list[str]:
    """Return the verdicts of others that say the same: what is signed next agrees with them."""
    with home.reading() as database:
        ledger = load_view(database)
    if target not in ledger.entries:
        return []
    own = ledger.identity(home.author)
    return [
        each.id
        for each in verdicts_on(ledger, target)
        if each.auditor != own and each.verdict == verdict
    ][:_MAX_CONFIRMED]
