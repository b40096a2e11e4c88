"""What a node does about a log that signed two histories, from every side it can learn of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer, note_entry

from ledger.commonprefix import CommonPrefix
from ledger.dispute import evidence_statement, stated_evidence
from ledger.entry import Entry
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    LogFrozenError,
    MalformedError,
    NotFoundError,
)
from ledger.evidence import Evidence, same_size
from ledger.heldevidence import frozen_origins, held_evidence
from ledger.log import Log, logs
from ledger.mirror import extend
from ledger.note import Note
from node.checking.auditing import audit
from node.checking.verifying import verify
from node.cli.program import run
from node.home import Home
from node.peering.equivocation import publish_evidence
from node.peering.evidencelist import parse_evidence_list
from node.peering.export import export
from node.peering.gossip import accept_evidence
from node.peering.source import DirectorySource
from node.peering.sync import SyncReport, sync
from node.reading import load_view
from tests.faults import kill_at, trace

NUMBER = 9
HELD = SimulatedLog(NUMBER).grow(260)


def fork(size: int, at: int) -> SimulatedLog:
    """A log under the key of HELD that differs from entry `at` on."""
    return SimulatedLog(NUMBER).grow(at).grow(size, prefix="forked")


def make_home(folder: Path, number: int = 1, name: str = "h") -> Home:
    seed = bytes([number]) * 32
    return Home.init(folder / name, folder / f"{name}-state", name="ada", seed=seed)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that mirrors HELD."""
    home = make_home(tmp_path)
    assert sync(home, SimulatedPeer(HELD)).errors == ()
    return home


def held(home: Home) -> list[Evidence]:
    with home.reading() as database:
        return held_evidence(database)


def statements(home: Home) -> list[Entry]:
    """The evidence statements in the own log."""
    with home.reading() as database:
        entries = [Entry.parse(body) for body in Log(database, home.origin).bodies()]
    return [entry for entry in entries if entry.kind == "evidence"]


def sizes(home: Home) -> dict[str, int]:
    with home.reading() as database:
        return {log.origin: log.size for log in logs(database)}


def disputes(home: Home) -> dict[str, int]:
    with home.reading() as database:
        found = load_view(database).disputes.logs
    return {origin: dispute.common for origin, dispute in found.items()}


def gravest(report: SyncReport) -> EquivocationError:
    error = report.gravest
    assert isinstance(error, EquivocationError)
    return error


# --- from two peers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "at", "kind"),
    [
        (260, 250, "same-size"),
        (200, 150, "prefix"),
        (300, 259, "prefix"),
        (600, 3, "prefix"),
        (100, 1, "prefix"),
        (700, 256, "prefix"),
    ],
)
def test_two_peers_with_two_histories(home: Home, size: int, at: int, kind: str) -> None:
    before = sizes(home)
    report = sync(home, SimulatedPeer(fork(size, at)))
    error = gravest(report)
    assert error.evidence is not None
    evidence = Evidence.parse(error.evidence)
    evidence.verify()
    assert (evidence.kind, evidence.origin) == (kind, HELD.origin)
    assert held(home) == [evidence]
    (entry,) = statements(home)
    stated, common = stated_evidence(entry)
    assert stated == evidence
    assert common.size == at
    assert disputes(home) == {HELD.origin: at}
    assert sizes(home) == {**before, home.origin: before[home.origin] + 1}


def test_a_frozen_log_is_neither_extended_nor_told_of_again(home: Home) -> None:
    sync(home, SimulatedPeer(fork(260, 250)))
    before = sizes(home)
    for peer in (SimulatedPeer(SimulatedLog(NUMBER).grow(300)), SimulatedPeer(fork(300, 250))):
        report = sync(home, peer)
        assert report.errors == ()
        assert [log.state for log in report.logs] == ["frozen"]
    assert sizes(home) == before
    assert len(statements(home)) == 1
    grown = SimulatedLog(NUMBER).grow(300)
    with home.locked() as database, pytest.raises(EquivocationError, match="frozen"):
        extend(database, grown.key, grown.note(), grown.bodies[260:])


def test_status_names_a_frozen_log(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    sync(home, SimulatedPeer(fork(260, 250)))
    capsys.readouterr()
    assert run(["status", "--json", "--home", str(home.path)]) == 0
    listed = json.loads(capsys.readouterr().out)["logs"]
    assert {log["origin"]: log["frozen"] for log in listed} == {
        home.origin: False,
        HELD.origin: True,
    }
    assert run(["status", "--home", str(home.path)]) == 0
    assert "mirror, frozen" in capsys.readouterr().out


def test_a_liar_without_the_log_key_convicts_nobody(home: Home) -> None:
    """A peer that swaps tiles, bundles or notes is refused; the log is not blamed."""
    liar = SimulatedPeer(SimulatedLog(NUMBER).grow(300))
    other = fork(300, 250)
    real = SimulatedLog(NUMBER).grow(300)
    for path, data in other.files().items():
        if path.endswith("/checkpoint"):
            continue
        liar.files = {**SimulatedPeer(real).files, path: data}
        report = sync(home, liar)
        assert not isinstance(report.gravest, EquivocationError)
    assert held(home) == []
    assert statements(home) == []


def test_a_damaged_disk_convicts_nobody(home: Home) -> None:
    with home.locked() as database:
        writer = database.writer()
        writer.execute("UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0")
    for log in (SimulatedLog(NUMBER).grow(300), fork(260, 250), fork(300, 250), fork(200, 150)):
        report = sync(home, SimulatedPeer(log))
        assert report.gravest is not None
        assert not isinstance(report.gravest, EquivocationError)
    assert held(home) == []


def test_a_peer_that_hides_its_tiles_leaves_the_prefix_open_until_another_proves_it(
    home: Home, tmp_path: Path
) -> None:
    """A smaller fork needs no tiles to be proven; without them nothing of the log stays sure."""
    hiding = SimulatedPeer(fork(200, 150))
    for path in [path for path in hiding.files if "/tile/" in path]:
        del hiding.files[path]
    gravest(sync(home, hiding))
    assert disputes(home) == {HELD.origin: 0}
    sync(home, SimulatedPeer(fork(200, 150)))
    assert disputes(home) == {HELD.origin: 150}
    assert [stated_evidence(entry)[1].size for entry in statements(home)] == [0, 150]
    sync(home, SimulatedPeer(fork(200, 150)))
    assert len(statements(home)) == 2


def test_a_home_without_keys_keeps_and_serves_the_evidence(home: Home, tmp_path: Path) -> None:
    for path in (home.path / "keys").iterdir():
        path.unlink()
    gravest(sync(home, SimulatedPeer(fork(260, 250))))
    assert len(held(home)) == 1
    assert statements(home) == []
    export(home, tmp_path / "out")
    (id_,) = parse_evidence_list((tmp_path / "out" / "evidence").read_bytes())
    assert (tmp_path / "out" / "equivocation" / id_).read_bytes() == bytes(held(home)[0])


# --- the own log --------------------------------------------------------------------------------


def copied(tmp_path: Path) -> tuple[Home, Home]:
    """A home and its copy; both publish."""
    home = make_home(tmp_path)
    shutil.copytree(tmp_path / "h", tmp_path / "c")
    shutil.copytree(tmp_path / "h-state", tmp_path / "c-state")
    copy = Home.open(tmp_path / "c", tmp_path / "c-state")
    return home, copy


def append(home: Home, *texts: str) -> None:
    with home.writing() as log:
        log.append([note_entry(home.keys(), text) for text in texts])


@pytest.mark.parametrize(("ours", "theirs"), [(2, 2), (3, 2), (2, 3)])
def test_a_copy_of_the_own_log_freezes_it(tmp_path: Path, ours: int, theirs: int) -> None:
    home, copy = copied(tmp_path)
    append(home, *[f"ours {n}" for n in range(ours)])
    append(copy, *[f"theirs {n}" for n in range(theirs)])
    error = gravest(sync(home, SimulatedPeer.of(copy)))
    assert "this home's own log" in error.message
    assert "equivocation.md" in (error.hint or "")
    (evidence,) = held(home)
    assert evidence.origin == home.origin
    with pytest.raises(EquivocationError, match="frozen"):
        append(home, "more")
    assert statements(home) == []
    assert audit(home).exit_code == 8


def test_an_older_copy_of_the_own_log_is_no_equivocation(tmp_path: Path) -> None:
    home, copy = copied(tmp_path)
    append(copy, "on the other machine")
    report = sync(home, SimulatedPeer.of(copy))
    assert isinstance(report.gravest, LogFrozenError)
    assert held(home) == []


# --- by verify ----------------------------------------------------------------------------------


def test_verifying_a_contradicting_checkpoint_keeps_the_evidence(
    home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "kept.txt"
    path.write_bytes(fork(200, 150).note())
    verified = verify(home, [str(path)])
    assert verified.exit_code == 8
    (evidence,) = held(home)
    assert evidence.id in verified.checks[0].detail
    publish_evidence(home)
    assert len(statements(home)) == 1


def test_an_audit_finds_but_writes_nothing(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_bytes(fork(200, 150).note())
    audited = audit(home, since=path)
    assert audited.exit_code == 8
    assert held(home) == []


# --- gossip -------------------------------------------------------------------------------------


def evidence_about_held() -> Evidence:
    return same_size(HELD.key, HELD.note(), fork(260, 250).note())


def test_evidence_travels_in_a_directory(home: Home, tmp_path: Path) -> None:
    other = make_home(tmp_path, 2, "other")
    sync(other, SimulatedPeer(HELD))
    gravest(sync(other, SimulatedPeer(fork(260, 250))))
    export(other, tmp_path / "stick")
    with DirectorySource(tmp_path / "stick") as stick:
        error = gravest(sync(home, stick))
        assert HELD.origin in error.message
        assert sync(home, stick).errors == ()
    assert held(home) == held(other)
    assert disputes(home) == {HELD.origin: 250}
    assert len(statements(home)) == 1


def test_a_statement_in_a_mirrored_log_is_enough(home: Home, tmp_path: Path) -> None:
    """The peer publishes no list of evidence; what its log states counts alike."""
    other = make_home(tmp_path, 2, "other")
    sync(other, SimulatedPeer(HELD))
    gravest(sync(other, SimulatedPeer(fork(260, 250))))
    peer = SimulatedPeer.of(other)
    for path in [path for path in peer.files if "evidence" in path or "equivocation" in path]:
        del peer.files[path]
    gravest(sync(home, peer))
    assert held(home) == held(other)


def stating(number: int, evidence: Evidence) -> SimulatedLog:
    """A log that states evidence about another."""
    log = SimulatedLog(number).grow(2)
    statement = evidence_statement(
        evidence, CommonPrefix(), author=log.keys.author.public.did, created="2026-01-01T00:00:00Z"
    )
    log.bodies.append(Entry.sign(statement, log.keys.author).body)
    return log


def test_stated_evidence_about_logs_not_held_waits_for_the_log(tmp_path: Path) -> None:
    """Origins cost nothing: one log must not fill the tables of all who mirror it."""
    home = make_home(tmp_path)
    assert sync(home, SimulatedPeer(stating(4, evidence_about_held()))).errors == ()
    assert held(home) == []
    gravest(sync(home, SimulatedPeer(HELD)))
    assert held(home) == [evidence_about_held()]


def test_evidence_that_is_brought_is_kept_if_the_log_is_held(home: Home, tmp_path: Path) -> None:
    data = bytes(evidence_about_held())
    assert bytes(accept_evidence(home, data)) == data
    accept_evidence(home, data)
    assert len(held(home)) == 1
    stranger = make_home(tmp_path, 3, "stranger")
    with pytest.raises(NotFoundError):
        accept_evidence(stranger, data)
    with pytest.raises(MalformedError):
        accept_evidence(home, data + b"x")


def bad_list(peer: SimulatedPeer) -> None:
    peer.files["/evidence"] = b"nonsense\n"


def bad_file(peer: SimulatedPeer) -> None:
    """Both checkpoints under one signature: the form of evidence, and proof of nothing."""
    evidence = evidence_about_held()
    a, b = Note.parse(evidence.a), Note.parse(evidence.b)
    forged = Evidence("same-size", HELD.key, evidence.a, bytes(Note(b.text, a.signatures)))
    peer.files["/evidence"] = f"{forged.id} {HELD.origin}\n".encode()
    peer.files[f"/equivocation/{forged.id}"] = bytes(forged)


@pytest.mark.parametrize("attack", [bad_list, bad_file])
def test_bad_evidence_of_a_peer_is_refused_and_stops_nothing(
    home: Home, attack: Callable[[SimulatedPeer], None]
) -> None:
    peer = SimulatedPeer(SimulatedLog(NUMBER).grow(300))
    attack(peer)
    report = sync(home, peer)
    assert isinstance(report.gravest, EvidenceError)
    assert sizes(home)[HELD.origin] == 300
    assert held(home) == []


def test_two_homes_converge_whatever_the_order(tmp_path: Path) -> None:
    """They hold different sides of the fork and learn of it from one another."""
    first, second = fork(260, 250), HELD
    views = set()
    for order in ("ab", "ba"):
        a = make_home(tmp_path, 1, f"a-{order}")
        b = make_home(tmp_path, 2, f"b-{order}")
        sync(a, SimulatedPeer(first))
        sync(b, SimulatedPeer(second))
        pairs = [(a, b), (b, a)] if order == "ab" else [(b, a), (a, b)]
        for _ in range(2):
            for reader_, source in pairs:
                sync(reader_, SimulatedPeer.of(source))
        assert disputes(a) == disputes(b) == {HELD.origin: 250}
        with a.reading() as one, b.reading() as other:
            assert frozen_origins(one) == frozen_origins(other) == {HELD.origin}
            kinds = {
                (id_, placed.entry.kind)
                for database in (one, other)
                for id_, placed in load_view(database).entries.items()
                if placed.index < 250 and placed.origin == HELD.origin
            }
        views.add(frozenset(kinds))
    assert len(views) == 1


# --- crashes ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ptrace")
def test_a_kill_anywhere_leaves_nothing_or_the_evidence(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    home = make_home(kept)
    sync(home, SimulatedPeer(SimulatedLog(NUMBER).grow(6)))
    place = tmp_path / "place"
    peer = SimulatedPeer(fork(6, 4))

    def fresh() -> Home:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(kept, place)
        return Home.open(place / "h", place / "h-state")

    def action() -> None:
        sync(Home.open(place / "h", place / "h-state"), peer)

    fresh()
    calls = trace(action, place)
    seen = set()
    # What comes before the evidence is stored writes to peers.db only.
    first = next(n for n, call in enumerate(calls, 1) if "writer.lock" in call)
    for number in range(first, len(calls) + 2):
        home = fresh()
        kill_at(number, action, place)
        count = (len(held(home)), len(statements(home)))
        seen.add(count)
        assert count in {(0, 0), (1, 0), (1, 1)}, number
        sync(home, peer)
        assert (len(held(home)), len(statements(home))) == (1, 1), number
        assert disputes(home) == {HELD.origin: 4}, number
    assert seen == {(0, 0), (1, 0), (1, 1)}
