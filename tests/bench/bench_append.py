"""Bulk append of signed entries, against a plain `executemany` of the same rows.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_append.py [ENTRIES...]`; prints CPU and elapsed
time. Storing is what a log writes, in durable transactions: entries, tiles and the new root, read
back and hashed again. Plain is `executemany` of the same five columns into a table with the same
indices, the same durability and the same cache. Loading sqlite-utils, which a program does once,
is not counted. The whole append verifies every entry too, before it signs.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.append import OwnLog
from ledger.checkpoint import log_key, log_origin
from ledger.database import WRITER_CACHE_KIB, Database
from ledger.entry import Entry, entry_id
from ledger.keys import NodeKeys
from ledger.log import Log, add_log, store_rows
from ledger.merkle import leaf_hash
from ledger.signinglock import SigningLock
from ledger.statement import Statement, Subject
from tests.bench.ledgers import TIME, cpu_seconds, load, sizes, wall_seconds

SIZES = (1_000, 10_000)
_CHUNK = 10_000


def main(entries: int, folder: Path) -> None:
    """Print one block of lines for `entries`."""
    keys = NodeKeys.from_seed(bytes(32))
    predicate = {"author": keys.author.public.did, "created": TIME, "text": "x" * 300}
    subject = (Subject("it", "00" * 32),)
    made = [
        Entry.sign(Statement("note", subject, predicate | {"number": number}), keys.author)
        for number in range(entries)
    ]
    bodies = [entry.body for entry in made]
    key = log_key(log_origin(keys.log.public), keys.log.public)
    rows = [(1, i, entry_id(body), leaf_hash(body), body) for i, body in enumerate(bodies)]

    def plain() -> None:
        _plain(folder / "plain.db", rows)

    def store() -> None:
        with Database.create(folder / "stored.db") as database:
            log = add_log(database, key)
            for start in range(0, entries, _CHUNK):
                with database.transaction() as writer:
                    store_rows(writer, log, bodies[start : start + _CHUNK])
            _read_back(log, entries)

    def whole() -> None:
        lock = SigningLock(folder / "lock.db", key.name)
        lock.create()
        with Database.create(folder / "whole.db") as database:
            OwnLog(database, keys.log, lock).append(made)

    print(f"{entries} entries of {sum(map(len, bodies)) // entries} bytes, {load()}")
    times = {}
    for name, work in (("plain executemany", plain), ("stored", store), ("append", whole)):
        spent = []
        elapsed = wall_seconds(lambda work=work, spent=spent: spent.append(cpu_seconds(work)))
        times[name] = spent[0]
        print(f"  {name:18} {spent[0]:8.2f} s CPU {elapsed:8.2f} s wall")
    ratio = times["plain executemany"] / times["stored"]
    print(f"  stored / plain rate {ratio:7.2f}   bar 0.4")


def _plain(path: Path, rows: list[tuple[int, int, str, bytes, bytes]]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON;"
        f"PRAGMA cache_size = -{WRITER_CACHE_KIB};"
        "CREATE TABLE entry (log INT, idx INT, id TEXT, leaf_hash BLOB, body BLOB,"
        " PRIMARY KEY (log, idx));"
        "CREATE UNIQUE INDEX one ON entry (log, leaf_hash); CREATE INDEX two ON entry (id);"
    )
    for start in range(0, len(rows), _CHUNK):
        connection.execute("BEGIN")
        sql = "INSERT INTO entry VALUES (?, ?, ?, ?, ?)"
        connection.executemany(sql, rows[start : start + _CHUNK])
        connection.execute("COMMIT")
    connection.close()


def _read_back(log: Log, size: int) -> None:
    edge = log.edge(0)
    edge.extend([leaf_hash(body) for body in log.bodies(0, size)])
    assert edge.root() == log.root(size)


if __name__ == "__main__":
    import_module("sqlite_utils")
    for size in sizes(sys.argv[1:], SIZES):
        with tempfile.TemporaryDirectory() as name:
            main(size, Path(name))
