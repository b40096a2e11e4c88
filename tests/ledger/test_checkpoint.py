"""Checkpoints have three lines, one signer and a name that contains the key."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint import (
    Checkpoint,
    log_key,
    log_origin,
    open_checkpoint,
    sign_checkpoint,
)
from ledger.errors import MalformedError, PnodeError, SignatureError
from ledger.keys import PrivateKey
from ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from ledger.note import ED25519_COSIGNATURE, ED25519_NOTE, Note, NoteKey, sign_note
from tests.ledger.published import load, vector_file

KEY = PrivateKey(bytes(range(32)))
OTHER = PrivateKey(bytes(range(1, 33)))
ORIGIN = log_origin(KEY.public)
ROOT = leaf_hash(b"entry")
CHECKPOINT = Checkpoint(ORIGIN, 1, ROOT)
NOTE_KEY = log_key(ORIGIN, KEY.public)
ROOT_TEXT = base64.b64encode(ROOT).decode()


def test_the_pnode_checkpoint_is_reproduced() -> None:
    vectors = load("pnode", "vectors.json")
    data = vector_file("pnode", "checkpoint").read_bytes()
    root = root_of(leaf_hash(entry.encode()) for entry in vectors["entries"])
    made = Checkpoint(vectors["log"]["name"], 5, root)
    opened = open_checkpoint(data, NoteKey.parse(vectors["log"]["vkey"]))
    assert opened == made
    signed = sign_checkpoint(made, PrivateKey(bytes.fromhex(vectors["log"]["seed"])))
    assert data.startswith(bytes(signed))


def test_published_checkpoints_of_a_growing_log() -> None:
    log = load("tessera", "log.json")
    key = NoteKey.parse(log["vkey"])
    for size in range(16):
        data = bytes.fromhex(log["files"][f"checkpoint.{size}"])
        checkpoint = open_checkpoint(data, key)
        assert checkpoint.size == size
        assert bytes(Note.parse(data)) == data


def test_the_origin_contains_the_key() -> None:
    assert ORIGIN.endswith(hashlib.sha256(KEY.public.raw).hexdigest())
    assert NOTE_KEY.name == ORIGIN
    with pytest.raises(SignatureError):
        log_key(ORIGIN, OTHER.public)
    with pytest.raises(SignatureError):
        log_key(ORIGIN + "0", KEY.public)


def test_no_signed_text_of_one_purpose_is_one_of_another() -> None:
    """A checkpoint text can start neither a cosignature message nor a DSSE encoding."""
    for prefix in ("cosignature/v1", "DSSEv1 ", "subtree/v1"):
        assert not CHECKPOINT.text.startswith(prefix)


def test_a_signed_checkpoint_opens() -> None:
    assert open_checkpoint(bytes(sign_checkpoint(CHECKPOINT, KEY)), NOTE_KEY) == CHECKPOINT
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_checkpoint(bytes(sign_checkpoint(empty, KEY)), NOTE_KEY) == empty


def test_a_checkpoint_of_another_key_is_refused() -> None:
    forged = Note(CHECKPOINT.text, (sign_note(CHECKPOINT.text, ORIGIN, OTHER),))
    with pytest.raises(SignatureError):
        open_checkpoint(bytes(forged), NOTE_KEY)


def test_a_key_cannot_speak_for_another_origin() -> None:
    """The line names the key's own log, the text names a victim's."""
    victim = Checkpoint(log_origin(OTHER.public), 1, ROOT)
    forged = Note(victim.text, (sign_note(victim.text, ORIGIN, KEY),))
    with pytest.raises(SignatureError, match="signed a checkpoint of"):
        open_checkpoint(bytes(forged), NOTE_KEY)


def test_a_signature_over_another_size_is_refused() -> None:
    line = sign_note(CHECKPOINT.text, ORIGIN, KEY)
    larger = Checkpoint(ORIGIN, 2, ROOT)
    with pytest.raises(SignatureError):
        open_checkpoint(bytes(Note(larger.text, (line,))), NOTE_KEY)


def test_a_log_key_of_the_cosigner_type_opens_no_checkpoint() -> None:
    data = bytes(sign_checkpoint(CHECKPOINT, KEY))
    with pytest.raises(PnodeError):
        open_checkpoint(data, NoteKey(ORIGIN, ED25519_COSIGNATURE, KEY.public))
    assert NOTE_KEY.kind == ED25519_NOTE


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n1\n{ROOT_TEXT}",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\nextension\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT}\n\n",
        f"{ORIGIN}\n1\n",
        f"\n1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n01\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n-1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n+1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1 \n{ROOT_TEXT}\n",
        f"{ORIGIN}\n0x1\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n{2**63}\n{ROOT_TEXT}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT[:-1]}\n",
        f"{ORIGIN}\n1\n{ROOT_TEXT} \n",
        f"{ORIGIN}\n1\n{ROOT.hex()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(ROOT + b'!').decode()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(EMPTY_ROOT).decode()}\n",
        f"{ORIGIN}\n0\n{ROOT_TEXT}\n",
    ],
)
def test_any_other_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)


@given(st.text(max_size=120) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    for candidate in (text, f"{text}\n1\n{ROOT_TEXT}\n", f"{ORIGIN}\n{text}\n{ROOT_TEXT}\n"):
        try:
            parsed = Checkpoint.parse(candidate)
        except PnodeError as error:
            assert isinstance(error, MalformedError)
            continue
        assert parsed.text == candidate


@given(st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_any_checkpoint_round_trips(size: int, root: bytes) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root)
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert open_checkpoint(bytes(sign_checkpoint(checkpoint, KEY)), NOTE_KEY) == checkpoint
