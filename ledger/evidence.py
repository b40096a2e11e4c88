"""Portable proof that a log has signed two histories: the text file `equivocation@v1`.

    equivocation@v1
    kind <same-size | entry | prefix>
    log <verifier key of the log>
    <base64 of a 32-byte hash>          (entry: the two leaf hashes; prefix: x and its proof)
    <empty line>
    A <decimal number of bytes>
    <the bytes of A>B <decimal number of bytes>
    <the bytes of B>

A and B are checkpoint notes, in an `entry` file tlog-proofs without `extra` line. Both end in a
newline. Whoever has the file needs nothing else, and whoever made it need not be trusted:

- `same-size`: the log signed two checkpoints of one size with different roots.
- `entry`: the log signed two trees that hold different entries at one index. The number of hashes
  of an inclusion proof follows from index and size, so the place of a leaf cannot be moved.
- `prefix`: the log signed A of size m and B of size n > m, and a consistency proof shows that the
  first m entries of B have the root x, which is not the root of A. Every hash of that proof is
  also hashed into the root of B, hence nobody but the log can choose x. A consistency proof that
  merely fails would prove nothing: anybody can make one.

Each is false only if SHA-256 or the signature of the log is broken, or its key was stolen. A log
with a pnode origin is convicted by the one key that its origin contains; for another origin the
file convicts the key it names, and the reader must know whose key that is.

One form only: A is the smaller tree (at equal sizes the smaller root), the log signs first, and
the cosigners that follow, sorted, are the same on both sides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, cast, get_args

from ledger.checkpoint import ORIGIN_PREFIX, Checkpoint, log_key, open_checkpoint
from ledger.cosignature import COSIGNATURE_SIZE, CosignatureVerifier
from ledger.encoding import decode_base64, encode_base64, parse_decimal
from ledger.errors import MalformedError, ProofError, SignatureError
from ledger.merkle import HASH_SIZE, NodeReader, consistency_proof, subtree_root, verify_consistency
from ledger.note import ED25519_NOTE, Note, NoteKey, NoteSignature
from ledger.tlogproof import TlogProof

EVIDENCE_MAGIC: Final = "equivocation@v1"
MAX_EVIDENCE_BYTES: Final = 16_384
MAX_COSIGNERS: Final = 8
MAX_COSIGNER_NAME: Final = 128

Kind = Literal["same-size", "entry", "prefix"]
SAME_SIZE: Final = "same-size"
ENTRY: Final = "entry"
PREFIX: Final = "prefix"

_MAX_PATH = 64


@dataclass(frozen=True, slots=True)
class Evidence:
    """An evidence file in the accepted form; it proves nothing until `verify` returned.

    `hashes` are the two leaf hashes of an `entry` file, x and its proof in a `prefix` file.

    Raises:
        MalformedError: if the parts do not make one.
    """

    kind: Kind
    key: NoteKey
    a: bytes
    b: bytes
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind) or self.key.kind != ED25519_NOTE:
            raise MalformedError("evidence: unknown kind, or not the key of a log")
        fewest, most = {SAME_SIZE: (0, 0), ENTRY: (2, 2), PREFIX: (1, _MAX_PATH)}[self.kind]
        if not fewest <= len(self.hashes) <= most:
            raise MalformedError(f"evidence: {len(self.hashes)} hashes do not fit {self.kind}")
        if any(len(value) != HASH_SIZE for value in self.hashes):
            raise MalformedError("evidence: a hash is not 32 bytes")
        notes = self._notes
        a, b = (Checkpoint.parse(note.text) for note in notes)
        if not a.origin == b.origin == self.key.name:
            raise MalformedError("evidence: key and checkpoints name different logs")
        if not a < b:
            raise MalformedError("evidence: A is not the smaller tree")
        first, second = (_signers(note) for note in notes)
        if first != second or first != _in_order(first, self.key):
            raise MalformedError("evidence: the two sides do not carry the same signers in order")
        if len(first) > 1 + MAX_COSIGNERS:
            raise MalformedError(f"evidence: more than {MAX_COSIGNERS} cosigners")
        if len(bytes(self)) > MAX_EVIDENCE_BYTES:
            raise MalformedError(f"evidence: more than {MAX_EVIDENCE_BYTES} bytes")

    @classmethod
    def parse(cls, data: bytes) -> Evidence:
        """Parse the bytes of an evidence file; encoding the result gives them back.

        Raises:
            MalformedError: if they are not one.
        """
        if len(data) > MAX_EVIDENCE_BYTES:
            raise MalformedError(f"evidence: {len(data)} bytes are too many")
        head, separator, rest = data.partition(b"\n\n")
        try:
            lines = head.decode("utf-8").split("\n")
        except UnicodeDecodeError:
            raise MalformedError("evidence: not UTF-8 text") from None
        if not separator or len(lines) < 3 or lines[0] != EVIDENCE_MAGIC:
            raise MalformedError(f"evidence: does not begin with the head of {EVIDENCE_MAGIC}")
        kind, key = _field(lines[1], "kind "), _field(lines[2], "log ")
        if kind not in get_args(Kind):
            raise MalformedError("evidence: the kind is not one of " + ", ".join(get_args(Kind)))
        if len(lines) - 3 > _MAX_PATH:
            raise MalformedError("evidence: too many hashes")
        what = "hash line of evidence"
        hashes = tuple(decode_base64(line, what=what, length=HASH_SIZE) for line in lines[3:])
        a, rest = _part("A", rest)
        b, rest = _part("B", rest)
        evidence = cls(cast("Kind", kind), NoteKey.parse(key), a, b, hashes)
        if bytes(evidence) != data:
            raise MalformedError("evidence: not in the one accepted form")
        return evidence

    def __bytes__(self) -> bytes:
        lines = [EVIDENCE_MAGIC, f"kind {self.kind}", f"log {self.key}"]
        lines += [encode_base64(value) for value in self.hashes]
        head = "\n".join(lines).encode()
        parts = (b"A %d\n%b" % (len(self.a), self.a), b"B %d\n%b" % (len(self.b), self.b))
        return b"".join([head, b"\n\n", *parts])

    @property
    def id(self) -> str:
        """The hex SHA-256 of the file."""
        return hashlib.sha256(bytes(self)).hexdigest()

    @property
    def origin(self) -> str:
        """The log that is accused."""
        return self.key.name

    @property
    def checkpoints(self) -> tuple[Checkpoint, Checkpoint]:
        """The two trees, A first (unverified)."""
        a, b = (Checkpoint.parse(note.text) for note in self._notes)
        return a, b

    @property
    def contradiction(self) -> tuple[str, str]:
        """The two signed texts: the same for every file about the same two trees."""
        a, b = self._notes
        return a.text, b.text

    def verify(self) -> None:
        """Check that the log has signed two histories.

        Raises:
            SignatureError: if the log did not sign both sides, or its origin has another key.
            ProofError: if both can be true.
        """
        if self.origin.startswith(ORIGIN_PREFIX):
            log_key(self.origin, self.key.key)
        if self.kind == ENTRY:
            self._verify_entry()
            return
        a, b = (open_checkpoint(note, self.key) for note in (self.a, self.b))
        if self.kind == SAME_SIZE:
            if a.size != b.size:
                raise ProofError("evidence: trees of different sizes can both be true")
            return
        verify_consistency(a.size, b.size, self.hashes[0], b.root, self.hashes[1:])
        if a.size == b.size or self.hashes[0] == a.root:
            raise ProofError("evidence: the larger tree extends the smaller one")

    def _verify_entry(self) -> None:
        a, b = TlogProof.parse(self.a), TlogProof.parse(self.b)
        a.verify(self.hashes[0], self.key)
        b.verify(self.hashes[1], self.key)
        if a.index != b.index or self.hashes[0] == self.hashes[1]:
            raise ProofError("evidence: not two different entries at one index")

    def implicated(self, keys: Iterable[NoteKey]) -> tuple[NoteKey, ...]:
        """Return those of some cosigner keys that have signed both sides.

        A cosigner vouches that a tree extends every one it has cosigned before, so none can
        honestly stand on both sides.
        """
        return tuple(key for key in keys if all(_cosigned(note, key) for note in self._notes))

    @property
    def _notes(self) -> tuple[Note, Note]:
        a, b = (self._note(part) for part in (self.a, self.b))
        return a, b

    def _note(self, part: bytes) -> Note:
        if self.kind != ENTRY:
            return Note.parse(part)
        proof = TlogProof.parse(part)
        if proof.extra is not None:
            raise MalformedError("evidence: a proof in it has an extra line")
        return Note.parse(proof.note)


def same_size(key: NoteKey, note: bytes, other: bytes) -> Evidence:
    """Return the evidence that two checkpoints of one size have different roots.

    Raises:
        EvidenceError: if they prove nothing.
    """
    smaller, larger = sorted([note, other], key=_tree)
    return _fitting(key, smaller, larger, lambda a, b: Evidence(SAME_SIZE, key, a, b))


def prefix(
    key: NoteKey, smaller: bytes, larger: bytes, root: bytes, path: Sequence[bytes]
) -> Evidence:
    """Return the evidence that a larger tree does not extend a smaller one.

    Args:
        key: the key of the log.
        smaller: the checkpoint note of m entries.
        larger: the checkpoint note of n > m entries.
        root: the root of the first m entries of the larger tree.
        path: the consistency proof from that root to the larger tree.

    Raises:
        EvidenceError: if that is not proven.
    """
    hashes = (root, *path)
    return _fitting(key, smaller, larger, lambda a, b: Evidence(PREFIX, key, a, b, hashes))


def of_trees(key: NoteKey, note: bytes, other: bytes, read_larger: NodeReader) -> Evidence:
    """Return the evidence in two checkpoints, given the larger one's tree.

    Raises:
        EvidenceError: if both can be true, or the tree is not that of the larger checkpoint.
    """
    smaller, larger = sorted([note, other], key=_tree)
    (_, m, _), (_, n, _) = _tree(smaller), _tree(larger)
    if m == n:
        return same_size(key, smaller, larger)
    path = consistency_proof(m, n, read_larger)
    return prefix(key, smaller, larger, subtree_root(0, m, read_larger), path)


def different_entries(
    key: NoteKey, proof: TlogProof, leaf: bytes, other: TlogProof, other_leaf: bytes
) -> Evidence:
    """Return the evidence that two trees of a log hold different entries at one index.

    Raises:
        EvidenceError: if the proofs do not show that.
    """
    (smaller, first), (larger, second) = sorted(
        [(proof, leaf), (other, other_leaf)], key=lambda pair: _tree(pair[0].note)
    )

    def build(a: bytes, b: bytes) -> Evidence:
        sides = replace(smaller, note=a, extra=None), replace(larger, note=b, extra=None)
        return Evidence(ENTRY, key, bytes(sides[0]), bytes(sides[1]), (first, second))

    return _fitting(key, smaller.note, larger.note, build)


def _tree(note: bytes) -> tuple[str, int, bytes]:
    point = Checkpoint.parse(Note.parse(note).text)
    return point.origin, point.size, point.root


def _fitting(
    key: NoteKey, smaller: bytes, larger: bytes, build: Callable[[bytes, bytes], Evidence]
) -> Evidence:
    """Return the verified evidence in two notes, with as many cosigners as there is room for."""
    a, b = _reduced(key, smaller, larger)
    while True:
        try:
            evidence = build(bytes(a), bytes(b))
            break
        except MalformedError:
            # The proof is worth more than its cosigners: the last one goes first.
            if len(a.signatures) == 1:
                raise
            a, b = (Note(note.text, note.signatures[:-1]) for note in (a, b))
    evidence.verify()
    return evidence


def _reduced(key: NoteKey, *notes: bytes) -> tuple[Note, ...]:
    """Keep the log's signature and those of cosigners on both sides, in the accepted order.

    Anybody can add a line to a note, so that what cannot be a cosignature is left out.
    """
    parsed = [Note.parse(note) for note in notes]
    lines = [
        {(line.name, line.key_id): line for line in note.signatures if _carried(line, key)}
        for note in parsed
    ]
    shared = [signer for signer in lines[0] if all(signer in side for side in lines)]
    if (key.name, key.key_id) not in shared:
        raise SignatureError(f"{key.name} did not sign both checkpoints")
    ordered = _in_order(shared, key)[: 1 + MAX_COSIGNERS]
    return tuple(
        Note(note.text, tuple(side[signer] for signer in ordered))
        for note, side in zip(parsed, lines, strict=True)
    )


def _carried(line: NoteSignature, key: NoteKey) -> bool:
    short = len(line.name) <= MAX_COSIGNER_NAME and len(line.payload) == COSIGNATURE_SIZE
    return short or line.is_by(key)


def _signers(note: Note) -> list[tuple[str, bytes]]:
    return [(line.name, line.key_id) for line in note.signatures]


def _in_order(signers: Iterable[tuple[str, bytes]], key: NoteKey) -> list[tuple[str, bytes]]:
    log = (key.name, key.key_id)
    return [log, *sorted(set(signers) - {log})]


def _cosigned(note: Note, key: NoteKey) -> bool:
    verifier = CosignatureVerifier(key)
    return any(line.is_by(key) and _holds(verifier, note, line) for line in note.signatures)


def _holds(verifier: CosignatureVerifier, note: Note, line: NoteSignature) -> bool:
    try:
        verifier.verify_line(note.text, line)
    except SignatureError:
        return False
    return True


def _field(line: str, name: str) -> str:
    if not line.startswith(name):
        raise MalformedError(f"evidence: no '{name.strip()}' line where it belongs")
    return line.removeprefix(name)


def _part(name: str, data: bytes) -> tuple[bytes, bytes]:
    """Cut a length-prefixed part off the front of what is left of a file."""
    head, _, rest = data.partition(b"\n")
    try:
        line = head[:32].decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError(f"evidence: no part {name}") from None
    length = parse_decimal(_field(line, f"{name} "), what=f"length of part {name} of evidence")
    if length > len(rest):
        raise MalformedError(f"evidence: part {name} is cut off")
    return rest[:length], rest[length:]
