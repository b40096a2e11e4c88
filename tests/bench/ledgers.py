"""Large ledgers for the benchmarks, made in bulk: a home with one log of any size.

Of ten entries three are contributions (of one small suite, which is in the block store), one
withdraws a contribution, two are verifications and four are of a kind nobody knows. Signing is what
takes the time, so it is done in two processes; the log is written as `ledger.log` writes it.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.cid import Cid
from ledger.dsse import Envelope
from ledger.encoding import canonical_json
from ledger.log import Log, store_rows
from ledger.statement import STATEMENT_TYPE
from node.api import Node

TIME = "2026-11-22T20:00:00Z"
CHUNK = 20_000


@dataclass(frozen=True)
class Recipe:
    """What the entries of a benchmark ledger are made of."""

    seed: bytes
    predicate: dict[str, Any]
    subjects: list[dict[str, Any]]


def make(folder: Path, entries: int) -> Node:
    """Make a home whose log has a genesis, the suite and `entries` more."""
    node = Node.init(folder / "home", folder / "state", seed=bytes(32))
    recipe = _recipe(node, folder)
    starts = range(0, entries, CHUNK)
    tasks = [(recipe, start, min(CHUNK, entries - start)) for start in starts]
    context = multiprocessing.get_context("fork")
    with context.Pool(min(2, os.cpu_count() or 1)) as pool, node.home.locked() as database:
        log = Log(database, node.home.origin)
        for bodies in pool.imap(_bodies, tasks):
            with database.transaction() as writer:
                store_rows(writer, log, bodies)
        _sign(node, log)
    return node


def _recipe(node: Node, folder: Path) -> Recipe:
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
    return Recipe(bytes(32), shown["predicate"], shown["subject"])


def _bodies(task: tuple[Recipe, int, int]) -> list[bytes]:
    recipe, start, count = task
    from ledger.keys import NodeKeys

    key = NodeKeys.from_seed(recipe.seed).author
    author = key.public.did
    bodies: list[bytes] = []
    offered = ""
    for number in range(start, start + count):
        kind, predicate, subjects = _statement(recipe, author, number, offered)
        document = {
            "_type": STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": f"urn:pnode:{kind}:v1",
            "subject": subjects,
        }
        bodies.append(bytes(Envelope.sign(canonical_json(document), key)))
        if kind == "contribution":
            offered = str(Cid.of(bodies[-1]))
    return bodies


def _statement(
    recipe: Recipe, author: str, number: int, offered: str
) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    digest = hashlib.sha256(b"%d" % number).hexdigest()
    subjects = [{"digest": {"sha256": digest}, "name": f"thing {number}"}]
    common = {"author": author, "created": TIME}
    turn = number % 10
    if turn in (0, 3, 6):
        return "contribution", recipe.predicate | {"title": f"suite {number}"}, recipe.subjects
    if turn == 4:
        return "withdrawal", common | {"target": offered, "reason": f"reason {number}"}, subjects
    if turn in (1, 7):
        verdict = {
            "target": offered,
            "verdict": "reproduced",
            "checked": 100 + number % 900,
            "mismatches": 0,
            "exactness": "bitwise",
            "software": {"pnode": "0.1.0", "python": "3.11.7"},
        }
        return "verification", common | verdict, subjects
    note = {"number": number, "text": f"an observation of number {number} " + digest * 4}
    return "note", common | note, subjects


def _sign(node: Node, log: Log) -> None:
    """Sign the whole log at once, without the checks that a node makes before it signs."""
    lock = node.home.signing_lock()
    tree = Checkpoint(log.origin, log.size, log.root(log.size))
    lock.advance(lock.read(), tree)
    note = bytes(sign_checkpoint(tree, node.home.keys().log))
    with log.database.transaction() as writer:
        row = {"log": log.row_id, "size": tree.size, "root": tree.root, "note": note}
        writer.table("checkpoint").insert(row)


def cpu_seconds(work: Callable[[], object], runs: int = 1) -> float:
    """Return the least CPU time of several runs, in this process alone."""
    best = float("inf")
    for _ in range(runs):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def wall_seconds(work: Callable[[], object], runs: int = 1) -> float:
    """Return the least elapsed time of several runs."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def peak_megabytes(code: str, *arguments: str) -> float:
    """Run Python code in a process of its own and return the most memory it (alone) held."""
    # VmHWM and not ru_maxrss, which begins with the peak of the process that started this one.
    script = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parents[2])]!r}\n{code}\n"
        "status = open('/proc/self/status').read()\n"
        "print(int(status.partition('VmHWM:')[2].split()[0]) / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def load() -> str:
    """Say how busy the machine is, because elapsed times mean little on a busy one."""
    return "load " + " ".join(f"{value:.2f}" for value in os.getloadavg())


def sizes(arguments: list[str], default: tuple[int, ...]) -> Iterator[int]:
    """Return the sizes given on the command line, or those by default."""
    yield from map(int, arguments) if arguments else default
