"""Valid documents of every format, small ones, for the fuzzers to start from."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

from ledger.cid import Cid
from ledger.cosignature import cosign
from ledger.dsse import Envelope
from ledger.encoding import canonical_json, encode_base64
from ledger.evidence import different_entries, of_trees, same_size
from ledger.keys import PrivateKey
from ledger.merkle import inclusion_proof, leaf_hash, root_of
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey
from ledger.tlogproof import TlogProof
from ledger.unixfs import build_directory, build_file
from tests.ledger.makers import ALICE, TIME, contribution, genesis, withdrawal
from tests.simulator import SimulatedLog

DATA = Path(__file__).parents[2] / "node" / "demo" / "data"
SUITE = Path(__file__).parents[2] / "docs" / "examples" / "suites" / "chain01-test"
CHOICES = """name = "pick"
license = "CC0-1.0"
scorer = "choice"
max_tokens = 5
description = "two items"
"""
CHOICE_ITEM = b'{"answer":0,"choices":["a","b"],"id":"i0","prompt":"P0 a >"}\n'
RECIPE = b"""base = "cipher-tiny"
members = {license = ["MIT"], exclude = ["bafkreiaaaaaa"]}
method = "merge.ties"
parameters = {density = "0.2", sign = "total"}
dev = "bafkreicccccc"
suites = ["bafkreibbbbbb"]
seed = 7
"""

LOG = SimulatedLog(1).grow(3)
LEAF = leaf_hash(LOG.bodies[2])
NOTE = LOG.note()
WITNESS = PrivateKey(bytes([1]) * 32)
_TEXT = Note.parse(NOTE).text
COSIGNED = NOTE + f"{cosign(_TEXT, 'w.example', WITNESS, time=5)}\n".encode()


def statements() -> list[bytes]:
    """One statement of every kind that is known, and one that is not."""
    author = ALICE.author.public.did
    cid, digest = str(Cid.of(b"x")), "ab" * 32
    base = {"name": "tiny", "digest": digest, "cid": cid}
    common = {"author": author, "created": TIME}
    score = {"suite": cid, "correct": 1, "total": 2, "root": digest, "outcomes": cid}
    documents: dict[str, dict[str, Any]] = {
        "succession": {"successor": cid, "origin": LOG.origin, "reason": "new machine"},
        "revocation": {"origin": LOG.origin, "from": 3},
        "composition": {
            "lock": cid,
            "system_digest": digest,
            "method": "merge.ties",
            "base": base,
            "members": [cid],
            "suites": [cid],
            "exactness": "pinned",
            "title": "all",
        },
        "evaluation": {"composition": cid, "scores": [score], "exactness": "pinned"},
        "attribution": {
            "composition": cid,
            "record": cid,
            "table": cid,
            "root": digest,
            "game": "g",
            "estimator": "exact",
            "efficiency_gap": "0",
            "values": [_worth(cid)],
        },
        "verification": {
            "target": cid,
            "verdict": "reproduced",
            "checked": 1,
            "mismatches": 0,
            "exactness": "pinned",
            "confirms": [cid],
        },
        "note": {"text": "a kind no version knows", "deep": {"list": [1, {"x": None}]}},
    }
    subject = [{"digest": {"sha256": digest}, "name": "x"}]
    made = [
        canonical_json(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "predicate": {**common, **fields},
                "predicateType": f"urn:pnode:{kind}:v1",
                "subject": subject,
            }
        )
        for kind, fields in documents.items()
    ]
    entries = [
        genesis(ALICE),
        contribution(ALICE, "one", terms="any", supersedes=cid, derived_from=[cid]),
        withdrawal(ALICE, cid),
    ]
    return made + [Envelope.parse(entry.body).payload for entry in entries]


def _worth(cid: str) -> dict[str, str]:
    return {"contribution": cid, "value": "1/2"}


BLOCKS: dict[Cid, bytes] = {}


def _blocks() -> tuple[bytes, ...]:
    """Root blocks of a file of two chunks and of a directory."""
    file = build_file(io.BytesIO(bytes(3 << 19)), BLOCKS.__setitem__).cid
    streams = {name: io.BytesIO(name.encode()) for name in ("a", "b/c")}
    folder = build_directory(streams, BLOCKS.__setitem__).cid
    return BLOCKS[file], BLOCKS[folder]


def trees(log: SimulatedLog) -> Any:
    """A reader of the perfect subtrees of a log."""
    leaves = [leaf_hash(body) for body in log.bodies]
    return lambda level, index: root_of(leaves[index << level : (index + 1) << level])


def proof_of(log: SimulatedLog, index: int) -> TlogProof:
    """The proof file of an entry of a log."""
    path = inclusion_proof(index, len(log.bodies), trees(log))
    return TlogProof(index, tuple(path), log.note())


def evidence_files() -> list[bytes]:
    """One file of each kind, made from histories of one log that part after two entries."""
    fork = SimulatedLog(1, LOG.bodies[:2]).grow(3, "other")
    longer = SimulatedLog(1, LOG.bodies[:2]).grow(7, "other")
    sides = [part for log in (LOG, fork) for part in (proof_of(log, 2), leaf_hash(log.bodies[2]))]
    return [
        bytes(same_size(LOG.key, NOTE, fork.note())),
        bytes(of_trees(LOG.key, NOTE, longer.note(), trees(longer))),
        bytes(different_entries(LOG.key, *sides)),
    ]


TREES = _blocks()


def tensors() -> tuple[bytes, ...]:
    """A safetensors file of two tiny tensors."""
    header = (
        b'{"__metadata__":{"format":"pt"},"a":{"data_offsets":[0,8],"dtype":"F32","shape":[2]},'
        b'"b":{"data_offsets":[8,12],"dtype":"BF16","shape":[1,2]}}'
    )
    header += b" " * (-len(header) % 8)
    return (len(header).to_bytes(8, "little") + header + bytes(12),)


ADAPTER_CONFIG = b"""{
"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "bias": "none",
"target_modules": ["q_proj"], "auto_mapping": null, "rank_pattern": {}, "lora_dropout": 0.1,
"base_model_name_or_path": "cipher-tiny", "init_lora_weights": true, "use_rslora": false}"""
_Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
ADAPTER_HEADER = canonical_json(
    {
        _Q.format("A"): {"data_offsets": [0, 32], "dtype": "F32", "shape": [2, 4]},
        _Q.format("B"): {"data_offsets": [32, 56], "dtype": "F32", "shape": [3, 2]},
    }
)
ADAPTER_VALUES = struct.pack("<14f", *(number / 8 for number in range(1, 15)))


def weights(header: bytes) -> bytes:
    """The weights of a tiny adapter under a header, with the padding it needs."""
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + ADAPTER_VALUES


_PATH = encode_base64(LEAF)
ADD_CHECKPOINT = f"old 2\n{_PATH}\n{_PATH}\n\n".encode() + NOTE
_VKEY = NoteKey("w.example", ED25519_COSIGNATURE, WITNESS.public)
POLICY = f"""# two kinds of line need a key
log {LOG.key} https://log.example
witness w1 {_VKEY} https://w.example
group g 1 w1
quorum g
""".encode()
