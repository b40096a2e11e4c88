"""The attribution record: everything in it follows from the table, and any change is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution.analysis import Estimator, analyse
from attribution.errors import MissingCoalitionsError, RecomputeError, RecordError
from attribution.permutation import PermutationPlan
from attribution.record import Subject, build_record, encode, parse_record, recompute
from attribution.table import CoalitionTable
from ledger.cid import DAG_PB, Cid
from tests.attribution.games import random_table, tables

EXACT = Estimator("exact", "automatic: 4 players, 16 coalitions")
COMPOSITION = str(Cid.of(b"composition"))


def subject(table: CoalitionTable) -> Subject:
    authors = {player: f"did:key:z{at}" for at, player in enumerate(table.players)}
    return Subject(COMPOSITION, authors, "members absent from the coalition are left out")


def record_of(table: CoalitionTable, estimator: Estimator = EXACT) -> dict[str, Any]:
    analysis = analyse(table, estimator, confidence="0.95")
    return build_record(table, analysis, subject(table))


TABLE = random_table(21, 4, 30, 20)
RECORD = record_of(TABLE)


def sampled() -> tuple[CoalitionTable, dict[str, Any]]:
    whole = random_table(22, 8, 25)
    plan = PermutationPlan("after the lock", whole.lock, 8)
    rows = {mask: whole.rows[mask] for mask in plan.masks(6)}
    table = CoalitionTable.of(whole.lock, whole.players, whole.suites, rows)
    return table, record_of(table, Estimator("permutation", "requested", "after the lock", 6))


def test_record_survives_encoding_and_recomputes() -> None:
    parsed = parse_record(encode(RECORD))
    assert parsed == RECORD
    recompute(parsed, CoalitionTable.parse(TABLE.encode()))


def test_sampled_record_recomputes_from_its_plan() -> None:
    table, record = sampled()
    assert record["estimator"]["permutations"] == 12
    assert record["values"][0]["interval"]["sources"] == ["items", "sampling"]
    assert record["values"][0]["banzhaf"] is None
    recompute(parse_record(encode(record)), table)


@settings(max_examples=25, deadline=None)
@given(tables(4))
def test_every_table_gives_a_record_that_recomputes(table: CoalitionTable) -> None:
    recompute(parse_record(encode(record_of(table))), table)


def test_shares_sum_to_one_and_values_to_the_gain() -> None:
    from fractions import Fraction

    shares = [Fraction(worth["share"]) for worth in RECORD["values"]]
    values = [Fraction(worth["value"]) for worth in RECORD["values"]]
    assert sum(shares) == 1
    assert sum(values) == TABLE.value(TABLE.everyone) - TABLE.value(0)
    assert RECORD["efficiency_gap"] == "0"


def test_no_share_where_the_whole_is_worth_the_base() -> None:
    table = random_table(1, 2, 10)
    flat = CoalitionTable.of(
        table.lock, table.players, table.suites, dict.fromkeys(table.rows, table.rows[0])
    )
    assert [worth["share"] for worth in record_of(flat)["values"]] == [None, None]


def test_altered_value_names_its_contribution() -> None:
    record = copy.deepcopy(RECORD)
    record["values"][2]["value"] = "1/3"
    with pytest.raises(RecomputeError, match=f"{TABLE.players[2]}: published value 1/3"):
        recompute(record, TABLE)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in leaves(value[key], (*path, key))]
    if isinstance(value, list):
        return [leaf for at, one in enumerate(value) for leaf in leaves(one, (*path, at))]
    return [path]


# What a stranger cannot derive from the table: names, words, and where the table is stored.
STATED = {"composition", "semantics", "author", "reason"}


@pytest.mark.parametrize(
    "path", [path for path in leaves(RECORD) if not STATED.intersection(path)], ids=str
)
def test_every_derived_field_is_bound_to_the_table(path: tuple[Any, ...]) -> None:
    record = copy.deepcopy(RECORD)
    *parents, last = path
    holder: Any = record
    for key in parents:
        holder = holder[key]
    holder[last] = other_value(holder[last])
    with pytest.raises((RecomputeError, RecordError)):
        recompute(record, TABLE)


def other_value(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if value is None:
        return "1"
    if value.startswith("bafk"):
        return str(Cid.of(value.encode()))
    digits = [at for at, char in enumerate(value) if char.isdigit()]
    if not digits:
        return value + "x"
    at = digits[-1]
    return value[:at] + str((int(value[at]) + 1) % 10) + value[at + 1 :]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 15), st.integers(0, 49))
def test_one_altered_outcome_is_caught(mask: int, item: int) -> None:
    outcomes = TABLE.outcomes(mask)
    outcomes[item] = ~outcomes[item]
    forged = CoalitionTable.of(
        TABLE.lock, TABLE.players, TABLE.suites, dict(TABLE.rows) | {mask: outcomes}
    )
    with pytest.raises(RecomputeError):
        recompute(RECORD, forged)


def swap_players(record: dict[str, Any]) -> None:
    record["players"][0], record["players"][1] = record["players"][1], record["players"][0]


def swap_values(record: dict[str, Any]) -> None:
    record["values"][0], record["values"][1] = record["values"][1], record["values"][0]


def drop_value(record: dict[str, Any]) -> None:
    record["values"].pop()


def swap_figures(record: dict[str, Any]) -> None:
    first, second = record["values"][0], record["values"][1]
    for key in first.keys() - {"contribution", "author"}:
        first[key], second[key] = second[key], first[key]


def drop_check(record: dict[str, Any]) -> None:
    record["checks"].pop()


def claim_sampling(record: dict[str, Any]) -> None:
    record["estimator"] |= {"name": "permutation", "seed": "0", "permutations": 4}


def odd_permutations(record: dict[str, Any]) -> None:
    claim_sampling(record)
    record["estimator"]["permutations"] = 5


@pytest.mark.parametrize(
    "change",
    [
        swap_players,
        swap_values,
        drop_value,
        swap_figures,
        drop_check,
        claim_sampling,
        odd_permutations,
    ],
)
def test_rearranged_records_are_refused(change: Callable[[dict[str, Any]], None]) -> None:
    record = copy.deepcopy(RECORD)
    change(record)
    with pytest.raises(RecomputeError):
        recompute(record, TABLE)


def test_shorter_table_is_incomplete_not_wrong() -> None:
    rows = {mask: row for mask, row in TABLE.rows.items() if mask != 6}
    short = CoalitionTable.of(TABLE.lock, TABLE.players, TABLE.suites, rows)
    with pytest.raises(MissingCoalitionsError, match="first 6"):
        recompute(RECORD, short)


def test_table_stored_as_a_directory_is_bound_by_its_digest() -> None:
    stored = Subject(COMPOSITION, subject(TABLE).authors, "x", Cid(DAG_PB, bytes(32)))
    analysis = analyse(TABLE, EXACT, confidence="0.95")
    record = build_record(TABLE, analysis, stored)
    recompute(record, TABLE)
    record["table"]["sha256"] = "00" * 32
    with pytest.raises(RecomputeError, match=r"table\.sha256"):
        recompute(record, TABLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "pnode.attribution-record/2"),
        ("composition", "bafk"),
        ("efficiency_gap", "2/4"),
        ("efficiency_gap", "1/0"),
        ("efficiency_gap", "0.0"),
        ("efficiency_gap", 0),
        ("values", {}),
        ("checks", [{"name": "x", "verdict": "perhaps", "detail": "y"}]),
        ("confidence", "\x1b[2J"),
    ],
)
def test_malformed_fields_are_named(field: str, value: object) -> None:
    data = json.dumps(RECORD | {field: value}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(RecordError, match=field):
        parse_record(data.encode())


def test_unknown_and_missing_keys_are_named() -> None:
    more = json.dumps(RECORD | {"zeta": 1}, sort_keys=True, separators=(",", ":"))
    with pytest.raises(RecordError, match="'zeta' is unknown"):
        parse_record(more.encode())
    less = {key: value for key, value in RECORD.items() if key != "game"}
    with pytest.raises(RecordError, match="'game' is missing"):
        parse_record(json.dumps(less, sort_keys=True, separators=(",", ":")).encode())


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_records_are_refused_or_do_not_recompute(data: st.DataObject) -> None:
    original = encode(RECORD)
    at = data.draw(st.integers(0, len(original) - 1))
    mutated = original[:at] + bytes([data.draw(st.integers(0, 255))]) + original[at + 1 :]
    try:
        record = parse_record(mutated)
    except RecordError:
        return
    assert encode(record) == mutated


def test_author_of_every_player_is_needed() -> None:
    analysis = analyse(TABLE, EXACT, confidence="0.95")
    with pytest.raises(RecordError, match="no author given"):
        build_record(TABLE, analysis, Subject(COMPOSITION, {}, "x"))


@pytest.mark.parametrize(
    ("orders", "items", "refused"),
    [(2**16, 2**20, True), (2**16, 2**13, False), (None, 2**40, False)],
)
def test_a_record_that_would_take_hours_to_recompute_is_refused(
    orders: int | None, items: int, *, refused: bool
) -> None:
    record = copy.deepcopy(RECORD)
    record["estimator"]["permutations"] = orders
    record["game"]["suites"] = [{**RECORD["game"]["suites"][0], "items": items}]
    if not refused:
        assert parse_record(encode(record)) == record
        return
    with pytest.raises(RecordError, match="too much to recompute"):
        parse_record(encode(record))
    with pytest.raises(RecordError, match="too much to recompute"):
        recompute(record, TABLE)
