"""Bringing an artifact from one node to another, against plain HTTP of the same bytes.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_gateway.py [MEBIBYTES]`; the medians of several
rounds, each of which does everything once, so that what else runs meets all alike. Servers are
processes of their own, over loopback. Plain HTTP is `python -m http.server` and urllib, written to
a file; the second time the file is synced, as blocks are.

Gathering brings all blocks into the store of the other node: each verified, all durable, none
pinned. Its speed should be at least half of that of plain HTTP. Fetching is the whole command: it
also writes the files, syncs them, and reads them again to build the root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from simulator import note_entry

from ledger.cid import Cid
from node.api import Node
from node.artifacts import store_directory
from node.home import Home
from node.peering.peers import add_peer
from node.storage.gathering import Gathering
from node.storage.providers import providers_of

ROOT = Path(__file__).parents[2]
MEBIBYTES = 500
ROUNDS = 5
SERVER = """
import sys
from pathlib import Path
from node.home import Home
from node.web.serve import serve

home = Home.open(Path(sys.argv[1]), Path(sys.argv[2]))
serve(home, port=0, ready=lambda url: print(url, flush=True))
"""


def main(mebibytes: int) -> None:
    """Print one line for each way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "artifact").mkdir()
        data = folder / "artifact" / "data"
        with data.open("wb") as stream:
            for number in range(mebibytes):
                stream.write(hashlib.shake_128(number.to_bytes(4, "big")).digest(1 << 20))
        served = Home.init(folder / "served", folder / "served-state", seed=bytes(32))
        root = store_directory(folder / "artifact", served.store).cid
        with served.writing() as log:
            log.append([note_entry(served.keys(), "artifact", cid=str(root))])
        plain = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
        ours = [sys.executable, "-c", SERVER, str(served.path), str(served.state)]
        with (
            _server(plain, folder / "artifact") as plain_line,
            _server(ours, ROOT) as ours_line,
        ):
            port = plain_line.split(" port ")[1].split()[0]
            home = Home.init(folder / "home", folder / "state", seed=b"\1" * 32)
            add_peer(home, ours_line.strip())
            _compare(folder, home, root, f"http://127.0.0.1:{port}/data", mebibytes)


def _compare(folder: Path, home: Home, root: Cid, url: str, mebibytes: int) -> None:
    ways: dict[str, Callable[[], None]] = {
        "plain HTTP": lambda: _download(url, folder / "copy", sync=False),
        "plain HTTP, synced": lambda: _download(url, folder / "copy", sync=True),
        "gathering": lambda: _gather(home, root),
        "fetching": lambda: _fetch(home, root, folder / "out"),
    }
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            shutil.rmtree(home.path / "store", ignore_errors=True)
            shutil.rmtree(folder / "out", ignore_errors=True)
            (folder / "copy").unlink(missing_ok=True)
            os.sync()
            started, used = time.perf_counter(), time.process_time()
            work()
            wall[name].append(time.perf_counter() - started)
            processor[name].append(time.process_time() - used)
    load = os.getloadavg()[0]
    print(f"{mebibytes} MiB, median of {ROUNDS}; load {load:.1f} on {os.cpu_count()} processors")
    print("                           wall  CPU of this side      speed to plain HTTP, and synced")
    medians = {name: statistics.median(times) for name, times in wall.items()}
    for name in ways:
        ratios = [medians[each] / medians[name] for each in ("plain HTTP", "plain HTTP, synced")]
        used = statistics.median(processor[name])
        print(
            f"  {name:20} {medians[name]:8.2f} s {used:12.2f} s {ratios[0]:16.2f} {ratios[1]:8.2f}"
        )


def _download(url: str, target: Path, *, sync: bool) -> None:
    with urllib.request.urlopen(url) as answer, target.open("wb") as stream:
        shutil.copyfileobj(answer, stream, 1 << 20)
        stream.flush()
        if sync:
            os.fsync(stream.fileno())


def _gather(home: Home, root: Cid) -> None:
    with providers_of(home, offline=False) as providers:
        Gathering(home.store, providers, lambda *_: None).gather(root)


def _fetch(home: Home, root: Cid, target: Path) -> None:
    Node(home).fetch(str(root), target)


@contextmanager
def _server(command: list[str], folder: Path) -> Iterator[str]:
    """Start a server and yield the first line it prints."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, text=True
    ) as server:
        try:
            assert server.stdout is not None
            yield server.stdout.readline()
        finally:
            server.terminate()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MEBIBYTES)
