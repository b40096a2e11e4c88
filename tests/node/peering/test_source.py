"""Sources: what a directory or a server may do to a reader, and what it may not."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.errors import MalformedError, NotFoundError, UnavailableError, UsageError
from node.peering.source import DirectorySource, HTTPSource, open_source, parse_address

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    (folder / "ipfs").mkdir(parents=True)
    (folder / "logs").write_bytes(b"logs/v0\n")
    (folder / "ipfs" / "block").write_bytes(b"12345")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def test_files_of_a_directory_are_read(stick: Path) -> None:
    with DirectorySource(stick) as source:
        assert source.read("/logs", max_bytes=8) == b"logs/v0\n"
        assert source.read("/ipfs/block", max_bytes=5) == b"12345"


@pytest.mark.parametrize(
    "path",
    ["/../secret", "/ipfs/../../secret", "/./logs", "//logs", "/logs/", "", "/", "/x\0y", "/ipfs"],
)
def test_no_path_leads_out_of_a_directory(stick: Path, path: str) -> None:
    with DirectorySource(stick) as source, pytest.raises(NotFoundError):
        source.read(path, max_bytes=100)


def test_links_in_a_directory_are_not_followed(stick: Path, tmp_path: Path) -> None:
    (stick / "frontier").symlink_to(tmp_path / "secret")
    (stick / "folder").symlink_to(tmp_path)
    with DirectorySource(stick) as source:
        for path in ("/frontier", "/folder/secret"):
            with pytest.raises(NotFoundError):
                source.read(path, max_bytes=100)


def test_a_pipe_in_a_directory_does_not_block(stick: Path) -> None:
    os.mkfifo(stick / "frontier")
    with DirectorySource(stick) as source, pytest.raises(NotFoundError, match="regular"):
        source.read("/frontier", max_bytes=100)


def test_a_file_larger_than_asked_for_is_refused(stick: Path) -> None:
    with DirectorySource(stick) as source, pytest.raises(MalformedError, match="more than"):
        source.read("/ipfs/block", max_bytes=4)


def test_a_missing_directory_is_an_unavailable_peer(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        DirectorySource(tmp_path / "nowhere")


def test_a_read_leaves_no_descriptor_open(stick: Path) -> None:
    with DirectorySource(stick) as source:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for path in ("/logs", "/nothing", "/ipfs/nothing", "/ipfs", "/ipfs/block"):
            try:
                source.read(path, max_bytes=8)
            except NotFoundError:
                continue
        assert len(list(Path("/proc/self/fd").iterdir())) == before


class Server:
    """Answers every connection with a script, byte by byte as told."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self.requests: list[bytes] = []
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with closing(connection):
                try:
                    self.requests.append(connection.recv(65_536))
                    self._script(connection)
                except OSError:
                    continue

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=30)


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], Server]]:
    servers: list[Server] = []

    def start(script: Callable[[socket.socket], None]) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


Start = Callable[[Callable[[socket.socket], None]], Server]


def send(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


def drip(head: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def script(connection: socket.socket) -> None:
        connection.sendall(head)
        done = threading.Event()
        while not done.wait(0.02):
            connection.sendall(piece)

    return script


def test_blocks_are_asked_for_by_parameter_and_by_header(serve: Start) -> None:
    server = serve(send(OK + b"Content-Length: 2\r\n\r\nok"))
    with HTTPSource(server.url + "/below/") as source:
        assert source.read("/ipfs/abc", max_bytes=2) == b"ok"
        assert source.read("/logs", max_bytes=2) == b"ok"
    block, logs = server.requests
    assert block.startswith(b"GET /below/ipfs/abc?format=raw HTTP/1.1\r\n")
    assert b"accept: application/vnd.ipld.raw\r\n" in block.lower()
    assert logs.startswith(b"GET /below/logs HTTP/1.1\r\n")


def test_proxies_and_netrc_are_ignored(
    serve: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server = serve(send(OK + b"Content-Length: 2\r\n\r\nok"))
    with HTTPSource(server.url) as source:
        assert source.read("/logs", max_bytes=2) == b"ok"
    assert b"authorization" not in server.requests[0].lower()


def test_an_endless_body_is_cut_at_the_limit(serve: Start) -> None:
    server = serve(drip(OK + b"\r\n", b"x" * 65_536))
    with HTTPSource(server.url) as source, pytest.raises(MalformedError, match="more than"):
        source.read("/logs", max_bytes=1_000_000)


@pytest.mark.parametrize(
    "script",
    [
        drip(OK + b"\r\n", b"x"),
        drip(OK, b"X-Header: y\r\n"),
        drip(b"", b"H"),
        drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        lambda connection: threading.Event().wait(3),
    ],
    ids=["body", "headers", "status", "chunks", "silence"],
)
def test_a_peer_that_drips_or_stalls_runs_into_the_deadline(
    serve: Start, script: Callable[[socket.socket], None]
) -> None:
    server = serve(script)
    with HTTPSource(server.url, total_seconds=0.4) as source, pytest.raises(UnavailableError):
        source.read("/logs", max_bytes=1_000_000)


def test_redirects_are_not_followed(serve: Start) -> None:
    elsewhere = serve(send(OK + b"Content-Length: 2\r\n\r\nok"))
    location = f"Location: {elsewhere.url}/logs\r\n".encode()
    server = serve(send(b"HTTP/1.1 302 Found\r\n" + location + b"Content-Length: 0\r\n\r\n"))
    with HTTPSource(server.url) as source, pytest.raises(UnavailableError) as caught:
        source.read("/logs", max_bytes=100)
    assert "redirects" in str(caught.value.hint)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NotFoundError),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", NotFoundError),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", UnavailableError),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx", UnavailableError),
        (OK + b"Content-Length: 10\r\n\r\nshort", UnavailableError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", UnavailableError),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", UnavailableError),
        (b"garbage\r\n\r\n", UnavailableError),
        (b"", UnavailableError),
    ],
)
def test_answers_that_are_no_body(serve: Start, answer: bytes, error: type[Exception]) -> None:
    server = serve(send(answer))
    with HTTPSource(server.url) as source, pytest.raises(error):
        source.read("/logs", max_bytes=100)


def test_a_port_where_nobody_listens_is_an_unavailable_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with HTTPSource(f"http://127.0.0.1:{port}") as source, pytest.raises(UnavailableError):
        source.read("/logs", max_bytes=100)


def test_offline_opens_no_socket(monkeypatch: pytest.MonkeyPatch, stick: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(UnavailableError) as caught:
        open_source("https://ledger.example", offline=True)
    assert caught.value.exit_code == 6
    with open_source(str(stick), offline=True) as source:
        assert source.read("/logs", max_bytes=8) == b"logs/v0\n"


def test_addresses_have_one_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_address("http://h:1/x//") == "http://h:1/x"
    assert parse_address("stick") == str(tmp_path / "stick")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://h",
        "file:///etc",
        "http://",
        "http://u:p@h",
        "http://h?x=1",
        "http://h#f",
        "http://h:99999",
        "http://[::1",
        "http://h\\x",
        "a\nb",
        "http://h/" + "x" * 2_048,
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)
