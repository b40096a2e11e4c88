"""Exports: the same tree in a directory, at every moment consistent."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator import note_entry

import node.peering.export
from ledger.errors import PolicyError, StorageError, UsageError
from node.artifacts import store_document
from node.home import Home
from node.peering.export import export
from node.peering.source import DirectorySource
from node.peering.sync import COMPLETE, sync
from node.peering.tree import log_folder, paths, resolve


def make_home(folder: Path, number: int = 1) -> Home:
    return Home.init(folder / "h", folder / "state", name="ada", seed=bytes([number]) * 32)


def append(home: Home, count: int, **fields: object) -> None:
    with home.writing() as log:
        start = log.log.size
        log.append([note_entry(home.keys(), f"n{start + i}", **fields) for i in range(count)])


def tree_of(home: Home) -> dict[str, bytes]:
    with home.reading() as database:
        store = home.store
        return {path: resolve(database, store, path).body for path in paths(database, store)}


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        f"/{path.relative_to(directory).as_posix()}": path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_an_export_is_the_tree(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    append(home, 300, cid=str(store_document(b"text", home.store)))
    report = export(home, tmp_path / "stick")
    assert files_in(tmp_path / "stick") == tree_of(home)
    assert report.files == report.written == len(tree_of(home))


def test_a_second_export_writes_only_what_is_new(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    append(home, 299)
    export(home, tmp_path / "stick")
    assert export(home, tmp_path / "stick").written == 0
    append(home, 1)
    report = export(home, tmp_path / "stick")
    # A wider partial tile, its bundle, the checkpoint and the frontier.
    assert report.written == 4
    assert tree_of(home).items() <= files_in(tmp_path / "stick").items()


def test_an_export_interrupted_anywhere_is_a_consistent_older_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path)
    append(home, 3)
    export(home, tmp_path / "stick")
    append(home, 300, cid=str(store_document(b"text", home.store)))
    total = len(tree_of(home))
    write = node.peering.export.write_atomic
    for allowed in range(total):
        left = [allowed]

        def failing(path: Path, data: bytes, left: list[int] = left) -> None:
            if not left[0]:
                raise StorageError("disk full")
            left[0] -= 1
            write(path, data)

        monkeypatch.setattr(node.peering.export, "write_atomic", failing)
        stick = tmp_path / f"stick{allowed}"
        monkeypatch.setattr(node.peering.export, "write_atomic", write)
        copy_tree(tmp_path / "stick", stick)
        monkeypatch.setattr(node.peering.export, "write_atomic", failing)
        try:
            export(home, stick)
        except StorageError:
            assert left[0] == 0
        reader = Home.init(tmp_path / f"r{allowed}", tmp_path / f"rs{allowed}", seed=b"\x07" * 32)
        with DirectorySource(stick) as source:
            report = sync(reader, source)
        assert report.errors == ()
        assert report.state == COMPLETE
        assert report.size in (4, 304)


def copy_tree(source: Path, target: Path) -> None:
    for path, data in files_in(source).items():
        place = target / path[1:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def test_a_home_is_no_place_for_an_export(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    other = make_home(tmp_path / "other", 2)
    for place in (home.path, home.path / "export", other.path):
        with pytest.raises(UsageError):
            export(home, place)


def test_nothing_is_written_through_links(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    stick, outside = tmp_path / "stick", tmp_path / "outside"
    stick.mkdir()
    outside.mkdir()
    (stick / log_folder(home.origin)).symlink_to(outside)
    with pytest.raises(PolicyError, match="link"):
        export(home, stick)
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    stick = tmp_path / "stick"
    stick.mkdir()
    (tmp_path / "precious").write_text("mine")
    (stick / "logs").symlink_to(tmp_path / "precious")
    with pytest.raises(PolicyError, match="regular"):
        export(home, stick)
    assert (tmp_path / "precious").read_text() == "mine"
