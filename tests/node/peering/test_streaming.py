"""Long answers: what a server may do to whoever reads one piece by piece."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest

from ledger.errors import NotFoundError, UnavailableError
from node.peering.source import HTTPSource
from tests.node.peering.test_source import OK, Start, drip, send, serve

__all__ = ["serve"]

BODY = bytes(range(256)) * 1000


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
    return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY,
        chunked(BODY, 7_001),
        b"Connection: close\r\n\r\n" + BODY,
    ],
    ids=["length", "chunked", "close"],
)
def test_a_body_is_read_in_pieces_of_any_size(serve: Start, answer: bytes) -> None:
    server = serve(send(OK + b"Content-Type: Application/X\r\n" + answer))
    with (
        HTTPSource(server.url + "/below") as source,
        source.stream("/ipfs/x?format=car", "application/x; q=1") as stream,
    ):
        assert stream.content_type == "application/x"
        pieces = [stream.read(size) for size in (1, 36, 100_000, 1, 1 << 20)]
        assert stream.read(1) == b""
    assert [len(piece) for piece in pieces] == [1, 36, 100_000, 1, len(BODY) - 100_038]
    assert b"".join(pieces) == BODY
    (request,) = server.requests
    assert request.startswith(b"GET /below/ipfs/x?format=car HTTP/1.1\r\n")
    assert b"\r\naccept: application/x; q=1\r\n" in request.lower()
    assert b"\r\naccept-encoding: identity\r\n" in request.lower()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", NotFoundError),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", NotFoundError),
        (b"HTTP/1.1 429 Later\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n", UnavailableError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", UnavailableError),
        (b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx", UnavailableError),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", UnavailableError),
        (OK + b"Content-Length: 10\r\n\r\nshort", UnavailableError),
        (OK + b"Content-Length: 10\r\n\r\n", UnavailableError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", UnavailableError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab", UnavailableError),
        (OK + b"X: y\r\n" * 200 + b"\r\n", UnavailableError),
        (OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n", UnavailableError),
        (b"garbage\r\n\r\n", UnavailableError),
        (b"", UnavailableError),
    ],
)
def test_answers_that_are_no_body(serve: Start, answer: bytes, error: type[Exception]) -> None:
    server = serve(send(answer))
    with (
        HTTPSource(server.url) as source,
        pytest.raises(error) as caught,
        source.stream("/x", "*/*") as stream,
    ):
        stream.read(100)
    assert server.url in str(caught.value)


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
def test_a_server_that_drips_or_stalls_runs_into_the_deadline(
    serve: Start, script: Callable[[socket.socket], None]
) -> None:
    server = serve(script)
    with (
        HTTPSource(server.url, total_seconds=0.4) as source,
        pytest.raises(UnavailableError),
        source.stream("/x", "*/*") as stream,
    ):
        stream.read(1_000_000)


def test_each_piece_has_a_deadline_of_its_own(serve: Start) -> None:
    """A long answer takes long; only a single piece may not."""
    server = serve(drip(OK + b"\r\n", b"x" * 100))
    with (
        HTTPSource(server.url, total_seconds=1.0) as source,
        source.stream("/x", "*/*") as stream,
    ):
        for _ in range(70):
            assert len(stream.read(100)) == 100


def test_a_port_where_nobody_listens_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with (
        HTTPSource(f"http://127.0.0.1:{port}") as source,
        pytest.raises(UnavailableError),
        source.stream("/x", "*/*"),
    ):
        pass


def test_a_server_without_tls_behind_https_is_unavailable(serve: Start) -> None:
    server = serve(send(OK + b"Content-Length: 2\r\n\r\nok"))
    with (
        HTTPSource(server.url.replace("http://", "https://")) as source,
        pytest.raises(UnavailableError),
        source.stream("/x", "*/*"),
    ):
        pass
