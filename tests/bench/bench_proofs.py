"""Proofs and roots from stored tiles, against pymerkle's SQLite tree where that is installed.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_proofs.py [ENTRIES...]`; prints CPU time. Cold is
the first proof after opening a log, with an empty cache; warm is a random entry with the cache of
512 tiles filled. pymerkle has no cold and warm of this kind: its cold proof is the first of a
process, its warm one the mean of the next. Its tree has as many leaves, at most 200,000.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.checkpoint import log_key, log_origin
from ledger.database import Database
from ledger.keys import NodeKeys
from ledger.log import Log, add_log, store_rows
from tests.bench.ledgers import cpu_seconds, load, sizes

SIZES = (1_000, 10_000, 100_000)
_PYMERKLE_LEAVES = 200_000
_CHUNK = 50_000
_WARM = 2_000


def main(entries: int, folder: Path) -> None:
    """Print one block of lines for a log of `entries`."""
    key = NodeKeys.from_seed(bytes(32)).log.public
    with Database.create(folder / "ledger.db") as database:
        log = add_log(database, log_key(log_origin(key), key))
        for start in range(0, entries, _CHUNK):
            bodies = [b"%d" % number for number in range(start, min(start + _CHUNK, entries))]
            with database.transaction() as writer:
                store_rows(writer, log, bodies)
        print(f"{entries} entries, {load()}")
        draw = random.Random(1)
        indices = [draw.randrange(entries) for _ in range(_WARM)]
        olds = [1 + index for index in indices]
        report = {
            "root, cold": _cold(database, log, lambda cold, i: cold.root(1 + i), indices[:50]),
            "inclusion, cold": _cold(
                database, log, lambda cold, i: cold.prove_inclusion(i, entries), indices[:50]
            ),
            "consistency, cold": _cold(
                database, log, lambda cold, i: cold.prove_consistency(1 + i, entries), indices[:50]
            ),
            "inclusion, warm": _mean(lambda i: log.prove_inclusion(i, entries), indices),
            "consistency, warm": _mean(lambda i: log.prove_consistency(i, entries), olds),
        }
        for name, seconds in report.items():
            print(f"  {name:20} {seconds * 1000:8.3f} ms")
        _compare(entries, folder, report)


def _cold(database: Database, log: Log, work: object, indices: list[int]) -> float:
    assert callable(work)
    logs = [Log(database, log.origin) for _ in indices]

    def run() -> None:
        for cold, index in zip(logs, indices, strict=True):
            work(cold, index)

    return cpu_seconds(run) / len(indices)


def _mean(work: object, indices: list[int]) -> float:
    assert callable(work)
    for index in indices[:200]:
        work(index)
    return cpu_seconds(lambda: [work(index) for index in indices]) / len(indices)


def _compare(entries: int, folder: Path, report: dict[str, float]) -> None:
    try:
        from pymerkle import SqliteTree
    except ImportError:
        print("  NOT COMPARED with pymerkle: it is not installed (pip install pymerkle==7.0.0)")
        return
    leaves = min(entries, _PYMERKLE_LEAVES)
    tree = SqliteTree(str(folder / "pymerkle.db"))
    tree.append_entries([b"%d" % number for number in range(leaves)], chunksize=10_000)
    cold = cpu_seconds(lambda: tree.prove_inclusion(leaves // 2, leaves))
    draw = random.Random(2)
    drawn = [1 + draw.randrange(leaves) for _ in range(200)]
    warm = cpu_seconds(lambda: [tree.prove_inclusion(i, leaves) for i in drawn]) / len(drawn)
    print(f"  pymerkle, {leaves} leaves: {cold * 1000:.3f} ms cold, {warm * 1000:.3f} ms warm")
    print(f"  cold: {cold / report['inclusion, cold']:7.1f} times pymerkle   bar 20")
    print(f"  warm: {warm / report['inclusion, warm']:7.1f} times pymerkle   bar 5")


if __name__ == "__main__":
    for size in sizes(sys.argv[1:], SIZES):
        with tempfile.TemporaryDirectory() as name:
            main(size, Path(name))
