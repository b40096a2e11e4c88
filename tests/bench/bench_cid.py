"""Building the CID of a directory against plain SHA-256 of the same files.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_cid.py [MEBIBYTES]`; the best of several runs,
files in the page cache. In one thread, CPU time is compared: the CID hashes every byte once for its
block, and its speed should be at least 0.9 of that of SHA-256. With the threads that publishing
uses, elapsed time is. What publishing costs in all is measured by `bench_publish.py`.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.unixfs import build_directory, discard
from node.artifacts import directory_root

MEBIBYTES = 256
RUNS = 7
SMALL_FILES = 64
SMALL_BYTES = 4096


def main(mebibytes: int) -> None:
    """Print one line for each way, for one large file and for many small ones."""
    with tempfile.TemporaryDirectory() as name:
        large, small = Path(name) / "large", Path(name) / "small"
        large.mkdir()
        small.mkdir()
        _write(large / "adapter_model.safetensors", mebibytes << 20)
        for number in range(SMALL_FILES):
            _write(small / f"part-{number:02d}", SMALL_BYTES)
        print(f"best of {RUNS}                        CPU, one thread            elapsed, threads")
        for title, folder, repeat in (
            (f"one file of {mebibytes} MiB", large, 1),
            (f"{SMALL_FILES} files of {SMALL_BYTES} bytes, 100 times", small, 100),
        ):
            print(title)
            _compare(folder, repeat)


def _compare(folder: Path, repeat: int) -> None:
    def plain() -> None:
        _sha256(folder)

    used = _fastest(plain, repeat, time.process_time)
    elapsed = _fastest(plain, repeat, time.perf_counter)
    print(f"  plain sha256           {used:8.3f} s                  {elapsed:8.3f} s")
    single = _fastest(lambda: _build(folder), repeat, time.process_time)
    threads = _fastest(lambda: directory_root(folder), repeat, time.perf_counter)
    ratios = used / single, elapsed / threads
    print(
        f"  CID                    {single:8.3f} s, speed {ratios[0]:4.2f}"
        f"      {threads:8.3f} s, speed {ratios[1]:4.2f}"
    )


def _write(path: Path, size: int) -> None:
    with path.open("wb") as stream:
        for number in range(0, size, 1 << 20):
            seed = f"{path.name} {number}".encode()
            stream.write(hashlib.shake_128(seed).digest(min(1 << 20, size - number)))


def _sha256(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as stream:
            hashlib.file_digest(stream, "sha256")


def _build(folder: Path) -> None:
    with ExitStack() as opened:
        streams = {path.name: opened.enter_context(path.open("rb")) for path in folder.iterdir()}
        build_directory(streams, discard)


def _fastest(work: Callable[[], object], repeat: int, clock: Callable[[], float]) -> float:
    best = float("inf")
    for _ in range(RUNS):
        start = clock()
        for _ in range(repeat):
            work()
        best = min(best, clock() - start)
    return best


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MEBIBYTES)
