"""The evidence of equivocation that a ledger holds, and which logs are frozen by it.

A log is *frozen* exactly if the table `evidence` has a row for its origin: it is not extended, not
cosigned and, if it is this node's own, not signed any more. There is no way back: rows stay for
ever, and a restored database learns the same from any peer. Evidence is stored once per pair of
trees, and per log only as much as anybody needs, so that a log which signs a million histories
cannot fill the disk of its readers.
"""

from __future__ import annotations

from typing import Final

from ledger.checkpoint import log_key
from ledger.database import Database
from ledger.errors import EquivocationError, EvidenceError, NotFoundError, UsageError
from ledger.evidence import Evidence, of_trees
from ledger.log import Log

MAX_PER_LOG: Final = 16
MIN_EVIDENCE_PREFIX: Final = 12


def hold(database: Database, evidence: Evidence, *, common: int = 0) -> Evidence:
    """Store evidence durably, in a transaction of its own; from then on its log is frozen.

    Args:
        database: the ledger, opened for writing.
        evidence: about a log with a pnode origin; it is verified here.
        common: how many entries both trees are known to share at this moment.

    Returns:
        The evidence held about the same two trees: this one, unless there was one before. Once
        MAX_PER_LOG are held of a log, further ones are not stored and returned as they are, unless
        they reach back much further (`_reaches_back`).

    Raises:
        SignatureError, ProofError: if it proves nothing.
    """
    log_key(evidence.origin, evidence.key.key)
    evidence.verify()
    with database.transaction() as writer:
        present = held_evidence(database, evidence.origin)
        for each in present:
            if each.contradiction == evidence.contradiction:
                return each
        if len(present) < MAX_PER_LOG or _reaches_back(evidence, present):
            row = {
                "id": evidence.id,
                "origin": evidence.origin,
                "kind": evidence.kind,
                "common": common,
                "body": bytes(evidence),
            }
            writer.table("evidence").insert(row)
    return evidence


def _reaches_back(evidence: Evidence, present: list[Evidence]) -> bool:
    """Whether the smaller tree is at most half of every one held.

    Late forks must not shield an early one. Halving lets in one more piece for each bit of a size;
    were it enough to be smaller, a log could sign its way down entry by entry.
    """
    size = evidence.checkpoints[0].size
    least = min(each.checkpoints[0].size for each in present)
    return size < least and 2 * size <= least


def evidence_against(log: Log, note: bytes) -> Evidence | None:
    """Return the evidence in a signed checkpoint that contradicts the largest one held of its log.

    None if both can be true, as far as the tree held here can show: it reaches up to the size of
    the checkpoint held, and what is larger has to be compared with the tree of whoever brought it.
    """
    latest = log.checkpoint()
    if latest is None:
        return None
    try:
        return of_trees(log.key, note, latest[1], log.node)
    except EvidenceError:
        return None


def held_evidence(database: Database, origin: str | None = None) -> list[Evidence]:
    """Return the evidence held, of one log or of all, in the order in which it came."""
    sql = "SELECT body FROM evidence WHERE origin = coalesce(?, origin) ORDER BY rowid"
    return [Evidence.parse(bytes(body)) for (body,) in database.query(sql, (origin,))]


def find_evidence(database: Database, prefix: str) -> Evidence:
    """Return the one evidence whose id begins with `prefix`.

    Raises:
        UsageError: if the prefix is too short or ambiguous.
        NotFoundError: if there is none.
    """
    if len(prefix) < MIN_EVIDENCE_PREFIX:
        hint = f"give at least {MIN_EVIDENCE_PREFIX} characters"
        raise UsageError(f"'{prefix}' is too short for the id of evidence", hint=hint)
    sql = "SELECT body FROM evidence WHERE substr(id, 1, ?) = ? LIMIT 2"
    found = list(database.query(sql, (len(prefix), prefix)))
    if not found:
        hint = "see 'pnode evidence list' for what is held"
        raise NotFoundError(f"no evidence '{prefix}' here", hint=hint)
    if len(found) > 1:
        raise UsageError(f"'{prefix}' is ambiguous", hint="give more characters of the id")
    return Evidence.parse(bytes(found[0][0]))


def frozen(database: Database, origin: str) -> bool:
    """Whether there is evidence against a log."""
    return next(database.query(_FIRST, (origin,)), None) is not None


def frozen_origins(database: Database) -> frozenset[str]:
    """Return the origins of all frozen logs: what they sign or cosign does not count."""
    return frozenset(str(row[0]) for row in database.query("SELECT origin FROM evidence"))


def check_not_frozen(database: Database, origin: str) -> None:
    """Require that there is no evidence against a log.

    Raises:
        EquivocationError: with the evidence.
    """
    row = next(database.query(_FIRST, (origin,)), None)
    if row is not None:
        raise EquivocationError(
            f"log {origin} is frozen: it signed two histories (evidence {row[0]})",
            hint="see docs/how-to/equivocation.md",
            evidence=bytes(row[1]),
        )


_FIRST = "SELECT id, body FROM evidence WHERE origin = ? ORDER BY rowid LIMIT 1"
