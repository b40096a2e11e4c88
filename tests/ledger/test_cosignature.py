"""Cosignatures: a time and a signature over the whole checkpoint."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, open_checkpoint
from ledger.cosignature import CosignatureVerifier, cosign, cosigned_at
from ledger.errors import EvidenceError, MalformedError, ProofError, SignatureError
from ledger.keys import PrivateKey, PublicKey
from ledger.merkle import verify_consistency
from ledger.note import (
    ED25519_COSIGNATURE,
    ED25519_NOTE,
    Note,
    NoteKey,
    NoteSignature,
    NoteVerifier,
    sign_note,
)
from tests.ledger.published import load, vector_file

TEXT = "node.example/alice\n5\nGqaNMHSQWlgfhMu9D3U3lJBP2ARRvEwT5p2aU7xZUCw=\n"
KEY = PrivateKey(bytes(range(32, 64)))
NAME = "witness.example/w1"
TIME = 1795367449
VERIFIER = CosignatureVerifier(NoteKey(NAME, ED25519_COSIGNATURE, KEY.public))


def test_the_pnode_cosignature_is_reproduced() -> None:
    vectors = load("pnode", "vectors.json")["witness"]
    note = Note.parse(vector_file("pnode", "checkpoint").read_bytes())
    verifier = CosignatureVerifier(NoteKey.parse(vectors["vkey"]))
    (line,) = note.open([verifier])
    assert cosigned_at(line) == vectors["time"]
    key = PrivateKey(bytes.fromhex(vectors["seed"]))
    assert cosign(note.text, vectors["name"], key, time=vectors["time"]) == line
    assert str(verifier.note_key) == vectors["vkey"]


def test_a_published_sigsum_cosignature_verifies() -> None:
    published = load("sigsum", "proof.json")
    fields = dict(re.findall(r"^(\w+)=(.*)$", published["proof"], re.MULTILINE))
    log_key = bytes.fromhex(published["log_key"])
    origin = "sigsum.org/v1/tree/" + hashlib.sha256(log_key).hexdigest()
    checkpoint = Checkpoint(origin, int(fields["size"]), bytes.fromhex(fields["root_hash"]))
    _, time, signature = fields["cosignature"].split()
    witness = PublicKey(bytes.fromhex(published["witness_key"]))
    verifier = CosignatureVerifier(NoteKey("witness.example", ED25519_COSIGNATURE, witness))
    payload = int(time).to_bytes(8, "big") + bytes.fromhex(signature)
    line = NoteSignature("witness.example", verifier.note_key.key_id, payload)
    verifier.verify_line(checkpoint.text, line)
    PublicKey(log_key).verify(bytes.fromhex(fields["signature"]), checkpoint.text.encode())


def test_a_published_witness_conversation() -> None:
    """Signatures and proofs of the requests agree with the witness's answers."""
    published = load("torchwood", "litewitness.json")
    log_key = PublicKey(bytes.fromhex(published["log_key"]))
    origin = "sigsum.org/v1/tree/" + hashlib.sha256(log_key.raw).hexdigest()
    key = NoteKey(origin, ED25519_NOTE, log_key)
    held: Checkpoint | None = None
    for step in published["conversation"]:
        head, _, note = step["body"].partition("\n\n")
        old, *proof = head.splitlines()
        old_size = int(old.removeprefix("old "))
        if step["status"] in (403, 404):
            # A log it does not know, and changed unused bits of base64, refused even earlier.
            with pytest.raises(EvidenceError):
                open_checkpoint(note.encode(), key)
            continue
        checkpoint = open_checkpoint(note.encode(), key)
        if step["status"] == 409:
            assert held is not None
            assert old_size != held.size
            continue
        if held is not None:
            path = [base64.b64decode(value) for value in proof]
            if step["status"] == 422:
                with pytest.raises(ProofError):
                    verify_consistency(old_size, checkpoint.size, held.root, checkpoint.root, path)
                continue
            verify_consistency(old_size, checkpoint.size, held.root, checkpoint.root, path)
        assert step["status"] == 200
        held = checkpoint
    assert held is not None
    assert held.size == 5


@given(st.integers(0, 2**64 - 1))
def test_the_time_is_part_of_what_is_signed(time: int) -> None:
    line = cosign(TEXT, NAME, KEY, time=time)
    VERIFIER.verify_line(TEXT, line)
    assert cosigned_at(line) == time
    moved = ((time + 1) % 2**64).to_bytes(8, "big") + line.payload[8:]
    with pytest.raises(SignatureError):
        VERIFIER.verify_line(TEXT, NoteSignature(NAME, line.key_id, moved))


@pytest.mark.parametrize(
    "text", [TEXT[:-1], TEXT + "\n", TEXT.replace("5", "6"), TEXT.replace("alice", "bob"), ""]
)
def test_a_cosignature_covers_the_whole_checkpoint(text: str) -> None:
    with pytest.raises(SignatureError):
        VERIFIER.verify_line(text, cosign(TEXT, NAME, KEY, time=TIME))


def test_a_cosigner_key_does_not_verify_plain_lines_nor_the_reverse() -> None:
    plain = NoteKey("example", ED25519_NOTE, KEY.public)
    cosigner = NoteKey("example", ED25519_COSIGNATURE, KEY.public)
    with pytest.raises(MalformedError, match="example"):
        NoteVerifier(cosigner)
    with pytest.raises(MalformedError, match="example"):
        CosignatureVerifier(plain)


def test_a_plain_signature_is_no_cosignature_and_the_reverse() -> None:
    plain = sign_note(TEXT, NAME, KEY)
    line = cosign(TEXT, NAME, KEY, time=TIME)
    assert plain.key_id != line.key_id
    with pytest.raises(SignatureError):
        VERIFIER.verify_line(TEXT, NoteSignature(NAME, line.key_id, plain.payload))
    with pytest.raises(SignatureError):
        VERIFIER.verify_line(TEXT, NoteSignature(NAME, line.key_id, bytes(8) + plain.payload))
    with pytest.raises(MalformedError):
        CosignatureVerifier(NoteKey(NAME, ED25519_NOTE, KEY.public))


@given(st.binary(max_size=120))
def test_arbitrary_payloads_are_refused(payload: bytes) -> None:
    for candidate in (payload, payload.ljust(72, b"\1")[:72]):
        with pytest.raises(SignatureError):
            VERIFIER.verify_line(TEXT, NoteSignature(NAME, VERIFIER.note_key.key_id, candidate))
