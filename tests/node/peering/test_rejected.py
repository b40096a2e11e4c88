"""Entries that are not valid: the log stays a whole copy, and they count for nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer, genesis_entry, note_entry

from ledger.cid import Cid
from ledger.entry import Entry
from ledger.errors import EvidenceError, IncompleteError, MalformedError, SignatureError
from ledger.log import Log
from ledger.rules import MAX_NAMED
from node.api import Node
from node.checking.auditing import audit
from node.checking.auditmemory import AuditMemory
from node.checking.verifying import verify
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.peers import add_peer
from node.peering.receiving import Receiver
from node.peering.sync import COMPLETE, sync
from node.peering.upload import encode_upload
from node.reading import load_view, prove_entry, read_log, show_entry
from tests.ledger.makers import contribution, withdrawal


def forged(entry: Entry) -> bytes:
    """Return an entry with a signature over something else."""
    body = entry.body
    at = body.index(b'"sig":"') + 30
    return body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]


def renamed(log: SimulatedLog) -> bytes:
    """Return an entry whose envelope names another key than its statement."""
    body = note_entry(log.keys, "renamed").body
    stranger = SimulatedLog(77).keys.author.public.did
    return body.replace(log.keys.author.public.did.encode(), stranger.encode())


GARBAGE: dict[str, Callable[[SimulatedLog], bytes]] = {
    "no envelope": lambda _: b"not an envelope",
    "nothing": lambda _: b"",
    "text that is no UTF-8": lambda _: b'{"payload":"\xff\xfe"}',
    "deep JSON": lambda _: b"[" * 65_000,
    "a forged signature": lambda log: forged(note_entry(log.keys, "forged")),
    "another author's name": renamed,
    "spaces": lambda log: note_entry(log.keys, "spaced").body + b" ",
    "the largest entry": lambda _: b"x" * 65_535,
}


def messy(number: int = 21) -> SimulatedLog:
    """Return a log with valid entries before, between and after invalid ones."""
    log = SimulatedLog(number).grow(2)
    for make in GARBAGE.values():
        log.bodies.append(make(log))
        log.grow(len(log.bodies) + 1)
    return log


def rejected_places(log: SimulatedLog) -> list[int]:
    return list(range(2, len(log.bodies), 2))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    seed = bytes([1]) * 32
    return Home.init(tmp_path / "h", tmp_path / "h-state", name="ada", seed=seed)


def test_invalid_entries_stop_neither_what_is_before_them_nor_after(home: Home) -> None:
    log = messy()
    report = sync(home, SimulatedPeer(log))
    assert (report.state, report.errors) == (COMPLETE, ())
    assert (report.added, report.rejected) == (len(log.bodies), len(GARBAGE))
    with home.reading() as database:
        held = Log(database, log.origin)
        assert list(held.bodies()) == log.bodies
        assert list(held.rejected()) == rejected_places(log)
        found = {item.index for item in load_view(database).entries.values()}
    valid = set(range(len(log.bodies))) - set(rejected_places(log))
    assert found == valid | {0}
    again = sync(home, SimulatedPeer(log))
    assert (again.added, again.rejected) == (0, 0)


@pytest.mark.parametrize("name", GARBAGE)
def test_one_invalid_entry_in_a_log_that_is_held(home: Home, name: str) -> None:
    log = SimulatedLog(22).grow(3)
    sync(home, SimulatedPeer(log)).raise_gravest()
    log.bodies.append(GARBAGE[name](log))
    report = sync(home, SimulatedPeer(log))
    assert (report.added, report.rejected, report.errors) == (1, 1, ())
    findings = audit(home).findings
    assert [finding.check in ("entry.form", "entry.signature") for finding in findings] == [True]
    assert f"entry 3 of {log.origin}" in findings[0].subject


def test_a_mirror_of_the_mirror_rejects_the_same(home: Home, tmp_path: Path) -> None:
    log = messy()
    sync(home, SimulatedPeer(log)).raise_gravest()
    other = Home.init(tmp_path / "o", tmp_path / "o-state", name="bo", seed=bytes([2]) * 32)
    sync(other, SimulatedPeer.of(home)).raise_gravest()
    views = []
    for each in (home, other):
        with each.reading() as database:
            view = load_view(database)
            assert list(Log(database, log.origin).rejected()) == rejected_places(log)
            views.append({id_ for id_, item in view.entries.items() if item.origin == log.origin})
    assert views[0] == views[1]


def test_an_audit_names_them_and_a_copy_goes_on_verifying(home: Home) -> None:
    log = messy()
    sync(home, SimulatedPeer(log)).raise_gravest()
    result = audit(home)
    assert result.exit_code == 3
    assert {finding.check for finding in result.findings} == {"entry.form", "entry.signature"}
    for index in rejected_places(log):
        assert any(f"entry {index} of" in finding.subject for finding in result.findings)


def test_they_are_shown_where_a_log_is_read_and_nowhere_else(home: Home, tmp_path: Path) -> None:
    log = messy()
    sync(home, SimulatedPeer(log)).raise_gravest()
    lines = read_log(home, origin=log.origin, since=0)
    assert [line.index for line in lines if line.rejected] == rejected_places(log)
    assert all(line.kind == "" for line in lines if line.rejected)
    node = Node.open(home.path, tmp_path / "h-state")
    listed = {line.index for line in node.list() if line.origin == log.origin}
    assert not listed & set(rejected_places(log))
    for line in lines:
        if line.rejected:
            with pytest.raises(EvidenceError, match="is not valid and counts for nothing"):
                show_entry(home, line.id)
            checks = {check.name: check.ok for check in verify(home, [line.id]).checks}
            assert (checks["signature"], checks["inclusion"]) == (False, True)
            proof = tmp_path / "garbage.tlog-proof"
            proof.write_bytes(prove_entry(home, line.id))
            proven = verify(None, [str(proof)])
            checks = {check.name: check.ok for check in proven.checks}
            assert (checks["signature"], checks["inclusion"]) == (False, True)
            assert proven.exit_code == 3


def test_nothing_that_they_say_is_believed_or_fetched(home: Home) -> None:
    log = SimulatedLog(23)
    peer = SimulatedPeer()
    root = peer.put_artifact({"file": b"x"})
    real = contribution(log.keys, "real", cid=str(Cid.of(b"real")))
    log.bodies += [real.body, forged(withdrawal(log.keys, real.id))]
    log.bodies.append(forged(contribution(log.keys, "fake", cid=str(root))))
    peer.list(log)
    report = sync(home, peer)
    assert report.rejected == 2
    assert f"/ipfs/{root}" not in peer.requests
    assert root not in report.missing
    with home.reading() as database:
        offered = load_view(database).contributions
    assert {id_: each.status for id_, each in offered.items()} == {real.id: "active"}


@pytest.mark.parametrize("kind", ["junk", "forged"])
def test_a_log_without_a_valid_genesis_is_refused(home: Home, kind: str) -> None:
    log = SimulatedLog(24).grow(3)
    genesis = genesis_entry(log.keys, log.origin, log.keys.log.public)
    log.bodies[0] = b"junk" if kind == "junk" else forged(genesis)
    error = sync(home, SimulatedPeer(log)).gravest
    assert isinstance(error, MalformedError | SignatureError)
    assert "entry 0 of" in error.message
    with home.reading() as database, pytest.raises(Exception, match="no log"):
        Log(database, log.origin)


def test_garbage_is_limited_like_anything_else_and_an_audit_stays_readable(home: Home) -> None:
    log = SimulatedLog(25)
    log.bodies += [b"%d" % number for number in range(2_000)] + [b"same"] * 500
    refused = sync(home, SimulatedPeer(log), limits=SyncLimits(entries=2_000)).gravest
    assert isinstance(refused, IncompleteError)
    assert sync(home, SimulatedPeer(log)).rejected == 2_500
    named = [f for f in audit(home).findings if f.check == "entry.form"]
    assert len(named) == MAX_NAMED + 1
    assert named[-1].message == f"{2_500 - MAX_NAMED} more of its entries, not named"


def test_repeats_are_reported_and_as_few_of_them(home: Home) -> None:
    log = SimulatedLog(26).grow(2)
    log.bodies += [log.bodies[1]] * (MAX_NAMED + 50)
    report = sync(home, SimulatedPeer(log))
    assert (report.errors, report.rejected) == ((), 0)
    findings = audit(home).findings
    assert {finding.check for finding in findings} == {"entry.repeated"}
    assert len(findings) == MAX_NAMED + 1


def test_other_logs_are_remembered_by_an_audit_all_the_same(home: Home, tmp_path: Path) -> None:
    good, bad = SimulatedLog(27).grow(5), messy()
    sync(home, SimulatedPeer(good, bad)).raise_gravest()
    memory = AuditMemory.of(home.path, tmp_path / "cache")
    for _ in range(2):
        result = audit(home, memory=memory, incremental=True)
        assert len(result.findings) == len(GARBAGE)
        assert good.origin in memory.read()
        assert bad.origin not in memory.read()


@pytest.mark.parametrize("change", ["DELETE FROM rejected", "UPDATE rejected SET idx = idx + 1"])
def test_marks_that_were_changed_are_found(home: Home, change: str) -> None:
    log = SimulatedLog(28).grow(2)
    log.bodies += [forged(note_entry(log.keys, "forged")), *SimulatedLog(28).grow(4).bodies[2:]]
    sync(home, SimulatedPeer(log)).raise_gravest()
    with closing(sqlite3.connect(home.path / "ledger.db")) as ledger:
        for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            ledger.execute(f"DROP TRIGGER {name}")
        ledger.execute(change)
        ledger.commit()
    found = {finding.check: finding.message for finding in audit(home).findings}
    assert "entry 2 is not valid and not marked as rejected" in found["ledger.rows"]


def test_a_push_of_such_a_log_is_taken(home: Home) -> None:
    """Its owner cannot be asked to take garbage back; the rest must reach its readers."""
    log = messy()
    add_peer(home, str(log.key))
    received = Receiver(home).receive(encode_upload(iter(log.files().items())))
    assert received.size == len(log.bodies)
    with home.reading() as database:
        assert list(Log(database, log.origin).rejected()) == rejected_places(log)
