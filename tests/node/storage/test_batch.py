"""Batches of blocks: complete files only, durable at the end, and nothing lost on the way."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ledger.cid import Cid
from ledger.errors import StorageError
from node.storage.batch import GROUP
from node.storage.local import LocalStore
from tests.faults import fail_at, kill_at, trace

BLOCKS = [(Cid.of(data), data) for data in (b"%d" % number for number in range(GROUP + 10))]


def put_all(store: LocalStore, blocks: list[tuple[Cid, bytes]] = BLOCKS) -> None:
    with store.batch() as batch:
        for cid, block in blocks:
            batch.put(cid, block)


def files(store: LocalStore) -> dict[str, bytes]:
    folder = store.path_of(BLOCKS[0][0]).parents[1]
    return {path.name: path.read_bytes() for path in folder.glob("*/*")}


def whole(blocks: list[tuple[Cid, bytes]]) -> dict[str, bytes]:
    return {str(cid): block for cid, block in blocks}


@pytest.mark.parametrize("number", [0, 1, GROUP - 1, GROUP, GROUP + 10])
def test_all_blocks_are_there_under_their_names(tmp_path: Path, number: int) -> None:
    store = LocalStore(tmp_path)
    put_all(store, BLOCKS[:number])
    assert files(store) == whole(BLOCKS[:number])
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in tmp_path.glob("blocks/*/*"))


def test_a_block_is_written_once_and_a_damaged_one_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    put_all(store, BLOCKS[:5] * 2)
    before = {path: path.stat() for path in tmp_path.glob("blocks/*/*")}
    put_all(store, BLOCKS[:5])
    assert {path: path.stat() for path in tmp_path.glob("blocks/*/*")} == before
    store.path_of(BLOCKS[0][0]).write_bytes(b"rotten")
    put_all(store, BLOCKS[:5])
    assert files(store) == whole(BLOCKS[:5])


def test_nothing_has_its_name_before_it_is_on_disk(tmp_path: Path, ptrace: None) -> None:
    """And at the end every name is on disk too, and so are the new folders."""
    store = LocalStore(tmp_path)
    calls = [call.split() for call in trace(lambda: put_all(store), tmp_path)]
    synced: set[str] = set()
    renamed = 0
    for name, file in calls:
        if name == "fsync":
            synced.add(file)
        if name == "rename":
            assert file.startswith(".tmp-")
            assert file in synced
            renamed += 1
    assert renamed == len(BLOCKS)
    last_rename = max(at for at, call in enumerate(calls) if call[0] == "rename")
    folders = {call[1] for call in calls[last_rename:] if call[0] == "fsync"}
    shards = {store.path_of(cid).parent.name for cid, _ in BLOCKS}
    assert folders == shards | {"blocks"}


def test_a_kill_anywhere_leaves_whole_blocks_only(tmp_path: Path, ptrace: None) -> None:
    few = BLOCKS[:4]
    count = len(trace(lambda: put_all(LocalStore(tmp_path / "counted"), few), tmp_path))
    for number in range(1, count + 1, 3):
        store = LocalStore(tmp_path / str(number))
        kill_at(number, lambda store=store: put_all(store, few), tmp_path)
        left = {name: data for name, data in files(store).items() if not name.startswith(".")}
        assert left.items() <= whole(few).items()
        put_all(store, few)
        assert whole(few).items() <= files(store).items()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_is_our_error_and_leaves_no_half(
    tmp_path: Path, ptrace: None, code: int
) -> None:
    few = BLOCKS[:4]
    count = len(trace(lambda: put_all(LocalStore(tmp_path / "counted"), few), tmp_path))
    for number in range(1, count + 1, 5):
        store = LocalStore(tmp_path / str(number))
        outcome = fail_at(number, code, lambda store=store: put_all(store, few), tmp_path)
        assert str(outcome.error).startswith("StorageError"), (number, outcome)
        assert files(store).items() <= whole(few).items()


@pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError])
def test_what_was_put_before_an_interruption_is_kept(
    tmp_path: Path, error: type[BaseException]
) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(error), store.batch() as batch:
        for cid, block in BLOCKS[:7]:
            batch.put(cid, block)
        raise error("now")
    assert files(store) == whole(BLOCKS[:7])


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    put_all(LocalStore(tmp_path))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
