"""Fetching what is not here: from peers and gateways, verified, and from nobody else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.cid import Cid
from ledger.errors import (
    DigestError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    UnavailableError,
)
from ledger.unixfs import Limits, walk
from node.api import Node
from node.artifacts import store_document
from node.peering.export import export
from node.peering.peers import add_peer
from node.storage.settings import STORE_FILE
from tests.node.served import served
from tests.node.storage.gateways import Gateway, listening
from tests.node.storage.test_gathering import BLOCKS as SMALL
from tests.node.storage.test_gathering import HUGE, ROOT, build
from tests.node.worlds import ADAPTERS, World, block_path, flip, predicate_of, snapshot


@pytest.fixture(scope="module")
def url(world_home: World) -> Iterator[str]:
    """The world, served."""
    with served(world_home.node.home) as url:
        yield url


@pytest.fixture(scope="module")
def cid(world_home: World) -> Cid:
    return Cid.parse(predicate_of(world_home.node, world_home.ids["ada"])["cid"])


def use_gateways(node: Node, *urls: str) -> None:
    (node.home.path / STORE_FILE).write_text(f"gateways = {json.dumps(urls)}\n")


@pytest.mark.parametrize("kind", ["peer", "gateway"])
def test_a_cid_that_no_entry_here_names_is_fetched(
    node: Node, tmp_path: Path, url: str, cid: Cid, kind: str
) -> None:
    if kind == "peer":
        add_peer(node.home, url)
    else:
        use_gateways(node, url)
    fetched = node.fetch(str(cid), tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")
    assert [(used.provider, used.dropped) for used in fetched.providers] == [(url, "")]
    blocks = list(walk(cid, node.home.store.get_block, Limits()))
    assert fetched.providers[0].blocks == len(blocks)
    assert list(node.home.store.pins()) == [cid]
    again = node.fetch(str(cid), tmp_path / "again")
    assert again.providers == ()


def test_an_entry_whose_blocks_are_missing_is_completed(
    world: World, tmp_path: Path, url: str, cid: Cid
) -> None:
    block_path(world.node.home, str(cid)).unlink()
    with pytest.raises(IncompleteError, match="no peer to ask"):
        world.node.fetch(world.ids["ada"], tmp_path / "out")
    add_peer(world.node.home, url)
    fetched = world.node.fetch(world.ids["ada"], tmp_path / "out")
    assert [used.blocks for used in fetched.providers] == [1]
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")


@pytest.mark.parametrize("which", ["node", "leaf"])
def test_damage_on_this_disk_is_repaired_from_a_peer(
    world: World, tmp_path: Path, url: str, cid: Cid, which: str
) -> None:
    store = world.node.home.store
    damaged = [each for each, _ in walk(cid, store.get_block, Limits())][which == "leaf"]
    flip(store.path_of(damaged))
    with pytest.raises(DigestError):
        world.node.fetch(world.ids["ada"], tmp_path / "out")
    add_peer(world.node.home, url)
    fetched = world.node.fetch(world.ids["ada"], tmp_path / "out")
    assert [used.blocks for used in fetched.providers] == [1]
    damaged.check(store.get_block(damaged))


def test_a_document_of_several_blocks_is_fetched(node: Node, world: World, tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    cid = store_document(data, world.node.home.store)
    blocks = dict(walk(cid, world.node.home.store.get_block, Limits()))
    with listening(Gateway(blocks)) as url:
        use_gateways(node, url)
        node.fetch(str(cid), tmp_path / "out")
    assert (tmp_path / "out" / str(cid)).read_bytes() == data


def test_peers_are_asked_before_gateways_and_a_liar_is_named(
    node: Node, tmp_path: Path, url: str, cid: Cid
) -> None:
    liar, unused = Gateway({}), Gateway(SMALL)
    liar.raw = lambda _: b"forged"
    with listening(liar) as lies, listening(unused) as idle:
        add_peer(node.home, lies)
        add_peer(node.home, url)
        use_gateways(node, idle)
        fetched = node.fetch(str(cid), tmp_path / "out")
    assert [used.provider for used in fetched.providers] == [lies, url]
    assert "has the bytes of" in fetched.providers[0].dropped
    assert len(liar.requests) == 1
    assert unused.requests == []


def test_a_redirect_leads_nowhere(node: Node, tmp_path: Path) -> None:
    """Only addresses that the owner wrote down are contacted."""
    gateway = Gateway(SMALL)
    gateway.raw = lambda _: 307
    with listening(gateway) as url:
        use_gateways(node, url)
        with pytest.raises(UnavailableError, match="307"):
            node.fetch(str(ROOT), tmp_path / "out")


def test_what_nobody_has_is_not_found_and_nothing_is_left(
    node: Node, tmp_path: Path, url: str
) -> None:
    add_peer(node.home, url)
    with pytest.raises(NotFoundError, match="no peer has it"):
        node.fetch(str(ROOT), tmp_path / "out")
    assert list(tmp_path.glob("out*")) == list(tmp_path.glob(".tmp-*")) == []


def test_what_is_too_large_is_refused_before_it_is_read(node: Node, tmp_path: Path) -> None:
    gateway = Gateway(dict([HUGE]))
    with listening(gateway) as url:
        use_gateways(node, url)
        with pytest.raises(MalformedError, match="accepts"):
            node.fetch(str(HUGE[0]), tmp_path / "out")
    assert len(gateway.requests) == 1


def test_what_hashes_rightly_but_is_in_another_form_is_not_kept(node: Node, tmp_path: Path) -> None:
    """Chunks of another size: every block is true, and the root is not what the files build."""
    from io import BytesIO

    from ledger.unixfs import Profile, build_directory

    blocks: dict[Cid, bytes] = {}
    profile = Profile(chunk_size=100)
    root = build_directory({"f": BytesIO(bytes(1000))}, blocks.__setitem__, profile).cid
    with listening(Gateway(blocks)) as url:
        use_gateways(node, url)
        with pytest.raises(MalformedError, match="not a chunk of this profile"):
            node.fetch(str(root), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert list(node.home.store.pins()) == []


def test_offline_only_directories_are_asked_and_no_socket_is_opened(
    world_home: World, node: Node, tmp_path: Path, cid: Cid, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(world_home.node.home, tmp_path / "stick")
    add_peer(node.home, "http://127.0.0.1:1")
    use_gateways(node, "https://gateway.example")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    offline = Node(node.home, offline=True)
    with pytest.raises(NotFoundError, match="no peer to ask"):
        offline.fetch(str(cid), tmp_path / "out")
    add_peer(node.home, str(tmp_path / "stick"))
    fetched = offline.fetch(str(cid), tmp_path / "out")
    assert [used.provider for used in fetched.providers] == [str(tmp_path / "stick")]
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")


def test_an_interrupted_fetch_goes_on_where_it_stopped(node: Node, tmp_path: Path) -> None:
    root, blocks = build({f"f{n}": bytes([n]) * 1000 for n in range(8)})

    def interrupt(step: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    gateway = Gateway(blocks)
    with listening(gateway) as url:
        use_gateways(node, url)
        with pytest.raises(KeyboardInterrupt):
            Node(node.home, progress=interrupt).fetch(str(root), tmp_path / "out")
        assert list(tmp_path.glob("out*")) == []
        assert list(node.home.store.pins()) == []
        gateway.requests.clear()
        fetched = node.fetch(str(root), tmp_path / "out")
    assert [used.blocks for used in fetched.providers] == [3]
    assert len(gateway.requests) == 3
    assert len(snapshot(tmp_path / "out")) == 8
