"""Fetching gives back the very files that were published, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.errors import DigestError, IncompleteError, NotFoundError, StorageError, UsageError
from node.api import Node
from node.artifacts import store_document
from tests.node.worlds import ADAPTERS, BASE, World, block_path, flip, predicate_of, snapshot


@pytest.mark.parametrize("by", ["id", "prefix", "cid"])
def test_the_files_come_back_identical(world_home: World, tmp_path: Path, by: str) -> None:
    node = world_home.node
    id_ = world_home.ids["ada"]
    cid = predicate_of(node, id_)["cid"]
    fetched = node.fetch({"id": id_, "prefix": id_[:15], "cid": cid}[by], tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")
    assert fetched.cid == cid
    assert fetched.files == sorted(snapshot(ADAPTERS / "ada"))
    assert fetched.warning == ""


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_loads_what_was_fetched(world_home: World, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import LlamaForCausalLM

    world_home.node.fetch(world_home.ids["bo"], tmp_path / "bo")
    models = [
        PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(BASE), directory)
        for directory in (tmp_path / "bo", ADAPTERS / "bo")
    ]
    ours, theirs = (dict(model.named_parameters()) for model in models)
    lora = [name for name in ours if "lora_" in name]
    assert len(lora) == 2 * 7 * 2
    assert all(bool((ours[name] == theirs[name]).all()) for name in lora)
    assert all(bool(ours[name].isfinite().all()) for name in lora)


def test_a_document_is_fetched_as_one_file(composed_home: World, tmp_path: Path) -> None:
    node = composed_home.node
    id_ = composed_home.compositions["merge.linear"]
    fetched = node.fetch(id_, tmp_path / "lock")
    lock = json.loads((tmp_path / "lock" / fetched.cid).read_bytes())
    assert lock["schema"] == "pnode.lock/1"


def test_a_document_of_several_blocks_is_fetched_as_one_file(node: Node, tmp_path: Path) -> None:
    """Beyond one chunk its root is a node like that of a directory, but says it is a file."""
    data = bytes(range(256)) * 5000
    cid = str(store_document(data, node.home.store))
    fetched = node.fetch(cid, tmp_path / "table")
    assert fetched.files == [cid]
    assert (tmp_path / "table" / cid).read_bytes() == data


def test_an_existing_folder_is_never_touched(world_home: World, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("keep")
    with pytest.raises(UsageError, match="exists already"):
        world_home.node.fetch(world_home.ids["ada"], tmp_path / "mine")
    assert snapshot(tmp_path / "mine").keys() == {"precious"}


def test_a_target_below_a_file_is_a_storage_error(composed_home: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for id_ in (composed_home.ids["ada"], composed_home.compositions["merge.linear"]):
        with pytest.raises(StorageError, match="file"):
            composed_home.node.fetch(id_, tmp_path / "file" / "out")


@pytest.mark.parametrize("which", ["root", "leaf"])
@pytest.mark.parametrize("by", ["id", "cid"])
def test_a_missing_block_is_incomplete_and_leaves_nothing(
    world: World, tmp_path: Path, which: str, by: str
) -> None:
    node = world.node
    cid = predicate_of(node, world.ids["ada"])["cid"]
    path = block_path(node.home, cid)
    if which == "leaf":
        (path,) = leaf_blocks(world, "ada")
    path.unlink()
    known_by_cid_only = (by, which) == ("cid", "root")
    error = NotFoundError if known_by_cid_only else IncompleteError
    with pytest.raises(error) as caught:
        node.fetch({"id": world.ids["ada"], "cid": cid}[by], tmp_path / "out")
    assert caught.value.exit_code == (5 if known_by_cid_only else 9)
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".tmp-*")) == []


@pytest.mark.parametrize("which", ["root", "leaf"])
def test_a_damaged_block_is_bad_evidence_and_leaves_nothing(
    world: World, tmp_path: Path, which: str
) -> None:
    node = world.node
    cid = predicate_of(node, world.ids["ada"])["cid"]
    path = block_path(node.home, cid) if which == "root" else leaf_blocks(world, "ada")[0]
    flip(path)
    with pytest.raises(DigestError, match="block") as caught:
        node.fetch(world.ids["ada"], tmp_path / "out")
    assert caught.value.exit_code == 3
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".tmp-*")) == []


def leaf_blocks(world: World, name: str) -> list[Path]:
    """The block of an adapter's weights: the one that holds the very bytes."""
    weights = (ADAPTERS / name / "adapter_model.safetensors").read_bytes()
    blocks = (world.node.home.path / "store" / "blocks").glob("*/*")
    return [path for path in blocks if path.read_bytes() == weights]


def test_a_withdrawn_artifact_is_given_with_a_warning(world: World, tmp_path: Path) -> None:
    node = world.node
    node.withdraw(world.ids["ada"], "wrong data")
    fetched = node.fetch(world.ids["ada"], tmp_path / "out")
    assert "is withdrawn" in fetched.warning
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")


def test_an_entry_without_an_artifact_cannot_be_fetched(world_home: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no artifact"):
        world_home.node.fetch(world_home.node.log()[0].id, tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "error"), [("b" + "a" * 58, NotFoundError), ("nonsense", UsageError)]
)
def test_what_is_not_known_is_not_fetched(
    world_home: World, tmp_path: Path, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        world_home.node.fetch(text, tmp_path / "out")
    assert not (tmp_path / "out").exists()
