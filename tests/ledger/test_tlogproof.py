"""Proof files travel alone and prove one entry of one log."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import MalformedError, PnodeError, ProofError, SignatureError
from ledger.keys import PrivateKey
from ledger.merkle import inclusion_proof, leaf_hash, root_of
from ledger.note import NoteKey
from ledger.tile import node_reader
from ledger.tlogproof import MAGIC, TlogProof
from tests.ledger.published import load, vector_file

VECTORS = load("pnode", "vectors.json")
LEAVES = [leaf_hash(entry.encode()) for entry in VECTORS["entries"]]
KEY = NoteKey.parse(VECTORS["log"]["vkey"])
NOTE = vector_file("pnode", "checkpoint").read_bytes()
READ = node_reader(5, lambda _: LEAVES)
PROOF = TlogProof(2, tuple(inclusion_proof(2, 5, READ)), NOTE)
DATA = bytes(PROOF)
HASH = base64.b64encode(LEAVES[0])


def test_the_pnode_proof_file_is_reproduced() -> None:
    expected = VECTORS["tlog_proof"]
    assert [base64.b64encode(h).decode() for h in PROOF.path] == VECTORS["inclusion"]["path"]
    assert len(DATA) == expected["bytes"]
    assert hashlib.sha256(DATA).hexdigest() == expected["sha256"]
    parsed = TlogProof.parse(DATA)
    assert parsed == PROOF
    assert parsed.origin == VECTORS["log"]["name"]
    assert parsed.verify(LEAVES[2], KEY).size == 5


def test_every_entry_can_be_proven() -> None:
    for index, leaf in enumerate(LEAVES):
        proof = TlogProof(index, tuple(inclusion_proof(index, 5, READ)), NOTE)
        TlogProof.parse(bytes(proof)).verify(leaf, KEY)
        for other in LEAVES:
            if other != leaf:
                with pytest.raises(ProofError):
                    proof.verify(other, KEY)


def test_a_proof_under_another_key_is_refused() -> None:
    stranger = PrivateKey(bytes(32))
    with pytest.raises(SignatureError):
        PROOF.verify(LEAVES[2], NoteKey(KEY.name, KEY.kind, stranger.public))
    forged = sign_checkpoint(Checkpoint(KEY.name, 5, root_of(LEAVES)), stranger)
    with pytest.raises(SignatureError):
        TlogProof(2, PROOF.path, bytes(forged)).verify(LEAVES[2], KEY)


@pytest.mark.parametrize("index", [0, 1, 3, 4, 5, 2**62])
def test_a_proof_for_another_index_is_refused(index: int) -> None:
    with pytest.raises(ProofError):
        TlogProof(index, PROOF.path, NOTE).verify(LEAVES[2], KEY)


@given(st.binary(max_size=100))
def test_extra_data_round_trips_and_proves_nothing(extra: bytes) -> None:
    proof = TlogProof(2, PROOF.path, NOTE, extra)
    assert TlogProof.parse(bytes(proof)) == proof
    assert proof.verify(LEAVES[2], KEY).size == 5


@pytest.mark.parametrize(
    "head",
    [
        b"wrong-header\nindex 0",
        b"c2sp.org/tlog-proof@v2\nindex 0",
        b"",
        b"index 0",
        MAGIC.encode(),
        MAGIC.encode() + b"\nextra !!\nindex 0",
        MAGIC.encode() + b"\nextra AA==\nextra AA==\nindex 0",
        MAGIC.encode() + b"\nindex 0\nextra AA==",
        MAGIC.encode() + b"\nextra AB==\nindex 0",
        MAGIC.encode() + b"\nindex",
        MAGIC.encode() + b"\nindex ",
        MAGIC.encode() + b"\nindex notanumber",
        MAGIC.encode() + b"\nindex -5",
        MAGIC.encode() + b"\nindex 05",
        MAGIC.encode() + b"\nindex 0 ",
        MAGIC.encode() + b"\nindex 0\nindex 0",
        MAGIC.encode() + b"\nindex 18446744073709551616",
        MAGIC.encode() + b"\nindex 0\n!!notbase64!!",
        MAGIC.encode() + b"\nindex 0\n" + base64.b64encode(bytes(64)),
        MAGIC.encode() + b"\nindex 0\n" + base64.b64encode(bytes(31)),
        MAGIC.encode() + b"\nindex 0\n" + HASH + b" ",
        MAGIC.encode() + b"\r\nindex 0",
        MAGIC.encode() + b"\nindex 0" + (b"\n" + HASH) * 64,
        MAGIC.encode() + b"\nindex 0\n" + b"a" * 300_000,
        MAGIC.encode() + b"\nindex 0\n\xff",
    ],
)
def test_a_malformed_head_is_refused(head: bytes) -> None:
    with pytest.raises(MalformedError):
        TlogProof.parse(head + b"\n\n" + NOTE)


@pytest.mark.parametrize(
    "tail", [b"", b"\n", b"\n\n", b"\n\ncheckpoint\n", b"\n\n" + NOTE[:-1], b"\n" + NOTE]
)
def test_a_malformed_checkpoint_is_refused(tail: bytes) -> None:
    with pytest.raises(MalformedError):
        TlogProof.parse(MAGIC.encode() + b"\nindex 0" + tail)


def test_the_longest_path_is_accepted() -> None:
    data = MAGIC.encode() + b"\nindex 0" + (b"\n" + HASH) * 63 + b"\n\n" + NOTE
    assert len(TlogProof.parse(data).path) == 63


@given(st.binary(max_size=200), st.integers(0, len(DATA)), st.integers(0, 255))
def test_any_bytes_are_a_proof_file_or_refused(data: bytes, position: int, byte: int) -> None:
    changed = DATA[:position] + bytes([byte]) + DATA[position + 1 :]
    for candidate in (data, MAGIC.encode() + b"\n" + data, changed, DATA[:position]):
        try:
            parsed = TlogProof.parse(candidate)
        except PnodeError as error:
            assert isinstance(error, MalformedError)
            continue
        assert bytes(parsed) == candidate


def test_published_malformed_proof_files_are_refused() -> None:
    for text in load("formats", "tlogproof.json")["refused"]:
        with pytest.raises(MalformedError):
            TlogProof.parse(text.encode())
