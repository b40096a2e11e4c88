"""What publishing does with the bytes of a directory, against SHA-256 of a file plus its copy.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_publish.py [MEBIBYTES]`; medians of several
rounds, each of which does everything once. `publish` computes the root, inspects, and then stores
while it computes the root and the SHA-256 of each file again: what was inspected is what is signed.
Inspecting depends on what is in the files and is not part of this. Elapsed time should be at most
1.5 times that of SHA-256 and a copy; storing ends with everything on disk, so the fair copy is one
that is synced.

The last line is the peak memory of a process that stores, less that of one that stores 1 MiB.
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
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from node.artifacts import directory_root, store_directory
from node.storage.local import LocalStore

ROOT = Path(__file__).parents[2]
MEBIBYTES = 500
ROUNDS = 5
STORE = """
import resource, sys
from pathlib import Path
from node.artifacts import directory_root, store_directory
from node.storage.local import LocalStore

root = directory_root(Path(sys.argv[1]))
store_directory(Path(sys.argv[1]), LocalStore(Path(sys.argv[2])), expected=root)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main(mebibytes: int) -> None:
    """Print one line for each way, the ratios and the memory."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, tiny = _write(folder / "artifact", mebibytes), _write(folder / "tiny", 1)
        ways: dict[str, Callable[[], None]] = {
            "sha256": lambda: _sha256(source),
            "copy": lambda: _copy(source, folder / "copy", sync=False),
            "copy, synced": lambda: _copy(source, folder / "copy", sync=True),
            "root": lambda: _root(source),
            "root, and store": lambda: _publish(source, folder / "store"),
        }
        wall: dict[str, list[float]] = {name: [] for name in ways}
        processor: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, work in ways.items():
                shutil.rmtree(folder / "store", ignore_errors=True)
                (folder / "copy").unlink(missing_ok=True)
                os.sync()
                started, used = time.perf_counter(), time.process_time()
                work()
                wall[name].append(time.perf_counter() - started)
                processor[name].append(time.process_time() - used)
        load = os.getloadavg()[0]
        print(
            f"{mebibytes} MiB, median of {ROUNDS}; load {load:.1f} on {os.cpu_count()} processors"
        )
        print("                        elapsed        CPU")
        median = {name: statistics.median(times) for name, times in wall.items()}
        for name in ways:
            used = statistics.median(processor[name])
            print(f"  {name:18} {median[name]:10.2f} s {used:8.2f} s")
        for copy in ("copy", "copy, synced"):
            ratio = median["root, and store"] / (median["sha256"] + median[copy])
            print(f"  to sha256 and {copy:14} {ratio:5.2f}")
        grown = _peak(source, folder / "peak") - _peak(tiny, folder / "peak-tiny")
        print(f"  memory besides that of 1 MiB: {grown / 1024:.0f} MB")


def _write(folder: Path, mebibytes: int) -> Path:
    folder.mkdir()
    with (folder / "data").open("wb") as stream:
        for number in range(mebibytes):
            stream.write(hashlib.shake_128(number.to_bytes(4, "big")).digest(1 << 20))
    return folder


def _sha256(folder: Path) -> None:
    with (folder / "data").open("rb") as stream:
        hashlib.file_digest(stream, "sha256")


def _copy(folder: Path, target: Path, *, sync: bool) -> None:
    shutil.copyfile(folder / "data", target)
    if sync:
        with target.open("rb") as stream:
            os.fsync(stream.fileno())


def _root(folder: Path) -> None:
    directory_root(folder)


def _publish(folder: Path, store: Path) -> None:
    store_directory(folder, LocalStore(store), expected=directory_root(folder))


def _peak(folder: Path, store: Path) -> int:
    command = [sys.executable, "-c", STORE, str(folder), str(store)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MEBIBYTES)
