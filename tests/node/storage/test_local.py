"""The local store: blocks that are intact and durable, and roots that are pinned."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.errors import NotFoundError
from node.durable import make_folder, staging_folder
from node.storage.local import LocalStore
from tests.faults import trace

BLOCKS = [(Cid.of(data), data) for data in (b"one", b"two")]
ROOT = BLOCKS[0][0]


def test_a_dag_is_stored_pinned_and_unpinned(tmp_path: Path) -> None:
    store: BlockStore = LocalStore(tmp_path)
    assert list(store.pins()) == []
    for _ in range(2):
        store.put_dag(ROOT, BLOCKS)
        assert [store.get_block(cid) for cid, _ in BLOCKS] == [b"one", b"two"]
        assert list(store.pins()) == [ROOT]
    for _ in range(2):
        store.unpin(ROOT)
        assert list(store.pins()) == []
    assert store.has(ROOT)
    with pytest.raises(NotFoundError):
        store.get_block(Cid.of(b"three"))


@pytest.mark.parametrize("damaged", [b"", b"onf", b"one more"])
def test_storing_a_block_again_replaces_a_damaged_one_only(tmp_path: Path, damaged: bytes) -> None:
    store = LocalStore(tmp_path)
    store.put_block(ROOT, b"one")
    before = store.path_of(ROOT).stat()
    store.put_block(ROOT, b"one")
    assert store.path_of(ROOT).stat() == before
    store.path_of(ROOT).write_bytes(damaged)
    store.put_block(ROOT, b"one")
    assert store.get_block(ROOT) == b"one"


def test_every_new_folder_is_made_durable_in_its_parent(tmp_path: Path, ptrace: None) -> None:
    (tmp_path / "held").mkdir()
    calls = trace(lambda: make_folder(tmp_path / "held" / "a" / "b"), [tmp_path])
    synced = [call.split()[1] for call in calls if call.startswith("fsync")]
    assert sorted(synced) == ["a", "held"]
    again = trace(lambda: make_folder(tmp_path / "held" / "a"), [tmp_path])
    assert not any(call.startswith("fsync") for call in again)


def test_a_staged_folder_is_complete_on_disk_before_it_has_its_name(
    tmp_path: Path, ptrace: None
) -> None:
    def fill() -> None:
        with staging_folder(tmp_path / "target") as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "file").write_bytes(b"content")

    calls = trace(fill, [tmp_path])
    named = next(i for i, call in enumerate(calls) if call.startswith("rename"))
    synced = [call.split()[1] for call in calls[:named] if call.startswith("fsync")]
    assert {"content", "sub", "file"} <= set(synced)
    assert calls[named + 1].startswith("fsync")


def test_its_health_tells_of_pins_and_space_before_and_after_the_first_block(
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path / "none" / "store")
    assert store.health().ok
    assert store.health().detail.startswith("0 pinned, ")
    store.put_dag(ROOT, BLOCKS)
    assert store.health().detail.startswith("1 pinned, ")


def test_its_health_reports_a_pin_that_is_no_cid(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.pin(ROOT)
    (tmp_path / "pins" / "x").touch()
    assert not store.health().ok
