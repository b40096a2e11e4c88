"""Proof files and roots by two more independent readers: dnsid and pymerkle.

dnsid reads C2SP proof files under a policy file. It is laxer than we are in known ways (it never
compares the length of a path with index and size), so it is asked only whether what we make is
good, and whether a changed entry, index or quorum is not. pymerkle computes roots its own way.
"""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from ledger.keys import PrivateKey
from ledger.merkle import leaf_hash, root_of
from ledger.note import ED25519_COSIGNATURE, NoteKey
from ledger.tlogproof import TlogProof
from tests.interop.partners import ask_python
from tests.ledger.published import VECTORS

VECTOR: dict[str, Any] = json.loads((VECTORS / "pnode" / "vectors.json").read_bytes())
POLICY = (
    f"log {VECTOR['log']['vkey']}\nwitness w1 {VECTOR['witness']['vkey']}\ngroup one any w1\n"
    "quorum one\n"
)
NOW = 1_795_367_500


def test_the_proof_file_of_the_pnode_set_is_good_there() -> None:
    proof = TlogProof(
        2,
        tuple(map(b64decode, VECTOR["inclusion"]["path"])),
        (VECTORS / "pnode" / "checkpoint").read_bytes(),
    )
    entry = VECTOR["entries"][2].encode().hex()
    text = bytes(proof).decode()
    other = PrivateKey(bytes(32))
    stranger = NoteKey("witness.example/w9", ED25519_COSIGNATURE, other.public)
    unmet = POLICY.replace("group one any w1", f"witness w9 {stranger}\ngroup one all w1 w9")
    answers = ask_python(
        "dnsid",
        "ask_dnsid.py",
        [
            ["proof", entry, text, POLICY, NOW],
            ["proof", entry, text.replace("index 2", "index 1"), POLICY, NOW],
            ["proof", entry + "00", text, POLICY, NOW],
            ["proof", entry, text, unmet, NOW],
            ["policy", POLICY],
        ],
    )
    assert answers[0] == [2, "node.example/alice", 5]
    assert ["refused" in answer for answer in answers] == [False, True, True, True, False]


@pytest.mark.parametrize("count", [1, 2, 255, 256, 257, 700])
def test_roots_are_the_same_there(count: int) -> None:
    entries = [b"entry-%d" % index for index in range(count)]
    sizes = sorted({1, count // 2 or 1, count})
    roots = ask_python("pymerkle", "ask_pymerkle.py", [[entry.hex() for entry in entries], sizes])
    leaves = [leaf_hash(entry) for entry in entries]
    assert roots == [root_of(leaves[:size]).hex() for size in sizes]
