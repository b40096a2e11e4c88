"""Audit rate against the bare Ed25519 verification loop over the same signatures.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_audit.py [ENTRIES...]`. The loop verifies one
signature per entry with the library alone: the key loaded and the messages built beforehand,
nothing parsed, nothing hashed; it and "OpenSSL alone" use the same library, the other audits
libsodium too if it is installed (`pnode[fast]`). The audit does everything `pnode audit` does, from
a home on disk.

One process is compared in CPU time, the best of three runs, so a busy machine disturbs little. Two
processes are compared in elapsed time, which needs two idle cores; so is the loop beside it.
Incremental is an audit of the same home right after a full one. Memory is the peak of a process
that does nothing but the audit.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.dsse import PAYLOAD_TYPE, Envelope, pae
from ledger.log import Log
from node.api import Node
from tests.bench.ledgers import cpu_seconds, load, make, peak_megabytes, sizes, wall_seconds

SIZES = (1_000, 10_000)
_RUNS = 3
_SAMPLE = 20_000
_AUDIT = """
from pathlib import Path
from node.api import Node
audited = Node.open(Path(sys.argv[1]), Path(sys.argv[2])).audit(jobs=1)
assert not audited.findings, audited.findings[0]
"""


def main(entries: int, folder: Path) -> None:
    """Print one block of lines for a ledger of `entries`."""
    measure(make(folder, entries), folder, entries + 2)


def measure(node: Node, folder: Path, count: int) -> None:
    """Measure a home whose log has `count` entries."""
    runs = _RUNS if count <= 20_000 else 1
    rounds = []
    for _ in range(runs):
        # Side by side, so that both see the same machine.
        loop_cpu, loop_wall = _loop(node, count)
        with mock.patch("ledger.entryreader.quick_verifier", lambda: None):
            alone_cpu = cpu_seconds(lambda: _audit(node, 1))
        audit_cpu = cpu_seconds(lambda: _audit(node, 1))
        two_wall = wall_seconds(lambda: _audit(node, 2))
        rounds.append((loop_cpu, loop_wall, alone_cpu, audit_cpu, two_wall))
    best = (min(column) for column in zip(*rounds, strict=True))
    loop_cpu, loop_wall, alone_cpu, audit_cpu, two_wall = best
    cache = folder / "cache"
    node.audit(jobs=1, cache=cache)
    again = cpu_seconds(lambda: _audit(node, 1, cache), runs)
    memory = peak_megabytes(_AUDIT, str(node.home.path), str(folder / "state"))
    print(f"{count} entries, {load()}")
    print(f"  raw verification loop    {loop_cpu:9.2f} s CPU   {count / loop_cpu:9.0f} entries/s")
    print(f"  audit, one process       {audit_cpu:9.2f} s CPU   {count / audit_cpu:9.0f} entries/s")
    print(f"  audit, two processes     {two_wall:9.2f} s wall  {count / two_wall:9.0f} entries/s")
    print(f"  audit, nothing new       {again:9.2f} s CPU   {count / again:9.0f} entries/s")
    print(f"  one process / raw loop   {loop_cpu / audit_cpu:9.2f}         bar 0.85")
    print(f"  the same, OpenSSL alone  {loop_cpu / alone_cpu:9.2f}")
    print(f"  two processes / raw loop {loop_wall / two_wall:9.2f}         bar 1.7, on idle cores")
    print(f"  peak memory              {memory:9.0f} MB      bar 150")


def _loop(node: Node, count: int) -> tuple[float, float]:
    """Return the CPU and the elapsed time of verifying `count` signatures of a home."""
    cpu = wall = 0.0
    with node.home.reading() as database:
        bodies = Log(database, node.home.origin).bodies()
        done = 0
        while part := list(islice(bodies, _SAMPLE)):
            envelopes = [Envelope.parse(body) for body in part]
            key = Ed25519PublicKey.from_public_bytes(envelopes[0].key.raw)
            signed = [(each.signature, pae(PAYLOAD_TYPE, each.payload)) for each in envelopes]

            def verify(key: Ed25519PublicKey = key, signed: list = signed) -> None:
                for signature, message in signed:
                    key.verify(signature, message)

            def both(verify: object = verify) -> None:
                nonlocal cpu
                cpu += cpu_seconds(verify)

            wall += wall_seconds(both)
            done += len(part)
    assert done == count
    return cpu, wall


def _audit(node: Node, jobs: int, cache: Path | None = None) -> None:
    audited = node.audit(jobs=jobs, cache=cache, incremental=cache is not None)
    if audited.findings:
        raise SystemExit(f"the audit found something: {audited.findings[0]}")


if __name__ == "__main__":
    for size in sizes(sys.argv[1:], SIZES):
        with tempfile.TemporaryDirectory() as name:
            main(size, Path(name))
