"""The store of an IPFS daemon, and what comes of one that is down, slow or wrong.

The list of known traps has tests of its own, in test_ipfs_traps.py.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.errors import (
    DigestError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
    UsageError,
)
from ledger.unixfs import Limits, build_directory, walk
from node.storage.ipfs import IpfsStore, decode_cid, parse_authorization
from node.storage.ipfsbudget import Pace
from tests.node.storage.fakeipfs import (
    Asked,
    FakeDaemon,
    HangUpError,
    Wrong,
    always,
    base58,
    failure,
    fake_daemon,
    http,
    reply,
)

pytest.importorskip("ipfshttpclient", reason="the extra 'ipfs' is not installed")

AT_ONCE = Pace(waits=(0.0, 0.0))
BLOCKS: dict[Cid, bytes] = {}
ROOT = build_directory(
    {"adapter_config.json": BytesIO(b"{}"), "weights": BytesIO(bytes(range(256)) * 9_000)},
    BLOCKS.__setitem__,
).cid
LEAF, MISSING = Cid.of(b"{}"), Cid.of(b"nobody has this")


class Dag:
    """The blocks of the artifact, as often as they are asked for."""

    def __iter__(self) -> Iterator[tuple[Cid, bytes]]:
        return walk(ROOT, BLOCKS.__getitem__, Limits())


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon() as daemon:
        yield daemon


@pytest.fixture
def store(daemon: FakeDaemon) -> IpfsStore:
    return IpfsStore(daemon.address, auth="", pace=AT_ONCE)


def test_a_dag_is_imported_pinned_read_and_unpinned(store: IpfsStore, daemon: FakeDaemon) -> None:
    backend: BlockStore = store
    assert list(backend.pins()) == []
    for _ in range(2):
        backend.put_dag(ROOT, Dag())
        assert list(backend.pins()) == [ROOT]
    assert {cid: backend.get_block(cid) for cid in BLOCKS} == BLOCKS
    assert backend.has(LEAF)
    for _ in range(2):
        backend.unpin(ROOT)
        assert not store.is_pinned(ROOT)
    backend.pin(ROOT)
    assert store.is_pinned(ROOT)
    assert backend.health().ok


def test_what_the_daemon_does_not_have_is_not_found(store: IpfsStore) -> None:
    assert not store.has(MISSING)
    for act in (store.get_block, store.pin):
        with pytest.raises(NotFoundError, match="timed out"):
            act(MISSING)


def test_pins_of_others_in_other_forms_are_passed_over(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    keys = ["QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", base58(ROOT), "bafyreih", "k51qzi5"]
    daemon.wrong["pin/ls"] = always(reply({"Keys": {key: {"Type": "recursive"} for key in keys}}))
    assert list(store.pins()) == [ROOT]


def test_connections_are_kept_and_one_that_was_closed_is_opened_again(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    closed = threading.Event()

    def then_hang_up(_: Asked, out: BinaryIO) -> None:
        out.write(http(200, b"{}"))
        closed.set()
        raise HangUpError

    store.put_dag(ROOT, Dag())
    daemon.wrong["block/get"] = then_hang_up
    assert store.get_block(LEAF) == b"{}"
    closed.wait(10)
    assert store.get_block(LEAF) == b"{}"


def test_threads_share_a_store(store: IpfsStore) -> None:
    store.put_dag(ROOT, Dag())
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.extend(store.get_block(cid) for cid in BLOCKS))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted([*BLOCKS.values()] * 4)


def test_an_import_is_never_whole_in_memory() -> None:
    leaves = 64

    def blocks() -> Iterator[tuple[Cid, bytes]]:
        """A flat pile of leaves, each made when it is asked for."""
        for number in range(leaves):
            block = number.to_bytes(2, "big") * (1 << 19)
            yield Cid.of(block), block

    root = Cid.of(bytes(1 << 20))
    # The daemon runs in this process too and must not hold what it gets.
    received = [0]

    def count(piece: bytes) -> None:
        received[0] += len(piece)

    told = reply({"Root": {"Cid": {"/": base58(root)}, "PinErrorMsg": ""}})
    with fake_daemon() as daemon:
        daemon.read_body = count
        daemon.wrong["dag/import"] = always(told)
        daemon.pins.add(str(root))
        tracemalloc.start()
        try:
            IpfsStore(daemon.address, auth="", pace=AT_ONCE).put_dag(root, blocks())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert received[0] > leaves << 20
    assert peak < 16 << 20


# ---- down, slow, wrong -----------------------------------------------------------------------


def test_a_daemon_that_is_down_is_unavailable(daemon: FakeDaemon) -> None:
    with fake_daemon() as gone:
        address = gone.address
    store = IpfsStore(address, auth="", pace=AT_ONCE)
    health = store.health()
    assert not health.ok
    assert health.detail == f"IPFS daemon at {address}: version: Connection refused"
    for act in (lambda: store.put_dag(ROOT, Dag()), lambda: store.get_block(LEAF)):
        with pytest.raises(UnavailableError, match="Connection refused") as caught:
            act()
        assert caught.value.exit_code == 6


def stall(daemon: FakeDaemon, *first: bytes) -> Wrong:
    """Write something, and then nothing until the daemon stops."""

    def wrong(_: Asked, out: BinaryIO) -> None:
        out.write(b"".join(first))
        out.flush()
        daemon.stop.wait()

    return wrong


@pytest.mark.parametrize(
    "first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"]
)
def test_a_daemon_that_stalls_is_given_up(daemon: FakeDaemon, first: bytes) -> None:
    daemon.wrong["block/get"] = daemon.wrong["dag/import"] = stall(daemon, first)
    store = IpfsStore(daemon.address, auth="", pace=Pace(silence=0.1, whole_dag=0.1))
    with pytest.raises(UnavailableError, match=r"block/get: not a byte came in 0\.1 s"):
        store.get_block(LEAF)
    with pytest.raises(UnavailableError, match=r"dag/import: n"):
        store.put_dag(ROOT, Dag())
    assert daemon.commands.count("block/get") == 1, "a slow daemon is not asked again"


def test_a_daemon_that_takes_nothing_more_is_given_up(daemon: FakeDaemon) -> None:
    """It reads the head of an upload only; the buffers between fill, and then nothing moves."""
    block = bytes(1 << 20)

    def endless() -> Iterator[tuple[Cid, bytes]]:
        while True:
            yield Cid.of(block), block

    daemon.take_no_body = True
    store = IpfsStore(daemon.address, auth="", pace=Pace(connect=0.3))
    with pytest.raises(UnavailableError, match="dag/import"):
        store.put_dag(ROOT, endless())


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_daemon_is_asked_again_but_not_for_ever(
    store: IpfsStore, daemon: FakeDaemon, status: int
) -> None:
    store.put_dag(ROOT, Dag())
    daemon.asked.clear()
    refusals = [1, 1]

    def busy_twice(asked: Asked, out: BinaryIO) -> None:
        if refusals:
            refusals.pop()
            out.write(http(status, b"later"))
        else:
            out.write(daemon.block_get(asked))

    daemon.wrong["block/get"] = busy_twice
    assert store.get_block(LEAF) == b"{}"
    daemon.asked.clear()
    daemon.wrong["block/get"] = always(http(status, b"later"))
    with pytest.raises(UnavailableError, match=f"HTTP status {status}"):
        store.get_block(LEAF)
    assert daemon.commands == ["block/get"] * 3


def test_an_import_that_was_broken_off_is_repeated_if_it_can_be(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    def once(asked: Asked, out: BinaryIO) -> None:
        del daemon.wrong["dag/import"]
        raise HangUpError

    daemon.wrong["dag/import"] = once
    store.put_dag(ROOT, Dag())
    assert daemon.commands.count("dag/import") == 2
    daemon.wrong["dag/import"] = once
    with pytest.raises(UnavailableError, match="broken off"):
        store.put_dag(ROOT, iter(Dag()))


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (http(500, b"oops"), UnavailableError, "HTTP status 500"),
        (http(500, b"<html>", "Content-Type: text/html"), UnavailableError, "HTTP status 500"),
        (failure("no space left on device"), UnavailableError, "no space left on device"),
        (failure("x" * 5_000), UnavailableError, "xxx"),
        (http(400, b""), UnavailableError, "HTTP status 400"),
        (http(404, b"404 page not found"), UnavailableError, "HTTP status 404"),
        (http(405, b""), UnavailableError, "HTTP status 405"),
        (http(204, b""), MalformedError, "not an answer"),
        (http(200, b"<html>hello</html>"), MalformedError, "not an answer"),
        (http(307, b"", "Location: http://127.0.0.1:9/"), UnavailableError, "status 307"),
        (reply({"Root": {"Cid": {"/": "bafy"}}}), MalformedError, "not an answer"),
        (reply({"Root": {"Cid": {"/": base58(LEAF)}}}), DigestError, f"imported {LEAF}"),
        (reply({"Root": {"Cid": {"/": 5}}}), MalformedError, "not an answer"),
        (reply({"Root": None}), MalformedError, "not an answer"),
    ],
)
def test_a_wrong_answer_to_an_import_is_an_error_for_people(
    store: IpfsStore, daemon: FakeDaemon, answer: bytes, error: type[PnodeError], said: str
) -> None:
    daemon.wrong["dag/import"] = always(answer)
    with pytest.raises(error, match=said) as caught:
        store.put_dag(ROOT, Dag())
    assert daemon.address in caught.value.message
    assert len(caught.value.message) < 600


def test_an_import_that_is_not_listed_as_pinned_did_not_succeed(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    daemon.wrong["pin/ls"] = always(failure(f"path '{ROOT}' is not pinned"))
    with pytest.raises(UnavailableError, match="did not pin"):
        store.put_dag(ROOT, Dag())
    daemon.wrong["pin/ls"] = always(reply({"Keys": {base58(LEAF): {"Type": "recursive"}}}))
    with pytest.raises(UnavailableError, match="did not pin"):
        store.put_dag(ROOT, Dag())


@pytest.mark.parametrize("lie", [b"", b"{", b"{}x", b"[]"])
def test_a_block_with_other_bytes_never_comes_out(
    store: IpfsStore, daemon: FakeDaemon, lie: bytes
) -> None:
    daemon.blocks[str(LEAF)] = lie
    with pytest.raises(DigestError, match=daemon.address):
        store.get_block(LEAF)


def test_a_block_that_is_said_to_be_another_is_strange(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    daemon.wrong["block/stat"] = always(reply({"Key": base58(MISSING), "Size": 2}))
    assert not store.has(LEAF)


def test_a_damaged_local_block_stops_an_import_with_its_own_error(
    store: IpfsStore, daemon: FakeDaemon
) -> None:
    damaged = {**BLOCKS, LEAF: b"[]"}
    with pytest.raises(DigestError, match=str(LEAF)):
        store.put_dag(ROOT, walk(ROOT, damaged.__getitem__, Limits()))
    assert daemon.pins == set()


# ---- credentials and installation ------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("basic:ada:se:cret", "Basic YWRhOnNlOmNyZXQ="),
        ("bearer:t0ken", "Bearer t0ken"),
        ("", None),
    ],
)
def test_credentials_go_with_every_call(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, auth: str, header: str | None
) -> None:
    monkeypatch.setenv("PNODE_IPFS_AUTH", auth)
    monkeypatch.setenv("PY_IPFS_HTTP_CLIENT_DEFAULT_USERNAME", "other")
    monkeypatch.setenv("PY_IPFS_HTTP_CLIENT_DEFAULT_PASSWORD", "other")
    IpfsStore(daemon.address).put_dag(ROOT, Dag())
    assert [asked.headers.get("authorization") for asked in daemon.asked] == [header, header]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_names_the_variable_for_credentials(
    store: IpfsStore, daemon: FakeDaemon, status: int
) -> None:
    daemon.wrong["block/get"] = always(http(status, b"Unauthorized"))
    with pytest.raises(UnavailableError) as caught:
        store.get_block(LEAF)
    assert "PNODE_IPFS_AUTH" in caught.value.hint


@pytest.mark.parametrize("text", ["secret", "basic:secret", "bearer:", "bearer:se cret\n", ":"])
def test_credentials_in_another_form_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_authorization(text)
    assert "cret" not in caught.value.message + caught.value.hint


def test_a_cid_of_a_daemon_is_decoded_from_either_form() -> None:
    for cid in BLOCKS:
        assert decode_cid(base58(cid)) == decode_cid(str(cid)) == cid
    for text in ("", "z", "zz", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", str(LEAF)[1:]):
        with pytest.raises(ValueError, match=r"CID|base58"):
            decode_cid(text)


def test_without_the_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipfshttpclient", None)
    monkeypatch.delitem(sys.modules, "node.storage.ipfsrpc", raising=False)
    store = IpfsStore("/ip4/127.0.0.1/tcp/5001", auth="")
    assert "ipfshttpclient is not installed" in store.health().detail
    with pytest.raises(UnavailableError) as caught:
        store.get_block(LEAF)
    assert "pnode[ipfs]" in caught.value.hint


def test_a_client_on_another_library_is_refused(
    store: IpfsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On httpx, which a variable of its own makes it use, answers could not be bounded."""
    import node.storage.ipfsrpc

    on_httpx = SimpleNamespace(_client=SimpleNamespace(_session=object()))
    monkeypatch.setattr(node.storage.ipfsrpc, "Client", lambda *_, **__: on_httpx)
    with pytest.raises(UnavailableError, match="httpx") as caught:
        store.get_block(LEAF)
    assert "PY_IPFS_HTTP_CLIENT_PREFER_HTTPX" in caught.value.hint


def test_nothing_of_the_client_is_imported_before_a_call() -> None:
    script = (
        "import sys, node.storage.ipfs, node.storage.settings, node.api\n"
        "print([m for m in ('ipfshttpclient', 'requests', 'urllib3', 'multiaddr')"
        " if m in sys.modules])\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
