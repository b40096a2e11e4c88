"""Pushing: a node that nobody can reach brings its own log, and it is verified like a pull."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from simulator import SimulatedLog
from starlette.testclient import TestClient

from ledger.checkpoint import log_key
from ledger.errors import MalformedError
from ledger.log import Log, find_log
from node.artifacts import store_document
from node.home import Home
from node.identity.rotation import renewed_home, rotate
from node.peering import pushing
from node.peering.peers import add_peer
from node.peering.source import HTTPSource
from node.peering.sync import COMPLETE, sync
from node.peering.upload import MAX_FILES, MAX_PUSH_BYTES, encode_upload, parse_upload
from node.reading import load_view
from node.web.pushes import Pushes
from node.web.serve import create_app
from tests.node.peering.test_sync import append, check_home, sizes
from tests.node.served import served

LOG = SimulatedLog(31).grow(300)


def make(folder: Path, number: int) -> Home:
    seed = bytes([number]) * 32
    return Home.init(folder / f"h{number}", folder / f"s{number}", seed=seed)


@pytest.fixture
def near(tmp_path: Path) -> Home:
    return make(tmp_path, 1)


@pytest.fixture
def far(tmp_path: Path, near: Home) -> Home:
    far = make(tmp_path, 2)
    add_peer(far, vkey(near))
    return far


def vkey(home: Home) -> str:
    return str(log_key(home.origin, home.keys().log.public))


def body_of(log: SimulatedLog) -> bytes:
    return encode_upload(sorted(log.files().items()))


# --- between two homes --------------------------------------------------------------------------


def test_entries_and_blocks_reach_a_peer_that_cannot_pull(near: Home, far: Home) -> None:
    document = store_document(b"a document", near.store)
    append(near, 300)
    append(near, 1, "doc", cid=str(document))
    with served(far) as url, HTTPSource(url) as source:
        report = sync(near, source)
        assert report.errors == ()
        assert (report.pushed.entries, report.pushed.blocks) == (302, 1)
        assert sizes(far)[near.origin] == 302
        assert far.store.get_block(document) == b"a document"
        again = sync(near, source)
        assert (again.errors, again.pushed.entries, again.state) == ((), 0, COMPLETE)
        append(near, 2, "later")
        assert sync(near, source).pushed.entries == 2
    check_home(far)


def test_after_a_rotation_the_end_of_the_old_log_is_pushed_too(near: Home, far: Home) -> None:
    append(near, 2)
    with served(far) as url, HTTPSource(url) as source:
        sync(near, source)
        old, heir = near, renewed_home(near, rotate(near))
        sync(heir, source)
        assert sizes(far)[old.origin] == 4
        assert heir.origin not in sizes(far)
        add_peer(far, vkey(heir))
        again = sync(heir, source)
        assert (again.errors, sizes(far)[heir.origin]) == ((), 1)
    with far.reading() as database:
        assert load_view(database).identity(heir.author) == old.author
    check_home(far)


def test_no_push_sends_nothing(near: Home, far: Home) -> None:
    with served(far) as url, HTTPSource(url) as source:
        assert sync(near, source, push=False).errors == ()
    assert near.origin not in sizes(far)


def test_a_peer_that_does_not_follow_the_log_is_no_error(near: Home, tmp_path: Path) -> None:
    stranger = make(tmp_path, 3)
    with served(stranger) as url, HTTPSource(url) as source:
        report = sync(near, source)
        assert (report.errors, report.state) == ((), COMPLETE)
        assert not report.pushed.accepted
    assert near.origin not in sizes(stranger)


def test_a_large_log_is_cut_at_older_checkpoints(
    near: Home, far: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(5):
        append(near, 100, f"part{part}-")
    monkeypatch.setattr(pushing, "MAX_PUSH_BYTES", 65_536 + 250_000)
    with served(far) as url, HTTPSource(url) as source:
        report = sync(near, source)
        assert report.errors == ()
        assert report.pushed.entries == 501
    with far.reading() as database:
        kept = [size for size, _ in Log(database, near.origin).notes()]
    assert kept == [301, 501]
    check_home(far)


def test_an_interrupted_push_of_blocks_is_finished_by_the_next_sync(near: Home, far: Home) -> None:
    first = store_document(b"one", near.store)
    append(near, 1, "doc", cid=str(first))
    with served(far) as url, HTTPSource(url) as source:
        file = near.store.path_of(first)
        kept = file.read_bytes()
        file.unlink()
        assert sync(near, source).pushed.entries == 2
        file.write_bytes(kept)
        from node.peering.peerstate import PeerState

        with PeerState.opened(near.path) as state:
            state.push_begun(url)
        assert sync(near, source).pushed.blocks == 1
    assert far.store.get_block(first) == b"one"


# --- what a server refuses ----------------------------------------------------------------------


@pytest.fixture
def client(far: Home) -> Iterator[TestClient]:
    add_peer(far, str(LOG.key))
    with TestClient(create_app(far)) as client:
        yield client


def post(client: TestClient, body: bytes) -> tuple[int, str]:
    answer = client.post("/push", content=body)
    return answer.status_code, answer.text


def test_a_whole_log_is_taken_and_answered(client: TestClient, far: Home) -> None:
    status, text = post(client, body_of(LOG))
    assert (status, text) == (200, '{"missing":[],"size":300}\n')
    assert post(client, body_of(LOG)) == (200, '{"missing":[],"size":300}\n')
    assert sizes(far)[LOG.origin] == 300
    check_home(far)


def test_a_checkpoint_alone_asks_where_the_peer_stands(client: TestClient, far: Home) -> None:
    probe = encode_upload([(f"{LOG.folder}/checkpoint", LOG.note())])
    assert post(client, probe) == (200, '{"missing":[],"size":0}\n')
    assert LOG.origin not in sizes(far)


def test_a_log_nobody_follows_is_refused(client: TestClient, far: Home) -> None:
    other = SimulatedLog(32)
    status, text = post(client, body_of(other))
    assert status == 403
    assert "not followed" in text
    assert other.origin not in sizes(far)


def test_the_servers_own_log_is_never_pushed(client: TestClient, far: Home) -> None:
    with far.reading() as database:
        found = Log(database, far.origin).checkpoint()
    assert found is not None
    from node.peering.tree import log_folder

    body = encode_upload([(f"/{log_folder(far.origin)}/checkpoint", found[1])])
    assert post(client, body)[0] == 403


def test_a_smaller_or_contradicting_log_is_a_conflict(client: TestClient, far: Home) -> None:
    assert post(client, body_of(LOG))[0] == 200
    smaller = SimulatedLog(31, LOG.bodies[:200])
    assert post(client, body_of(smaller))[0] == 409
    fork = SimulatedLog(31, LOG.bodies[:200]).grow(310, "forked")
    assert post(client, body_of(fork))[0] == 409
    assert sizes(far)[LOG.origin] == 300


def test_every_cut_and_flip_of_a_push_is_refused_and_leaves_nothing(
    client: TestClient, far: Home
) -> None:
    small = SimulatedLog(31, LOG.bodies[:3])
    body = body_of(small)
    before = sizes(far)
    for end in range(0, len(body), 37):
        assert post(client, body[:end])[0] in (400, 403), end
        assert sizes(far) == before
    for place in range(0, len(body), 41):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert post(client, flipped)[0] in (400, 403), place
        assert sizes(far) == before
    assert post(client, body)[0] == 200


@pytest.mark.parametrize("body", [b"", b"junk", b"pnode-push/v1\n", b"pnode-push/v1\n\xff\xff"])
def test_what_is_no_push_is_malformed(client: TestClient, body: bytes) -> None:
    assert post(client, body)[0] == 400


def test_a_body_that_is_too_large_is_not_read(client: TestClient) -> None:
    assert post(client, b"x" * (MAX_PUSH_BYTES + 1))[0] == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_PUSH_BYTES // (1 << 20) + 1):
            yield b"x" * (1 << 20)

    assert client.post("/push", content=chunks()).status_code == 413


def test_quotas_hold_for_pushes_too(client: TestClient, far: Home) -> None:
    path = far.path / "peers.toml"
    path.write_text(path.read_text() + "\n[limits]\nentries_per_day = 299\n")
    status, text = post(client, body_of(LOG))
    assert status == 403
    assert "entries_per_day" in text
    assert LOG.origin not in sizes(far)


def test_a_home_that_is_being_written_is_busy(client: TestClient, far: Home) -> None:
    with far.locked():
        assert post(client, body_of(SimulatedLog(31, LOG.bodies[:3])))[0] == 503


def test_get_is_not_a_push(client: TestClient) -> None:
    assert client.get("/push").status_code == 404


def test_only_few_pushes_run_at_once(far: Home) -> None:
    pushes = Pushes(far)
    pushes._slots = 0
    from starlette.applications import Starlette
    from starlette.routing import Route

    app = Starlette(routes=[Route("/push", pushes.push, methods=["POST"])])
    with TestClient(app) as client:
        assert post(client, body_of(LOG))[0] == 503


def test_blocks_nobody_named_are_not_stored(client: TestClient, far: Home) -> None:
    from ledger.cid import Cid

    small = SimulatedLog(31, LOG.bodies[:3])
    cid = Cid.of(b"spam")
    files = [*small.files().items(), (f"/ipfs/{cid}", b"spam")]
    assert post(client, encode_upload(files))[0] == 200
    assert not far.store.has(cid)
    with far.reading() as database:
        assert find_log(database, LOG.origin) is not None


def test_an_upload_is_read_back() -> None:
    files = {"/logs": b"", "/a/b": b"\0" * 70_000}
    assert parse_upload(encode_upload(files.items())) == files


def test_an_upload_of_too_many_files_is_refused() -> None:
    files = [(f"/{number}", b"") for number in range(MAX_FILES + 1)]
    assert len(parse_upload(encode_upload(files[:-1]))) == MAX_FILES == 16_384
    with pytest.raises(MalformedError, match="more than 16384 files"):
        parse_upload(encode_upload(files))
