"""The digest cache: what it remembers, and the changes that it must notice."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import DigestError
from node.api import Node
from node.bases import find_base, open_known
from node.digestcache import MAX_FILES, MIN_BYTES, RACY_NS, DigestCache
from tests.node.worlds import BASE

LONG_AGO = RACY_NS + 1


class Counting:
    """A file whose reads are counted."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.count = 0

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.count += len(data)
        return data

    def close(self) -> None:
        self._file.close()


def later() -> int:
    """A clock by which every file of a test has been at rest for long."""
    return time.time_ns() + LONG_AGO


def ask(cache: DigestCache, path: Path) -> tuple[str, int]:
    """Return the digest of a file and how many bytes were read for it."""
    file = Counting(path)
    try:
        return cache(path, file), file.count  # type: ignore[arg-type]
    finally:
        file.close()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(1024) + bytes(MIN_BYTES))
    return path


def truth(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_is_hashed_once_also_by_the_next_process(tmp_path: Path, large: Path) -> None:
    size = large.stat().st_size
    cache = DigestCache(tmp_path, later)
    assert ask(cache, large) == (truth(large), size)
    assert ask(cache, large) == (truth(large), 0)
    assert ask(DigestCache(tmp_path, later), large) == (truth(large), 0)


def edited(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def edited_behind_its_mtime(path: Path) -> None:
    before = path.stat()
    edited(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    before = path.stat()
    path.rename(path.with_name("older"))
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


@pytest.mark.parametrize("change", [edited, edited_behind_its_mtime, replaced, longer])
def test_a_changed_file_is_hashed_again(
    tmp_path: Path, large: Path, change: Callable[[Path], None]
) -> None:
    cache = DigestCache(tmp_path, later)
    ask(cache, large)
    change(large)
    assert ask(cache, large) == (truth(large), large.stat().st_size)


def test_a_file_that_changed_a_moment_ago_is_not_remembered(tmp_path: Path, large: Path) -> None:
    now = large.stat().st_ctime_ns
    for clock in (now, now + RACY_NS - 1):
        cache = DigestCache(tmp_path, lambda: clock)  # noqa: B023 - used before the next turn
        assert ask(cache, large)[1] == ask(cache, large)[1] == large.stat().st_size
    assert not (tmp_path / "digests.json").exists()
    cache = DigestCache(tmp_path, lambda: now + RACY_NS)
    ask(cache, large)
    assert ask(cache, large)[1] == 0


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
    tmp_path: Path, large: Path
) -> None:
    class Late(Counting):
        def read(self, size: int) -> bytes:
            if not self.count:
                longer(large)
            return super().read(size)

    file = Late(large)
    DigestCache(tmp_path, later)(large, file)  # type: ignore[arg-type]
    file.close()
    assert not (tmp_path / "digests.json").exists()


def test_small_files_are_not_worth_a_row(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"{}")
    assert ask(DigestCache(tmp_path, later), path) == (truth(path), 2)
    assert not (tmp_path / "digests.json").exists()


@pytest.mark.parametrize("position", [0, 60, -1])
def test_a_damaged_cache_is_begun_anew(tmp_path: Path, large: Path, position: int) -> None:
    ask(DigestCache(tmp_path, later), large)
    stored = tmp_path / "digests.json"
    data = bytearray(stored.read_bytes())
    data[position] ^= 1
    stored.write_bytes(data)
    cache = DigestCache(tmp_path, later)
    assert ask(cache, large)[1] == large.stat().st_size
    assert ask(DigestCache(tmp_path, later), large) == (truth(large), 0)


def test_the_cache_does_not_grow_without_end(
    tmp_path: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.digestcache.MAX_FILES", 2)
    assert MAX_FILES > 2
    others = [large, *(tmp_path / name for name in ("one", "two"))]
    for other in others[1:]:
        os.link(large, other)
    cache = DigestCache(tmp_path, later)
    for other in others:
        ask(cache, other)
    again = DigestCache(tmp_path, later)
    assert [ask(again, other)[1] == 0 for other in others] == [False, True, True]


def test_a_remembered_base_that_was_changed_is_not_taken_for_the_pinned_one(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.bases.MAX_STORED_BYTES", 0)
    monkeypatch.setattr("node.digestcache.MIN_BYTES", 0)
    monkeypatch.setattr("node.digestcache.RACY_NS", -LONG_AGO)
    folder = tmp_path / "base"
    shutil.copytree(BASE, folder)
    node.add_base(str(folder), "tiny")
    assert (node.home.cache / "digests.json").exists()
    known = find_base(node.home, "tiny")
    base = open_known(node.home, known, DigestCache(node.home.cache))
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\0\0\0\0")
    with pytest.raises(DigestError, match="changed since it was opened"):
        base.check_unchanged()
    with pytest.raises(DigestError, match="does not have the digest"):
        open_known(node.home, known, DigestCache(node.home.cache))
