"""The list of the evidence a node holds, as peers read it.

    GET /evidence               one line `<id> <origin>` for each piece, sorted by origin and id
    GET /equivocation/<id>      the file

The files have a folder of their own, because in a directory a list and a folder cannot share a
name.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.database import Database
from ledger.errors import MalformedError, NotFoundError
from ledger.heldevidence import find_evidence, held_evidence
from ledger.log import logs

EVIDENCE_LIST: Final = "/evidence"
EVIDENCE_FOLDER: Final = "/equivocation/"
MAX_EVIDENCE_LIST_BYTES: Final = 1 << 20

_LINE = re.compile(r"(?P<id>[0-9a-f]{64}) (?P<origin>[^\s]{1,256})", re.ASCII)


def encode_evidence_list(database: Database) -> bytes:
    """Return the list of the evidence held about logs held here, as far as readers accept it."""
    held = {log.origin for log in logs(database)}
    pairs = sorted((each.origin, each.id) for each in held_evidence(database))
    lines = (f"{id_} {origin}\n".encode() for origin, id_ in pairs if origin in held)
    data = bytearray()
    for line in lines:
        if len(data) + len(line) > MAX_EVIDENCE_LIST_BYTES:
            break
        data += line
    return bytes(data)


def parse_evidence_list(data: bytes) -> dict[str, str]:
    """Return the ids in a list, with the origin each is said to be about.

    Raises:
        MalformedError: if it is not a list of evidence.
    """
    if len(data) > MAX_EVIDENCE_LIST_BYTES:
        raise MalformedError(f"list of evidence: {len(data)} bytes are too many")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("list of evidence: not UTF-8") from None
    if text and not text.endswith("\n"):
        raise MalformedError("list of evidence: the last line is cut off")
    found = [_LINE.fullmatch(line) for line in text.split("\n")[:-1]]
    pairs = [(match["origin"], match["id"]) for match in found if match]
    if len(pairs) != len(found) or pairs != sorted(set(pairs)):
        raise MalformedError("list of evidence: not lines of id and origin, sorted")
    return {id_: origin for origin, id_ in pairs}


def evidence_file(database: Database, id_: str) -> bytes:
    """Return the file of a piece of evidence.

    Raises:
        NotFoundError: if it is not held.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", id_):
        raise NotFoundError("evidence has the path /equivocation/<id>")
    return bytes(find_evidence(database, id_))
