"""The list of peers in a home."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedError, NotFoundError, UsageError
from node.home import Home
from node.peering.peers import MAX_PEERS, PEERS_FILE, add_peer, list_peers, remove_peer


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "h", tmp_path / "state", seed=b"\x01" * 32)


def test_peers_are_kept_in_order_and_once(home: Home, tmp_path: Path) -> None:
    odd = str(tmp_path / 'a "quoted" \\ caf\u00e9')
    assert list_peers(home) == []
    assert add_peer(home, "https://b.example/") == "https://b.example"
    add_peer(home, odd)
    add_peer(home, "https://b.example")
    assert list_peers(home) == ["https://b.example", odd]


def test_a_removed_peer_is_gone(home: Home) -> None:
    add_peer(home, "https://a.example")
    add_peer(home, "https://b.example")
    remove_peer(home, "https://a.example/")
    assert list_peers(home) == ["https://b.example"]
    with pytest.raises(NotFoundError):
        remove_peer(home, "https://a.example")


def test_a_wrong_address_leaves_the_file_alone(home: Home) -> None:
    add_peer(home, "https://a.example")
    before = (home.path / PEERS_FILE).read_bytes()
    with pytest.raises(UsageError):
        add_peer(home, "gopher://a.example")
    assert (home.path / PEERS_FILE).read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"peers = 5\n",
        b"peers = [5]\n",
        b"peers = []\nother = 1\n",
        b'peers = ["https://a/"]\n',
        b'peers = ["relative"]\n',
        b'peers = ["https://a", "https://a"]\n',
        b'peers = ["https://a"\n',
        b"\xff",
        b"peers = " + b"[" * 5_000,
        b"peers = [" + b'"https://a",' * (MAX_PEERS + 1) + b"]\n",
    ],
)
def test_a_file_in_another_form_is_refused_by_name(home: Home, content: bytes) -> None:
    (home.path / PEERS_FILE).write_bytes(content)
    with pytest.raises(MalformedError, match=PEERS_FILE):
        list_peers(home)
