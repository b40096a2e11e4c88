"""Polling: what did not change costs one request, and nothing that changed is ever missed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer
from starlette.testclient import TestClient

from ledger.errors import MalformedError, UnavailableError
from ledger.mirror import extend
from node.home import Home
from node.peering.cursor import changed_since, cursor_of, knows
from node.peering.loglist import encode_frontier, split_frontier
from node.peering.peerstate import PEERS_DATABASE, PeerState, read_records
from node.peering.source import HTTPSource
from node.peering.sync import COMPLETE, REFUSED, sync
from node.web.serve import create_app
from tests.node.served import served

ONE, TWO = SimulatedLog(21).grow(3), SimulatedLog(22).grow(3)
NUMBER = {ONE.origin: 21, TWO.origin: 22}
NOW = "2026-11-24T12:00:00Z"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "h", tmp_path / "s", seed=b"\x01" * 32)


@pytest.fixture
def peer(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "peer", tmp_path / "peer-s", seed=b"\x02" * 32)


def mirror(home: Home, log: SimulatedLog, size: int) -> None:
    part = SimulatedLog(NUMBER[log.origin], log.bodies[:size])
    with home.locked() as database:
        from ledger.log import find_log

        held = find_log(database, log.origin)
        extend(database, log.key, part.note(), part.bodies[held.size if held else 0 :])


# --- the cursor of a ledger ---------------------------------------------------------------------


def test_a_cursor_names_what_was_stored_and_what_came_after(home: Home) -> None:
    with home.reading() as database:
        before = cursor_of(database)
        assert changed_since(database, before) == []
        assert changed_since(database, "") == [home.origin]
    mirror(home, ONE, 2)
    mirror(home, TWO, 2)
    with home.reading() as database:
        assert changed_since(database, before) == [TWO.origin, ONE.origin]
        assert changed_since(database, "") == [TWO.origin, ONE.origin, home.origin]
        middle = cursor_of(database)
    mirror(home, ONE, 3)
    with home.reading() as database:
        assert changed_since(database, middle) == [ONE.origin]
        assert changed_since(database, before) == [ONE.origin, TWO.origin]
        assert knows(database, before)
        assert knows(database, middle)


@pytest.mark.parametrize("cursor", ["", "x", "1-0", "1-0-0000000000000000", "-1-0-0", "9" * 200])
def test_a_cursor_that_is_not_known_gives_everything(home: Home, cursor: str) -> None:
    with home.reading() as database:
        assert not knows(database, cursor)
        assert changed_since(database, cursor) == [home.origin]


def test_a_new_cosignature_is_news(home: Home) -> None:
    with home.locked() as database:
        before = cursor_of(database)
        row = {"log": 1, "size": 1, "root": b"r", "key": "k", "line": "l"}
        with database.transaction() as writer:
            writer.table("cosignature").insert(row)
        assert changed_since(database, before) == [home.origin]
        assert changed_since(database, cursor_of(database)) == []


# --- one peer over HTTP -------------------------------------------------------------------------


def test_the_frontier_is_answered_since_a_cursor(home: Home) -> None:
    mirror(home, ONE, 3)
    with TestClient(create_app(home)) as client:
        whole = client.get("/frontier")
        tag = whole.headers["etag"]
        assert len(split_frontier(whole.content)) == 2
        same = client.get("/frontier", headers={"If-None-Match": tag})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
        mirror(home, TWO, 3)
        since = client.get("/frontier", params={"since": tag.strip('"')})
        assert [note.origin for note in split_frontier(since.content)] == [TWO.origin]
        assert since.headers["etag"] != tag
        odd = client.get("/frontier", params={"since": "%00'; DROP TABLE log"})
        assert len(split_frontier(odd.content)) == 3


def test_every_list_has_a_tag(home: Home) -> None:
    mirror(home, ONE, 3)
    with TestClient(create_app(home)) as client:
        for path in ("/logs", "/frontier", f"{ONE.folder}/checkpoint"):
            tag = client.get(path).headers["etag"]
            assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
            assert client.get(path, headers={"If-None-Match": '"x"'}).status_code == 200


def test_a_poll_of_a_server_gives_only_what_is_new(home: Home, peer: Home) -> None:
    mirror(peer, ONE, 3)
    with served(peer) as url, HTTPSource(url) as source:
        first = sync(home, source, now=lambda: NOW)
        assert (first.added, first.state) == (4, COMPLETE)
        assert read_records(home.path)[url].success == NOW
        again = sync(home, source)
        assert (again.added, again.size, again.state) == (0, 4, COMPLETE)
        mirror(peer, TWO, 3)
        assert sync(home, source).added == 3


def test_a_thousand_unchanged_logs_cost_one_request(home: Home) -> None:
    many = [SimulatedLog(number) for number in range(3, 13)]
    peer = SimulatedPeer(*many)
    sync(home, peer)
    with PeerState.opened(home.path) as state:
        state.offered(peer.address, [(f"far/{number}", 9, False) for number in range(1_000)])
    peer.requests.clear()
    report = sync(home, peer)
    assert (report.added, report.size, report.state) == (0, 10, COMPLETE)
    assert peer.requests == ["/frontier"]


# --- what was not taken over is asked for again ---------------------------------------------------


def test_a_log_that_failed_is_tried_again_although_its_note_is_old(home: Home) -> None:
    peer = SimulatedPeer(ONE, TWO)
    bundle = next(path for path in peer.files if path.startswith(f"{ONE.folder}/tile/entries"))
    kept, peer.files[bundle] = peer.files[bundle], b"\0\1x"
    assert sync(home, peer).state == REFUSED
    peer.files[bundle] = kept
    peer.requests.clear()
    assert sync(home, peer).added == 3
    assert peer.requests[:2] == ["/frontier", "/logs"]
    peer.requests.clear()
    assert sync(home, peer).state == COMPLETE
    assert peer.requests == ["/frontier"]


def test_a_peer_that_went_away_is_asked_for_everything_again(home: Home) -> None:
    peer = SimulatedPeer(ONE, TWO)

    def go_away(path: str) -> None:
        if "/tile/" in path:
            raise UnavailableError("gone")

    peer.before_read = go_away
    assert sync(home, peer, now=lambda: NOW).added == 0
    record = read_records(home.path)[peer.address]
    assert (record.contact, record.success, record.error) == (NOW, "", "gone")
    peer.before_read = lambda path: None
    assert sync(home, peer).added == 6


def test_a_restored_ledger_asks_for_what_it_lost(home: Home) -> None:
    backup = home.ledger_path.with_suffix(".backup")
    shutil.copyfile(home.ledger_path, backup)
    peer = SimulatedPeer(ONE, TWO)
    assert sync(home, peer).added == 6
    shutil.copyfile(backup, home.ledger_path)
    assert sync(home, peer).added == 6


@pytest.mark.parametrize("content", [b"", b"junk" * 2_000, None])
def test_a_lost_or_damaged_state_costs_only_work(home: Home, content: bytes | None) -> None:
    peer = SimulatedPeer(ONE, TWO)
    assert sync(home, peer).added == 6
    path = home.path / PEERS_DATABASE
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert read_records(home.path) == {}
    report = sync(home, peer)
    assert (report.added, report.size, report.state) == (0, 6, COMPLETE)


def test_a_log_offered_without_a_key_is_its_own_error(home: Home) -> None:
    peer = SimulatedPeer(TWO)
    peer.files["/frontier"] = encode_frontier([TWO.note(), ONE.note()])
    report = sync(home, peer)
    assert report.added == 3
    with pytest.raises(MalformedError, match="no list of logs has its key"):
        report.raise_gravest()
