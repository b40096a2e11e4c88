"""What every published table is: a game on the items of suites, as canonical JSON lines.

The header names the lock, the players (the contribution ids, sorted) and the suites:

    {"lock":"bafk...","players":["bafk...","bafk..."],"schema":SCHEMA,"suites":[...]}

The lines after it hold the game; the root is the RFC 6962 Merkle root over them, without their
line feeds. `table` has a line for each coalition, `treetable` a decision tree for each item.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Final

from attribution.errors import TableError
from attribution.game import Suite, mean
from attribution.outcomes import Outcomes, count, unpack
from ledger.cid import Cid
from ledger.encoding import canonical_json, parse_canonical_json
from ledger.errors import MalformedError
from ledger.merkle import leaf_hash, root_of

MAX_TABLE_BYTES: Final = 512 * 1024 * 1024
MAX_PLAYERS: Final = 256
MAX_SUITES: Final = 64
MAX_ITEMS: Final = 2**20
MAX_NAME: Final = 200
_MAX_LINE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Evidence(ABC):
    """A game whose coalitions solve items or do not; what all kinds of table answer."""

    schema: ClassVar[str]

    lock: Cid
    players: tuple[str, ...]
    suites: tuple[Suite, ...]

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether the outcomes of every coalition are known."""

    @property
    @abstractmethod
    def evaluated(self) -> int | None:
        """How many coalitions have a line of their own; None where other lines settle them all."""

    @abstractmethod
    def packed(self, mask: int) -> bytes:
        """Return the packed outcomes of one coalition.

        Raises:
            MissingCoalitionsError: if they are not known.
        """

    @abstractmethod
    def lines(self) -> Iterator[bytes]:
        """Yield the lines after the header, without line feeds: the leaves of `root`."""

    @abstractmethod
    def null_players(self) -> tuple[int, ...]:
        """Return players of whom the table shows that they never change an outcome."""

    def encode(self) -> bytes:
        """Return the one accepted encoding."""
        header = {
            "lock": str(self.lock),
            "players": list(self.players),
            "schema": self.schema,
            "suites": [
                {"id": suite.id, "items": suite.items, "name": suite.name} for suite in self.suites
            ],
        }
        lines = [canonical_json(header), *self.lines()]
        return b"".join(line + b"\n" for line in lines)

    def root(self) -> bytes:
        """Return the RFC 6962 Merkle root over the lines after the header."""
        return root_of(leaf_hash(line) for line in self.lines())

    def digest(self) -> bytes:
        """Return the SHA-256 of the encoded table."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def items(self) -> int:
        """The number of items in all suites together."""
        return sum(suite.items for suite in self.suites)

    @property
    def everyone(self) -> int:
        """The mask of the grand coalition."""
        return (1 << len(self.players)) - 1

    def outcomes(self, mask: int) -> Outcomes:
        """Return the outcomes of one coalition, boolean of shape [items]."""
        return unpack(self.packed(mask), self.items)

    def counts(self, mask: int) -> tuple[int, ...]:
        """Return how many items of each suite a coalition solves."""
        return tuple(count(self.packed(mask), self.suites))

    def suite_values(self, mask: int) -> tuple[Fraction, ...]:
        """Return the exact accuracy of a coalition on each suite."""
        return tuple(
            Fraction(solved, suite.items)
            for solved, suite in zip(self.counts(mask), self.suites, strict=True)
        )

    def value(self, mask: int) -> Fraction:
        """Return v(S), the mean over suites of the accuracy."""
        return mean(self.suite_values(mask))


def check_players(players: Sequence[str]) -> None:
    """Require sorted contribution ids, each once."""
    if not 1 <= len(players) <= MAX_PLAYERS:
        raise TableError(f"table: {len(players)} players, 1 to {MAX_PLAYERS} are accepted")
    for player in players:
        _check_id(player, "player")
    if list(players) != sorted(set(players)):
        raise TableError("table: the players are not sorted by id, or one is named twice")


def check_suites(suites: Sequence[Suite]) -> None:
    """Require usable suites, each once, within the limits."""
    if not 1 <= len(suites) <= MAX_SUITES:
        raise TableError(f"table: {len(suites)} suites, 1 to {MAX_SUITES} are accepted")
    for suite in suites:
        _check_id(suite.id, "suite")
        if suite.items < 1:
            raise TableError(f"table: suite {suite.id} has no items")
        if not 0 < len(suite.name) <= MAX_NAME:
            raise TableError(f"table: the name of suite {suite.id} is empty or too long")
    if len({suite.id for suite in suites}) != len(suites):
        raise TableError("table: a suite is named twice")
    if sum(suite.items for suite in suites) > MAX_ITEMS:
        raise TableError(f"table: more than {MAX_ITEMS} items")


def _check_id(text: str, what: str) -> None:
    try:
        Cid.parse(text)
    except MalformedError as error:
        raise TableError(f"table: {what} id: {error}") from None


def split_lines(data: bytes, most: int) -> tuple[bytes, list[bytes]]:
    """Return the header line and the lines after it.

    Raises:
        TableError: if there are more than `most`, too many bytes, or no line feed at the end.
    """
    if len(data) > MAX_TABLE_BYTES:
        raise TableError(f"table: {len(data)} bytes, at most {MAX_TABLE_BYTES} are accepted")
    if not data.endswith(b"\n"):
        raise TableError("table: the last line is not ended by a line feed")
    if data.count(b"\n") > most + 1:
        raise TableError(f"table: more than {most} lines")
    header, *lines = data[:-1].split(b"\n")
    return header, lines


def parse_header(line: bytes, schema: str) -> tuple[Cid, list[str], list[Suite]]:
    """Return lock, players and suites of a table of that schema."""
    header = parse_object(line, ("lock", "players", "schema", "suites"), what="table, line 1")
    if header["schema"] != schema:
        raise TableError(f"table, line 1: schema {header['schema']!r}, expected '{schema}'")
    players, suites = header["players"], header["suites"]
    if not isinstance(players, list) or not all(isinstance(player, str) for player in players):
        raise TableError("table, line 1: the players are not a list of ids")
    if not isinstance(suites, list):
        raise TableError("table, line 1: the suites are not a list")
    lock, parsed = _parse_lock(header["lock"]), [_parse_suite(suite) for suite in suites]
    check_players(players)
    check_suites(parsed)
    return lock, players, parsed


def _parse_lock(text: Any) -> Cid:
    try:
        return Cid.parse(text if isinstance(text, str) else "")
    except MalformedError as error:
        raise TableError(f"table, line 1: lock: {error}") from None


def _parse_suite(value: Any) -> Suite:
    if not isinstance(value, dict) or sorted(value) != ["id", "items", "name"]:
        raise TableError("table, line 1: a suite needs exactly the keys id, items, name")
    if not isinstance(value["id"], str) or not isinstance(value["name"], str):
        raise TableError("table, line 1: the id or the name of a suite is not text")
    if type(value["items"]) is not int:
        raise TableError("table, line 1: the items of a suite are not an integer")
    return Suite(value["id"], value["name"], value["items"])


def parse_object(line: bytes, keys: tuple[str, ...], *, what: str) -> dict[str, Any]:
    """Return a canonical JSON object of exactly these keys."""
    try:
        value = parse_canonical_json(line, what=what, max_bytes=_MAX_LINE)
    except MalformedError as error:
        raise TableError(error.message) from None
    if not isinstance(value, dict) or sorted(value) != sorted(keys):
        raise TableError(f"{what}: needs exactly the keys {', '.join(keys)}")
    return value
