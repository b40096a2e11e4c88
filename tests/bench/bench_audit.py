"""Audit rate against the bare Ed25519 verification loop over the same signatures.

Run as `OMP_NUM_THREADS=1 python tests/bench/bench_audit.py [ENTRIES]`; prints entries per second of
CPU time, the best of several runs, one thread. The floor verifies one signature per entry with the
library alone: keys loaded and messages built beforehand, nothing parsed, nothing hashed. The audit
does everything `pnode audit` does, from a home on disk: forms, signatures, references, tiles,
roots, checkpoints. Two ledgers: bare statements, and contributions whose artifact is checked too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.dsse import PAYLOAD_TYPE, Envelope, pae
from ledger.entry import Entry
from ledger.statement import Statement, Subject
from node.api import Node

ENTRIES = 2_000
RUNS = 3
TIME = "2026-11-22T20:00:00Z"


def main(entries: int) -> None:
    """Print one block of lines for each ledger."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{entries} entries, CPU seconds, best of {RUNS}")
        for title, fill in (("bare statements", _statements), ("contributions", _contributions)):
            node = Node.init(folder / title / "home", folder / title / "state", seed=bytes(32))
            filling = fill(node, folder / title, entries)
            with node.home.writing() as log:
                log.append(filling)
            _report(title, node)


def _report(title: str, node: Node) -> None:
    with node.home.reading() as database:
        from ledger.log import Log

        bodies = list(Log(database, node.home.origin).bodies())
    envelopes = [Envelope.parse(body) for body in bodies]
    signed = [(each.signature, pae(PAYLOAD_TYPE, each.payload)) for each in envelopes]
    key = Ed25519PublicKey.from_public_bytes(envelopes[0].key.raw)
    floor = _fastest(lambda: [key.verify(signature, message) for signature, message in signed])
    audit = _fastest(lambda: _audit(node))
    size = sum(len(body) for body in bodies) / len(bodies)
    print(f"{title}, {size:.0f} bytes each")
    print(f"  raw verification loop {floor:8.3f} s  {len(bodies) / floor:9.0f} entries/s")
    print(f"  audit                 {audit:8.3f} s  {len(bodies) / audit:9.0f} entries/s")
    print(f"  audit rate / raw rate {floor / audit:8.2f}")


def _audit(node: Node) -> None:
    audited = node.audit()
    if audited.findings:
        raise SystemExit(f"the audit found something: {audited.findings[0]}")


def _fastest(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def _statements(node: Node, folder: Path, count: int) -> list[Entry]:
    """Statements of a kind nobody knows, as an old auditor sees those of the future."""
    del folder
    author = node.home.keys().author
    predicate = {"author": node.home.author, "created": TIME}
    subject = (Subject("it", "00" * 32),)
    return [
        Entry.sign(Statement("note", subject, predicate | {"number": number}), author)
        for number in range(count)
    ]


def _contributions(node: Node, folder: Path, count: int) -> list[Entry]:
    """One small suite offered again and again under other titles."""
    suite = folder / "suite"
    suite.mkdir()
    (suite / "suite.toml").write_text(
        'name = "bench"\nlicense = "CC0-1.0"\nscorer = "exact"\nmax_tokens = 5\n'
        'description = "one item"\n'
    )
    (suite / "items.jsonl").write_text('{"id":"i0","prompt":"a >","answer":"a"}\n')
    first = node.publish(suite).id
    assert first is not None
    shown = node.show(first).statement
    subjects = tuple(Subject(each["name"], each["digest"]["sha256"]) for each in shown["subject"])
    author = node.home.keys().author
    return [
        Entry.sign(
            Statement("contribution", subjects, shown["predicate"] | {"title": f"bench {number}"}),
            author,
        )
        for number in range(count)
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ENTRIES)
