"""What a witness is asked and what it answers (c2sp.org/tlog-witness v1.0.0), without I/O.

    old <size in decimal>
    <base64 of a 32-byte hash>        (0 to 63 lines: the consistency proof from the old size)
    <empty line>
    <checkpoint note>

`decide` makes every check of the specification in the order in which it lists them. Whoever calls
it must keep its answer and the state it was given together: checking the old size and storing the
new one is one atomic step, or a slow request rolls the witness back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint
from ledger.cosignature import CosignatureVerifier
from ledger.encoding import decode_base64, encode_base64, parse_decimal
from ledger.errors import EvidenceError, MalformedError, PolicyError, ProofError, SignatureError
from ledger.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from ledger.note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    NoteKey,
    NoteSignature,
    NoteVerifier,
    parse_signature,
)

MAX_PROOF: Final = 63
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + MAX_PROOF * 45 + 32
MAX_ANSWER_BYTES: Final = 16_384
SIZE_TYPE: Final = "text/x.tlog.size"


class NotCosignedError(PolicyError):
    """A request for a cosignature that this node refuses; `status` says why, as HTTP has it."""

    code = "not-cosigned"
    default_hint = "send a newer checkpoint of the log, with a proof from the size last cosigned"

    def __init__(self, status: int, message: str, *, size: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.size = size


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A parsed request; nothing in it is verified until `decide` returned."""

    old_size: int
    proof: tuple[bytes, ...]
    note: Note

    def __bytes__(self) -> bytes:
        lines = [f"old {self.old_size}", *(encode_base64(value) for value in self.proof)]
        return "\n".join(lines).encode("ascii") + b"\n\n" + bytes(self.note)

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Parse the body of a request.

        Raises:
            MalformedError: if it is not one.
        """
        if len(data) > MAX_REQUEST_BYTES:
            raise MalformedError(f"add-checkpoint: more than {MAX_REQUEST_BYTES} bytes")
        head, separator, note = data.partition(b"\n\n")
        try:
            first, *hashes = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise MalformedError("add-checkpoint: not ASCII text") from None
        if not separator or not first.startswith("old "):
            raise MalformedError("add-checkpoint: does not begin with an old size")
        # SPEC says: "The client MUST NOT send more than 63 consistency proof lines."
        if len(hashes) > MAX_PROOF:
            raise MalformedError(f"add-checkpoint: more than {MAX_PROOF} hashes")
        old_size = parse_decimal(first.removeprefix("old "), what="old size")
        what = "proof line of add-checkpoint"
        proof = tuple(decode_base64(line, what=what, length=HASH_SIZE) for line in hashes)
        request = cls(old_size, proof, Note.parse(note))
        if not request.claims_an_impossible_root:
            Checkpoint.parse(request.note.text)
        return request

    @property
    def origin(self) -> str:
        """The log it is about, as claimed."""
        return self.note.text.partition("\n")[0]

    @property
    def claims_an_impossible_root(self) -> bool:
        """Whether it is a well-formed checkpoint of no entries with the root of some."""
        lines = self.note.text.split("\n")
        if len(lines) != 4 or not lines[0] or lines[1] != "0" or lines[3]:
            return False
        return decode_base64(lines[2], what="root", length=HASH_SIZE) != EMPTY_ROOT


def decide(request: AddCheckpoint, key: NoteKey | None, last: Checkpoint | None) -> Checkpoint:
    """Return the checkpoint that may be cosigned now.

    Args:
        request: what was asked.
        key: the trusted key of its log, or None if the origin is unknown.
        last: the largest tree this witness has cosigned of it, or None.

    Raises:
        NotCosignedError: with the status of the answer.
    """
    # SPEC: "If the checkpoint origin is unknown, the witness MUST respond with a "404 Not Found"
    # HTTP status code."
    if key is None or key.name != request.origin:
        raise NotCosignedError(404, f"{request.origin[:200]} is not a log known here")
    require_signed(request, key)
    # SPEC: "The old size MUST be equal to or lower than the checkpoint size. Otherwise, the
    # witness MUST respond with a "400 Bad Request" HTTP status code."
    size = 0 if request.claims_an_impossible_root else Checkpoint.parse(request.note.text).size
    if request.old_size > size:
        raise NotCosignedError(400, f"the old size {request.old_size} is beyond the new {size}")
    # SPEC: "The witness MUST check that the old size matches the size of the latest checkpoint it
    # cosigned for the checkpoint's origin (or zero if it never cosigned a checkpoint for that
    # origin). If it doesn't match, the witness MUST respond with a "409 Conflict" HTTP status
    # code. The response body MUST consist of the tree size of the latest cosigned checkpoint in
    # decimal, followed by a newline (U+000A)."
    last_size = last.size if last is not None else 0
    if request.old_size != last_size:
        message = f"the old size is {request.old_size}, but {last_size} was cosigned last"
        raise NotCosignedError(409, message, size=last_size)
    # SPEC: "A checkpoint of size zero MUST have the root hash of the empty tree [...]. Otherwise,
    # the witness MUST respond with a "422 Unprocessable Entity" HTTP status code."
    if request.claims_an_impossible_root:
        raise NotCosignedError(422, "a tree of no entries has another root")
    checkpoint = Checkpoint.parse(request.note.text)
    _require_consistent(request, last, checkpoint)
    return checkpoint


def require_signed(request: AddCheckpoint, key: NoteKey) -> None:
    """Require that the log has signed what is to be cosigned.

    Raises:
        NotCosignedError: with status 403.
    """
    # SPEC: "The witness MUST respond with a "403 Forbidden" HTTP status code if either no
    # signature from a trusted key for the origin is present, or a signature line's key name and ID
    # match a trusted key but the signature itself fails to verify".
    try:
        request.note.open([NoteVerifier(key)])
    except SignatureError as error:
        raise NotCosignedError(403, error.message) from None


def _require_consistent(
    request: AddCheckpoint, last: Checkpoint | None, checkpoint: Checkpoint
) -> None:
    # SPEC: "If the old size is zero, the consistency proof MUST be empty".
    # SPEC: "If the proof is not empty when the old size is zero, or if a Merkle Consistency Proof
    # doesn't verify, the witness MUST respond with a "422 Unprocessable Entity" HTTP status code."
    # SPEC: "If the old size matches the checkpoint size, the witness MUST check that the root
    # hashes are also identical. If they don't match, the witness MUST respond with a "422
    # Unprocessable Entity" HTTP status code."
    if last is None or last.size == 0:
        if request.proof:
            raise NotCosignedError(422, "a proof from no entries proves nothing")
        return
    try:
        verify_consistency(
            last.size, checkpoint.size, last.root, checkpoint.root, list(request.proof)
        )
    except ProofError as error:
        raise NotCosignedError(422, error.message) from None


def encode_answer(lines: Iterable[NoteSignature]) -> bytes:
    """Return the body of an answer with status 200."""
    # SPEC: "The response body MUST be a sequence of one or more note signature lines, each
    # starting with the [em dash] character (U+2014) and ending with a newline character (U+000A)."
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def parse_answer(data: bytes) -> tuple[NoteSignature, ...]:
    """Parse the body of an answer with status 200, unverified.

    Raises:
        MalformedError: if it is not a sequence of signature lines.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("answer to add-checkpoint: not UTF-8") from None
    lines = text.split("\n")
    if len(data) > MAX_ANSWER_BYTES or len(lines) < 2 or lines.pop():
        raise MalformedError("answer to add-checkpoint: not a sequence of signature lines")
    if len(lines) > MAX_SIGNATURES:
        raise MalformedError("answer to add-checkpoint: too many lines")
    return tuple(parse_signature(line) for line in lines)


def parse_conflict(data: bytes) -> int:
    """Parse the body of an answer with status 409: the size the witness cosigned last."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("size last cosigned: not ASCII") from None
    return parse_decimal(text.removesuffix("\n"), what="size last cosigned")


def verified_lines(
    text: str, lines: Iterable[NoteSignature], keys: Iterable[NoteKey]
) -> list[tuple[NoteKey, NoteSignature]]:
    """Return the first valid cosignature of each of these keys over a checkpoint text.

    Lines by other keys, and lines that do not verify, are left out: they cost nothing to ignore,
    and a peer that adds a wrong line must not be able to hide the right ones.
    """
    found: dict[NoteKey, NoteSignature] = {}
    known = list(keys)
    for line in lines:
        for key in known:
            if line.is_by(key) and key not in found and _verifies(text, line, key):
                found[key] = line
    return list(found.items())


def _verifies(text: str, line: NoteSignature, key: NoteKey) -> bool:
    try:
        CosignatureVerifier(key).verify_line(text, line)
    except EvidenceError:
        return False
    return True
