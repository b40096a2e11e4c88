"""Portable proof of a false outcome: the text file `fault@v1`, docs/spec/fault-proof.md.

    fault@v1
    suite <id of the suite>
    index <number of the item in the suite, from 0>
    <base64 of a 32-byte hash>          (zero or more: the inclusion proof of the outcome)
    <empty line>
    claimed <decimal number of bytes>
    <bytes>recomputed <decimal number of bytes>
    <bytes>evaluation <decimal number of bytes>
    <bytes>composition <decimal number of bytes>
    <bytes>lock <decimal number of bytes>
    <bytes>

- `claimed` is the leaf that the root of the evaluation commits to: {"answer","correct","item"}.
- `recomputed` is what whoever made the file got instead, with the margin, and on what software.
- `evaluation` is a tlog-proof that carries the signed evaluation and the key of its log.
- `composition` is the entry that the evaluation names by its hash.
- `lock` is what the composition names by its hash; it pins all that a re-run takes.

All but `recomputed` follows from one signature. The file therefore proves who claimed what, in
which log, about which system; whether that is false anybody finds out by running this one item.
Nothing rests on whoever made the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from compose.lock import Lock
from compose.outcomes import Outcome, OutcomeProof
from compose.untrusted import check_keys
from ledger.cid import Cid
from ledger.encoding import (
    canonical_json,
    decode_base64,
    encode_base64,
    parse_canonical_json,
    parse_decimal,
)
from ledger.entry import Entry
from ledger.errors import DigestError, MalformedError, ProofError
from ledger.merkle import HASH_SIZE, leaf_hash
from ledger.note import NoteKey
from ledger.tlogproof import TlogProof

FAULT_MAGIC: Final = "fault@v1"
MAX_FAULT_BYTES: Final = 1 << 20

_PARTS: Final = ("claimed", "recomputed", "evaluation", "composition", "lock")
_LEAF = ("answer", "correct", "item")
_MAX_PATH = 64
_MAX_SOFTWARE = 32
_MAX_VERSION = 128


@dataclass(frozen=True, slots=True)
class FaultProof:
    """A fault proof in the accepted form; nothing in it is verified until `verify` returned.

    `recomputed` and `software` are what the accuser says and prove nothing by themselves.

    Raises:
        MalformedError: if the parts do not make one.
    """

    suite: str
    index: int
    path: tuple[bytes, ...]
    claimed: Outcome
    recomputed: Outcome
    software: Mapping[str, str]
    evaluation: bytes
    composition: bytes
    lock_bytes: bytes

    def __post_init__(self) -> None:
        Cid.parse(self.suite)
        if self.claimed.leaf() == self.recomputed.leaf():
            raise MalformedError("fault proof: what is claimed was recomputed, that is no fault")
        if len(self.path) > _MAX_PATH or any(len(each) != HASH_SIZE for each in self.path):
            raise MalformedError("fault proof: not an inclusion proof")
        _check_software(self.software)
        if self._proof.carried() is None:
            raise MalformedError("fault proof: its tlog-proof does not carry an entry")
        Entry.stored(self.composition)
        self.lock  # noqa: B018 - parsed here so that it can be relied on
        if len(bytes(self)) > MAX_FAULT_BYTES:
            raise MalformedError(f"fault proof: more than {MAX_FAULT_BYTES} bytes")

    @classmethod
    def parse(cls, data: bytes) -> FaultProof:
        """Parse the bytes of a fault proof; encoding the result gives them back.

        Raises:
            MalformedError: if they are not one.
        """
        if len(data) > MAX_FAULT_BYTES:
            raise MalformedError(f"fault proof: {len(data)} bytes are too many")
        head, separator, rest = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise MalformedError("fault proof: its head is not ASCII text") from None
        if not separator or len(lines) < 3 or lines[0] != FAULT_MAGIC:
            raise MalformedError(f"fault proof: does not begin with the head of {FAULT_MAGIC}")
        suite, index = _field(lines[1], "suite "), _field(lines[2], "index ")
        if len(lines) - 3 > _MAX_PATH:
            raise MalformedError("fault proof: too many hashes")
        what = "hash line of fault proof"
        path = tuple(decode_base64(line, what=what, length=HASH_SIZE) for line in lines[3:])
        parts = {}
        for name in _PARTS:
            parts[name], rest = _part(name, rest)
        recomputed, software = _recomputed(parts["recomputed"])
        proof = cls(
            suite,
            parse_decimal(index, what="index line of fault proof"),
            path,
            _claimed(parts["claimed"]),
            recomputed,
            software,
            parts["evaluation"],
            parts["composition"],
            parts["lock"],
        )
        if bytes(proof) != data:
            raise MalformedError("fault proof: not in the one accepted form")
        return proof

    def __bytes__(self) -> bytes:
        lines = [FAULT_MAGIC, f"suite {self.suite}", f"index {self.index}"]
        lines += [encode_base64(value) for value in self.path]
        ours = self.recomputed
        recomputed = {
            "answer": ours.answer,
            "correct": ours.correct,
            "item": ours.item,
            "margin": ours.margin,
            "software": dict(self.software),
        }
        contents = (
            self.claimed.leaf(),
            canonical_json(recomputed),
            self.evaluation,
            self.composition,
            self.lock_bytes,
        )
        parts = (
            b"%s %d\n%b" % (name.encode(), len(part), part)
            for name, part in zip(_PARTS, contents, strict=True)
        )
        return b"".join(["\n".join(lines).encode(), b"\n\n", *parts])

    @property
    def id(self) -> str:
        """The hex SHA-256 of the file."""
        return hashlib.sha256(bytes(self)).hexdigest()

    @property
    def lock(self) -> Lock:
        """The lock that pins all a re-run takes (unverified)."""
        return Lock.parse(self.lock_bytes, what="lock of fault proof")

    @property
    def _proof(self) -> TlogProof:
        return TlogProof.parse(self.evaluation)

    @property
    def note(self) -> bytes:
        """The checkpoint note of the log that holds the evaluation (unverified)."""
        return self._proof.note

    def verify(self) -> None:
        """Check all that needs no model, and nothing but the file.

        Raises:
            EvidenceError: the first of the checks below that does not hold.
        """
        self.verify_signatures()
        self.verify_inclusion()
        self.verify_lock()
        self.verify_outcome()

    def verify_signatures(self) -> tuple[Entry, Entry]:
        """Return the evaluation and the composition, both signed by their authors.

        Raises:
            MalformedError, SignatureError: if one is no such entry.
            DigestError: if the evaluation is about another composition.
        """
        body, _ = self._carried()
        evaluation, composition = Entry.parse(body), Entry.parse(self.composition)
        if (evaluation.kind, composition.kind) != ("evaluation", "composition"):
            raise MalformedError(
                f"fault proof: of a {evaluation.kind} and a {composition.kind}, "
                "not of an evaluation and its composition"
            )
        named = evaluation.statement.predicate["composition"]
        if named != composition.id:
            raise DigestError(f"evaluation {evaluation.id} is about composition {named}")
        return evaluation, composition

    def verify_inclusion(self) -> str:
        """Check that the log whose key is in its origin holds the evaluation; return the place.

        Raises:
            SignatureError, ProofError: if that is not proven.
        """
        body, key = self._carried()
        checkpoint = self._proof.verify(leaf_hash(body), key)
        return f"index {self._proof.index} of size {checkpoint.size} in {checkpoint.origin}"

    def verify_lock(self) -> Lock:
        """Return the lock, which must be that of the composition and have the suite.

        Raises:
            DigestError: if it is another one.
        """
        _, composition = self.verify_signatures()
        named, found = composition.statement.predicate["lock"], str(Cid.of(self.lock_bytes))
        if named != found:
            raise DigestError(f"the lock of composition {composition.id} is {named}, not {found}")
        if self.suite not in [suite.id for suite in self.lock.suites]:
            raise DigestError(f"the lock has no suite {self.suite}")
        return self.lock

    def verify_outcome(self) -> bytes:
        """Return the root that the evaluation states, which must commit to the claimed outcome.

        Raises:
            DigestError: if the evaluation does not score the suite, or scores it twice.
            ProofError: if the root does not commit to the outcome at this index.
        """
        evaluation, _ = self.verify_signatures()
        scores = [
            score
            for score in evaluation.statement.predicate["scores"]
            if score["suite"] == self.suite
        ]
        if len(scores) != 1:
            raise DigestError(
                f"evaluation {evaluation.id} scores suite {self.suite} {len(scores)} times"
            )
        root = bytes.fromhex(scores[0]["root"])
        if self.index >= scores[0]["total"]:
            raise ProofError(f"there is no item {self.index} of {scores[0]['total']}")
        OutcomeProof(self.claimed, self.index, scores[0]["total"], self.path).verify(root)
        return root

    def _carried(self) -> tuple[bytes, NoteKey]:
        carried = self._proof.carried()
        assert carried is not None  # required of every object of this class
        return carried


def _claimed(data: bytes) -> Outcome:
    row = _row(data, _LEAF, "claimed outcome of fault proof")
    return Outcome(**row, margin=None)


def _recomputed(data: bytes) -> tuple[Outcome, Mapping[str, str]]:
    keys = (*_LEAF, "margin", "software")
    row = _row(data, keys, "recomputed outcome of fault proof")
    software = row.pop("software")
    return Outcome(**row), software


def _row(data: bytes, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    row = parse_canonical_json(data, what=what, max_bytes=MAX_FAULT_BYTES)
    if not isinstance(row, dict):
        raise MalformedError(f"{what}: not a JSON object")
    check_keys(row, keys, what=what, error=MalformedError, required=keys)
    return row


def _check_software(value: Any) -> None:
    if not isinstance(value, Mapping) or len(value) > _MAX_SOFTWARE:
        raise MalformedError("fault proof: software is not a small table of versions")
    for text in (*value, *value.values()):
        if not isinstance(text, str) or not 0 < len(text) <= _MAX_VERSION:
            raise MalformedError("fault proof: software is not a table of short texts")


def _field(line: str, name: str) -> str:
    if not line.startswith(name):
        raise MalformedError(f"fault proof: no '{name.strip()}' line where it belongs")
    return line.removeprefix(name)


def _part(name: str, data: bytes) -> tuple[bytes, bytes]:
    """Cut a length-prefixed part off the front of what is left of a file."""
    head, _, rest = data.partition(b"\n")
    line = head[:32].decode("ascii", "replace")
    length = parse_decimal(_field(line, f"{name} "), what=f"length of part {name} of fault proof")
    if length > len(rest):
        raise MalformedError(f"fault proof: part {name} is cut off")
    return rest[:length], rest[length:]
