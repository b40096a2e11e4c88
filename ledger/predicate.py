"""Predicates: the fields each kind of statement must and may have.

`FIELDS` is the normative list (docs/spec/statements.md explains it). A rule is a function that
looks at one value, returns nothing and raises MalformedError. Fields that are not listed are kept
and ignored, so that later versions can add some without breaking earlier readers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from ledger.cid import require_cid
from ledger.encoding import decode_base64, decode_hex
from ledger.errors import MalformedError
from ledger.keys import SIGNATURE_SIZE, PublicKey
from ledger.note import NoteKey

ARTIFACT_TYPES: Final = ("adapter", "suite")
EXACTNESS_CLASSES: Final = ("bitwise", "pinned", "tolerance", "advisory")
VERDICTS: Final = ("reproduced", "mismatch", "inconclusive")
MAX_TEXT: Final = 2_000

TIME_PATTERN: Final = (
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:[0-2]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ"
)
_TIME = re.compile(TIME_PATTERN, re.ASCII)

# What is signed is signed for ever: no control characters and none that reorder text.
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_REORDERING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

Rule = Callable[[Any], None]


def text(value: Any) -> None:
    """Text of at most MAX_TEXT characters without control characters."""
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise MalformedError(f"not text of at most {MAX_TEXT} characters")
    # Whatever is unprintable or reorders text in ASCII is a control character.
    if value.isascii() and value.isprintable():
        return
    if any(_is_unprintable(char) for char in value):
        raise MalformedError("contains a control or reordering character")


def line(value: Any) -> None:
    """Text on one line: a title, a name, a licence."""
    text(value)
    if "\n" in value:
        raise MalformedError("has more than one line")


def _is_unprintable(char: str) -> bool:
    return char in _REORDERING or (char != "\n" and unicodedata.category(char) in _UNPRINTABLE)


def sha256(value: Any) -> None:
    """A digest in lower-case hexadecimal."""
    decode_hex(value, what="sha256", length=32)


def commit(value: Any) -> None:
    """The id of a git commit, SHA-1 in lower-case hexadecimal."""
    decode_hex(value, what="commit", length=20)


def cid(value: Any) -> None:
    """A CID; entry ids are CIDs too."""
    if not isinstance(value, str):
        raise MalformedError("not a CID")
    require_cid(value)


def author(value: Any) -> None:
    """A did:key."""
    PublicKey.from_did(value)


def note_key(value: Any) -> None:
    """A verifier key as notes write it."""
    if not isinstance(value, str):
        raise MalformedError("not a verifier key")
    NoteKey.parse(value)


def time(value: Any) -> None:
    """RFC 3339 in UTC with whole seconds."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise MalformedError("not a time such as 2026-11-22T20:00:00Z")


def count(value: Any) -> None:
    """An integer that is not negative."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MalformedError("not a count")


def positive(value: Any) -> None:
    """An integer above zero."""
    count(value)
    if not value:
        raise MalformedError("not above zero")


def signature(value: Any) -> None:
    """An Ed25519 signature in base64."""
    if not isinstance(value, str):
        raise MalformedError("not a signature")
    decode_base64(value, what="signature", length=SIGNATURE_SIZE)


def evidence_file(value: Any) -> None:
    """The text of an evidence file."""
    if not isinstance(value, str):
        raise MalformedError("not the text of an evidence file")
    from ledger.evidence import Evidence

    Evidence.parse(value.encode("utf-8"))


def common(value: Any) -> None:
    """A common prefix with its proofs."""
    from ledger.commonprefix import CommonPrefix

    CommonPrefix.parse(value)


def record(value: Any) -> None:
    """A JSON object, kept as it is."""
    if not isinstance(value, dict):
        raise MalformedError("not an object")


class OneOf:
    """One of some words."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def __call__(self, value: Any) -> None:
        """Look at one value."""
        if value not in self.values:
            raise MalformedError(f"not one of {', '.join(self.values)}")


class Many:
    """A list of at most `limit` values that obey one rule."""

    def __init__(self, rule: Rule, limit: int = 1_000) -> None:
        self.rule = rule
        self.limit = limit

    def __call__(self, value: Any) -> None:
        """Look at one value."""
        if not isinstance(value, list) or len(value) > self.limit:
            raise MalformedError(f"not a list of at most {self.limit}")
        for item in value:
            self.rule(item)


class Distinct:
    """A list of such objects, no two with the same value in the field `name`."""

    def __init__(self, name: str, rule: Rule) -> None:
        self.name = name
        self.rule = rule

    def __call__(self, value: Any) -> None:
        """Look at one value."""
        Many(self.rule)(value)
        if len({item[self.name] for item in value}) != len(value):
            raise MalformedError(f"two items have the same '{self.name}'")


class Fields:
    """An object that has at least these fields."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules

    def __call__(self, value: Any) -> None:
        """Look at one value."""
        record(value)
        for name, check in self.rules.items():
            if name not in value:
                raise MalformedError(f"no '{name}'")
            check(value[name])


_BASE = Fields({"name": text, "digest": sha256, "cid": cid})
_MANIFEST = Fields(
    {
        "resources": Distinct(
            "name", Fields({"name": text, "digest": sha256, "algorithm": OneOf("sha256")})
        ),
        "serialization": record,
    }
)
_SCORE = Fields({"suite": cid, "correct": count, "total": count, "root": sha256, "outcomes": cid})
ON_WITHDRAWAL: Final = ("keep", "unpin")
"""What a contribution asks of those who hold it, for when it is withdrawn."""
_VALUE = Fields({"contribution": cid, "value": text})
_SOURCE = Fields({"hub": line, "repository": line, "commit": commit})
_PREDECESSOR = Fields({"origin": line, "size": positive, "root": sha256})

FIELDS: Final[Mapping[str, tuple[Mapping[str, Rule], Mapping[str, Rule]]]] = {
    "genesis": (
        {
            "author": author,
            "origin": text,
            "log_key": note_key,
            "cosigner_key": note_key,
            "recovery": sha256,
        },
        {
            "name": line,
            "predecessor": _PREDECESSOR,
            "recovery_key": author,
            "recovery_signature": signature,
        },
    ),
    "succession": (
        {"author": author, "created": time, "successor": cid, "origin": line},
        {"reason": text},
    ),
    "revocation": (
        {"author": author, "created": time, "origin": line, "from": count},
        {"reason": text},
    ),
    "contribution": (
        {
            "author": author,
            "created": time,
            "type": OneOf(*ARTIFACT_TYPES),
            "cid": cid,
            "title": line,
            "license": line,
            "manifest": _MANIFEST,
        },
        {
            "base": _BASE,
            "adapter": record,
            "suite": record,
            "terms": text,
            "supersedes": cid,
            "derived_from": Many(cid),
            "source": _SOURCE,
            "on_withdrawal": OneOf(*ON_WITHDRAWAL),
        },
    ),
    "withdrawal": ({"author": author, "created": time, "target": cid, "reason": text}, {}),
    "composition": (
        {
            "author": author,
            "created": time,
            "lock": cid,
            "system_digest": sha256,
            "method": text,
            "base": _BASE,
            "members": Many(cid),
            "suites": Many(cid),
            "exactness": OneOf(*EXACTNESS_CLASSES),
        },
        {"title": line},
    ),
    "evaluation": (
        {
            "author": author,
            "created": time,
            "composition": cid,
            "scores": Many(_SCORE),
            "exactness": OneOf(*EXACTNESS_CLASSES),
        },
        {"software": record},
    ),
    "attribution": (
        {
            "author": author,
            "created": time,
            "composition": cid,
            "record": cid,
            "table": cid,
            "root": sha256,
            "game": text,
            "estimator": text,
            "values": Many(_VALUE),
            "efficiency_gap": text,
        },
        {},
    ),
    "evidence": (
        {
            "author": author,
            "created": time,
            "origin": line,
            "evidence": evidence_file,
            "common": common,
        },
        {},
    ),
    "verification": (
        {
            "author": author,
            "created": time,
            "target": cid,
            "verdict": OneOf(*VERDICTS),
            "checked": count,
            "mismatches": count,
            "exactness": OneOf(*EXACTNESS_CLASSES),
        },
        {"software": record, "confirms": Many(cid), "seed": sha256, "fault": sha256},
    ),
}
"""Required and optional fields of each known kind, with the rule each must obey."""


def rules_of(kind: str) -> Mapping[str, Rule]:
    """Return the rule of every field a kind must or may have, in the order they are checked."""
    required, optional = FIELDS.get(kind, _UNKNOWN)
    return {**required, **optional}


def check_predicate(kind: str, predicate: Mapping[str, Any]) -> None:
    """Require the fields of a kind; of an unknown kind only the author.

    Raises:
        MalformedError: naming the first field that is missing or wrong.
    """
    required, optional = FIELDS.get(kind, _UNKNOWN)
    for name, rule in required.items():
        if name not in predicate:
            raise MalformedError(f"{kind} statement: no field '{name}'")
        _check_field(kind, name, rule, predicate[name])
    for name, rule in optional.items():
        if name in predicate:
            _check_field(kind, name, rule, predicate[name])


def _check_field(kind: str, name: str, rule: Rule, value: Any) -> None:
    try:
        rule(value)
    except MalformedError as error:
        raise MalformedError(f"{kind} statement: field '{name}': {error.message}") from None


_UNKNOWN: tuple[Mapping[str, Rule], Mapping[str, Rule]] = ({"author": author}, {})
