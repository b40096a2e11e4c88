"""Building the CID of a directory against plain SHA-256 over the same bytes.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_cid.py [MEBIBYTES]`; prints CPU time, the best of
several runs, one thread. The bytes lie in memory, so that disks do not matter. The CID hashes every
byte once for its block; publishing also wants the SHA-256 of each file for the statement, so the
third line reads through the stream that notes it, and two passes of SHA-256 are its floor.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.unixfs import build_directory
from node.artifacts import HashingStream

MEBIBYTES = 256
RUNS = 5
SMALL_FILES = 64
SMALL_BYTES = 4096


def main(mebibytes: int) -> None:
    """Print one line for each way, for one large file and for many small ones."""
    large = {"adapter_model.safetensors": _noise(mebibytes << 20)}
    small = {f"part-{number:02d}": _noise(SMALL_BYTES, number) for number in range(SMALL_FILES)}
    print(f"CPU seconds, best of {RUNS}")
    for title, files, repeat in (
        (f"one file of {mebibytes} MiB", large, 1),
        (f"{SMALL_FILES} files of {SMALL_BYTES} bytes, 100 times", small, 100),
    ):
        plain = _fastest(lambda files=files: _sha256(files), repeat)
        cid = _fastest(lambda files=files: _build(files), repeat)
        both = _fastest(lambda files=files: _publish(files), repeat)
        print(title)
        print(f"  plain sha256       {plain:8.3f} s")
        print(f"  CID                {cid:8.3f} s  {cid / plain:5.2f} x sha256")
        print(f"  CID and sha256s    {both:8.3f} s  {both / plain:5.2f} x sha256")


def _noise(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_128(seed.to_bytes(4, "big")).digest(size)


def _sha256(files: dict[str, bytes]) -> None:
    for data in files.values():
        hashlib.sha256(data).digest()


def _build(files: dict[str, bytes]) -> None:
    build_directory({name: BytesIO(data) for name, data in files.items()}, lambda cid, block: None)


def _publish(files: dict[str, bytes]) -> None:
    streams = {name: HashingStream(BytesIO(data)) for name, data in files.items()}
    build_directory(streams, lambda cid, block: None)
    for stream in streams.values():
        stream.sha256  # noqa: B018 - computing it is the point


def _fastest(work: Callable[[], object], repeat: int) -> float:
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        for _ in range(repeat):
            work()
        best = min(best, time.process_time() - start)
    return best


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MEBIBYTES)
