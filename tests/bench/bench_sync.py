"""How long a sync over loopback takes, against the time of verifying the same entries.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_sync.py [ENTRIES...]`; prints elapsed and CPU
seconds of this process, and their ratio, which should be at most 1.3 for 100,000 entries. The
server is a process of its own, as `pnode serve` is, and runs beside the sync. Verifying means form,
signature and statement of every entry, in memory, one after another; a sync verifies in as many
threads as there are cores. Both are measured with OpenSSL, and with libsodium where that is
installed. The last line tells what polling costs when nothing has changed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from simulator import note_entry

from ledger.entryreader import EntryReader
from ledger.log import Log
from ledger.quickverify import quick_verifier
from node.cores import usable_cores
from node.home import Home
from node.peering.source import HTTPSource
from node.peering.sync import sync
from tests.bench.ledgers import load

ROOT = Path(__file__).parents[2]
SIZES = (1_000, 10_000, 100_000)
SERVER = """
import sys
from pathlib import Path
from node.home import Home
from node.web.serve import serve

home = Home.open(Path(sys.argv[1]), Path(sys.argv[2]))
serve(home, port=0, ready=lambda url: print(url, flush=True))
"""


def main(sizes: list[int]) -> None:
    """Print one block of lines for each size."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            _measure(Path(name), size)


def _measure(folder: Path, size: int) -> None:
    served = Home.init(folder / "served", folder / "served-state", seed=bytes(32))
    keys = served.keys()
    with served.writing() as log:
        log.append([note_entry(keys, f"entry {number}") for number in range(size - 1)])
    with served.reading() as database:
        bodies = list(Log(database, served.origin).bodies())
    average = sum(map(len, bodies)) / len(bodies)
    print(f"{size} entries of {average:.0f} bytes, {usable_cores()} cores, {load()}")
    command = [sys.executable, "-c", SERVER, str(served.path), str(served.state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().strip()
            with mock.patch("ledger.entryreader.quick_verifier", lambda: None):
                _compare("OpenSSL", folder / "plain", url, bodies)
            if quick_verifier() is not None:
                _compare("libsodium", folder / "quick", url, bodies)
        finally:
            server.terminate()


def _compare(library: str, folder: Path, url: str, bodies: list[bytes]) -> None:
    verifying = _seconds(lambda: _verify(bodies))
    home = Home.init(folder / "home", folder / "state", seed=b"\1" * 32)
    with HTTPSource(url) as source:
        added: list[int] = []
        syncing = _seconds(lambda: added.append(sync(home, source, push=False).added))
        polling = _seconds(lambda: sync(home, source, push=False))
    assert added == [len(bodies)]
    print(f"  {library:20}     elapsed        CPU")
    print(f"  verifying           {verifying[0]:10.2f} s {verifying[1]:8.2f} s")
    print(f"  sync                {syncing[0]:10.2f} s {syncing[1]:8.2f} s")
    elapsed, processor = syncing[0] / verifying[0], syncing[1] / verifying[1]
    print(f"  ratio               {elapsed:10.2f}   {processor:8.2f}")
    print(f"  polling an unchanged peer {polling[0] * 1_000:6.1f} ms")


def _verify(bodies: list[bytes]) -> None:
    reader = EntryReader()
    for body in bodies:
        reader.read(body)


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Return how long something takes: elapsed, and of this process's CPU time."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or list(SIZES))
