"""Proof files that travel alone: an entry's place in a log (c2sp.org/tlog-proof, 2026-06).

    c2sp.org/tlog-proof@v1
    extra <base64>                    (optional, unauthenticated)
    index <decimal>
    <base64 of a 32-byte hash>        (zero or more, leaf side first)
    <empty line>
    <checkpoint note, verbatim>

Check: the entry's leaf hash, the log's signature on the checkpoint, then inclusion. The `extra`
line of a proof that stands alone is `{"entry": <base64>, "log_key": <verifier key>}`, canonical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint, log_key, open_checkpoint
from ledger.encoding import (
    canonical_json,
    decode_base64,
    encode_base64,
    parse_canonical_json,
    parse_decimal,
)
from ledger.errors import MalformedError
from ledger.merkle import HASH_SIZE, verify_inclusion
from ledger.note import MAX_NOTE_BYTES, Note, NoteKey

MAGIC: Final = "c2sp.org/tlog-proof@v1"
_MAX_BYTES = MAX_NOTE_BYTES + 65_536 * 2
_MAX_PATH = 63


@dataclass(frozen=True, slots=True)
class TlogProof:
    """A parsed proof file; nothing in it is verified until `verify` returned."""

    index: int
    path: tuple[bytes, ...]
    note: bytes
    extra: bytes | None = None

    def __bytes__(self) -> bytes:
        lines = [MAGIC]
        if self.extra is not None:
            lines.append(f"extra {encode_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines += [encode_base64(value) for value in self.path]
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.note

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Parse the bytes of a proof file.

        Raises:
            MalformedError: if they are not one.
        """
        if len(data) > _MAX_BYTES:
            raise MalformedError(f"tlog-proof: {len(data)} bytes are too many")
        head, separator, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise MalformedError("tlog-proof: not ASCII text") from None
        if not separator or lines.pop(0) != MAGIC:
            raise MalformedError(f"tlog-proof: does not begin with {MAGIC}")
        Checkpoint.parse(Note.parse(note).text)
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = decode_base64(lines.pop(0)[6:], what="extra line of tlog-proof")
        if not lines or not lines[0].startswith("index "):
            raise MalformedError("tlog-proof: no index line")
        index = parse_decimal(lines.pop(0)[6:], what="index line of tlog-proof")
        if len(lines) > _MAX_PATH:
            raise MalformedError("tlog-proof: too many hashes")
        what = "hash line of tlog-proof"
        path = tuple(decode_base64(line, what=what, length=HASH_SIZE) for line in lines)
        return cls(index, path, note, extra)

    def carrying(self, entry: bytes, key: NoteKey) -> TlogProof:
        """Return the proof with the entry and the log key in its `extra` line.

        They are unauthenticated there and need not be more: the entry must hash to the proven
        leaf and the key to the origin that the checkpoint names.
        """
        extra = canonical_json({"entry": encode_base64(entry), "log_key": str(key)})
        return TlogProof(self.index, self.path, self.note, extra)

    def carried(self) -> tuple[bytes, NoteKey] | None:
        """Return the entry and the log key in the `extra` line, None if it holds something else.

        Raises:
            MalformedError: if they are not in the one accepted form.
            SignatureError: if the key is not that of the log.
        """
        if self.extra is None:
            return None
        value = parse_canonical_json(self.extra, what="extra line of tlog-proof")
        if not isinstance(value, dict) or set(value) != {"entry", "log_key"}:
            return None
        key = NoteKey.parse(str(value["log_key"]))
        log_key(self.origin, key.key)
        return decode_base64(str(value["entry"]), what="entry in tlog-proof"), key

    @property
    def origin(self) -> str:
        """The origin the checkpoint claims (unverified)."""
        return Checkpoint.parse(Note.parse(self.note).text).origin

    def verify(self, leaf: bytes, key: NoteKey) -> Checkpoint:
        """Check that the log of `key` holds the leaf hash at this index.

        Raises:
            SignatureError: if the log did not sign the checkpoint.
            ProofError: if the path does not lead to its root.
        """
        checkpoint = open_checkpoint(self.note, key)
        verify_inclusion(leaf, self.index, checkpoint.size, self.path, checkpoint.root)
        return checkpoint
