"""CAR files: what is exported is imported, and nothing else."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest

from ledger.car import car_header, write_car
from ledger.cid import Cid
from ledger.errors import (
    DigestError,
    EvidenceError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    UsageError,
)
from ledger.unixfs import CHUNK_SIZE, Limits, build_directory, walk
from node.storage.carfiles import export_car, import_car
from node.storage.local import LocalStore

FILES = {"big": b"0" * CHUNK_SIZE + b"end", "below/small": b"text", "empty": b""}


def quiet(_step: str, _done: int, _total: int) -> None:
    """Say nothing."""


@pytest.fixture
def held(tmp_path: Path) -> tuple[LocalStore, Cid]:
    store = LocalStore(tmp_path / "store")
    streams = {path: BytesIO(data) for path, data in FILES.items()}
    root = build_directory(streams, store.put_block).cid
    return store, root


def test_a_car_carries_an_artifact_from_store_to_store(
    tmp_path: Path, held: tuple[LocalStore, Cid]
) -> None:
    store, root = held
    path = tmp_path / "a.car"
    written = export_car(store, root, path)
    blocks = list(walk(root, store.get_block, Limits()))
    assert path.read_bytes() == b"".join(write_car(root, blocks))
    assert (written.cid, written.blocks, written.bytes) == (
        str(root),
        len(blocks),
        path.stat().st_size,
    )
    other = LocalStore(tmp_path / "other")
    for _ in range(2):
        assert import_car(other, path, quiet) == written
        assert list(other.pins()) == [root]
    assert list(walk(root, other.get_block, Limits())) == blocks


def test_an_export_does_not_replace_a_file(tmp_path: Path, held: tuple[LocalStore, Cid]) -> None:
    (tmp_path / "a.car").write_bytes(b"mine")
    with pytest.raises(UsageError):
        export_car(*held, tmp_path / "a.car")
    assert (tmp_path / "a.car").read_bytes() == b"mine"


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_an_incomplete_artifact_leaves_no_file(
    tmp_path: Path, held: tuple[LocalStore, Cid], harm: str
) -> None:
    store, root = held
    leaf = store.path_of(Cid.of(b"text"))
    if harm == "missing":
        leaf.unlink()
    else:
        leaf.write_bytes(b"tex")
    with pytest.raises(IncompleteError, match=str(root)):
        export_car(store, root, tmp_path / "a.car")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_what_is_here_may_be_left_out(tmp_path: Path, held: tuple[LocalStore, Cid]) -> None:
    store, root = held
    path = tmp_path / "thin.car"
    path.write_bytes(b"".join(write_car(root, [(root, store.get_block(root))])))
    assert import_car(store, path, quiet).blocks == 1
    with pytest.raises(IncompleteError, match=r"thin\.car"):
        import_car(LocalStore(tmp_path / "other"), path, quiet)
    assert list(LocalStore(tmp_path / "other").pins()) == []


def test_a_bad_file_pins_nothing(tmp_path: Path, held: tuple[LocalStore, Cid]) -> None:
    store, root = held
    whole = b"".join(write_car(root, walk(root, store.get_block, Limits())))
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    other = LocalStore(tmp_path / "other")
    path = tmp_path / "bad.car"
    cases: list[tuple[bytes, type[EvidenceError | IncompleteError]]] = [
        (b"", IncompleteError),
        (b"not a car at all", IncompleteError),
        (whole[:-1], IncompleteError),
        (flipped, DigestError),
        (car_header(root), IncompleteError),
        (whole.replace(b"roots\x81", b"roots\x80", 1), MalformedError),
    ]
    for data, error in cases:
        path.write_bytes(data)
        with pytest.raises(error, match=r"bad\.car"):
            import_car(other, path, quiet)
        assert list(other.pins()) == []
    path.write_bytes(whole)
    with pytest.raises(MalformedError, match="more"):
        import_car(other, path, quiet, Limits(files=2))
    with pytest.raises(NotFoundError):
        import_car(other, tmp_path / "none.car", quiet)
