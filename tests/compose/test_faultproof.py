"""A fault proof proves who claimed what with nothing but itself, and can be turned into no other.

The attacks are those of an accuser: they want somebody to have claimed what they never did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compose.faultproof import FAULT_MAGIC, MAX_FAULT_BYTES, FaultProof
from compose.outcomes import Outcome, inclusion
from ledger.errors import DigestError, EvidenceError, MalformedError, ProofError, SignatureError
from ledger.tlogproof import TlogProof
from tests.compose.accusations import CLAIM, INDEX, SUITE, TRUTH, accusation, composition
from tests.compose.accusations import evaluation as evaluation_of
from tests.compose.test_lock import LOCK
from tests.ledger.makers import ALICE, sign

VECTOR = Path(__file__).parents[1] / "vectors" / "pnode" / "fault.txt"


def test_a_fault_proof_stands_alone() -> None:
    fault = FaultProof.parse(bytes(accusation()))
    fault.verify()
    assert fault == accusation()
    assert fault.verify_outcome() == CLAIM.root
    assert fault.verify_lock() == LOCK
    assert bytes(fault).startswith(FAULT_MAGIC.encode() + b"\nsuite " + SUITE.encode())
    assert len(bytes(fault)) < 8192


def test_the_format_is_frozen() -> None:
    fault = FaultProof.parse(VECTOR.read_bytes())
    fault.verify()
    assert fault.id == "9cf94988e884136cc50b8ffef57fe918ccbb4a3251b631b0a56a2e7799d7c8c6"
    assert fault == accusation()


def test_an_outcome_that_was_not_claimed_is_no_proof() -> None:
    invented = Outcome("i3", "never said", correct=True, margin=None)
    for changes in (
        {"claimed": invented},
        {"claimed": CLAIM.outcomes[2]},
        {"index": 2},
        {"index": 5},
        {"path": inclusion(CLAIM, INDEX).path[:-1]},
        {"path": (*inclusion(CLAIM, INDEX).path, bytes(32))},
        {"path": inclusion(CLAIM, 0).path},
    ):
        fault = accusation(**changes)
        with pytest.raises(ProofError):
            fault.verify()


def test_an_inner_node_of_the_tree_is_not_taken_for_an_outcome() -> None:
    """A shorter path to a smaller index needs a smaller tree, and its size is signed."""
    fault = accusation(index=1, path=inclusion(CLAIM, INDEX).path[1:])
    with pytest.raises(ProofError):
        fault.verify()


def test_another_composition_or_lock_than_the_signed_one_is_refused() -> None:
    other = composition(title="another")
    with pytest.raises(DigestError, match="is about composition"):
        accusation(evaluation_of(other)).verify()
    with pytest.raises(DigestError, match="the lock of composition"):
        accusation(lock_bytes=replace(LOCK, seed=6).encode()).verify()
    strange = evaluation_of(composition()).statement.predicate["scores"][0]
    with pytest.raises(DigestError, match="the lock has no suite"):
        accusation(suite=LOCK.dev.id if LOCK.dev else "").verify()
    twice = evaluation_of(composition(), scores=[strange, strange])
    with pytest.raises(DigestError, match="2 times"):
        accusation(twice).verify()


def test_statements_of_other_kinds_claim_nothing() -> None:
    withdrawal = sign(ALICE, "withdrawal", {"target": SUITE, "reason": "x"})
    for parts in (
        {"said": withdrawal},
        {"about": withdrawal, "said": evaluation_of(composition())},
    ):
        with pytest.raises(MalformedError, match="not of an evaluation and its composition"):
            accusation(**parts).verify()


def test_a_signature_or_a_log_that_does_not_hold_is_refused() -> None:
    fault = accusation()
    proof = TlogProof.parse(fault.evaluation)
    carried = proof.carried()
    assert carried is not None
    body, key = carried
    other = proof.carrying(evaluation_of(composition(), exactness="bitwise").body, key)
    with pytest.raises(ProofError):
        accusation(evaluation=bytes(other)).verify()
    note = bytearray(proof.note)
    note[-8] ^= 1
    with pytest.raises((SignatureError, MalformedError)):
        accusation(evaluation=bytes(replace(proof, note=bytes(note)))).verify()
    forged = bytearray(fault.composition)
    at = forged.index(b'"sig":"') + 10
    forged[at : at + 1] = b"A" if forged[at : at + 1] != b"A" else b"B"
    with pytest.raises(EvidenceError):
        accusation(composition=bytes(forged)).verify()
    assert body == evaluation_of(composition()).body


def test_the_same_outcome_again_is_no_fault() -> None:
    with pytest.raises(MalformedError, match="that is no fault"):
        accusation(recomputed=replace(CLAIM.outcomes[INDEX], margin=1))


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "another version": lambda data: data.replace(b"fault@v1", b"fault@v2", 1),
    "cut off": lambda data: data[:-1],
    "longer": lambda data: data + b"\n",
    "a leading zero": lambda data: data.replace(b"index 3", b"index 03", 1),
    "spaces in the outcome": lambda data: data.replace(b'"answer":"a 3"', b'"answer": "a 3"', 1),
    "an unknown key": lambda data: data.replace(b'"answer":"a 3"', b'"anwser":"a 3"', 1),
    "a length too large": lambda data: data.replace(b"\nclaimed ", b"\nclaimed 9", 1),
    "parts in another order": lambda data: data.replace(b"recomputed ", b"evaluation ", 1),
    "too large": lambda data: data + bytes(MAX_FAULT_BYTES),
    "not text": lambda data: data.replace(b"suite b", b"suite \xff", 1),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_there_is_one_accepted_form(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedError):
        FaultProof.parse(change(bytes(accusation())))


def test_software_and_answers_have_limits() -> None:
    with pytest.raises(MalformedError, match="software"):
        accusation(software={"torch": "x" * 129})
    with pytest.raises(MalformedError, match="software"):
        accusation(software={str(number): "1" for number in range(33)})
    with pytest.raises(MalformedError, match="does not carry an entry"):
        proof = TlogProof.parse(accusation().evaluation)
        accusation(evaluation=bytes(replace(proof, extra=None)))
    huge = replace(TRUTH, answer="\x01" * 60_000)
    accusation(recomputed=huge)
