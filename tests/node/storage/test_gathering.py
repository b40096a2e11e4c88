"""Gathering blocks from gateways that lie, stall, break off, or have only some of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import pytest

from ledger.blocks import BlockStore
from ledger.car import car_header, write_car
from ledger.cid import DAG_PB, RAW, Cid
from ledger.dagpb import Link, encode_node
from ledger.errors import IncompleteError, MalformedError, NotFoundError, UnavailableError
from ledger.unixfs import MAX_BLOCK_BYTES, Limits, build_directory
from node.peering.source import HTTPSource
from node.storage.gateway import GatewayStore
from node.storage.gathering import Gathering, Provider
from node.storage.local import LocalStore
from tests.node.storage.gateways import Gateway, listening

LEAVES = 6
DIRECTORY = b"\x08\x01"


def build(files: dict[str, bytes]) -> tuple[Cid, dict[Cid, bytes]]:
    blocks: dict[Cid, bytes] = {}
    streams = {name: BytesIO(content) for name, content in files.items()}
    return build_directory(streams, blocks.__setitem__).cid, blocks


ROOT, BLOCKS = build(
    {"config": b"{}", **{f"part{n}": bytes([n]) * 1000 for n in range(LEAVES - 1)}}
)
LEAF_CIDS = [cid for cid in BLOCKS if cid.codec == RAW]
VICTIM = LEAF_CIDS[2]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def provide() -> Iterator[Callable[..., Provider]]:
    with ExitStack() as opened:

        def make(gateway: Gateway, seconds: float = 20) -> Provider:
            url = opened.enter_context(listening(gateway))

            def open_store() -> BlockStore:
                return GatewayStore(opened.enter_context(HTTPSource(url, total_seconds=seconds)))

            return Provider(url, open_store)

        yield make


Provide = Callable[..., Provider]


def gathered(store: LocalStore, *providers: Provider, limits: Limits | None = None) -> Gathering:
    return Gathering(store, providers, lambda *_: None, limits)


def held(store: LocalStore) -> set[Cid]:
    return {cid for cid in BLOCKS if store.has(cid) and store.get_block(cid) == BLOCKS[cid]}


def test_a_dag_comes_as_one_car(store: LocalStore, provide: Provide) -> None:
    gateway = Gateway(BLOCKS)
    provider = provide(gateway)
    gathered(store, provider).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert gateway.blocks_asked_for == [ROOT]
    assert gateway.cars_asked_for == 1
    assert (provider.blocks, provider.dropped) == (len(BLOCKS), "")
    assert list(store.pins()) == []


def test_what_is_here_is_asked_of_nobody(store: LocalStore, provide: Provide) -> None:
    for cid, block in BLOCKS.items():
        store.put_block(cid, block)
    gateway = Gateway(BLOCKS)
    gathered(store, provide(gateway)).gather(ROOT)
    assert gateway.requests == []


def test_few_blocks_come_one_by_one(store: LocalStore, provide: Provide) -> None:
    for cid, block in BLOCKS.items():
        if cid not in LEAF_CIDS[:2]:
            store.put_block(cid, block)
    gateway = Gateway(BLOCKS)
    gathered(store, provide(gateway)).gather(ROOT)
    assert sorted(gateway.blocks_asked_for) == sorted(LEAF_CIDS[:2])
    assert gateway.cars_asked_for == 0
    assert held(store) == set(BLOCKS)


def test_blocks_of_one_dag_come_from_several_providers(store: LocalStore, provide: Provide) -> None:
    """Nobody has all of it, and nobody is blamed for that."""
    providers = []
    for number in range(3):
        some = {cid for at, cid in enumerate(LEAF_CIDS) if at % 3 == number} | {ROOT}
        gateway = Gateway({cid: BLOCKS[cid] for cid in some})
        gateway.car = None
        providers.append(provide(gateway))
    gathered(store, *providers).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert [each.blocks for each in providers] == [3, 2, 2]
    assert all(not each.dropped for each in providers)


def honest_blocks() -> Iterator[tuple[Cid, bytes]]:
    yield ROOT, BLOCKS[ROOT]
    yield from ((cid, BLOCKS[cid]) for cid in LEAF_CIDS)


def with_victim(block: bytes) -> Iterator[tuple[Cid, bytes]]:
    return ((cid, block if cid == VICTIM else own) for cid, own in honest_blocks())


def endless() -> Iterator[bytes]:
    yield car_header(ROOT)
    block = bytes(1 << 20)
    for number in itertools.count():
        other = number.to_bytes(8, "big") + block
        yield from list(write_car(ROOT, [(Cid.of(other), other)]))[1:]


def car_of(blocks: Callable[[], Iterator[tuple[Cid, bytes]]]) -> Callable[[Cid], Iterator[bytes]]:
    return lambda root: write_car(root, blocks())


LYING_CARS: dict[str, Callable[[Cid], Iterator[bytes]]] = {
    "other bytes": car_of(lambda: with_victim(b"forged")),
    "huge block": car_of(lambda: with_victim(bytes(MAX_BLOCK_BYTES + 1))),
    "no CAR": lambda _: iter([b"<html>" * 100]),
    "endless": lambda _: endless(),
}


@pytest.mark.parametrize("name", LYING_CARS)
def test_a_car_that_lies_drops_its_provider_and_the_next_is_asked(
    store: LocalStore, provide: Provide, name: str
) -> None:
    liar, honest = Gateway(BLOCKS), Gateway(BLOCKS)
    liar.car = LYING_CARS[name]
    providers = provide(liar), provide(honest)
    gathered(store, *providers).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert providers[0].dropped
    assert providers[1].dropped == ""
    assert liar.cars_asked_for == 1
    assert liar.blocks_asked_for == [ROOT]


@pytest.mark.parametrize("name", LYING_CARS)
def test_of_a_liar_alone_nothing_but_true_blocks_is_kept(
    store: LocalStore, provide: Provide, name: str
) -> None:
    liar = Gateway(BLOCKS)
    liar.car = LYING_CARS[name]
    provider = provide(liar)
    with pytest.raises(IncompleteError, match="not to be had") as caught:
        gathered(store, provider).gather(ROOT)
    assert provider.address in caught.value.message
    kept = {Cid.parse(path.name) for path in (store.path_of(ROOT).parents[1]).glob("*/*")}
    assert kept == held(store)
    assert VICTIM not in kept


def cut(root: Cid) -> Iterator[bytes]:
    yield b"".join(write_car(root, honest_blocks()))[:3000]


TOLERATED_CARS: dict[str, Callable[[Cid], Iterator[bytes]]] = {
    "reversed": car_of(lambda: iter(list(honest_blocks())[::-1])),
    "twice": car_of(lambda: itertools.chain(honest_blocks(), honest_blocks())),
    "with others": car_of(
        lambda: itertools.chain([(Cid.of(b"other"), b"whatever")], honest_blocks())
    ),
    "short": car_of(lambda: itertools.islice(honest_blocks(), 3)),
    "empty": car_of(lambda: iter(())),
    "cut inside a block": cut,
    "other roots": lambda _: write_car(VICTIM, honest_blocks()),
}


@pytest.mark.parametrize("name", TOLERATED_CARS)
def test_a_car_may_come_in_any_order_with_others_or_short(
    store: LocalStore, provide: Provide, name: str
) -> None:
    gateway = Gateway(BLOCKS)
    gateway.car = TOLERATED_CARS[name]
    provider = provide(gateway)
    gathered(store, provider).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert not store.has(Cid.of(b"other"))
    assert provider.dropped == ""


@pytest.mark.parametrize("kind", ["text/html", "", "application/vnd.ipld.raw"])
def test_an_answer_of_another_type_is_no_car(
    store: LocalStore, provide: Provide, kind: str
) -> None:
    gateway = Gateway(BLOCKS)
    gateway.car_type = kind
    gathered(store, provide(gateway)).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert sorted(gateway.blocks_asked_for) == sorted(BLOCKS)


LYING_BLOCKS: dict[str, bytes | int] = {
    "other bytes": b"forged",
    "empty": b"",
    "too large": bytes(MAX_BLOCK_BYTES + 1),
    "an error": 500,
    "a redirect": 302,
}


@pytest.mark.parametrize("name", LYING_BLOCKS)
@pytest.mark.parametrize("which", [ROOT, VICTIM], ids=["node", "leaf"])
def test_a_block_that_lies_drops_its_provider_and_the_next_is_asked(
    store: LocalStore, provide: Provide, name: str, which: Cid
) -> None:
    liar, honest = Gateway(BLOCKS), Gateway(BLOCKS)
    liar.car = None
    liar.raw = lambda cid: LYING_BLOCKS[name] if cid == which else BLOCKS[cid]
    providers = provide(liar), provide(honest)
    gathered(store, *providers).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert providers[0].dropped
    assert liar.requests.count(f"/ipfs/{which}?format=raw") == 1
    assert liar.requests[-1] == f"/ipfs/{which}?format=raw"


def test_a_provider_that_stalls_is_dropped(store: LocalStore, provide: Provide) -> None:
    released = threading.Event()

    def stalled(root: Cid) -> Iterator[bytes]:
        yield car_header(root)
        released.wait(20)

    def stalled_block(cid: Cid) -> bytes:
        if cid != ROOT:
            released.wait(20)
        return BLOCKS[cid]

    slow, honest = Gateway(BLOCKS), Gateway(BLOCKS)
    slow.car, slow.raw = stalled, stalled_block
    providers = provide(slow, seconds=0.3), provide(honest)
    gathered(store, *providers).gather(ROOT)
    released.set()
    assert held(store) == set(BLOCKS)
    assert providers[0].dropped
    assert slow.blocks_asked_for == [ROOT, LEAF_CIDS[0]]


def test_a_run_that_was_broken_off_goes_on_where_it_stopped(
    store: LocalStore, provide: Provide
) -> None:
    weak, strong = Gateway(BLOCKS), Gateway(BLOCKS)
    weak.car = car_of(lambda: itertools.islice(honest_blocks(), 4))
    weak.raw = lambda cid: BLOCKS[cid] if cid == ROOT else 503
    with pytest.raises(IncompleteError, match="3 of 6 blocks"):
        gathered(store, provide(weak)).gather(ROOT)
    assert len(held(store)) == 4
    provider = provide(strong)
    gathered(store, provider).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert provider.blocks == 3
    assert ROOT not in strong.blocks_asked_for


def test_an_interruption_keeps_what_has_arrived(store: LocalStore, provide: Provide) -> None:
    def interrupt(step: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Gathering(store, [provide(Gateway(BLOCKS))], interrupt).gather(ROOT)
    assert len(held(store)) == 1 + 3


# --- limits ---------------------------------------------------------------------------------------


def node_of(*links: Link, data: bytes = DIRECTORY) -> tuple[Cid, bytes]:
    block = encode_node(links, data)
    return Cid.of(block, DAG_PB), block


def file_link(size: int, name: str = "f") -> Link:
    return Link(Cid.of(name.encode()), name, size)


DEEP = [node_of(file_link(1))]
for _ in range(12):
    DEEP.append(node_of(Link(DEEP[-1][0], "d", 1)))

HUGE = node_of(file_link(9 << 30))
MANY_LIES = node_of(*(file_link(5 << 30, f"f{n}") for n in range(2)))
CROWDED = node_of(*(file_link(1, f"f{n:03}") for n in range(65)))
INNER = node_of(file_link(9 << 30))
MODEST = node_of(Link(INNER[0], "d", 10))


@pytest.mark.parametrize(
    ("blocks", "asked"),
    [([HUGE], 1), ([MANY_LIES], 1), ([CROWDED], 1), ([MODEST, INNER], 2), (DEEP[::-1], 10)],
    ids=["huge", "huge-together", "crowded", "modest-only-in-words", "deep"],
)
def test_what_announces_too_much_is_refused_before_a_leaf_is_read(
    store: LocalStore, provide: Provide, blocks: list[tuple[Cid, bytes]], asked: int
) -> None:
    gateway = Gateway(dict(blocks))
    with pytest.raises(MalformedError, match="than this node accepts"):
        gathered(store, provide(gateway)).gather(blocks[0][0])
    assert len(gateway.requests) <= asked
    assert gateway.cars_asked_for == 0
    assert all(cid.codec == DAG_PB for cid in gateway.blocks_asked_for)


def test_a_leaf_larger_than_announced_ends_the_run(store: LocalStore, provide: Provide) -> None:
    leaf = bytes(500)
    root, block = node_of(Link(Cid.of(leaf), "f", 5))
    with pytest.raises(MalformedError, match="another size than announced"):
        gathered(store, provide(Gateway({root: block, Cid.of(leaf): leaf}))).gather(root)


def test_limits_are_those_of_the_reader(store: LocalStore, provide: Provide) -> None:
    gateway = Gateway(BLOCKS)
    with pytest.raises(MalformedError, match="6 files"):
        gathered(store, provide(gateway), limits=Limits(files=5)).gather(ROOT)
    with pytest.raises(MalformedError, match="5002 bytes"):
        gathered(store, provide(gateway), limits=Limits(total_bytes=5000)).gather(ROOT)
    assert gateway.cars_asked_for == 0


# --- nobody has it --------------------------------------------------------------------------------


def test_what_nobody_has_is_not_found(store: LocalStore, provide: Provide) -> None:
    with pytest.raises(NotFoundError, match="no peer to ask"):
        gathered(store).gather(ROOT)
    with pytest.raises(NotFoundError, match="no peer has it"):
        gathered(store, provide(Gateway({})), provide(Gateway({}))).gather(ROOT)


def test_what_could_not_be_asked_for_is_unavailable(store: LocalStore, provide: Provide) -> None:
    broken = Gateway(BLOCKS)
    broken.raw = lambda _: 500
    provider = provide(broken)
    with pytest.raises(UnavailableError, match="HTTP status 500") as caught:
        gathered(store, provide(Gateway({})), provider).gather(ROOT)
    assert provider.address in caught.value.message


def test_a_provider_that_cannot_be_opened_is_dropped(store: LocalStore, provide: Provide) -> None:
    def refuse() -> BlockStore:
        raise UnavailableError("no such disk")

    away = Provider("/media/usb", refuse)
    gathered(store, away, provide(Gateway(BLOCKS))).gather(ROOT)
    assert held(store) == set(BLOCKS)
    assert away.dropped == "no such disk"


def test_damaged_blocks_are_replaced_when_looked_at(store: LocalStore, provide: Provide) -> None:
    for cid, block in BLOCKS.items():
        store.put_block(cid, block)
    store.path_of(VICTIM).write_bytes(b"rotten")
    gathering = gathered(store, provide(Gateway(BLOCKS)))
    gathering.gather(ROOT)
    assert VICTIM not in held(store)
    gathering.gather(ROOT, recheck=True)
    assert held(store) == set(BLOCKS)
