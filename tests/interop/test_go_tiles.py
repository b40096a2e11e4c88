"""The tiles of a log of 70,000 entries, read by the Go reference.

The log is stored by the code that stores every log, in batches of uneven sizes, and its tiles are
written as the static tree has them. The reference authenticates each tile against the root while
it makes proofs. This fails when a tile has a wrong path, width, level or hash, or when a proof
made here from tiles differs from the reference's by a byte.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, log_key, log_origin, open_checkpoint, sign_checkpoint
from ledger.database import Database
from ledger.keys import PrivateKey
from ledger.log import Log, add_log, store_rows
from ledger.merkle import leaf_hash, root_of
from ledger.tile import tiles_of
from tests.interop.partners import GoReference

KEY = PrivateKey(bytes([7]) * 32)
SIZE = 70_000
# Around every edge of a tile and of a level, and the last one.
SIZES = [1, 2, 255, 256, 257, 511, 4_000, 65_535, 65_536, 65_537, SIZE]


@dataclass(frozen=True)
class StoredLog:
    """A log in a database, and its tiles in one folder per size."""

    log: Log
    folder: Path

    def write(self, size: int) -> Path:
        """Write the tiles that a tree of this size has, and no others."""
        folder = self.folder / str(size)
        for tile in tiles_of(size):
            path = folder / tile.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(self.log.tile(tile)[: tile.width]))
        return folder


def body(index: int) -> bytes:
    """An entry; the tiles do not care what is in it."""
    return b"entry-%d" % index


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> StoredLog:
    """The log, grown to every one of the sizes in turn."""
    folder = tmp_path_factory.mktemp("tiles")
    database = Database.create(folder / "ledger.db")
    log = add_log(database, log_key(log_origin(KEY.public), KEY.public))
    size = 0
    for end in SIZES:
        with database.transaction() as writer:
            store_rows(writer, log, [body(index) for index in range(size, end)])
        size = end
    return StoredLog(log, folder)


@pytest.mark.parametrize("size", SIZES)
def test_every_tile_proves_its_entries_there(go: GoReference, stored: StoredLog, size: int) -> None:
    root = stored.log.root(size)
    assert root == root_of(leaf_hash(body(index)) for index in range(size))
    folder = stored.write(size)
    draw = random.Random(size)
    indices = sorted({0, size // 2, size - 1, *(draw.randrange(size) for _ in range(30))})
    olds = sorted({1, size, *(old for old in SIZES if old < size), draw.randrange(1, size + 1)})
    records = go.ask(("record", folder, size, root.hex(), index) for index in indices)
    extensions = go.ask(("extension", folder, size, root.hex(), old) for old in olds)
    ours = [stored.log.prove_inclusion(index, size) for index in indices]
    assert records == [(True, b"".join(proof).hex()) for proof in ours]
    ours = [stored.log.prove_consistency(old, size) for old in olds]
    assert extensions == [(True, b"".join(proof).hex()) for proof in ours]
    verdicts = go.ask(
        ("consistency", size, root.hex(), old, stored.log.root(old).hex(), proof)
        for old, (_, proof) in zip(olds, extensions, strict=True)
    )
    assert all(verdict for verdict, _ in verdicts), verdicts


def test_a_damaged_tile_is_refused_there(go: GoReference, stored: StoredLog) -> None:
    root = stored.log.root(SIZE).hex()
    folder = stored.write(SIZE)
    for path in (
        "tile/0/007",
        "tile/0/273.p/112",
        "tile/1/000",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ):
        good = (folder / path).read_bytes()
        # Of each tile, the last hash: a proof of the entries below it needs it.
        (folder / path).write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        answers = go.ask(("record", folder, SIZE, root, index) for index in (7 * 256 + 3, 69_990))
        assert not all(verdict for verdict, _ in answers), path
        (folder / path).write_bytes(good)
    assert go.ask([("record", folder, SIZE, root, 5)])[0][0]


def test_the_checkpoint_and_a_whole_proof_are_good_there(
    go: GoReference, stored: StoredLog
) -> None:
    """What a stranger does: open the note, then prove one entry under the root it names."""
    point = Checkpoint(stored.log.origin, SIZE, stored.log.root(SIZE))
    note = bytes(sign_checkpoint(point, KEY))
    assert open_checkpoint(note, stored.log.key) == point
    ((verdict, detail),) = go.ask([("open", note.hex(), str(stored.log.key).encode().hex())])
    assert verdict, detail
    text = bytes.fromhex(detail.split(" ")[0]).decode()
    assert text == point.text
    proof = b"".join(stored.log.prove_inclusion(42_424, SIZE)).hex()
    leaf = leaf_hash(body(42_424)).hex()
    assert go.ask([("inclusion", SIZE, point.root.hex(), 42_424, leaf, proof)])[0][0]
    assert not go.ask([("inclusion", SIZE, point.root.hex(), 42_425, leaf, proof)])[0][0]
