"""The coalition table (`pnode.table/1`): the published evidence behind every value.

After the header (`evidence`) one line per evaluated coalition in increasing order of its bit mask,
where bit i stands for player i:

    {"coalition":"0","counts":[1],"outcomes":"QA=="}
    {"coalition":"3","counts":[2],"outcomes":"wA=="}

`outcomes` is one bit per item over all suites in order, most significant bit first, zero padded;
`counts` repeats how many bits are set per suite, so the file can be read without decoding. In a
complete table leaf i of the root is coalition i, which makes one outcome provable with a short
path.
"""

from __future__ import annotations

import re
from binascii import Error as BinasciiError
from binascii import a2b_base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import eq
from types import MappingProxyType
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from attribution.errors import MissingCoalitionsError, TableError
from attribution.evidence import (
    MAX_PLAYERS,
    Evidence,
    check_players,
    check_suites,
    parse_header,
    parse_object,
    split_lines,
)
from attribution.game import Counts, Suite, suite_slices
from attribution.outcomes import Outcomes, count, pack
from ledger.cid import Cid
from ledger.encoding import canonical_json, decode_base64, encode_base64
from ledger.errors import MalformedError

SCHEMA: Final = "pnode.table/1"
MAX_ROWS: Final = 2**20
_LINE = re.compile(
    rb'\{"coalition":"([0-9a-f]{1,64})","counts":\[[0-9,]{1,700}\],"outcomes":"([0-9A-Za-z+/=]*)"\}'
)


@dataclass(frozen=True, slots=True)
class CoalitionTable(Evidence):
    """What each evaluated coalition solved, item by item.

    `rows` maps a coalition mask to its outcomes packed into bytes; build one with `of` or `parse`.
    """

    schema: ClassVar[str] = SCHEMA

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
        check_players(players)
        check_suites(suites)
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
        header, lines = split_lines(data, MAX_ROWS)
        lock, players, suites = parse_header(header, SCHEMA)
        quick = _parse_quickly(lines)
        if quick is not None:
            table = cls.of(lock, players, suites, quick)
            if all(map(eq, table.lines(), lines)):
                return table
        # Something is wrong: line by line, for an error that says where.
        rows: dict[int, Outcomes | bytes] = {}
        last = -1
        for number, line in enumerate(lines, start=2):
            mask, outcomes = _parse_row(line, suites, what=f"table, line {number}")
            if mask <= last:
                raise TableError(f"table, line {number}: coalition {mask:x} is not in order")
            rows[mask] = outcomes
            last = mask
        return cls.of(lock, players, suites, rows)

    def lines(self) -> Iterator[bytes]:
        """Yield the coalition lines in order of their masks."""
        # Canonical JSON, written directly: there can be a million lines.
        for (mask, packed), counts in zip(self.rows.items(), _counted(self), strict=True):
            yield (
                f'{{"coalition":"{mask:x}","counts":[{",".join(map(str, counts))}],'
                f'"outcomes":"{encode_base64(packed)}"}}'
            ).encode()

    @property
    def complete(self) -> bool:
        """Whether every coalition of the players is present."""
        return len(self.rows) == 1 << len(self.players)

    @property
    def evaluated(self) -> int:
        """How many coalitions were evaluated."""
        return len(self.rows)

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

    def null_players(self) -> tuple[int, ...]:
        """Return the players that change no outcome in any evaluated pair of coalitions.

        A zero-effect adapter need not be one: under averaging its presence dilutes the others,
        changes outcomes, and may rightly earn a negative value.
        """
        return tuple(
            player
            for player in range(len(self.players))
            if all(
                self.rows.get(mask | 1 << player, row) == row
                for mask, row in self.rows.items()
                if not mask >> player & 1
            )
        )

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


def _counted(table: CoalitionTable) -> list[list[int]]:
    counted: list[list[int]] = all_counts(table).tolist() if table.rows else []
    return counted


def _parse_quickly(lines: Sequence[bytes]) -> dict[int, Outcomes | bytes] | None:
    """Return the rows of lines that look right, without judging order, counts or spelling."""
    rows: dict[int, Outcomes | bytes] = {}
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        try:
            rows[int(found[1], 16)] = a2b_base64(found[2])
        except BinasciiError:
            return None
    return rows if len(rows) == len(lines) else None


def _parse_row(line: bytes, suites: Sequence[Suite], *, what: str) -> tuple[int, bytes]:
    row = parse_object(line, ("coalition", "counts", "outcomes"), what=what)
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
