"""Statements: what an author asserts, as an in-toto Statement v1.

A statement is canonical JSON with `_type`, `subject`, `predicateType` (`urn:pnode:<kind>:v1`) and
`predicate`. Subjects name what the statement is about by SHA-256, so ordinary in-toto tools can
match a file to it. Every predicate of a known kind names its `author` (did:key) and, except for
the genesis, the time its author claims (`created`), which is shown and never relied on.

Policy for readers: the fields of known kinds are checked (`ledger.predicate`); unknown fields are
kept and ignored, unknown kinds are kept and shown. Nothing is dropped: the bytes are signed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ledger import predicate
from ledger.cid import Cid
from ledger.encoding import canonical_json, parse_canonical_json
from ledger.errors import MalformedError
from ledger.keys import PublicKey

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MAX_SUBJECTS: Final = 256

_KIND = re.compile(r"urn:pnode:([a-z][a-z-]{0,31}):v1", re.ASCII)


class Subject(NamedTuple):
    """Something a statement is about: a name and the hex SHA-256 of its bytes."""

    name: str
    sha256: str


class Statement(NamedTuple):
    """A parsed statement of a known or unknown kind."""

    kind: str
    subjects: tuple[Subject, ...]
    predicate: Mapping[str, Any]

    @property
    def author(self) -> PublicKey:
        """The author the predicate names."""
        return PublicKey.from_did(self.predicate["author"])

    @property
    def created(self) -> str:
        """The time the author claims, or an empty text."""
        created = self.predicate.get("created", "")
        return created if isinstance(created, str) else ""

    def encode(self) -> bytes:
        """Return the canonical bytes to sign, after the checks of `parse`."""
        document = {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"digest": {"sha256": subject.sha256}, "name": subject.name}
                for subject in self.subjects
            ],
            "predicateType": f"urn:pnode:{self.kind}:v1",
            "predicate": dict(self.predicate),
        }
        data = canonical_json(document)
        Statement.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Statement:
        """Parse the payload of an envelope.

        Raises:
            MalformedError: naming the field that is missing or wrong.
        """
        value = parse_canonical_json(data, what="statement")
        if not isinstance(value, dict) or value.get("_type") != STATEMENT_TYPE:
            raise MalformedError("statement: not an in-toto Statement v1")
        match = _KIND.fullmatch(str(value.get("predicateType")))
        if not match:
            raise MalformedError("statement: predicateType is not urn:pnode:<kind>:v1")
        fields = value.get("predicate")
        if not isinstance(fields, dict):
            raise MalformedError("statement: no predicate")
        predicate.check_predicate(match[1], fields)
        return cls(match[1], _subjects(value.get("subject")), fields)


def _subjects(value: Any) -> tuple[Subject, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_SUBJECTS:
        raise MalformedError(f"statement: needs 1 to {MAX_SUBJECTS} subjects")
    subjects = tuple(_subject(item) for item in value)
    if len({subject.name for subject in subjects}) != len(subjects):
        raise MalformedError("statement: two subjects have the same name")
    return subjects


def _subject(value: Any) -> Subject:
    try:
        name, digest = value["name"], value["digest"]["sha256"]
        if set(value) != {"name", "digest"} or set(value["digest"]) != {"sha256"}:
            raise KeyError
    except (KeyError, TypeError):
        raise MalformedError("statement: a subject is not {name, digest: {sha256}}") from None
    predicate.text(name)
    predicate.sha256(digest)
    return Subject(name, digest)


def subjects_of(files: Sequence[tuple[str, str]]) -> tuple[Subject, ...]:
    """Return subjects for (path, hex sha256) pairs, sorted by path."""
    return tuple(Subject(path, digest) for path, digest in sorted(files))


def artifact_cids(statement: Statement) -> tuple[Cid, ...]:
    """Return the CIDs of all artifacts and documents a statement names, in a fixed order.

    These are the roots a node offers to others and fetches from them. Fields of unknown kinds may
    hold anything; what is not a CID is passed over.
    """
    named = (_cid(text) for _, text in artifact_fields(statement.predicate))
    return tuple(dict.fromkeys(filter(None, named)))


def artifact_fields(fields: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path and the text of every field that may name an artifact, in a fixed order."""
    for name in ("cid", "lock", "record", "table"):
        if isinstance(fields.get(name), str):
            yield (name,), fields[name]
    base = fields.get("base")
    if isinstance(base, dict) and isinstance(base.get("cid"), str):
        yield ("base", "cid"), base["cid"]
    scores = fields.get("scores")
    for number, score in enumerate(scores if isinstance(scores, list) else ()):
        if isinstance(score, dict) and isinstance(score.get("outcomes"), str):
            yield ("scores", number, "outcomes"), score["outcomes"]


def _cid(text: str) -> Cid | None:
    try:
        return Cid.parse(text)
    except MalformedError:
        return None
