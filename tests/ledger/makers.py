"""Small valid entries, logs and homes for the tests of the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.keys import NodeKeys, commitment
from ledger.log import Log
from ledger.merkle import leaf_hash, root_of
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey
from ledger.rules import LogEvidence
from ledger.statement import Statement, subjects_of

TIME = "2026-11-22T20:00:00Z"


def keys_of(name: str) -> NodeKeys:
    """The keys of a node, from its name."""
    return NodeKeys.from_seed(hashlib.sha256(name.encode()).digest())


ALICE, BOB, MALLORY = keys_of("alice"), keys_of("bob"), keys_of("mallory")


def origin_of(keys: NodeKeys) -> str:
    """The origin of a node's log."""
    return log_origin(keys.log.public)


def sign(keys: NodeKeys, kind: str, fields: Mapping[str, Any], subject: str = "it") -> Entry:
    """A signed entry of any kind; author and time are filled in."""
    predicate = {"author": keys.author.public.did, "created": TIME, **fields}
    subjects = subjects_of([(subject, hashlib.sha256(subject.encode()).hexdigest())])
    return Entry.sign(Statement(kind, subjects, predicate), keys.author)


def genesis(keys: NodeKeys, **changes: Any) -> Entry:
    """The genesis of a node's log."""
    origin = origin_of(keys)
    fields = {
        "origin": origin,
        "log_key": str(log_key(origin, keys.log.public)),
        "cosigner_key": str(NoteKey(origin, ED25519_COSIGNATURE, keys.cosigner.public)),
        "recovery": commitment(keys_of("recovery").author.public),
        **changes,
    }
    return sign(keys, "genesis", fields)


def contribution(keys: NodeKeys, title: str, **changes: Any) -> Entry:
    """An adapter offered by a node."""
    digest = hashlib.sha256(title.encode()).hexdigest()
    resource = {"name": "adapter_model.safetensors", "digest": digest, "algorithm": "sha256"}
    fields = {
        "type": "adapter",
        "cid": str(Cid.of(title.encode())),
        "title": title,
        "license": "Apache-2.0",
        "manifest": {"resources": [resource], "serialization": {"method": "files"}},
        "base": {"name": "tiny", "digest": digest, "cid": str(Cid.of(b"tiny"))},
        **changes,
    }
    return sign(keys, "contribution", fields, title)


def withdrawal(keys: NodeKeys, target: str) -> Entry:
    """A withdrawal of an entry."""
    return sign(keys, "withdrawal", {"target": target, "reason": "test"}, target)


def note_entry(keys: NodeKeys, number: int) -> Entry:
    """An entry of a kind this version does not know."""
    return sign(keys, "note", {"number": number}, f"note {number}")


def evidence_of(log: Log) -> LogEvidence:
    """Everything stored of a log, for an auditor."""
    notes = [(Checkpoint.parse(Note.parse(note).text), note) for _, note in log.notes()]
    return LogEvidence(log.key, log.bodies(), notes, log.tile)


def signed(keys: NodeKeys, bodies: Sequence[bytes]) -> bytes:
    """The checkpoint note of a log that holds these bodies."""
    root = root_of(leaf_hash(body) for body in bodies)
    return bytes(sign_checkpoint(Checkpoint(origin_of(keys), len(bodies), root), keys.log))
