"""The static tree: what is in it, what is not, and what never will be."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator import SimulatedLog, note_entry

from ledger.checkpoint import open_checkpoint
from ledger.cid import Cid
from ledger.errors import DigestError, NotFoundError, UsageError
from ledger.log import Log
from ledger.mirror import extend
from ledger.tile import Tile, split_bundle
from node.artifacts import store_directory, store_document
from node.home import Home
from node.peering.loglist import parse_logs, split_frontier
from node.peering.published import Published
from node.peering.tree import log_folder, paths, resolve


def make_home(folder: Path, number: int = 1, entries: int = 0) -> Home:
    home = Home.init(folder / "h", folder / "state", name="ada", seed=bytes([number]) * 32)
    if entries:
        with home.writing() as log:
            log.append([note_entry(home.keys(), f"n{i}") for i in range(entries)])
    return home


def name_in_log(home: Home, **fields: object) -> None:
    with home.writing() as log:
        log.append([note_entry(home.keys(), "names", **fields)])


def read(home: Home, path: str) -> bytes:
    with home.reading() as database:
        return resolve(database, home.store, path).body


@pytest.fixture(scope="module")
def large_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("large"), entries=599)


def test_every_listed_path_resolves_and_lists_come_last(large_home: Home) -> None:
    with large_home.reading() as database:
        listed = list(paths(database, large_home.store))
        for path in listed:
            assert resolve(database, large_home.store, path).body
    assert listed[-2:] == ["/frontier", "/logs"]
    assert listed[-3] == f"/{log_folder(large_home.origin)}/checkpoint"
    assert len(listed) == len(set(listed)) == 2 * 3 + 1 + 3


def test_lists_name_own_log_and_mirrors_alike(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    other = SimulatedLog(9).grow(3)
    with home.locked() as database:
        extend(database, other.key, other.note(), other.bodies)
    listed = parse_logs(read(home, "/logs"))
    assert {log.origin for log in listed} == {home.origin, other.origin}
    newest, own = split_frontier(read(home, "/frontier"))
    assert (newest.note, own.origin) == (other.note(), home.origin)
    assert read(home, f"{other.folder}/checkpoint") == other.note()
    for path, content in other.files().items():
        assert read(home, path) == content


def test_bundles_hold_the_entries(large_home: Home) -> None:
    folder = log_folder(large_home.origin)
    with large_home.reading() as database:
        bodies = list(Log(database, large_home.origin).bodies())
    data = read(large_home, f"/{folder}/tile/entries/002.p/88")
    assert split_bundle(data, Tile(-1, 2, 88)) == bodies[512:]
    key = parse_logs(read(large_home, "/logs"))[0].key()
    assert open_checkpoint(read(large_home, f"/{folder}/checkpoint"), key).size == 600


def test_a_partial_tile_of_an_older_checkpoint_is_still_answered(large_home: Home) -> None:
    folder = log_folder(large_home.origin)
    whole = read(large_home, f"/{folder}/tile/0/000")
    assert read(large_home, f"/{folder}/tile/0/000.p/5") == whole[: 5 * 32]


@pytest.mark.parametrize(
    "rest", ["tile/0/003", "tile/0/002.p/89", "tile/0/002", "tile/1/000.p/3", "tile/2/000.p/1"]
)
def test_what_the_checkpoint_does_not_imply_is_not_there(large_home: Home, rest: str) -> None:
    with pytest.raises(NotFoundError):
        read(large_home, f"/{log_folder(large_home.origin)}/{rest}")


@pytest.mark.parametrize(
    "rest", ["tile/0/0", "tile/00/000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/64/000"]
)
def test_what_is_no_tile_path_is_a_usage_error(large_home: Home, rest: str) -> None:
    with pytest.raises(UsageError):
        read(large_home, f"/{log_folder(large_home.origin)}/{rest}")


@pytest.mark.parametrize(
    "path", ["", "/", "logs", "/logs/", "/../logs", "//logs", "/keys/seed", "/ledger.db", "/x" * 99]
)
def test_nothing_else_is_in_the_tree(large_home: Home, path: str) -> None:
    with pytest.raises(NotFoundError):
        read(large_home, path)


def test_unsigned_entries_are_not_published(tmp_path: Path) -> None:
    home = make_home(tmp_path, entries=2)
    with home.locked() as database, database.transaction() as writer:
        from ledger.log import store_rows

        store_rows(writer, Log(database, home.origin), [note_entry(home.keys(), "late").body])
    with pytest.raises(NotFoundError):
        read(home, f"/{log_folder(home.origin)}/tile/entries/000.p/4")
    assert read(home, f"/{log_folder(home.origin)}/tile/entries/000.p/3")


def test_only_published_blocks_are_handed_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "a").write_bytes(b"a" * 3_000_000)
    artifact = store_directory(folder, home.store).cid
    outcomes = store_document(b"outcomes", home.store)
    draft = store_document(b"draft", home.store)
    name_in_log(home, cid=str(artifact), scores=[{"outcomes": str(outcomes)}, 5])
    with home.reading() as database:
        listed = [path for path in paths(database, home.store) if path.startswith("/ipfs/")]
    # A directory, a file node, three chunks (two of them equal) and the outcomes.
    assert len(listed) == 5
    assert f"/ipfs/{outcomes}" in listed
    assert read(home, f"/ipfs/{outcomes}") == b"outcomes"
    with pytest.raises(NotFoundError):
        read(home, f"/ipfs/{draft}")


def test_entries_that_name_no_cid_publish_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    name_in_log(home, cid=7, lock="not a cid", record=["x"], table=None, scores={"outcomes": 1})
    with home.reading() as database:
        assert not [path for path in paths(database, home.store) if path.startswith("/ipfs/")]


def test_blocks_that_arrive_later_become_published(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    folder = tmp_path / "artifact"
    folder.mkdir()
    (folder / "a").write_bytes(b"late")
    root = store_directory(folder, None).cid
    name_in_log(home, cid=str(root))
    published = Published()
    with home.reading() as database:
        with pytest.raises(NotFoundError):
            resolve(database, home.store, f"/ipfs/{Cid.of(b'late')}", published)
        store_directory(folder, home.store)
        found = resolve(database, home.store, f"/ipfs/{Cid.of(b'late')}", published)
    assert found.body == b"late"
    assert found.immutable


def test_a_damaged_block_is_not_handed_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    cid = store_document(b"whole", home.store)
    name_in_log(home, cid=str(cid))
    next((tmp_path / "h" / "store" / "blocks").rglob(str(cid))).write_bytes(b"w0ole")
    with pytest.raises(DigestError):
        read(home, f"/ipfs/{cid}")


def test_a_malformed_cid_is_a_usage_error(large_home: Home) -> None:
    with pytest.raises(UsageError):
        read(large_home, "/ipfs/QmWATWQ7fVPP2EFGu71UkfnqhYXDYH566qy47CnJDgvs8u")
