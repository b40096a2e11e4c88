"""The coalition table (`pnode.table/1`): the published evidence behind every value.

Canonical JSON lines, each ended by a line feed. The header names the lock, the players (the
contribution ids, sorted) and the suites. Then one line per evaluated coalition in increasing order
of its bit mask, where bit i stands for player i:

    {"lock":"bafk...","players":["bafk...","bafk..."],"schema":"pnode.table/1","suites":[...]}
    {"coalition":"0","counts":[1],"outcomes":"QA=="}
    {"coalition":"3","counts":[2],"outcomes":"wA=="}

`outcomes` is one bit per item over all suites in order, most significant bit first, zero padded;
`counts` repeats how many bits are set per suite, so the file can be read without decoding.
The root is the RFC 6962 Merkle root over the coalition lines without their line feeds; in a
complete table leaf i is coalition i, which makes one outcome provable with a short path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import MissingCoalitionsError, TableError
from attribution.game import Counts, Suite, mean, suite_slices
from attribution.outcomes import Outcomes, count, pack, unpack
from ledger.cid import Cid
from ledger.encoding import (
    canonical_json,
    decode_base64,
    encode_base64,
    parse_canonical_json,
)
from ledger.errors import MalformedError
from ledger.merkle import leaf_hash, root_of

SCHEMA: Final = "pnode.table/1"
MAX_TABLE_BYTES: Final = 512 * 1024 * 1024
MAX_ROWS: Final = 2**20
MAX_PLAYERS: Final = 256
MAX_SUITES: Final = 64
MAX_ITEMS: Final = 2**20
MAX_NAME: Final = 200
_MAX_LINE = 256 * 1024


@dataclass(frozen=True, slots=True)
class CoalitionTable:
    """What each evaluated coalition solved, item by item.

    `rows` maps a coalition mask to its outcomes packed into bytes; build one with `of` or `parse`.
    """

    lock: Cid
    players: tuple[str, ...]
    suites: tuple[Suite, ...]
    rows: Mapping[int, bytes]

    @classmethod
    def of(
        cls,
        lock: Cid,
        players: Sequence[str],
        suites: Sequence[Suite],
        rows: Mapping[int, Outcomes | bytes],
    ) -> CoalitionTable:
        """Build a table from outcomes, boolean of shape [items] or already packed.

        Raises:
            TableError: if the players are not sorted contribution ids, a suite is unusable, a mask
                names no player or a row has another number of items.
        """
        _check_players(players)
        _check_suites(suites)
        if len(rows) > MAX_ROWS:
            raise TableError(f"table: {len(rows)} coalitions, at most {MAX_ROWS} are accepted")
        items = sum(suite.items for suite in suites)
        packed = {}
        for mask in sorted(rows):
            if not 0 <= mask < 1 << len(players):
                raise TableError(f"table: coalition {mask:x} names a player that does not exist")
            packed[mask] = pack(rows[mask], items, what=f"table, coalition {mask:x}")
        return cls(lock, tuple(players), tuple(suites), MappingProxyType(packed))

    @classmethod
    def parse(cls, data: bytes) -> CoalitionTable:
        """Parse the published bytes.

        Raises:
            TableError: unless encoding the result gives exactly `data` back.
        """
        if len(data) > MAX_TABLE_BYTES:
            raise TableError(f"table: {len(data)} bytes, at most {MAX_TABLE_BYTES} are accepted")
        if not data.endswith(b"\n"):
            raise TableError("table: the last line is not ended by a line feed")
        if data.count(b"\n") > MAX_ROWS + 1:
            raise TableError(f"table: more than {MAX_ROWS} coalitions")
        header, *lines = data[:-1].split(b"\n")
        lock, players, suites = _parse_header(header)
        rows: dict[int, Outcomes | bytes] = {}
        last = -1
        for number, line in enumerate(lines, start=2):
            mask, outcomes = _parse_row(line, suites, what=f"table, line {number}")
            if mask <= last:
                raise TableError(f"table, line {number}: coalition {mask:x} is not in order")
            rows[mask] = outcomes
            last = mask
        return cls.of(lock, players, suites, rows)

    def encode(self) -> bytes:
        """Return the one accepted encoding."""
        header = {
            "lock": str(self.lock),
            "players": list(self.players),
            "schema": SCHEMA,
            "suites": [
                {"id": suite.id, "items": suite.items, "name": suite.name} for suite in self.suites
            ],
        }
        lines = [canonical_json(header), *self.lines()]
        return b"".join(line + b"\n" for line in lines)

    def lines(self) -> Iterator[bytes]:
        """Yield the coalition lines in order, without line feeds: the leaves of `root`."""
        for mask, packed in self.rows.items():
            yield canonical_json(
                {
                    "coalition": f"{mask:x}",
                    "counts": count(packed, self.suites),
                    "outcomes": encode_base64(packed),
                }
            )

    def root(self) -> bytes:
        """Return the RFC 6962 Merkle root over the coalition lines."""
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

    @property
    def complete(self) -> bool:
        """Whether every coalition of the players is present."""
        return len(self.rows) == 1 << len(self.players)

    def missing(self) -> Iterator[int]:
        """Yield the masks that are absent, in order; for n players there can be almost 2^n."""
        return (mask for mask in range(1 << len(self.players)) if mask not in self.rows)

    def packed(self, mask: int) -> bytes:
        """Return the packed outcomes of one coalition.

        Raises:
            MissingCoalitionsError: if it was not evaluated.
        """
        try:
            return self.rows[mask]
        except KeyError:
            raise MissingCoalitionsError(
                f"table: coalition {mask:x} of {len(self.players)} players was not evaluated"
            ) from None

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

    def all_packed(self) -> NDArray[np.uint8]:
        """Return every row, shape [rows, bytes per row], in mask order."""
        joined = np.frombuffer(b"".join(self.rows.values()), dtype=np.uint8)
        return joined.reshape(len(self.rows), (self.items + 7) // 8)


def all_counts(table: CoalitionTable) -> Counts:
    """Return the solved items of every row per suite, shape [rows, suites], in mask order."""
    packed = table.all_packed()
    counts = np.empty((len(packed), len(table.suites)), dtype=np.int64)
    for column, part in enumerate(suite_slices(table.suites)):
        first, last = part.start // 8, (part.stop + 7) // 8
        inside = np.zeros(8 * (last - first), dtype=np.uint8)
        inside[part.start - 8 * first : part.stop - 8 * first] = 1
        bits = packed[:, first:last] & np.packbits(inside)
        np.bitwise_count(bits).sum(axis=1, dtype=np.int64, out=counts[:, column])
    return counts


def _check_players(players: Sequence[str]) -> None:
    if not 1 <= len(players) <= MAX_PLAYERS:
        raise TableError(f"table: {len(players)} players, 1 to {MAX_PLAYERS} are accepted")
    for player in players:
        _check_id(player, "player")
    if list(players) != sorted(set(players)):
        raise TableError("table: the players are not sorted by id, or one is named twice")


def _check_suites(suites: Sequence[Suite]) -> None:
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


def _parse_header(line: bytes) -> tuple[Cid, list[str], list[Suite]]:
    header = _parse_object(line, ("lock", "players", "schema", "suites"), what="table, line 1")
    if header["schema"] != SCHEMA:
        raise TableError(f"table, line 1: schema {header['schema']!r}, expected '{SCHEMA}'")
    players, suites = header["players"], header["suites"]
    if not isinstance(players, list) or not all(isinstance(player, str) for player in players):
        raise TableError("table, line 1: the players are not a list of ids")
    if not isinstance(suites, list):
        raise TableError("table, line 1: the suites are not a list")
    lock, parsed = _parse_lock(header["lock"]), [_parse_suite(suite) for suite in suites]
    _check_players(players)
    _check_suites(parsed)
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


def _parse_row(line: bytes, suites: Sequence[Suite], *, what: str) -> tuple[int, bytes]:
    row = _parse_object(line, ("coalition", "counts", "outcomes"), what=what)
    mask = _parse_mask(row["coalition"], what=what)
    items = sum(suite.items for suite in suites)
    if not isinstance(row["outcomes"], str):
        raise TableError(f"{what}: the outcomes are not text")
    try:
        outcomes = decode_base64(row["outcomes"], what=what, length=(items + 7) // 8)
    except MalformedError as error:
        raise TableError(error.message) from None
    pack(outcomes, items, what=what)
    # Compared as JSON, because to Python the literal `true` equals 1.
    if canonical_json(row["counts"]) != canonical_json(count(outcomes, suites)):
        raise TableError(f"{what}: the counts of coalition {mask:x} differ from its outcomes")
    return mask, outcomes


def _parse_mask(text: Any, *, what: str) -> int:
    digits = "0123456789abcdef"
    if not isinstance(text, str) or not text or len(text) > MAX_PLAYERS // 4:
        raise TableError(f"{what}: the coalition is not a hexadecimal mask")
    if any(char not in digits for char in text) or (text[0] == "0" and text != "0"):
        raise TableError(f"{what}: '{text}' is not the shortest lower-case hexadecimal mask")
    return int(text, 16)


def _parse_object(line: bytes, keys: tuple[str, ...], *, what: str) -> dict[str, Any]:
    try:
        value = parse_canonical_json(line, what=what, max_bytes=_MAX_LINE)
    except MalformedError as error:
        raise TableError(error.message) from None
    if not isinstance(value, dict) or sorted(value) != sorted(keys):
        raise TableError(f"{what}: needs exactly the keys {', '.join(keys)}")
    return value
