"""The HTTP server: the tree, the trustless gateway, the page, and a real sync over a socket."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulator import note_entry
from starlette.testclient import TestClient

from ledger.cid import DAG_PB, Cid
from ledger.errors import UnavailableError
from ledger.log import logs
from ledger.unixfs import Limits, walk
from node.artifacts import store_directory, store_document
from node.home import Home
from node.peering.source import HTTPSource
from node.peering.sync import COMPLETE, sync
from node.peering.tree import paths, resolve
from node.web.serve import create_app, create_server
from tests.node.served import served


def make_home(folder: Path, number: int = 1, name: str = "<b>ada</b>") -> Home:
    seed = bytes([number]) * 32
    return Home.init(folder / f"h{number}", folder / f"s{number}", name=name, seed=seed)


def append(home: Home, text: str, **fields: object) -> None:
    with home.writing() as log:
        log.append([note_entry(home.keys(), text, **fields)])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("served")
    home = make_home(folder)
    artifact = folder / "artifact"
    artifact.mkdir()
    (artifact / "a").write_bytes(bytes(range(256)) * 6_000)
    (artifact / "b").write_bytes(b"b")
    append(home, "artifact", cid=str(store_directory(artifact, home.store).cid))
    return home


@pytest.fixture(scope="module")
def root(home: Home) -> Cid:
    return next(home.store.pins())


@pytest.fixture
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(create_app(home)) as client:
        yield client


def test_the_served_tree_is_the_tree(home: Home, client: TestClient) -> None:
    with home.reading() as database:
        for path in paths(database, home.store):
            expected = resolve(database, home.store, path)
            query = {"format": "raw"} if path.startswith("/ipfs/") else {}
            response = client.get(path, params=query)
            assert response.status_code == 200
            assert response.content == expected.body
            assert response.headers["content-type"] == expected.content_type
            assert ("immutable" in response.headers["cache-control"]) == expected.immutable
            assert response.headers["x-content-type-options"] == "nosniff"
            head = client.head(path, params=query)
            assert head.status_code == 200
            assert head.content == b""
            assert head.headers["content-length"] == str(len(expected.body))


@pytest.mark.parametrize("path", ["/logs", "/frontier"])
def test_lists_are_cached_for_seconds_only(client: TestClient, path: str) -> None:
    assert client.get(path).headers["cache-control"] == "public, max-age=5"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/keys/seed", 404),
        ("/..%2fh1%2fkeys%2fseed", 404),
        ("/%2e%2e/pnode.toml", 404),
        ("/logs%3Fx", 404),
        ("/logs/", 404),
        (f"/{'0' * 64}/checkpoint", 404),
        ("/ipfs/", 400),
        ("/ipfs/abc?format=raw", 400),
        (f"/ipfs/{Cid.of(b'absent')}?format=raw", 404),
    ],
)
def test_what_is_not_published_has_a_status(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response.headers["cache-control"] == "no-store"
    assert "/h1" not in response.text


@pytest.mark.parametrize(
    "path", ["/", "/logs", "/add-checkpoint", "/evidence", "/push", "/ipfs/abc"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_else_can_be_written(client: TestClient, path: str, method: str) -> None:
    asked = method == "POST" and path in ("/add-checkpoint", "/evidence", "/push")
    assert client.request(method, path, content=b"x").status_code == (400 if asked else 405)


# --- the page -----------------------------------------------------------------------------------


def test_the_page_is_escaped_and_has_a_json_twin(home: Home, client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "&lt;b&gt;ada&lt;/b&gt;" in page.text
    assert "<b>" not in page.text
    assert home.origin in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    twin = json.loads(client.get("/index.json").content)
    assert (twin["name"], twin["origin"], twin["author"]) == (home.name, home.origin, home.author)
    assert [(log["origin"], log["size"]) for log in twin["logs"]] == [(home.origin, 2)]
    assert client.get(twin["logs"][0]["path"] + "/checkpoint").status_code == 200


# --- over a socket ------------------------------------------------------------------------------


def test_three_homes_sync_over_http(home: Home, tmp_path: Path) -> None:
    bob, eve = make_home(tmp_path, 2), make_home(tmp_path, 3)
    append(bob, "bob was here")
    with served(home) as url, HTTPSource(url) as source:
        report = sync(bob, source)
        assert (report.errors, report.state) == ((), COMPLETE)
        assert report.peer == url
        assert sync(bob, source).blocks == 0
    with served(bob) as url, HTTPSource(url) as source:
        report = sync(eve, source)
        assert (report.added, report.state) == (4, COMPLETE)
    with eve.reading() as database:
        assert {log.origin for log in logs(database)} == {home.origin, bob.origin, eve.origin}
    for root in home.store.pins():
        if root.codec == DAG_PB:
            assert list(walk(root, eve.store.get_block, Limits()))


def test_new_entries_are_served_without_a_restart(tmp_path: Path) -> None:
    ada, bob = make_home(tmp_path, 1), make_home(tmp_path, 2)
    with served(ada) as url, HTTPSource(url) as source:
        assert sync(bob, source).added == 1
        with ada.writing() as log:
            entry = note_entry(ada.keys(), "while open", cid=str(store_document(b"d", ada.store)))
            log.append([entry])
            report = sync(bob, source)
            assert (report.added, report.blocks, report.errors) == (1, 1, ())


def test_a_request_path_is_not_a_file_path(home: Home) -> None:
    with served(home) as url:
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
        for path in ("/../pnode.toml", "//etc/passwd", "/ipfs/../logs", "/keys/../logs"):
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            assert response.status in (400, 404), path
            assert b"origin" not in body
        connection.close()


def test_a_port_in_use_is_reported(home: Home) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as used,
        pytest.raises(UnavailableError, match="cannot listen"),
    ):
        create_server(home, port=used.getsockname()[1])


def test_an_answer_in_two_parts_is_sent_without_waiting(home: Home) -> None:
    _, bound = create_server(home, port=0)
    with bound, socket.create_connection(bound.getsockname()):
        accepted, _ = bound.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


SCRIPT = """
import sys
from pathlib import Path
from node.home import Home
from node.web.serve import serve

home = Home.open(Path(sys.argv[1]), Path(sys.argv[2]))
serve(home, port=0, ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""


def test_an_interrupt_ends_the_server_in_good_order(home: Home) -> None:
    command = [sys.executable, "-c", SCRIPT, str(home.path), str(home.state)]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd=root
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().decode().strip()
        with HTTPSource(url) as source:
            assert source.read("/logs", max_bytes=10_000).startswith(b"logs/v0\n")
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"stopped\n"
        assert process.stderr.read() == b""
    assert process.returncode == 0
