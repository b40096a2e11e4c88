"""The two listing files of a static tree: which logs it holds, and their checkpoints.

`/logs` is a log list as the witness network writes it, reduced to what a reader needs:

    logs/v0
    <empty line>
    vkey <verifier key of the log>
    origin <origin of the log>

The block after the empty line is repeated, an empty line before each, sorted by origin. Stricter
than the list format: no comments, both lines present in this order, no other line.

`/frontier` is every checkpoint note, sorted by origin, an empty line after each note. Neither the
text of a checkpoint nor its signature block can contain an empty line, so the pieces between
empty lines are text and signatures in turn, and splitting is unambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import Checkpoint, log_key
from ledger.errors import MalformedError, SignatureError
from ledger.note import Note, NoteKey

MAX_LIST_BYTES: Final = 4 << 20
_HEADER = "logs/v0"


@dataclass(frozen=True, slots=True)
class ListedLog:
    """A log as a list names it; nothing is checked but the form of the lines."""

    origin: str
    vkey: str

    def key(self) -> NoteKey:
        """Return the key of the log.

        Raises:
            MalformedError: if it is not a verifier key.
            SignatureError: if the origin does not contain the hash of this key.
        """
        listed = NoteKey.parse(self.vkey)
        key = log_key(self.origin, listed.key)
        if key != listed:
            raise SignatureError(f"the verifier key listed for {self.origin} names another log")
        return key


def encode_logs(keys: Iterable[NoteKey]) -> bytes:
    """Return the log list of some logs, given by their keys."""
    ordered = sorted(keys, key=lambda key: key.name)
    records = (f"\nvkey {key}\norigin {key.name}\n" for key in ordered)
    return f"{_HEADER}\n{''.join(records)}".encode()


def parse_logs(data: bytes, *, max_logs: int) -> tuple[ListedLog, ...]:
    """Parse a log list.

    Raises:
        MalformedError: if it is not in the one accepted form or names more than `max_logs`.
    """
    lines = _text(data, what="log list").split("\n")
    if lines[0] != _HEADER or lines[-1] or (len(lines) - 2) % 3:
        raise MalformedError(f"log list: not '{_HEADER}' and blocks of vkey and origin")
    if (len(lines) - 2) // 3 > max_logs:
        raise MalformedError(f"log list: more than {max_logs} logs")
    listed = []
    for start in range(1, len(lines) - 1, 3):
        empty, vkey, origin = lines[start : start + 3]
        if empty or not vkey.startswith("vkey ") or not origin.startswith("origin "):
            raise MalformedError(f"log list: line {start + 1} does not begin a block")
        listed.append(ListedLog(origin.removeprefix("origin "), vkey.removeprefix("vkey ")))
    origins = [log.origin for log in listed]
    if origins != sorted(set(origins)):
        raise MalformedError("log list: origins are not sorted and unique")
    return tuple(listed)


def encode_frontier(notes: Iterable[bytes]) -> bytes:
    """Return checkpoint notes as one file; give them sorted by origin."""
    return b"".join(note + b"\n" for note in notes)


def split_frontier(data: bytes) -> list[bytes]:
    """Split a frontier file into its notes, unverified.

    Raises:
        MalformedError: unless they are checkpoint notes, sorted by unique origins.
    """
    pieces = _text(data, what="frontier").split("\n\n")
    if pieces.pop() or len(pieces) % 2:
        raise MalformedError("frontier: not whole notes with an empty line after each")
    pairs = zip(pieces[::2], pieces[1::2], strict=True)
    notes = [f"{text}\n\n{signatures}\n".encode() for text, signatures in pairs]
    origins = [Checkpoint.parse(Note.parse(note).text).origin for note in notes]
    if origins != sorted(set(origins)):
        raise MalformedError("frontier: origins are not sorted and unique")
    return notes


def _text(data: bytes, *, what: str) -> str:
    if len(data) > MAX_LIST_BYTES:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {MAX_LIST_BYTES} are accepted")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"{what}: not UTF-8") from None
