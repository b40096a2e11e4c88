"""A lock: a recipe after resolution, with everything that determines the outcomes pinned.

Its canonical JSON is an artifact of its own, and the raw CID of those bytes names a composition.

    {"schema": "pnode.lock/1",
     "frontier": [{"origin", "size", "root"}],        sorted by origin
     "base": {"name", "digest", "cid"},
     "members": [{"id", "cid"}],                      sorted by id
     "method": {"name", "version", "parameters": {name: text}},
     "dev": null | {"id", "cid"},
     "suites": [{"id", "cid"}],                       in the order of the recipe
     "seed": n, "exactness": class, "software": {name: version}}

The frontier says what the author of the lock could see. Outcomes do not depend on it, which is
why the coalition key leaves it out: two nodes with different logs share a cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from compose.untrusted import check_keys, shown
from ledger.cid import RAW, Cid
from ledger.encoding import (
    MAX_SAFE_INTEGER,
    canonical_json,
    decode_hex,
    parse_canonical_json,
)
from ledger.errors import MalformedError, NotFoundError

SCHEMA = "pnode.lock/1"
EXACTNESS = ("bitwise", "pinned", "tolerance", "advisory")
MAX_BYTES = 4 * 1024 * 1024
MAX_LIST = 4096
MAX_TEXT = 1024

_KEYS = (
    "schema",
    "frontier",
    "base",
    "members",
    "method",
    "dev",
    "suites",
    "seed",
    "exactness",
    "software",
)
_UNKEYED = ("schema", "frontier")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FrontierEntry:
    """One checkpoint the resolution rests on."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        _text(self.origin, "lock: frontier: origin")
        _integer(self.size, "lock: frontier: size")
        if len(self.root) != 32:
            raise MalformedError(f"lock: frontier: root of {self.origin} is not 32 bytes")


@dataclass(frozen=True, slots=True)
class LockedBase:
    """The base model: a name for people, the digest that decides, the CID of its manifest."""

    name: str
    digest: str
    cid: Cid

    def __post_init__(self) -> None:
        _text(self.name, "lock: base: name")
        decode_hex(self.digest, what="lock: base: digest", length=32)


@dataclass(frozen=True, slots=True)
class LockedEntry:
    """A contribution: the id of its ledger entry and the CID of its artifact."""

    id: str
    cid: Cid

    def __post_init__(self) -> None:
        if Cid.parse(self.id).codec != RAW:
            raise MalformedError(f"lock: {self.id} is not the id of an entry")


@dataclass(frozen=True, slots=True)
class LockedMethod:
    """A composition method of one version, every parameter with its default written out."""

    name: str
    version: str
    parameters: Mapping[str, str]

    def __post_init__(self) -> None:
        _text(self.name, "lock: method: name")
        _text(self.version, "lock: method: version")
        _texts(self.parameters, "lock: method: parameters")


@dataclass(frozen=True, slots=True)
class Lock:
    """A resolved recipe. Without members it is the empty coalition: the base model alone."""

    frontier: tuple[FrontierEntry, ...]
    base: LockedBase
    members: tuple[LockedEntry, ...]
    method: LockedMethod
    dev: LockedEntry | None
    suites: tuple[LockedEntry, ...]
    seed: int
    exactness: str
    software: Mapping[str, str]

    def __post_init__(self) -> None:
        _ascending([entry.origin for entry in self.frontier], "lock: frontier")
        _ascending([member.id for member in self.members], "lock: members")
        suites = [suite.id for suite in self.suites]
        if not suites or len(set(suites)) != len(suites):
            raise MalformedError("lock: suites must name at least one suite, and none twice")
        if self.dev is not None and self._is_scored_on(self.dev):
            raise MalformedError(f"lock: the dev suite {self.dev.id} is also in suites")
        _integer(self.seed, "lock: seed")
        if self.exactness not in EXACTNESS:
            raise MalformedError(f"lock: exactness {shown(self.exactness)} is not a class")
        _texts(self.software, "lock: software")

    def _is_scored_on(self, dev: LockedEntry) -> bool:
        # By CID too: the same items published twice are still the same items.
        return any(dev.id == suite.id or dev.cid == suite.cid for suite in self.suites)

    def encode(self) -> bytes:
        """Return the canonical JSON of the lock."""
        return canonical_json(self._document())

    def cid(self) -> Cid:
        """Return the CID that names the composition: raw, of the canonical bytes."""
        return Cid.of(self.encode())

    @classmethod
    def parse(cls, data: bytes, *, what: str = "lock") -> Lock:
        """Parse a lock.

        Raises:
            MalformedError: unless encoding the result gives `data` back.
        """
        document = parse_canonical_json(data, what=what, max_bytes=MAX_BYTES)
        table = _table(document, _KEYS, what)
        if table["schema"] != SCHEMA:
            raise MalformedError(f"{what}: schema is {shown(table['schema'])}, not {SCHEMA}")
        dev = table["dev"]
        return cls(
            frontier=_list(table["frontier"], _frontier_entry, f"{what}: frontier"),
            base=_base(table["base"], f"{what}: base"),
            members=_list(table["members"], _entry, f"{what}: members"),
            method=_method(table["method"], f"{what}: method"),
            dev=None if dev is None else _entry(dev, f"{what}: dev"),
            suites=_list(table["suites"], _entry, f"{what}: suites"),
            seed=table["seed"],
            exactness=table["exactness"],
            software=table["software"],
        )

    def restrict(self, member_ids: Iterable[str]) -> Lock:
        """Return the lock of a coalition: the same but for the members.

        Raises:
            NotFoundError: naming an id that is not a member.
        """
        wanted = set(member_ids)
        unknown = sorted(wanted - {member.id for member in self.members})
        if unknown:
            raise NotFoundError(
                f"lock: {unknown[0]} is not a member", hint="a coalition is a subset of the members"
            )
        return replace(self, members=tuple(each for each in self.members if each.id in wanted))

    def coalition_key(self) -> str:
        """Return the cache key of the outcomes: hex SHA-256 over all that determines them."""
        document = self._document()
        for key in _UNKEYED:
            del document[key]
        return hashlib.sha256(canonical_json(document)).hexdigest()

    def _document(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "frontier": [
                {"origin": each.origin, "size": each.size, "root": each.root.hex()}
                for each in self.frontier
            ],
            "base": {
                "name": self.base.name,
                "digest": self.base.digest,
                "cid": str(self.base.cid),
            },
            "members": [_entry_document(member) for member in self.members],
            "method": {
                "name": self.method.name,
                "version": self.method.version,
                "parameters": dict(self.method.parameters),
            },
            "dev": None if self.dev is None else _entry_document(self.dev),
            "suites": [_entry_document(suite) for suite in self.suites],
            "seed": self.seed,
            "exactness": self.exactness,
            "software": dict(self.software),
        }


def _entry_document(entry: LockedEntry) -> dict[str, str]:
    return {"id": entry.id, "cid": str(entry.cid)}


def _frontier_entry(value: Any, what: str) -> FrontierEntry:
    table = _table(value, ("origin", "size", "root"), what)
    root = decode_hex(table["root"], what=f"{what}: root", length=32)
    return FrontierEntry(table["origin"], table["size"], root)


def _base(value: Any, what: str) -> LockedBase:
    table = _table(value, ("name", "digest", "cid"), what)
    return LockedBase(table["name"], table["digest"], _cid(table["cid"], what))


def _entry(value: Any, what: str) -> LockedEntry:
    table = _table(value, ("id", "cid"), what)
    return LockedEntry(_text(table["id"], what), _cid(table["cid"], what))


def _method(value: Any, what: str) -> LockedMethod:
    table = _table(value, ("name", "version", "parameters"), what)
    return LockedMethod(table["name"], table["version"], table["parameters"])


def _cid(value: Any, what: str) -> Cid:
    return Cid.parse(_text(value, what))


def _table(value: Any, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedError(f"{what}: {shown(value)} is not an object")
    check_keys(value, keys, what=what, error=MalformedError, required=keys)
    return value


def _list(value: Any, parse: Callable[[Any, str], _T], what: str) -> tuple[_T, ...]:
    if not isinstance(value, list) or len(value) > MAX_LIST:
        raise MalformedError(f"{what}: not a list of at most {MAX_LIST}")
    return tuple(parse(item, what) for item in value)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise MalformedError(f"{what}: {shown(value)} is not a text of 1 to {MAX_TEXT} characters")
    return value


def _texts(value: Any, what: str) -> None:
    if not isinstance(value, Mapping):
        raise MalformedError(f"{what}: {shown(value)} is not a table of texts")
    for name, text in value.items():
        _text(name, what)
        _text(text, f"{what}: {name}")


def _integer(value: Any, what: str) -> None:
    if type(value) is not int or not 0 <= value <= MAX_SAFE_INTEGER:
        raise MalformedError(f"{what}: {shown(value)} is not an integer in 0..2^53-1")


def _ascending(values: list[str], what: str) -> None:
    if any(left >= right for left, right in pairwise(values)):
        raise MalformedError(f"{what} must be sorted, with nothing twice")
