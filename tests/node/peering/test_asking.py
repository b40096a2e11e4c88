"""Before the own log grows, peers are asked for it: once in a while, for a short time, in vain."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.errors import EquivocationError, LogFrozenError, UnavailableError
from ledger.log import Log
from node.api import Node
from node.home import Home
from node.peering.asking import MOST_AT_ONCE, ask_before_append
from node.peering.export import export
from node.peering.peers import add_peer
from node.peering.tree import log_folder
from tests.node.worlds import Place
from tests.simulator import SimulatedLog, note_entry


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "ada")
    place.init("ada")
    return place


def append(node: Node, text: str) -> None:
    with node.home.writing() as log:
        log.append([note_entry(node.home.keys(), text)])


def size(home: Home) -> int:
    with home.reading() as database:
        return Log(database, home.origin).size


@contextmanager
def listening() -> Iterator[str]:
    """A peer that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_copied_home_is_stopped_by_what_a_peer_holds(place: Place, tmp_path: Path) -> None:
    """Home and lock of a machine on another one, that of the copy's first step."""
    original = place.open()
    append(original, "first")
    stick = tmp_path / "stick"
    add_peer(original.home, str(stick))
    copy = place.copy_to(tmp_path / "copy")
    append(original, "second")
    export(original.home, stick)
    with pytest.raises(LogFrozenError, match="restored or copied"):
        append(copy.open(), "another second")
    assert size(copy.open().home) == 2
    # It is on record now: without the peer it stays so.
    shutil.rmtree(stick)
    with pytest.raises(LogFrozenError, match="restored or copied"):
        append(copy.open(), "another second")


def test_a_memory_of_asking_does_not_travel_with_a_home(place: Place, tmp_path: Path) -> None:
    """A backup that was made a moment ago, put back on another machine."""
    original = place.open()
    stick = tmp_path / "stick"
    export(original.home, stick)
    add_peer(original.home, str(stick))
    append(original, "first")  # asks, and remembers that
    copy = place.copy_to(tmp_path / "copy")
    shutil.rmtree(copy.state / "asked")  # as on another machine: of the state, only the lock
    append(original, "second")
    export(original.home, stick)
    assert not [path for path in place.home.rglob("*") if "asked" in path.name]
    with pytest.raises(LogFrozenError):
        append(copy.open(), "another second")


def test_another_history_at_a_peer_stops_it_with_evidence(place: Place, tmp_path: Path) -> None:
    node = place.open()
    append(node, "first")
    log = SimulatedLog(1)
    log.keys, log.origin = node.home.keys(), node.home.origin
    log.folder = f"/{log_folder(log.origin)}"
    with node.home.reading() as database:
        log.bodies = list(Log(database, node.home.origin).bodies(0, 1))
    log.add("forked")
    stick = tmp_path / "stick"
    for path, content in log.files().items():
        file = stick / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    add_peer(node.home, str(stick))
    for _ in range(2):
        with pytest.raises(EquivocationError):
            append(node, "second")
    assert size(node.home) == 2


def test_peers_that_cannot_be_reached_stop_nobody(place: Place) -> None:
    told: list[str] = []
    node = Node.open(place.home, place.state, hint=told.append)
    add_peer(node.home, "http://127.0.0.1:1")
    for number in range(3):
        append(node, f"note {number}")
    assert size(node.home) == 4
    assert told == ["no peer could be asked whether it holds more of this home's own log"]


def test_ten_appends_ask_once(place: Place) -> None:
    with listening() as url:
        home = place.open().home
        add_peer(home, url)
        asked = [ask_before_append(home, offline=False, seconds=0.2) for _ in range(10)]
        assert [len(each) for each in asked] == [1, *[0] * 9]


def test_who_says_nothing_is_given_up_and_asked_again_later(place: Place) -> None:
    now = 1_790_000_000.0
    with listening() as url:
        home = place.open().home
        add_peer(home, url)

        def ask(at: float) -> list[str]:
            asked = ask_before_append(home, offline=False, seconds=0.2, clock=lambda: at)
            assert all(isinstance(each.error, UnavailableError) for each in asked)
            return [each.peer for each in asked]

        assert ask(now) == [url]
        assert ask(now + 59) == []
        assert ask(now + 61) == [url]
        # A clock that was set back must not silence it for years.
        assert ask(now - 1_000_000) == [url]


def test_who_answers_is_not_asked_for_longer(place: Place, tmp_path: Path) -> None:
    home = place.open().home
    export(home, tmp_path / "stick")
    add_peer(home, str(tmp_path / "stick"))
    add_peer(home, "http://127.0.0.1:1")

    def ask(at: float) -> set[tuple[str, int]]:
        asked = ask_before_append(home, offline=True, clock=lambda: 1_790_000_000.0 + at)
        return {(each.peer, each.size) for each in asked}

    stick, url = (str(tmp_path / "stick"), 1), ("http://127.0.0.1:1", 0)
    assert [ask(0), ask(59), ask(61), ask(299), ask(301)] == [
        {stick, url},
        set(),
        {url},
        {url},
        {stick},
    ]


def test_of_many_peers_some_are_asked_each_time(place: Place, tmp_path: Path) -> None:
    home = place.open().home
    for number in range(MOST_AT_ONCE + 3):
        add_peer(home, str(tmp_path / f"stick{number}"))
    counts = [len(ask_before_append(home, offline=True)) for _ in range(3)]
    assert counts == [MOST_AT_ONCE, 3, 0]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"x": "y"}', b"[" * 100_000, b"\xff"])
def test_a_memory_that_cannot_be_read_knows_nothing(place: Place, content: bytes) -> None:
    home = place.open().home
    add_peer(home, str(place.folder / "nowhere"))
    assert len(ask_before_append(home, offline=True)) == 1
    (memory,) = (place.state / "asked").iterdir()
    memory.write_bytes(content)
    assert len(ask_before_append(home, offline=True)) == 1


def test_a_rotation_asks_too(place: Place, tmp_path: Path) -> None:
    original = place.open()
    stick = tmp_path / "stick"
    add_peer(original.home, str(stick))
    copy = place.copy_to(tmp_path / "copy")
    append(original, "first")
    export(original.home, stick)
    with pytest.raises(LogFrozenError):
        copy.open().rotate_key()
