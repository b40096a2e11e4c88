"""Evidence over HTTP: brought to a server, listed by it, handed on by a sync."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer
from starlette.testclient import TestClient

from ledger.errors import EquivocationError, MalformedError
from ledger.evidence import MAX_EVIDENCE_BYTES, Evidence, same_size
from ledger.heldevidence import frozen, held_evidence, hold
from ledger.log import Log
from ledger.merkle import leaf_hash
from ledger.note import Note
from ledger.observations import cosignatures
from ledger.witness import AddCheckpoint
from node.home import Home
from node.peering.evidencelist import encode_evidence_list, parse_evidence_list
from node.peering.gossip import give_evidence
from node.peering.source import Posted
from node.peering.sync import sync
from node.web.serve import create_app
from tests.node.peering.test_equivocation import HELD, fork, held, make_home

EVIDENCE = same_size(HELD.key, HELD.note(), fork(260, 250).note())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that mirrors HELD."""
    home = make_home(tmp_path)
    assert sync(home, SimulatedPeer(HELD)).errors == ()
    return home


def test_evidence_is_posted_listed_and_read_back(home: Home) -> None:
    client = TestClient(create_app(home))
    assert client.get("/evidence").text == ""
    answer = client.post("/evidence", content=bytes(EVIDENCE))
    assert (answer.status_code, answer.text) == (200, f"{EVIDENCE.id}\n")
    again = client.post("/evidence", content=bytes(EVIDENCE))
    assert (again.status_code, again.text) == (200, f"{EVIDENCE.id}\n")
    listed = client.get("/evidence")
    assert listed.text == f"{EVIDENCE.id} {HELD.origin}\n"
    tag = listed.headers["etag"]
    assert client.get("/evidence", headers={"If-None-Match": tag}).status_code == 304
    found = client.get(f"/equivocation/{EVIDENCE.id}")
    assert found.content == bytes(EVIDENCE)
    assert "immutable" in found.headers["cache-control"]
    assert client.get("/equivocation/" + "0" * 64).status_code == 404
    assert client.get("/equivocation/%25%25%25%25%25%25%25%25%25%25%25%25").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"equivocation@v1\n", 400),
        (b"x" * (MAX_EVIDENCE_BYTES + 1), 400),
        (bytes(EVIDENCE) + b"\n", 400),
    ],
)
def test_what_proves_nothing_is_answered_with_400(home: Home, body: bytes, status: int) -> None:
    client = TestClient(create_app(home))
    assert client.post("/evidence", content=body).status_code == status
    assert held(home) == []


def test_a_forged_signature_and_a_stranger_are_refused(home: Home) -> None:
    client = TestClient(create_app(home))
    a, b = Note.parse(EVIDENCE.a), Note.parse(EVIDENCE.b)
    forged = Evidence("same-size", HELD.key, EVIDENCE.a, bytes(Note(b.text, a.signatures)))
    assert client.post("/evidence", content=bytes(forged)).status_code == 400
    stranger = SimulatedLog(77).grow(3)
    other = SimulatedLog(77).grow(2).grow(3, prefix="forked")
    unknown = same_size(stranger.key, stranger.note(), other.note())
    assert client.post("/evidence", content=bytes(unknown)).status_code == 404
    assert held(home) == []


def test_a_witness_request_of_a_forked_tree_is_evidence(home: Home) -> None:
    """The log asks for a cosignature of another tree of a size that is held here."""
    client = TestClient(create_app(home))
    with home.reading() as database:
        proof = Log(database, HELD.origin).prove_consistency(260, 260)
    request = AddCheckpoint(260, tuple(proof), Note.parse(fork(260, 250).note()))
    assert client.post("/add-checkpoint", content=bytes(request)).status_code in (409, 422)
    (evidence,) = held(home)
    assert evidence.kind == "same-size"
    with home.reading() as database:
        assert frozen(database, HELD.origin)
    grown = SimulatedLog(9).grow(261)
    request = AddCheckpoint(260, (leaf_hash(b"x"),), Note.parse(grown.note()))
    assert client.post("/add-checkpoint", content=bytes(request)).status_code == 403


class Server(SimulatedPeer):
    """A peer in memory that also takes what is sent to it."""

    def __init__(self, home: Home) -> None:
        super().__init__()
        self.client = TestClient(create_app(home))
        self.files = SimulatedPeer.of(home).files

    def post(self, path: str, body: bytes, *, max_bytes: int) -> Posted:
        """Pass a POST on to the server."""
        answer = self.client.post(path, content=body)
        assert len(answer.content) <= max_bytes
        return Posted(answer.status_code, answer.content)


def test_a_sync_hands_a_peer_what_it_lacks(home: Home, tmp_path: Path) -> None:
    other = make_home(tmp_path, 2, "other")
    sync(other, SimulatedPeer(HELD))
    with pytest.raises(EquivocationError):
        sync(home, SimulatedPeer(fork(260, 250))).raise_gravest()
    sync(home, Server(other))
    assert held(other) == held(home)
    assert give_evidence(home, Server(other), frozenset({held(home)[0].id})) == 0


def test_a_frozen_log_is_not_cosigned(home: Home, tmp_path: Path) -> None:
    with pytest.raises(EquivocationError):
        sync(home, SimulatedPeer(fork(300, 250))).raise_gravest()
    with home.reading() as database:
        log = Log(database, HELD.origin)
        latest = log.checkpoint()
        assert latest is not None
        assert latest[0].size == 260
        before = cosignatures(log, latest[0])
    sync(home, SimulatedPeer(SimulatedLog(9).grow(300)))
    with home.reading() as database:
        log = Log(database, HELD.origin)
        latest = log.checkpoint()
        assert latest is not None
        assert cosignatures(log, latest[0]) == before
        assert latest[0].size == 260


def test_a_list_names_logs_held_here_and_fits_its_readers(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = SimulatedLog(77).grow(3)
    other = SimulatedLog(77).grow(2).grow(3, prefix="forked")
    with home.locked() as database:
        hold(database, same_size(stranger.key, stranger.note(), other.note()))
        assert encode_evidence_list(database) == b""
        for at in (250, 251):
            hold(database, same_size(HELD.key, HELD.note(), fork(260, at).note()))
        whole = encode_evidence_list(database)
        assert len(parse_evidence_list(whole)) == 2
        monkeypatch.setattr("node.peering.evidencelist.MAX_EVIDENCE_LIST_BYTES", len(whole) - 1)
        assert encode_evidence_list(database) == whole[: len(whole) // 2]


def test_a_list_has_one_form(home: Home) -> None:
    with home.locked() as database:
        hold(database, EVIDENCE)
        data = encode_evidence_list(database)
        assert [each.id for each in held_evidence(database)] == [EVIDENCE.id]
    assert parse_evidence_list(data) == {EVIDENCE.id: HELD.origin}
    assert parse_evidence_list(b"") == {}
    for bad in (data[:-1], b"\n", data + data, data.upper(), b"\xff\n", data + b"0 y\n"):
        with pytest.raises(MalformedError):
            parse_evidence_list(bad)
