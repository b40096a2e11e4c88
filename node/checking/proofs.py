"""What can be checked of bytes alone, without a home: signatures, inclusion, evidence."""

from __future__ import annotations

from ledger.entry import Entry
from ledger.errors import PnodeError
from ledger.merkle import leaf_hash
from ledger.note import NoteKey
from ledger.tlogproof import TlogProof
from node.checking.verdict import Check


def check_signature(target: str, body: bytes) -> tuple[Check, Entry | None]:
    """Check the form and the signature of an entry; return it too if both are right."""
    try:
        entry = Entry.parse(body)
    except PnodeError as error:
        return Check.failed("signature", target, error), None
    return Check.passed("signature", target, f"{entry.kind} by {entry.author}"), entry


def proven(proof: TlogProof, body: bytes, key: NoteKey) -> str:
    """Check that an entry is in the log of a key, and say where.

    Raises:
        SignatureError, ProofError: if that is not proven.
    """
    checkpoint = proof.verify(leaf_hash(body), key)
    return f"index {proof.index} of size {checkpoint.size} in {checkpoint.origin}"


def is_evidence(data: bytes) -> bool:
    """Whether some bytes begin as an evidence file does."""
    from ledger.evidence import EVIDENCE_MAGIC

    return data.startswith(EVIDENCE_MAGIC.encode("ascii"))


def is_fault(data: bytes) -> bool:
    """Whether some bytes begin as a fault proof does."""
    return data.startswith(b"fault@v")


def two_histories(data: bytes) -> str:
    """Check that an evidence file proves what it says, and say it.

    Raises:
        EvidenceError: if it does not.
    """
    from ledger.evidence import Evidence

    evidence = Evidence.parse(data)
    evidence.verify()
    a, b = evidence.checkpoints
    return (
        f"{evidence.origin} signed two histories: {evidence.kind}, trees of {a.size} and "
        f"{b.size} entries (evidence {evidence.id})"
    )
