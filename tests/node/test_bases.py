"""Base models by name: what a source may look like, and what a record may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedError, NotFoundError
from node import bases as module
from node.api import Node
from node.bases import find_base, open_known
from node.digestcache import DigestCache
from node.materials import cached_materials, fresh_materials, read_lock
from tests.node.worlds import BASE, World, flip, snapshot


@pytest.mark.parametrize(
    "source",
    [
        "o/n@..",
        "o/n@../../keys",
        "o/n@refs/../../x",
        "o/n@.",
        "o/n@/etc",
        "../..",
        "o/..",
        "./n",
        "o/n@v1/x/..",
    ],
)
def test_a_source_that_leads_out_of_the_cache_is_no_hub_id(
    node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: str
) -> None:
    (tmp_path / "cwd" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd" / "empty")
    monkeypatch.setattr(Path, "is_dir", lambda _: False)
    monkeypatch.setattr(module, "fetch_snapshot", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(NotFoundError, match="not a hub id"):
        node.add_base(source)


def test_a_record_that_is_too_large_is_refused(node: Node) -> None:
    known = node.add_base(str(BASE), "cipher-tiny")
    before = snapshot(node.home.path)
    path = node.home.path / "bases" / f"{known.name}.json"
    path.write_bytes(path.read_bytes() + b" " * (1 << 16))
    with pytest.raises(MalformedError, match=r"cipher-tiny\.json"):
        node.bases()
    path.write_bytes(path.read_bytes()[: -(1 << 16)])
    assert snapshot(node.home.path) == before


def test_an_extracted_base_that_was_spoilt_is_extracted_again(world: World) -> None:
    home = world.node.home
    known = find_base(home, "cipher-tiny")
    weights = home.cache / "artifacts" / known.cid / "model.safetensors"
    flip(weights)
    (weights.parent / "config.json").unlink()
    assert open_known(home, known).digest == known.digest
    assert snapshot(weights.parent) == snapshot(BASE)


def test_a_replay_hashes_every_byte_and_trusts_no_cache(
    composed_home: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = composed_home.node.home
    shown = composed_home.node.show(composed_home.compositions["merge.linear"])
    lock = read_lock(home, shown.statement["predicate"]["lock"])
    monkeypatch.setattr(DigestCache, "__call__", lambda *_: pytest.fail("asked the cache"))
    with fresh_materials(home, lock) as materials:
        materials.base.check_unchanged()
    with pytest.raises(pytest.fail.Exception, match="asked the cache"):
        cached_materials(home, lock)
