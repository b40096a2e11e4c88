"""Runs in the environment of the partners: answers questions with aics-tlog and aics-witness.

Reads a JSON list of [question, arguments...] from standard input and writes a list of answers. A
refusal is {"refused": reason}; any other answer is the library's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import aics_tlog
from aics_tlog.tiles import FileSystemTileReader
from aics_witness.config import LogConfig
from aics_witness.feeder import WitnessClient, WitnessRejected
from aics_witness.service import Witness, WitnessError
from aics_witness.store import WitnessStore
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def vkey(text: str) -> list[Any]:
    key = aics_tlog.parse_vkey(text)
    return [key.name, key.key_type, key.key_id.hex(), key.public_key.hex()]


def checkpoint(note: str, log: str, witnesses: list[str], quorum: int) -> dict[str, Any]:
    keys = [aics_tlog.parse_vkey(text) for text in witnesses]
    result = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(note.encode()), aics_tlog.parse_vkey(log), keys, quorum
    )
    root = None if result.root is None else result.root.hex()
    return {
        "ok": result.ok,
        "origin": result.origin,
        "size": result.size,
        "root": root,
        "cosigned": result.timestamps,
        "error": result.error,
    }


def audit(folder: str, size: int, root: str) -> list[int]:
    report = aics_tlog.audit_tiles(FileSystemTileReader(folder), size, bytes.fromhex(root))
    return [report.tiles, report.bundles]


def proofs(folder: str, size: int, indices: list[int], olds: list[int]) -> list[Any]:
    reader = FileSystemTileReader(folder)
    included = [aics_tlog.inclusion_proof_from_tiles(reader, index, size) for index in indices]
    extended = [aics_tlog.consistency_proof_from_tiles(reader, old, size) for old in olds]
    return [[[value.hex() for value in proof] for proof in some] for some in (included, extended)]


def conversation(
    database: str, name: str, seed: str, log: list[str], bodies: list[list[Any]]
) -> dict[str, Any]:
    """Send bodies to a witness, each at a time of its own."""
    now = [0.0]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    known = [LogConfig.from_strings(log[0], log[1:])]
    answers = []
    with WitnessStore(database, create=True) as store:
        witness = Witness(name, key, store, known, clock=lambda: now[0])
        for time, body in bodies:
            now[0] = time
            try:
                answers.append([200, witness.add_checkpoint(body.encode()).decode()])
            except WitnessError as error:
                answers.append([error.status, (error.body or b"").decode()])
        return {"vkey": witness.vkey_text, "answers": answers}


def submit(url: str, vkey: str, notes: list[str], bodies: list[str]) -> list[Any]:
    """Ask a witness over HTTP for cosignatures of growing trees of these entries."""
    tree = aics_tlog.MerkleTree([bytes.fromhex(body) for body in bodies])
    answers: list[Any] = []
    with WitnessClient(url, vkey, max_attempts=1) as client:
        for note in notes:
            try:
                answers.append([200, client.submit(note, tree.consistency_proof)])
            except WitnessRejected as error:
                answers.append([error.status, str(error)])
    return answers


def main() -> None:
    answers: list[Any] = []
    questions = {f.__name__: f for f in (vkey, checkpoint, audit, proofs, conversation, submit)}
    for name, *arguments in json.load(sys.stdin):
        try:
            answers.append(questions[name](*arguments))
        except (ValueError, OSError) as error:
            answers.append({"refused": str(error)})
    json.dump(answers, sys.stdout)


main()
