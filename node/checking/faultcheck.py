"""What a fault proof proves by itself: who claimed which outcome of which system, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from node.checking.verdict import Check

if TYPE_CHECKING:
    from compose.faultproof import FaultProof


def check_fault(fault: FaultProof, target: str) -> Iterator[Check]:
    """Make every check that needs no model and nothing but the file."""

    def signed() -> str:
        evaluation, _ = fault.verify_signatures()
        return f"evaluation {evaluation.id} by {evaluation.author}"

    def locked() -> str:
        lock = fault.verify_lock()
        return f"{lock.exactness} outcomes of {lock.method.name} with {len(lock.members)} members"

    def committed() -> str:
        root, claimed = fault.verify_outcome().hex(), fault.claimed
        return (
            f"root {root[:16]}... of suite {fault.suite} says of item {claimed.item} "
            f"(number {fault.index}): {claimed.describe()}"
        )

    yield Check.of("signature", target, signed)
    yield Check.of("inclusion", target, fault.verify_inclusion)
    yield Check.of("lock", target, locked)
    yield Check.of("outcome", target, committed)
