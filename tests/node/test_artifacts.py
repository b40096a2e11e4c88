"""Artifacts and documents: what is stored can be read back, and only the true bytes are used."""

from __future__ import annotations

from pathlib import Path

import pytest

from attribution.evidence import MAX_TABLE_BYTES
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import Link, encode_node, parse_node
from ledger.errors import DigestError, PolicyError
from node.artifacts import (
    MAX_DOCUMENT_BYTES,
    extract,
    extract_once,
    store_directory,
    store_document,
)
from node.storage.local import LocalStore
from tests.node.worlds import ADAPTERS, World, flip, predicate_of, say, snapshot, write_suite


def test_the_largest_table_is_the_largest_document() -> None:
    assert MAX_DOCUMENT_BYTES == MAX_TABLE_BYTES


def test_a_document_nobody_would_read_back_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.artifacts.MAX_DOCUMENT_BYTES", 5)
    store = LocalStore(tmp_path)
    store_document(b"12345", store)
    before = snapshot(tmp_path)
    with pytest.raises(PolicyError, match="6 bytes"):
        store_document(b"123456", store)
    assert snapshot(tmp_path) == before


def test_a_directory_with_a_false_size_passes_neither_extraction_nor_audit(
    world: World, tmp_path: Path
) -> None:
    """All blocks are sound and all files true; only a size that nobody needs is a lie."""
    home = world.node.home
    predicate = predicate_of(world.node, world.ids["ada"])
    links, data = parse_node(home.store.get_block(Cid.parse(predicate["cid"])))
    false = [Link(links[0].cid, links[0].name, links[0].tsize + 1), *links[1:]]
    block = encode_node(false, data)
    root = Cid.of(block, DAG_PB)
    home.store.put_dag(root, [(root, block)])
    with pytest.raises(DigestError, match="not in the one accepted form"):
        extract(root, home.store, tmp_path / "out")
    files = {path.name: path.read_bytes() for path in (ADAPTERS / "ada").iterdir()}
    id_ = say(home, "contribution", predicate | {"cid": str(root)}, files)
    found = [(item.check, item.subject) for item in world.node.audit().findings]
    assert found == [("artifact.files", id_)]
    assert not world.node.verify([id_]).ok


@pytest.mark.parametrize("how", ["changed", "added", "removed", "linked"])
def test_an_extracted_folder_that_changed_is_extracted_again(tmp_path: Path, how: str) -> None:
    store = LocalStore(tmp_path / "store")
    suite = write_suite(tmp_path / "suite")
    cid = store_directory(suite, store).cid
    target = tmp_path / "cache" / str(cid)
    extract(cid, store, target)
    items = target / "items.jsonl"
    if how == "changed":
        flip(items)
    elif how == "added":
        (target / "more").touch()
    else:
        items.unlink()
    if how == "linked":
        items.symlink_to("/etc/hostname")
    extract_once(cid, store, target)
    assert snapshot(target) == snapshot(suite)
