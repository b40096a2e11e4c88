"""Attribution: values from a published table, computed once, and recomputed by anybody."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from attribution.record import build_record, encode, parse_record
from attribution.table import CoalitionTable
from ledger.cid import Cid
from ledger.errors import EvidenceError, IncompleteError, UsageError
from node.api import Node
from node.artifacts import read_document, store_document
from node.checking.claims import attributed_fields
from tests.node.worlds import World, block_path, check_home, predicate_of, say, write_recipe

MERGE, SELECT = "merge.linear", "logit.select"


def test_exact_values_share_out_the_whole_gain(attributed_home: World) -> None:
    node = attributed_home.node
    predicate = predicate_of(node, attributed_home.compositions["attribution"])
    record, table = documents(node, predicate)
    assert record["estimator"]["name"] == predicate["estimator"] == "exact"
    assert predicate["efficiency_gap"] == "0"
    gain = table.value(table.everyone) - table.value(0)
    assert sum(Fraction(value["value"]) for value in predicate["values"]) == gain
    assert gain > 0
    assert {check["verdict"] for check in record["checks"]} == {"pass"}
    assert len(table.rows) == 8


def documents(node: Node, predicate: dict[str, Any]) -> tuple[dict[str, Any], CoalitionTable]:
    """The record and the table an attribution names."""
    record = read_document(Cid.parse(predicate["record"]), node.home.store, what="record")
    table = read_document(Cid.parse(predicate["table"]), node.home.store, what="table")
    return parse_record(record), CoalitionTable.parse(table)


def test_the_whole_coalition_has_the_published_scores(attributed_home: World) -> None:
    """The table and the evaluation are two roads to the same outcomes."""
    from attribution.outcomes import count

    node = attributed_home.node
    _, table = documents(node, predicate_of(node, attributed_home.compositions["attribution"]))
    scores = [
        predicate_of(node, item.id)["scores"]
        for item in node.list(kind="evaluation")
        if predicate_of(node, item.id)["composition"] == attributed_home.compositions[SELECT]
    ]
    correct = [score["correct"] for score in scores[0]]
    assert list(count(table.rows[table.everyone], table.suites)) == correct


def test_a_second_run_evaluates_nothing_and_says_the_same(attributed: World) -> None:
    node = attributed.node
    first = predicate_of(node, attributed.compositions["attribution"])
    again = node.attribute(attributed.compositions[SELECT])
    assert again.coalitions == {"evaluated": 0, "cached": 8, "total": 8, "answers": 0}
    assert (again.record, again.table) == (first["record"], first["table"])
    assert again.id == attributed.compositions["attribution"]
    check_home(node)


@pytest.mark.parametrize(
    "damage", ["deleted", "garbage", "truncated", "wrong rows", "flipped rows"]
)
def test_the_cache_may_be_lost_or_damaged(attributed: World, damage: str) -> None:
    """It is a shortcut: whatever happens to it, the published record stays the same."""
    node = attributed.node
    path = node.home.cache / "coalitions.db"
    if damage == "deleted":
        shutil.rmtree(node.home.cache)
    elif damage == "garbage":
        path.write_bytes(b"not a database" * 100)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:100])
    else:
        from contextlib import closing
        from sqlite3 import connect

        with closing(connect(path)) as connection, connection:
            if damage == "wrong rows":
                connection.execute("UPDATE coalition SET outcomes = x'00'")
            else:
                rows = connection.execute("SELECT key, outcomes FROM coalition").fetchall()
                flipped = [(bytes([row[0] ^ 0x80]) + row[1:], key) for key, row in rows]
                connection.executemany("UPDATE coalition SET outcomes = ? WHERE key = ?", flipped)
    again = node.attribute(attributed.compositions[SELECT])
    assert again.id == attributed.compositions["attribution"]
    assert again.coalitions["evaluated"] == 8
    assert node.attribute(attributed.compositions[SELECT]).coalitions["evaluated"] == 0


def test_permutations_stay_within_their_budget(world: World, tmp_path: Path) -> None:
    node = world.node
    recipe = write_recipe(
        tmp_path / "five.toml",
        members=[world.ids[name] for name in ("ada", "bo", "cy", "dee", "eve")],
        suites=world.tests[:1],
    )
    id_ = str(node.compose(recipe).id)
    with pytest.raises(UsageError, match="too small") as caught:
        node.attribute(id_, estimator="permutation", budget=4)
    assert "--budget" in caught.value.hint
    ordered = node.attribute(id_, estimator="permutation", budget=24)
    assert ordered.estimator["permutations"] >= 4
    result = node.attribute(id_, budget=20)
    assert result.estimator["name"] == "gaussian-process"
    assert 10 < result.coalitions["total"] <= 20
    assert result.efficiency_gap == "0"
    assert len(result.values) == 5
    check_home(node)


def test_a_method_that_selects_is_exact_below_the_number_of_coalitions(
    attributed: World, tmp_path: Path
) -> None:
    node = attributed.node
    listed = predicate_of(node, attributed.compositions["attribution"])
    result = node.attribute(attributed.compositions[SELECT], budget=7)
    assert result.estimator["name"] == "exact"
    assert "the method selects speakers" in result.estimator["reason"]
    assert result.coalitions["total"] == 0 < result.coalitions["answers"]
    assert result.values == documents(node, listed)[0]["values"]
    check_home(node)
    written = node.report(result.id, tmp_path / "trees.html")
    assert len(written.files) == 3


def test_what_cannot_be_estimated_is_refused(composed_home: World) -> None:
    node = composed_home.node
    id_ = composed_home.compositions[MERGE]
    with pytest.raises(UsageError, match="exceed the budget of 7"):
        node.attribute(id_, estimator="exact", budget=7)
    with pytest.raises(UsageError, match="budget of 0"):
        node.attribute(id_, budget=0)
    with pytest.raises(UsageError, match="confidence"):
        node.attribute(id_, confidence="2")
    with pytest.raises(UsageError, match="is not a composition"):
        node.attribute(composed_home.ids["ada"])


def test_a_missing_artifact_is_incomplete(composed: World) -> None:
    node = composed.node
    shutil.rmtree(node.home.cache)
    block_path(node.home, predicate_of(node, composed.ids["ada"])["cid"]).unlink()
    with pytest.raises(IncompleteError) as caught:
        node.attribute(composed.compositions[SELECT])
    assert caught.value.exit_code == 9


def forged(node: Node, attribution: str, change: Any) -> str:
    """Publish an attribution whose record and predicate were changed, all digests consistent."""
    predicate = predicate_of(node, attribution)
    record, table = documents(node, predicate)
    record = json.loads(encode(record))
    change(record, predicate)
    data, rows = encode(record), table.encode()
    predicate["record"] = str(store_document(data, node.home.store))
    return say(node.home, "attribution", predicate, {"record.json": data, "table.jsonl": rows})


def raise_own_value(record: dict[str, Any], predicate: dict[str, Any]) -> None:
    record["values"][0]["value"] = predicate["values"][0]["value"] = "1/2"


def headline_only(record: dict[str, Any], predicate: dict[str, Any]) -> None:
    predicate["values"][0]["value"] = "1/2"


def claim_authorship(record: dict[str, Any], predicate: dict[str, Any]) -> None:
    thief = "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"
    for named in (*record["players"], *record["values"]):
        named["author"] = thief


def another_composition(record: dict[str, Any], predicate: dict[str, Any]) -> None:
    """The values of one system, offered as those of another with the same members."""
    merge = predicate["merge"]
    del predicate["merge"]
    record["composition"] = predicate["composition"] = merge


def wider_interval(record: dict[str, Any], predicate: dict[str, Any]) -> None:
    record["values"][0]["interval"]["low"] = "-0.999999"


@pytest.mark.parametrize(
    "change",
    [raise_own_value, headline_only, claim_authorship, another_composition, wider_interval],
    ids=lambda change: change.__name__,
)
def test_a_forged_attribution_is_found_by_audit_and_not_reported(
    attributed: World, tmp_path: Path, change: Any
) -> None:
    node = attributed.node

    def apply(record: dict[str, Any], predicate: dict[str, Any]) -> None:
        if change is another_composition:
            predicate["merge"] = attributed.compositions[MERGE]
        change(record, predicate)

    id_ = forged(node, attributed.compositions["attribution"], apply)
    audited = node.audit()
    assert [(f.check, f.subject) for f in audited.findings] == [("attribution.values", id_)]
    assert audited.exit_code == 3
    with pytest.raises(EvidenceError):
        node.report(id_, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_table_that_contradicts_the_evaluation_is_found(attributed: World) -> None:
    """Somebody changes an outcome of the coalition of all, and recomputes everything else."""
    forge_table(attributed, lambda table: table.everyone)
    audited = attributed.node.audit()
    assert audited.exit_code == 3
    assert "than the evaluation of the composition" in audited.findings[0].message


def test_another_coalition_is_only_refuted_by_evaluating_it(attributed: World) -> None:
    forged = forge_table(attributed, lambda _: 1)
    assert attributed.node.audit().exit_code == 0
    honest = attributed.node.attribute(attributed.compositions[SELECT])
    assert honest.table != forged


def forge_table(attributed: World, choose: Callable[[CoalitionTable], int]) -> str:
    """Publish a table with one outcome of one coalition changed and a record that follows."""
    from attribution.analysis import Estimator, analyse
    from attribution.record import Subject

    node = attributed.node
    predicate = predicate_of(node, attributed.compositions["attribution"])
    record, table = documents(node, predicate)
    rows = dict(table.rows)
    mask = choose(table)
    rows[mask] = bytes([rows[mask][0] ^ 0x80]) + rows[mask][1:]
    lie = CoalitionTable.of(table.lock, table.players, table.suites, rows)
    analysis = analyse(lie, Estimator("exact", record["estimator"]["reason"]), confidence="0.95")
    authors = {player["contribution"]: player["author"] for player in record["players"]}
    subject = Subject(record["composition"], authors, record["game"]["semantics"])
    changed = build_record(lie, analysis, subject)
    store_document(lie.encode(), node.home.store)
    record_cid = str(store_document(encode(changed), node.home.store))
    predicate |= attributed_fields(changed, record_cid)
    say(
        node.home,
        "attribution",
        predicate,
        {"record.json": encode(changed), "table.jsonl": lie.encode()},
    )
    return str(predicate["table"])


def test_coalitions_are_shared_between_compositions(attributed: World, tmp_path: Path) -> None:
    """A merge of two members is a coalition of the merge of three; nothing is evaluated twice."""
    node = attributed.node
    assert node.attribute(attributed.compositions[MERGE]).coalitions["evaluated"] == 8
    recipe = write_recipe(
        tmp_path / "two.toml",
        members=[attributed.ids["ada"], attributed.ids["cy"]],
        parameters={"form": "sum"},
        suites=attributed.tests,
    )
    result = node.attribute(str(node.compose(recipe).id))
    assert result.coalitions == {"evaluated": 0, "cached": 4, "total": 4, "answers": 0}
