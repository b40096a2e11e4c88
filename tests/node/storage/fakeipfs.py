"""An IPFS daemon's RPC on a real socket, which behaves until a test says otherwise.

It answers as js-ipfs does where that differs from Kubo: CIDs in base58, one JSON object per root,
blocks kept unchecked. `wrong[command]` takes over the answer to a command: a function that gets
what was asked and the open connection, and writes to it whatever it likes.
"""

from __future__ import annotations

import json
import socketserver
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

from ledger.cid import Cid
from ledger.encoding import encode_base58


@dataclass
class Asked:
    """A request as it arrived; `chunks` are the sizes in which its body was sent."""

    method: str
    command: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes = b""
    chunks: list[int] = field(default_factory=list)

    @property
    def arg(self) -> str:
        return self.query["arg"][0]


Wrong = Callable[[Asked, BinaryIO], None]


class FakeDaemon:
    """Blocks and pins in memory, everything that was asked, and what is to go wrong."""

    def __init__(self) -> None:
        self.blocks: dict[str, bytes] = {}
        self.pins: set[str] = set()
        self.asked: list[Asked] = []
        self.wrong: dict[str, Wrong] = {}
        self.errors: list[str] = []
        self.read_body: Callable[[bytes], None] | None = None
        self.take_no_body = False
        self.stop = threading.Event()
        self.port = 0

    @property
    def address(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.port}"

    @property
    def commands(self) -> list[str]:
        return [asked.command for asked in self.asked]

    def answer(self, asked: Asked, out: BinaryIO) -> None:
        wrong = self.wrong.get(asked.command)
        if wrong is not None:
            wrong(asked, out)
        else:
            out.write(getattr(self, asked.command.replace("/", "_"))(asked))

    def version(self, _: Asked) -> bytes:
        return reply({"Version": "0.44.0-dev", "Repo": "16"})

    def id(self, _: Asked) -> bytes:
        return reply({"ID": "12D3KooW", "AgentVersion": "fake/0.44.0-dev"})

    def dag_import(self, asked: Asked) -> bytes:
        roots, blocks = read_multipart_car(asked)
        self.blocks.update({str(cid): block for cid, block in blocks})
        self.pins.update(str(root) for root in roots)
        lines = [{"Root": {"Cid": {"/": base58(root)}, "PinErrorMsg": ""}} for root in roots]
        return reply(*lines)

    def pin_ls(self, asked: Asked) -> bytes:
        if "arg" in asked.query and asked.arg not in self.pins:
            return failure(f"path '{asked.arg}' is not pinned")
        found = [asked.arg] if "arg" in asked.query else sorted(self.pins)
        return reply({"Keys": {base58(Cid.parse(pin)): {"Type": "recursive"} for pin in found}})

    def pin_add(self, asked: Asked) -> bytes:
        if asked.arg not in self.blocks:
            return failure("Failed to add pin: request timed out")
        self.pins.add(asked.arg)
        return reply({"Pins": [asked.arg]})

    def pin_rm(self, asked: Asked) -> bytes:
        if asked.arg not in self.pins:
            return failure(f"Failed to remove pin: {asked.arg} is not pinned")
        self.pins.remove(asked.arg)
        return reply({"Pins": [asked.arg]})

    def block_get(self, asked: Asked) -> bytes:
        if asked.arg not in self.blocks:
            return failure("Failed to get block: request timed out")
        return http(200, self.blocks[asked.arg])

    def block_stat(self, asked: Asked) -> bytes:
        if asked.arg not in self.blocks:
            return failure("block was not found locally (offline): ipld: could not find it")
        size = len(self.blocks[asked.arg])
        return reply({"Key": base58(Cid.parse(asked.arg)), "Size": size})


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole answer with its length."""
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def reply(*values: object) -> bytes:
    """An answer of JSON objects, one per line."""
    body = "".join(json.dumps(value) + "\n" for value in values).encode()
    return http(200, body, "Content-Type: application/json")


def failure(message: str, status: int = 500) -> bytes:
    """An answer that is an error message."""
    body = json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode()
    return http(status, body, "Content-Type: application/json")


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """An answer in chunks; `end` may hold trailers, or be missing."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Stream-Error\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + end


def always(answer: bytes) -> Wrong:
    """Answer with these bytes, and then hang up."""

    def wrong(_: Asked, out: BinaryIO) -> None:
        out.write(answer)
        raise HangUpError

    return wrong


class HangUpError(Exception):
    """The connection is closed without another word."""


def base58(cid: Cid) -> str:
    return "z" + encode_base58(bytes(cid))


def read_multipart_car(asked: Asked) -> tuple[list[Cid], list[tuple[Cid, bytes]]]:
    """Return the roots and the blocks of the one CAR that was uploaded."""
    boundary = asked.headers["content-type"].partition('boundary="')[2].rstrip('"').encode()
    before, part, after = asked.body.split(b"--" + boundary)
    assert (before, after) == (b"", b"--\r\n")
    car = part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    header, *frames = read_frames(car)
    count, rest = header[7] & 0x1F, header[8:]  # a2 65 "roots" 8N
    roots = [Cid.from_bytes(rest[5 + 41 * i : 41 * (i + 1)]) for i in range(count)]
    return roots, [(Cid.from_bytes(frame[:36]), frame[36:]) for frame in frames]


def read_frames(car: bytes) -> Iterator[bytes]:
    """Yield what stands behind each length of a CAR."""
    at = 0
    while at < len(car):
        length = shift = 0
        while True:
            byte = car[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        assert at + length <= len(car), "a CAR that was cut short"
        yield car[at : at + length]
        at += length


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        try:
            while asked := self._read():
                self.server.daemon.asked.append(asked)
                self.server.daemon.answer(asked, self.wfile)  # type: ignore[arg-type]
                self.wfile.flush()
        except (HangUpError, ConnectionError):
            return

    def _read(self) -> Asked | None:
        line = self.rfile.readline().decode().split()
        if not line:
            return None
        method, target, _ = line
        headers = {}
        while (text := self.rfile.readline().decode().strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        parts = urlsplit(target)
        command = parts.path.removeprefix("/api/v0/")
        asked = Asked(method, command, parse_qs(parts.query), headers)
        if headers.get("transfer-encoding") == "chunked":
            self._read_chunks(asked)
        else:
            asked.body = self.rfile.read(int(headers.get("content-length", 0)))
        return asked

    def _read_chunks(self, asked: Asked) -> None:
        daemon, body = self.server.daemon, []
        if daemon.take_no_body:
            daemon.stop.wait()
            raise HangUpError
        keep = daemon.read_body or body.append
        while (line := self.rfile.readline()) != b"0\r\n":
            if not line:
                raise HangUpError  # the upload was given up
            size = int(line, 16)
            asked.chunks.append(size)
            keep(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        asked.body = b"".join(body)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    daemon: FakeDaemon

    def handle_error(self, *_: object) -> None:
        """Keep what went wrong in here, so that it fails the test."""
        self.daemon.errors.append(traceback.format_exc())


@contextmanager
def fake_daemon() -> Iterator[FakeDaemon]:
    """Run a daemon on a free port."""
    daemon = FakeDaemon()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.daemon = daemon
        daemon.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield daemon
        finally:
            daemon.stop.set()
            server.shutdown()
            thread.join()
    assert daemon.errors == []
