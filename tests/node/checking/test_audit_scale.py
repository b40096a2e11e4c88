"""Audits in several processes and audits that remember give the findings of a plain one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ledger.auditindex import AuditIndex
from ledger.dsse import Envelope
from ledger.entry import Entry
from ledger.errors import PnodeError
from ledger.log import Log
from ledger.quickverify import QuickVerifier
from ledger.statement import Statement, Subject
from node.api import Node
from node.checking import entryworkers
from node.checking.auditmemory import AuditMemory
from tests.node.worlds import Place, forging

ENTRIES = 2_600
TIME = "2026-11-22T20:00:00Z"


def fill(node: Node, numbers: range) -> None:
    author = node.home.keys().author
    predicate = {"author": node.home.author, "created": TIME}
    subject = (Subject("it", "00" * 32),)
    entries = [
        Entry.sign(Statement("note", subject, predicate | {"number": number}), author)
        for number in numbers
    ]
    with node.home.writing() as log:
        log.append(entries)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Place:
    place = Place(tmp_path_factory.mktemp("filled"))
    fill(place.init("alice"), range(ENTRIES))
    return place


@pytest.fixture
def large(filled: Place, tmp_path: Path) -> Node:
    return filled.copy_to(tmp_path / "large").open()


def change_body(node: Node, index: int, old: bytes, new: bytes) -> None:
    with forging(node.home) as ledger:
        sql = "SELECT body FROM entry WHERE idx = ?"
        (body,) = ledger.execute(sql, (index,)).fetchone()
        assert old in body
        changed = body.replace(old, new, 1)
        ledger.execute("UPDATE entry SET body = ? WHERE idx = ?", (changed, index))


def flip_signature(node: Node, index: int) -> None:
    with forging(node.home) as ledger:
        (body,) = ledger.execute("SELECT body FROM entry WHERE idx = ?", (index,)).fetchone()
        at = body.index(b'"sig":"') + 30
        other = b"A" if body[at : at + 1] != b"A" else b"B"
        changed = body[:at] + other + body[at + 1 :]
        ledger.execute("UPDATE entry SET body = ? WHERE idx = ?", (changed, index))


def damage(node: Node) -> None:
    flip_signature(node, 3)
    flip_signature(node, 1_500)
    change_body(node, 2_000, b'{"payload"', b'{ "payload"')
    with forging(node.home) as ledger:
        ledger.execute("UPDATE entry SET id = 'x' WHERE idx = 1024")
        ledger.execute("DELETE FROM tile WHERE level = 0 AND idx = 5")


@pytest.mark.parametrize("jobs", [2, 3, 4])
def test_any_number_of_processes_finds_the_same(large: Node, jobs: int) -> None:
    whole = large.audit(jobs=1)
    assert whole.findings == []
    assert large.audit(jobs=jobs) == whole
    damage(large)
    found = large.audit(jobs=1)
    assert {finding.check for finding in found.findings} == {
        "entry.signature",
        "entry.form",
        "entry.filed",
        "ledger.rows",
        "log.root",
        "log.tiles",
    }
    assert large.audit(jobs=jobs) == found
    # Where a row is missing, one process does all the work.
    with forging(large.home) as ledger:
        ledger.execute("DELETE FROM entry WHERE idx = 2100")
    found = large.audit(jobs=1)
    assert "ledger.rows" in {finding.check for finding in found.findings}
    assert large.audit(jobs=jobs) == found


def test_nothing_in_the_current_folder_is_run(
    large: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "stick"
    (trap / "node").mkdir(parents=True)
    for name in ("node/__init__.py", "sqlite3.py", "json.py"):
        (trap / name).write_text("import pathlib; pathlib.Path('sprung').touch()\n")
    monkeypatch.chdir(trap)
    monkeypatch.syspath_prepend("")
    assert large.audit(jobs=2).exit_code == 0
    assert not (trap / "sprung").exists()


def test_a_worker_that_dies_ends_the_audit_with_an_error(
    large: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = entryworkers._start
    started: list[subprocess.Popen[bytes]] = []

    def killed(arguments: list[str]) -> subprocess.Popen[bytes]:
        worker = start(arguments)
        started.append(worker)
        if len(started) == 2:
            worker.send_signal(signal.SIGKILL)
        return worker

    monkeypatch.setattr(entryworkers, "_start", killed)
    with pytest.raises(PnodeError, match="ended before its work was done"):
        large.audit(jobs=2)
    assert all(worker.poll() is not None for worker in started)


def test_an_interrupted_audit_leaves_no_process(
    large: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = entryworkers._start
    started: list[subprocess.Popen[bytes]] = []

    def remembered(arguments: list[str]) -> subprocess.Popen[bytes]:
        started.append(start(arguments))
        return started[-1]

    monkeypatch.setattr(entryworkers, "_start", remembered)
    # With a narrow pipe a worker cannot have written everything and ended by itself.
    monkeypatch.setattr(entryworkers, "_PIPE_BYTES", 4096)
    with replace(large.home, untouched=True).reading() as database, AuditIndex() as index:
        log = Log(database, large.home.origin)
        batches = entryworkers.check_entries(log, index, log.size, jobs=2)
        next(batches)
        with pytest.raises(KeyboardInterrupt):
            batches.throw(KeyboardInterrupt)
    assert [worker.poll() for worker in started] == [-signal.SIGKILL] * 2


def test_workers_end_with_a_parent_that_was_killed(large: Node, tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from ledger.database import Database;"
        "from ledger.auditindex import AuditIndex;"
        "from ledger.log import logs; from node.checking import entryworkers as w;"
        " start = w._start\n"
        "def told(arguments):\n"
        "    worker = start(arguments); print(worker.pid, flush=True); return worker\n"
        "w._start = told; w._PIPE_BYTES = 4096\n"
        "with Database.read_only(Path(sys.argv[1])) as database:\n"
        "    for _ in w.check_entries(logs(database)[0], AuditIndex(), 9, jobs=2):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(large.home.ledger_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    pids = [int(line) for line in done.stdout.split()]
    assert len(pids) == 2
    for _ in range(200):
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        if not alive:
            break
        time.sleep(0.05)
    assert alive == []


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts the signatures of entries that are verified."""
    verify: Callable[[Envelope, QuickVerifier | None], None] = Envelope.verify
    count = [0]

    def counted(envelope: Envelope, quick: QuickVerifier | None = None) -> None:
        count[0] += 1
        verify(envelope, quick)

    monkeypatch.setattr(Envelope, "verify", counted)
    yield count


def test_an_incremental_audit_verifies_only_what_is_new(
    large: Node, tmp_path: Path, verified: list[int]
) -> None:
    cache = tmp_path / "cache"
    assert large.audit(jobs=1, cache=cache, incremental=True).exit_code == 0
    assert verified[0] == ENTRIES + 1, "nothing is remembered yet"
    verified[0] = 0
    assert large.audit(jobs=1, cache=cache, incremental=True).exit_code == 0
    assert verified[0] == 0
    fill(large, range(ENTRIES, ENTRIES + 7))
    verified[0] = 0
    first = large.audit(jobs=1, cache=cache, incremental=True)
    assert (first.exit_code, verified[0]) == (0, 7)
    verified[0] = 0
    assert large.audit(jobs=1, cache=cache) == first
    assert verified[0] == ENTRIES + 8, "a plain audit remembers and never relies on it"


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_change_in_the_remembered_part_is_found_as_by_a_plain_audit(
    large: Node, tmp_path: Path, jobs: int
) -> None:
    cache = tmp_path / "cache"
    assert large.audit(cache=cache).exit_code == 0
    flip_signature(large, 700)
    found = large.audit(jobs=jobs, cache=cache, incremental=True)
    assert found == large.audit(jobs=1)
    assert any(finding.check == "entry.signature" for finding in found.findings)
    assert "entry 700 of" in found.findings[0].subject


def test_a_bad_signature_in_the_new_part_is_found(large: Node, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert large.audit(cache=cache).exit_code == 0
    fill(large, range(ENTRIES, ENTRIES + 3))
    flip_signature(large, ENTRIES + 2)
    found = large.audit(jobs=1, cache=cache, incremental=True)
    assert "entry.signature" in {finding.check for finding in found.findings}
    assert large.home.origin in found.findings[0].subject


def test_an_audit_that_found_damage_is_not_remembered(large: Node, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    flip_signature(large, 9)
    assert large.audit(jobs=1, cache=cache).exit_code == 3
    assert AuditMemory.of(large.home.path, cache).read() == {}


def test_a_memory_that_cannot_be_read_is_none(
    large: Node, tmp_path: Path, verified: list[int]
) -> None:
    cache = tmp_path / "cache"
    assert large.audit(jobs=1, cache=cache).exit_code == 0
    memory = AuditMemory.of(large.home.path, cache)
    assert len(memory.read()) == 1
    good = memory.path.read_bytes()
    for bad in (b"", b"{}", b"[]", good[:-1], good.replace(b'"rules":1', b'"rules":0')):
        memory.path.write_bytes(bad)
        assert memory.read() == {}
    verified[0] = 0
    assert large.audit(jobs=1, cache=cache, incremental=True).exit_code == 0
    assert verified[0] == ENTRIES + 1


def test_another_home_has_another_memory(large: Node, filled: Place, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    assert large.audit(jobs=1, cache=cache).exit_code == 0
    assert AuditMemory.of(filled.open().home.path, cache).read() == {}


def test_a_cache_that_cannot_be_written_is_no_failure(large: Node, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert large.audit(jobs=1, cache=blocked, incremental=True).exit_code == 0
