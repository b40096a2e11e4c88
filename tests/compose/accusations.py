"""A fault proof and all that stands behind it, made in memory; each part can be another one."""

from __future__ import annotations

from typing import Any

from compose.faultproof import FaultProof
from compose.lock import Lock
from compose.outcomes import Outcome, Outcomes, inclusion
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.merkle import inclusion_proof, root_of
from ledger.tlogproof import TlogProof
from tests.compose.test_lock import LOCK
from tests.ledger.makers import ALICE, sign
from tests.simulator import SimulatedLog

SUITE = LOCK.suites[1].id
CLAIM = Outcomes(
    SUITE, tuple(Outcome(f"i{n}", f"a {n}", correct=True, margin=None) for n in range(5))
)
INDEX = 3
TRUTH = Outcome("i3", "b", correct=False, margin=70_000)


def composition(lock: Lock = LOCK, **changes: Any) -> Entry:
    """The composition of a lock."""
    fields = {
        "lock": str(lock.cid()),
        "system_digest": "cd" * 32,
        "method": lock.method.name,
        "base": {"name": lock.base.name, "digest": lock.base.digest, "cid": str(lock.base.cid)},
        "members": [member.id for member in lock.members],
        "suites": [suite.id for suite in lock.suites],
        "exactness": lock.exactness,
    }
    return sign(ALICE, "composition", fields | changes, "lock.json")


def evaluation(about: Entry, **changes: Any) -> Entry:
    """The evaluation of a composition that claims CLAIM."""
    score = {
        "suite": SUITE,
        "correct": CLAIM.correct,
        "total": len(CLAIM.outcomes),
        "root": CLAIM.root.hex(),
        "outcomes": str(Cid.of(b"outcomes")),
    }
    fields = {"composition": about.id, "scores": [score], "exactness": "pinned"}
    return sign(ALICE, "evaluation", fields | changes, f"{SUITE}.jsonl")


def proven(body: bytes) -> bytes:
    """The tlog-proof of an entry in a log of its own, carrying both."""
    log = SimulatedLog(1).grow(4)
    log.bodies.append(body)
    leaves = [Entry.parse(each).leaf_hash for each in log.bodies]

    def read(level: int, index: int) -> bytes:
        return root_of(leaves[index << level : (index + 1) << level])

    path = tuple(inclusion_proof(4, 5, read))
    return bytes(TlogProof(4, path, log.note()).carrying(body, log.key))


def accusation(said: Entry | None = None, about: Entry | None = None, **changes: Any) -> FaultProof:
    """The proof that CLAIM is false at INDEX, or one with other parts."""
    about = about or composition()
    said = said or evaluation(about)
    fields: dict[str, Any] = {
        "suite": SUITE,
        "index": INDEX,
        "path": inclusion(CLAIM, INDEX).path,
        "claimed": CLAIM.outcomes[INDEX],
        "recomputed": TRUTH,
        "software": {"torch": "2.13.0"},
        "evaluation": proven(said.body),
        "composition": about.body,
        "lock_bytes": LOCK.encode(),
    }
    return FaultProof(**(fields | changes))
