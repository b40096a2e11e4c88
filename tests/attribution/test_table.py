"""The coalition table: one encoding, refused in every other form."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.errors import MissingCoalitionsError, TableError
from attribution.game import Suite
from attribution.table import CoalitionTable
from ledger.cid import Cid
from ledger.merkle import inclusion_proof, leaf_hash, root_of, verify_inclusion
from tests.attribution.games import LOCK, ids, random_table, suites_of, tables

SMALL = random_table(3, 2, 5, 6)
LINES = SMALL.encode().splitlines()


def joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def changed(number: int, **fields: object) -> bytes:
    """Return the small table with fields of one line replaced, otherwise canonical."""
    lines = list(LINES)
    row = json.loads(lines[number]) | fields
    lines[number] = json.dumps(row, sort_keys=True, separators=(",", ":")).encode()
    return joined(lines)


@settings(max_examples=60, deadline=None)
@given(tables())
def test_parsing_what_was_encoded_gives_the_same_table(table: CoalitionTable) -> None:
    parsed = CoalitionTable.parse(table.encode())
    assert parsed == table
    assert parsed.encode() == table.encode()
    assert parsed.complete


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_bytes_are_refused_or_are_another_canonical_table(data: st.DataObject) -> None:
    original = SMALL.encode()
    at = data.draw(st.integers(0, len(original) - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "insert", "cut"]))
    byte = bytes([data.draw(st.integers(0, 255))])
    mutated = {
        "flip": original[:at] + byte + original[at + 1 :],
        "drop": original[:at] + original[at + 1 :],
        "insert": original[:at] + byte + original[at:],
        "cut": original[:at],
    }[kind]
    try:
        parsed = CoalitionTable.parse(mutated)
    except TableError:
        return
    assert parsed.encode() == mutated


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(TableError):
        CoalitionTable.parse(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(1, counts=[9, 9]), "line 2: the counts of coalition 0 differ"),
        (
            changed(1, counts=[float(SMALL.counts(0)[0]), SMALL.counts(0)[1]]),
            "not an integer",
        ),
        (changed(1, coalition="00"), "not the shortest"),
        (changed(2, coalition="A"), "not the shortest"),
        (changed(4, coalition="4"), "names a player that does not exist"),
        (changed(1, coalition=1), "not a hexadecimal mask"),
        (changed(1, outcomes="AAA="), "differ|one bit per item|padding"),
        (changed(1, outcomes="//8="), "not one bit per item"),
        (changed(1, extra=1), "needs exactly the keys"),
        (changed(0, schema="pnode.table/2"), "schema"),
        (changed(0, lock="x"), "lock"),
        (changed(0, players=list(reversed(SMALL.players))), "not sorted"),
        (changed(0, players=[SMALL.players[0]] * 2), "not sorted by id, or one is named twice"),
        (changed(0, players=[]), "0 players"),
        (changed(0, players="ab"), "not a list"),
        (changed(0, suites=[{"id": ids("s", 1)[0], "items": 0, "name": "x"}]), "no items"),
        (changed(0, suites=[{"id": ids("s", 1)[0], "items": True, "name": "x"}]), "integer"),
        (changed(0, suites=[]), "0 suites"),
        (joined([LINES[0], LINES[2], LINES[1]]), "not in order"),
        (joined([LINES[0], LINES[1], LINES[1]]), "not in order"),
        (joined(LINES)[:-1], "line feed"),
        (joined([*LINES, b""]), "line 6"),
        (joined([LINES[0], LINES[1].replace(b":", b": ")]), "canonical"),
        (b"", "line feed"),
    ],
)
def test_every_other_form_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        CoalitionTable.parse(data)


def test_true_is_not_one() -> None:
    rows: dict[int, np.ndarray] = {0: np.array([True, False])}  # type: ignore[type-arg]
    encoded = CoalitionTable.of(LOCK, ids("player", 1), suites_of(2), rows).encode()
    assert b'"counts":[1]' in encoded
    with pytest.raises(TableError, match="counts"):
        CoalitionTable.parse(encoded.replace(b'"counts":[1]', b'"counts":[true]'))


def test_leaf_of_a_complete_table_is_its_coalition_and_provable() -> None:
    table = random_table(5, 3, 20)
    leaves = [leaf_hash(line) for line in table.lines()]

    def read(level: int, index: int) -> bytes:
        return root_of(leaves[index << level : (index + 1) << level])

    for mask in range(8):
        proof = inclusion_proof(mask, 8, read)
        verify_inclusion(leaves[mask], mask, 8, proof, table.root())


def test_one_bit_changes_the_root() -> None:
    rows = dict(SMALL.rows)
    flipped = SMALL.outcomes(3)
    flipped[10] = ~flipped[10]
    other = CoalitionTable.of(LOCK, SMALL.players, SMALL.suites, rows | {3: flipped})
    assert other.root() != SMALL.root()
    assert other.digest() != SMALL.digest()


def test_counts_and_values_follow_from_outcomes() -> None:
    for mask in SMALL.rows:
        outcomes = SMALL.outcomes(mask)
        assert SMALL.counts(mask) == (int(outcomes[:5].sum()), int(outcomes[5:].sum()))
        assert float(SMALL.value(mask)) == pytest.approx(
            (outcomes[:5].mean() + outcomes[5:].mean()) / 2
        )


def test_rows_of_another_length_or_type_are_refused() -> None:
    for row in (np.ones(4, dtype=bool), np.ones(5), np.ones((5, 1), dtype=bool), b"", b"\xff"):
        with pytest.raises(TableError, match="coalition 0"):
            CoalitionTable.of(LOCK, ids("player", 1), suites_of(5), {0: row})


def test_ids_must_be_cids_and_suites_named_once() -> None:
    with pytest.raises(TableError, match="player id"):
        CoalitionTable.of(LOCK, ["alice"], suites_of(5), {})
    twice = suites_of(5) * 2
    with pytest.raises(TableError, match="named twice"):
        CoalitionTable.of(LOCK, ids("player", 1), twice, {})
    unnamed = [Suite(ids("s", 1)[0], "", 3)]
    with pytest.raises(TableError, match="name of suite"):
        CoalitionTable.of(LOCK, ids("player", 1), unnamed, {})


def test_absent_coalition_is_never_imputed() -> None:
    table = CoalitionTable.of(LOCK, SMALL.players, SMALL.suites, {0: SMALL.rows[0]})
    assert not table.complete
    assert list(table.missing()) == [1, 2, 3]
    with pytest.raises(MissingCoalitionsError, match="coalition 3"):
        table.value(3)


def test_raw_cid_of_the_table_names_its_bytes() -> None:
    assert Cid.of(SMALL.encode()).digest == SMALL.digest()
