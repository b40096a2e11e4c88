"""A node as the block store of another, over a socket or from a directory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulator import note_entry

from ledger.blocks import BlockStore, DagReader
from ledger.cid import Cid
from ledger.errors import NotFoundError, UnavailableError
from ledger.unixfs import Limits, walk
from node.artifacts import store_directory
from node.home import Home
from node.peering.export import export
from node.peering.source import DirectorySource, HTTPSource
from node.storage.gateway import GatewayStore
from tests.node.served import served
from tests.node.storage.gateways import Gateway, listening


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("peer")
    home = Home.init(folder / "home", folder / "state", name="ada", seed=b"\1" * 32)
    (folder / "artifact").mkdir()
    for number in range(5):
        (folder / "artifact" / f"f{number}").write_bytes(bytes([number]) * 300_000)
    root = store_directory(folder / "artifact", home.store).cid
    with home.writing() as log:
        log.append([note_entry(home.keys(), "artifact", cid=str(root))])
    return home


@pytest.fixture(scope="module")
def root(home: Home) -> Cid:
    return next(home.store.pins())


@pytest.fixture(scope="module")
def gateway(home: Home) -> Iterator[GatewayStore]:
    with served(home) as url, HTTPSource(url) as source:
        yield GatewayStore(source)


def test_a_node_hands_out_blocks_and_dags(home: Home, gateway: GatewayStore, root: Cid) -> None:
    store: BlockStore = gateway
    expected = list(walk(root, home.store.get_block, Limits()))
    assert [(cid, store.get_block(cid)) for cid, _ in expected] == expected
    assert isinstance(store, DagReader)
    assert list(store.get_dag(root)) == expected
    assert store.has(root)
    assert not store.has(Cid.of(b"absent"))
    assert store.health().ok
    for read in (store.get_block, lambda cid: list(store.get_dag(cid))):
        with pytest.raises(NotFoundError):
            read(Cid.of(b"absent"))


def test_a_dag_that_is_left_early_frees_its_connection(gateway: GatewayStore, root: Cid) -> None:
    """More than a server sends at once, so that connections left open would be noticed."""
    for _ in range(20):
        blocks = gateway.get_dag(root)
        next(blocks)
        blocks.close()
    assert gateway.has(root)


def test_a_directory_hands_out_blocks_only(home: Home, root: Cid, tmp_path: Path) -> None:
    export(home, tmp_path / "stick")
    with DirectorySource(tmp_path / "stick") as source:
        store = GatewayStore(source)
        assert store.get_block(root) == home.store.get_block(root)
        assert store.health().ok
        with pytest.raises(UnavailableError, match="no CARs"):
            list(store.get_dag(root))


def test_nothing_can_be_kept_there(gateway: GatewayStore, root: Cid) -> None:
    for keep in (gateway.pin, gateway.unpin, lambda cid: gateway.put_dag(cid, [])):
        with pytest.raises(UnavailableError, match="only hands out"):
            keep(root)
    assert list(gateway.pins()) == []


def test_health_tells_a_gateway_from_another_server_and_from_none() -> None:
    server = Gateway({})
    server.raw = lambda _: 404
    with listening(server) as url, HTTPSource(url) as source:
        health = GatewayStore(source).health()
        assert not health.ok
        assert "no gateway" in health.detail
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with HTTPSource(f"http://127.0.0.1:{port}") as source:
        health = GatewayStore(source).health()
        assert not health.ok
        assert str(port) in health.detail
