"""The file `store.toml` and the address of a daemon: one strict form, and errors that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import MalformedError, UsageError
from node.home import Home
from node.storage.ipfsaddress import parse_ipfs_address
from node.storage.settings import MAX_GATEWAYS, STORE_FILE, StoreSettings, read_store_settings

DAEMON = "/ip4/127.0.0.1/tcp/5001"


def home_at(path: Path, ipfs: str | None = None) -> Home:
    """A home of which only the folder is there."""
    return Home(path, path, "", "", "", ipfs=ipfs)


def test_without_a_file_there_is_the_local_store_alone(tmp_path: Path) -> None:
    assert read_store_settings(home_at(tmp_path)) == StoreSettings("", ())


def test_the_file_names_a_daemon_and_gateways(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_text(
        'ipfs = "http://127.0.0.1:5001"\ngateways = ["https://a.example", "http://b.example:80"]\n'
    )
    said = read_store_settings(home_at(tmp_path))
    assert said == StoreSettings(DAEMON, ("https://a.example", "http://b.example:80"))


def test_an_address_given_otherwise_wins(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_text(f'ipfs = "{DAEMON}"\ngateways = ["https://a.example"]\n')
    said = read_store_settings(home_at(tmp_path, "/dns/ipfs.example/tcp/443/https"))
    assert said == StoreSettings("/dns/ipfs.example/tcp/443/https", ("https://a.example",))
    with pytest.raises(UsageError, match="nonsense"):
        read_store_settings(home_at(tmp_path, "nonsense"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"ipsf = 1\n", "did you mean 'ipfs'"),
        (b"ipfs = 5001\n", "'ipfs' is a text"),
        (b'ipfs = "localhost:5001"\n', "localhost:5001"),
        (b'gateways = "https://a.example"\n', "a list of texts"),
        (b'gateways = ["https://a.example/"]\n', "one form"),
        (b'gateways = ["/media/usb"]\n', "one form"),
        (b'gateways = ["ftp://a.example"]\n', "ftp"),
        (b'gateways = ["https://u:p@a.example"]\n', "user name"),
        (b'gateways = ["https://a.example", "https://a.example"]\n', "twice"),
        (b"gateways = [%s]\n" % (b"'https://a'," * (MAX_GATEWAYS + 1)), "more than"),
        (b"ipfs = \n", "line 1"),
        (b"\xff", "decode"),
        (b"gateways = " + b"[" * 5_000, ""),
    ],
)
def test_a_file_in_another_form_is_refused_by_name(
    tmp_path: Path, content: bytes, said: str
) -> None:
    (tmp_path / STORE_FILE).write_bytes(content)
    with pytest.raises(MalformedError, match=STORE_FILE) as caught:
        read_store_settings(home_at(tmp_path))
    assert said in caught.value.message
    assert "delete" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (DAEMON, DAEMON),
        (DAEMON + "/http", DAEMON),
        (DAEMON + "/https/", DAEMON + "/https"),
        ("/ip6/0:0::1/tcp/5001", "/ip6/::1/tcp/5001"),
        ("/dns4/Ipfs.Example/tcp/1", "/dns4/ipfs.example/tcp/1"),
        ("http://127.0.0.1:5001/", DAEMON),
        ("http://[::1]:5001", "/ip6/::1/tcp/5001"),
        ("http://localhost", "/dns/localhost/tcp/80"),
        ("https://ipfs.example", "/dns/ipfs.example/tcp/443/https"),
    ],
)
def test_an_address_has_one_form(text: str, canonical: str) -> None:
    assert parse_ipfs_address(text) == canonical
    assert parse_ipfs_address(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:5001",
        "/ip4/127.0.0.1",
        "/ip4/127.0.0.1/tcp/0",
        "/ip4/127.0.0.1/tcp/65536",
        "/ip4/127.0.0.1/udp/5001",
        "/ip4/::1/tcp/5001",
        "/ip4/1.2.3/tcp/5001",
        "/ip6/fe80::1%eth0/tcp/5001",
        "/dns/a b/tcp/5001",
        "/dns/-a/tcp/5001",
        "/dns/a..b/tcp/5001",
        "/unix/run/ipfs.sock",
        "/ip4/127.0.0.1/tcp/5001/http/p2p/x",
        "/ip4/127.0.0.1/tcp/5001\n",
        "ftp://127.0.0.1:5001",
        "http://user:secret@127.0.0.1:5001",
        "http://127.0.0.1:5001/api/v0",
        "http://127.0.0.1:5001?x",
        "http://127.0.0.1:port",
        "/dns/" + "a" * 600 + "/tcp/1",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="IPFS daemon"):
        parse_ipfs_address(text)
