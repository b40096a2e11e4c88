"""Keeping and letting go: own offers, others' artifacts, and what was withdrawn on such terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.cid import Cid
from ledger.errors import IncompleteError, UsageError
from ledger.unixfs import Limits, walk
from node.api import Node
from node.publish import Published

SUITE = (
    'name = "sums"\nlicense = "CC0-1.0"\nscorer = "exact"\nmax_tokens = 2\n'
    'description = "Adding small numbers"\n'
)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node.init(tmp_path / "home", tmp_path / "state", seed=bytes(32))


def offer(node: Node, folder: Path, answer: str, *, on_withdrawal: str | None = None) -> Published:
    folder.mkdir()
    (folder / "suite.toml").write_text(SUITE)
    (folder / "items.jsonl").write_text(
        '{"id":"i0","prompt":"1 + 1 =","answer":"' + answer + '"}\n'
    )
    return node.publish(folder, on_withdrawal=on_withdrawal)


def held(node: Node, cid: str) -> bool:
    return node.home.store.has(Cid.parse(cid))


def test_what_is_published_is_kept_and_let_go_only_with_a_yes(node: Node, tmp_path: Path) -> None:
    published = offer(node, tmp_path / "suite", "2")
    asked: list[str] = []
    with pytest.raises(UsageError):
        node.store_unpin(published.cid)
    assert node.store_status().absent == []
    assert node.store_unpin(published.cid, asked.append).cid == published.cid
    assert len(asked) == 1
    assert str(published.id) in asked[0]
    assert [each.entry for each in node.store_status().absent] == [published.id]
    with pytest.raises(UsageError, match="not pinned"):
        node.store_unpin(published.cid, asked.append)
    node.store_gc(0)
    assert not held(node, published.cid)


def test_what_is_gone_comes_back_from_a_car_or_is_incomplete(node: Node, tmp_path: Path) -> None:
    published = offer(node, tmp_path / "suite", "2")
    assert published.id is not None
    car = tmp_path / "suite.car"
    node.store_export(published.id, car)
    node.store_unpin(published.id, lambda _: None)
    assert node.store_gc(0).collected.removed == 3
    with pytest.raises(IncompleteError):
        node.store_pin(published.id)
    assert node.store_import(car).cid == published.cid
    assert node.store_pin(published.id).cid == published.cid
    assert node.audit().exit_code == 0


def test_a_withdrawal_unpins_where_its_terms_ask_for_it(node: Node, tmp_path: Path) -> None:
    stays = offer(node, tmp_path / "a", "2")
    goes = offer(node, tmp_path / "b", "3", on_withdrawal="unpin")
    assert stays.id is not None
    assert goes.id is not None
    assert node.withdraw(stays.id, "wrong").released == []
    assert [each.cid for each in node.withdraw(goes.id, "wrong too").released] == [goes.cid]
    assert list(node.home.store.pins()) == [Cid.parse(stays.cid)]
    assert held(node, goes.cid), "until the next collection"
    shared = {cid for cid, _ in walk(Cid.parse(stays.cid), node.home.store.get_block, Limits())}
    node.store_gc(0)
    assert not held(node, goes.cid)
    assert all(node.home.store.has(cid) for cid in shared)


def test_a_withdrawn_artifact_is_missing_without_fault(node: Node, tmp_path: Path) -> None:
    goes = offer(node, tmp_path / "b", "3", on_withdrawal="unpin")
    assert goes.id is not None
    node.withdraw(goes.id, "mine no longer")
    node.store_gc(0)
    audited = node.audit()
    assert audited.exit_code == 0
    assert [(each.check, each.severity) for each in audited.findings] == [
        ("artifact.blocks", "warning")
    ]


def test_the_same_bytes_offered_again_are_kept(node: Node, tmp_path: Path) -> None:
    goes = offer(node, tmp_path / "a", "2", on_withdrawal="unpin")
    again = offer(node, tmp_path / "b", "2")
    assert goes.id is not None
    assert again.cid == goes.cid
    assert node.withdraw(goes.id, "under other terms").released == []
    assert node.home.store.is_pinned(Cid.parse(again.cid))


def test_others_let_go_when_they_clean(node: Node, tmp_path: Path) -> None:
    goes = offer(node, tmp_path / "a", "2", on_withdrawal="unpin")
    assert goes.id is not None
    other = Node.init(tmp_path / "other", tmp_path / "state", seed=b"\1" * 32)
    node.export(tmp_path / "stick")
    other.sync([str(tmp_path / "stick")])
    assert other.home.store.is_pinned(Cid.parse(goes.cid))
    node.withdraw(goes.id, "mine no longer")
    node.export(tmp_path / "stick")
    other.sync([str(tmp_path / "stick")])
    looked = other.store_gc(0, dry_run=True)
    assert [each.cid for each in looked.released] == [goes.cid]
    assert other.home.store.is_pinned(Cid.parse(goes.cid))
    cleaned = other.store_gc(0)
    assert [each.cid for each in cleaned.released] == [goes.cid]
    assert not held(other, goes.cid)
    assert other.audit().exit_code == 0


def test_a_collection_spares_what_is_new(node: Node, tmp_path: Path) -> None:
    published = offer(node, tmp_path / "suite", "2")
    node.store_unpin(published.cid, lambda _: None)
    assert node.store_gc().collected.recent == 3
    assert held(node, published.cid)
