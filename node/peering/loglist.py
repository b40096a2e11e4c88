"""The two listing files of a static tree: which logs it holds, and their checkpoints.

`/logs` is a log list as the witness network writes it, reduced to what a reader needs:

    logs/v0
    <empty line>
    vkey <verifier key of the log>
    origin <origin of the log>

The block after the empty line is repeated, an empty line before each, sorted by origin. Stricter
than the list format: no comments, both lines present in this order, no other line.

`/frontier` is the checkpoint note of every log, newest first, an empty line after each note.
Neither the text of a checkpoint nor its signature block can contain an empty line, so the pieces
between empty lines are text and signatures in turn, and splitting is unambiguous. One note that
is wrong in itself does not spoil the others.

Only what they cost to parse is limited here: their bytes, and a number of logs that an honest list
of so many bytes hardly reaches. How many of them are looked at is for the reader to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ledger.checkpoint import log_key
from ledger.errors import MalformedError, SignatureError
from ledger.note import NoteKey

MAX_LIST_BYTES: Final = 4 << 20
MAX_FRONTIER_BYTES: Final = 32 << 20
MAX_LISTED: Final = 32_768
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


def parse_logs(data: bytes) -> tuple[ListedLog, ...]:
    """Parse a log list.

    Raises:
        MalformedError: if it is not in the one accepted form, or has too many bytes.
    """
    lines = _text(data, what="log list").split("\n")
    if lines[0] != _HEADER or lines[-1] or (len(lines) - 2) % 3:
        raise MalformedError(f"log list: not '{_HEADER}' and blocks of vkey and origin")
    if (len(lines) - 2) // 3 > MAX_LISTED:
        raise MalformedError(f"log list: more than {MAX_LISTED} logs")
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
    """Return checkpoint notes as one file; give them newest first."""
    return b"".join(note + b"\n" for note in notes)


@dataclass(frozen=True, slots=True)
class OfferedNote:
    """A note in a frontier under the origin its first line names; nothing of it is checked."""

    origin: str
    note: bytes


def split_frontier(data: bytes) -> tuple[OfferedNote, ...]:
    """Split a frontier file into its notes, unverified.

    Raises:
        MalformedError: unless it is whole notes of unique origins, within the limit of bytes.
    """
    pieces = _text(data, what="frontier", max_bytes=MAX_FRONTIER_BYTES).split("\n\n")
    if pieces.pop() or len(pieces) % 2 or not all(pieces):
        raise MalformedError("frontier: not whole notes with an empty line after each")
    if len(pieces) // 2 > MAX_LISTED:
        raise MalformedError(f"frontier: more than {MAX_LISTED} logs")
    notes = tuple(
        OfferedNote(text.partition("\n")[0], f"{text}\n\n{signatures}\n".encode())
        for text, signatures in zip(pieces[::2], pieces[1::2], strict=True)
    )
    if len({note.origin for note in notes}) != len(notes):
        raise MalformedError("frontier: origins are not unique")
    return notes


def _text(data: bytes, *, what: str, max_bytes: int = MAX_LIST_BYTES) -> str:
    if len(data) > max_bytes:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {max_bytes} are accepted")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError(f"{what}: not UTF-8") from None
