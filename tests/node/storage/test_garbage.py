"""Collecting garbage: what a pin reaches, or was touched lately, is never removed."""

from __future__ import annotations

import os
import time
from io import BytesIO
from pathlib import Path

import pytest

from ledger.cid import Cid
from ledger.errors import IncompleteError
from ledger.unixfs import CHUNK_SIZE, build_file
from node.durable import TEMPORARY
from node.storage.garbage import collect
from node.storage.local import LocalStore

NOW = time.time()
OLD = NOW - 1_000
STRAY = b"nobody wants this"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A store with a pinned file of three chunks, and a stray block; all of it old."""
    store = LocalStore(tmp_path)
    data = bytes(CHUNK_SIZE) + b"1" * CHUNK_SIZE + b"2"
    store.pin(build_file(BytesIO(data), store.put_block).cid)
    store.put_block(Cid.of(STRAY), STRAY)
    for cid, _, _ in list(store.blocks()):
        age(store, cid)
    return store


def age(store: LocalStore, cid: Cid) -> None:
    os.utime(store.path_of(cid), (OLD, OLD))


def test_only_what_no_pin_reaches_is_removed(store: LocalStore) -> None:
    looked = collect(store, before=NOW, dry_run=True)
    assert (looked.removed, looked.removed_bytes, looked.recent) == (1, len(STRAY), 0)
    assert store.has(Cid.of(STRAY))
    assert collect(store, before=NOW) == looked
    assert not store.has(Cid.of(STRAY))
    assert looked.kept == 4 == sum(1 for _ in store.blocks())
    assert collect(store, before=NOW).removed == 0


def test_everything_goes_when_the_pin_goes(store: LocalStore) -> None:
    (root,) = store.pins()
    store.unpin(root)
    assert collect(store, before=NOW).removed == 5
    assert list(store.blocks()) == []


def test_what_is_new_or_was_renewed_stays(store: LocalStore) -> None:
    (root,) = store.pins()
    store.unpin(root)
    assert store.renew(Cid.of(STRAY))
    store.put_block(root, store.get_block(root))
    collected = collect(store, before=NOW)
    assert (collected.removed, collected.recent, collected.kept) == (3, 2, 0)
    assert store.has(root)
    assert store.get_block(Cid.of(STRAY)) == STRAY
    assert not store.renew(Cid.of(b"never stored"))


def test_a_block_renewed_while_it_is_removed_is_put_back(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cid = Cid.of(STRAY)
    rename = Path.rename

    def renewed_first(path: Path, target: Path) -> Path:
        if path == store.path_of(cid):
            assert store.renew(cid)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renewed_first)
    collected = collect(store, before=NOW)
    assert (collected.removed, collected.recent) == (0, 1)
    assert store.get_block(cid) == STRAY


def test_a_block_that_is_gone_already_is_not_counted(store: LocalStore) -> None:
    assert store.remove(Cid.of(STRAY), before=NOW)
    assert not store.remove(Cid.of(STRAY), before=NOW)


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_nothing_is_removed_while_a_pinned_node_cannot_be_read(
    store: LocalStore, harm: str
) -> None:
    (root,) = store.pins()
    path = store.path_of(root)
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IncompleteError, match=str(root)):
        collect(store, before=NOW)
    assert store.has(Cid.of(STRAY))


def test_leftovers_of_killed_processes_are_removed_when_they_are_old(store: LocalStore) -> None:
    folder = store.path_of(Cid.of(STRAY)).parent
    for name, stamp in (("old", OLD), ("new", NOW + 1)):
        (folder / f"{TEMPORARY}{name}").write_bytes(b"half")
        os.utime(folder / f"{TEMPORARY}{name}", (stamp, stamp))
    (folder / "bafnotablock").touch()
    collect(store, before=NOW)
    assert sorted(path.name for path in folder.iterdir()) == [f"{TEMPORARY}new", "bafnotablock"]
