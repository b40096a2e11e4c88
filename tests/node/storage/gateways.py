"""Gateways over real sockets that a test makes lie, stall, break off or send too much."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from ledger.car import write_car
from ledger.cid import Cid
from ledger.unixfs import Limits, walk

CAR = "application/vnd.ipld.car; version=1; order=dfs; dups=n"
RAW = "application/vnd.ipld.raw"


class Gateway:
    """What a gateway has, and how it answers; hooks may answer in another way.

    `requests` are the paths asked for, with their queries. `raw` returns the body of a block, or
    a status. `car` yields the pieces of a CAR; None if none are offered.
    """

    def __init__(self, blocks: Mapping[Cid, bytes]) -> None:
        self.blocks = dict(blocks)
        self.requests: list[str] = []
        self.raw: Callable[[Cid], bytes | int] = lambda cid: self.blocks.get(cid, 404)
        self.car: Callable[[Cid], Iterable[bytes]] | None = self.whole_car
        self.car_type = CAR

    def whole_car(self, root: Cid) -> Iterator[bytes]:
        """Yield the CAR an honest gateway sends."""
        return write_car(root, walk(root, self.blocks.__getitem__, Limits()))

    @property
    def blocks_asked_for(self) -> list[Cid]:
        """The CIDs that were asked for one by one."""
        paths = [each for each in self.requests if "format=raw" in each]
        return [Cid.parse(urlsplit(path).path.removeprefix("/ipfs/")) for path in paths]

    @property
    def cars_asked_for(self) -> int:
        """How many CARs were asked for."""
        return sum("format=car" in each for each in self.requests)


@contextmanager
def listening(gateway: Gateway) -> Iterator[str]:
    """Answer on a free port, and yield the URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            gateway.requests.append(self.path)
            name = urlsplit(self.path).path.removeprefix("/ipfs/")
            cid = Cid.of(b"") if name == "bafkqaaa" else Cid.parse(name)
            try:
                if "format=raw" in self.path:
                    self._raw(gateway.raw(cid))
                else:
                    self._car(cid)
            except OSError:
                self.close_connection = True

        def _raw(self, answer: bytes | int) -> None:
            body = b"" if isinstance(answer, int) else answer
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _car(self, root: Cid) -> None:
            if gateway.car is None or root not in gateway.blocks:
                self._raw(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", gateway.car_type)
            self.send_header("Connection", "close")
            self.end_headers()
            for piece in gateway.car(root):
                self.wfile.write(piece)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=30)
