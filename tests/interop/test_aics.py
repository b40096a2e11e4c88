"""Notes, checkpoints, cosignatures, tiles and a witness by aics-tlog and aics-witness.

Those packages implement the same specifications for another project, in Python, with a witness on
SQLite. They declare Python 3.12; `make interop` installs them on 3.11 too, where they run. This
fails when a checkpoint, a cosignature, a tile or a proof made here means something else to them.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from ledger.checkpoint import Checkpoint, log_key, log_origin, sign_checkpoint
from ledger.cosignature import CosignatureVerifier, cosign, cosigned_at
from ledger.encoding import encode_base64
from ledger.keys import PrivateKey
from ledger.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
    subtree_root,
)
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey
from tests.interop.partners import ask_python
from tests.ledger.published import VECTORS
from tests.simulator import SimulatedLog

KEY = PrivateKey(bytes([7]) * 32)
LOG = log_key(log_origin(KEY.public), KEY.public)
TIME = 1_795_367_449


def ask(*questions: list[Any]) -> list[Any]:
    """Ask aics-tlog in a process of its own."""
    answers: list[Any] = ask_python("aics_witness", "ask_aics.py", questions)
    return answers


def test_the_pnode_vectors_are_good_there() -> None:
    vectors = json.loads((VECTORS / "pnode" / "vectors.json").read_bytes())
    note = (VECTORS / "pnode" / "checkpoint").read_bytes().decode()
    log, witness = vectors["log"]["vkey"], vectors["witness"]["vkey"]
    keys, verified, changed, unknown = ask(
        ["vkey", log],
        ["checkpoint", note, log, [witness], 1],
        ["checkpoint", note.replace("\n5\n", "\n4\n"), log, [witness], 1],
        ["checkpoint", note, log, [], 1],
    )
    parsed = NoteKey.parse(log)
    assert keys == [parsed.name, parsed.kind, parsed.key_id.hex(), parsed.key.raw.hex()]
    assert verified["ok"], verified
    assert (verified["origin"], verified["size"]) == (parsed.name, 5)
    assert verified["cosigned"] == {"witness.example/w1": TIME}
    assert not changed["ok"]
    assert not unknown["ok"]


def test_a_long_origin_and_many_cosigners_are_good_there() -> None:
    point = Checkpoint(LOG.name, 3, root_of([leaf_hash(b"x")] * 3))
    note = sign_checkpoint(point, KEY)
    witnesses, lines = [], list(note.signatures)
    for number in range(20):
        key = PrivateKey(bytes([100 + number]) * 32)
        origin = log_origin(key.public)
        witnesses.append(str(NoteKey(origin, ED25519_COSIGNATURE, key.public)))
        lines.append(cosign(note.text, origin, key, time=TIME + number))
    data = bytes(Note(note.text, tuple(lines))).decode()
    (verified,) = ask(["checkpoint", data, str(LOG), witnesses, 20])
    assert verified["ok"], verified
    assert len(verified["cosigned"]) == 20


def test_every_tile_and_bundle_of_a_tree_is_good_there(tmp_path: Path) -> None:
    log = SimulatedLog(1).grow(600)
    for path, content in log.files().items():
        target = tmp_path / path.removeprefix(log.folder).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    root = root_of(map(leaf_hash, log.bodies))
    draw = random.Random(1)
    indices = [0, 255, 256, 599, *(draw.randrange(600) for _ in range(20))]
    olds = [1, 255, 256, 257, 512, 600]
    report, made = ask(
        ["audit", str(tmp_path), 600, root.hex()],
        ["proofs", str(tmp_path), 600, indices, olds],
    )
    assert report == [4, 3]
    leaves = [leaf_hash(body) for body in log.bodies]

    def read(level: int, index: int) -> bytes:
        start = index << level
        return root_of(leaves[start : start + (1 << level)])

    assert subtree_root(0, 600, read) == root
    ours = [[value.hex() for value in inclusion_proof(index, 600, read)] for index in indices]
    assert made[0] == ours
    ours = [[value.hex() for value in consistency_proof(old, 600, read)] for old in olds]
    assert made[1] == ours
    damaged = tmp_path / "tile" / "entries" / "001"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert "refused" in ask(["audit", str(tmp_path), 600, root.hex()])[0]


def add_checkpoint(old: int, proof: list[bytes], note: bytes) -> str:
    """The body of tlog-witness, written by hand as the specification says."""
    lines = [f"old {old}", *map(encode_base64, proof)]
    return "\n".join(lines) + "\n\n" + note.decode()


@pytest.mark.parametrize("name", ["witness.example/w1", "pnode.example/log/v1/" + "ab" * 32])
def test_a_witness_cosigns_our_log_and_we_verify_it(tmp_path: Path, name: str) -> None:
    log = SimulatedLog(2).grow(3)
    first = log.note()
    leaves = [leaf_hash(body) for body in log.grow(9).bodies]
    second = log.note()
    proof = consistency_proof(
        3, 9, lambda level, index: root_of(leaves[index << level : (index + 1) << level])
    )
    fork = SimulatedLog(2, log.bodies[:8]).grow(9, "other").note()
    seed = bytes([9]) * 32
    (talk,) = ask(
        [
            "conversation",
            str(tmp_path / "witness.db"),
            name,
            seed.hex(),
            [log.origin, str(log.key)],
            [
                [TIME, add_checkpoint(0, [], first)],
                [TIME + 5, add_checkpoint(0, [], second)],
                [TIME + 5, add_checkpoint(3, proof[:-1], second)],
                [TIME + 5, add_checkpoint(3, proof, second)],
                [TIME + 9, add_checkpoint(9, [], fork)],
                [TIME + 9, add_checkpoint(9, [], first)],
            ],
        ]
    )
    statuses = [status for status, _ in talk["answers"]]
    assert statuses == [200, 409, 422, 200, 422, 400]
    assert talk["answers"][1][1] == "3\n"
    key = NoteKey(name, ED25519_COSIGNATURE, PrivateKey(seed).public)
    assert talk["vkey"] == str(key)
    for number, note, time in ((0, first, TIME), (3, second, TIME + 5)):
        cosigned = Note.parse(note + talk["answers"][number][1].encode())
        (line,) = cosigned.open([CosignatureVerifier(key)])
        assert cosigned_at(line) == time
