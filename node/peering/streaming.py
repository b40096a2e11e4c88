"""One long answer over HTTP, read piece by piece: for streams too large to hold.

Every piece has a deadline of its own, and so have connecting and headers: a server that stalls or
drips costs a bounded time for each piece. Looking up a name takes as long as the system lets it.
Redirects are not followed, and proxies and netrc are not looked at.

`node.peering.source.HTTPSource` reads whole answers; this reads at the speed of a socket, with
one copy of each byte.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final, Protocol
from urllib.parse import quote, urlsplit

from ledger.errors import NotFoundError, UnavailableError

_URL_SAFE: Final = "/%:@!$&'()*+,;=?-._~"


class _Deadline:
    """When what is being waited for must be there, in the clock of `time.monotonic`."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._end = 0.0

    def renew(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        left = min(self._end - time.monotonic(), self._silence)
        if left <= 0:
            raise TimeoutError("not in time")
        return left


class _TimedSocket(socket.socket):
    deadline: _Deadline

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.deadline.left())
        return super().recv_into(*arguments, **named)


class _TimedTLSSocket(ssl.SSLSocket):
    deadline: _Deadline

    def recv_into(self, *arguments: Any, **named: Any) -> int:
        self.settimeout(self.deadline.left())
        return super().recv_into(*arguments, **named)


class Stream(Protocol):
    """The body of an answer; the media type is in lower case, and empty if it is not stated."""

    content_type: str

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer only at the end.

        Raises:
            UnavailableError: if they do not come in time, or the answer breaks off.
        """


class _Body:
    """The body of an answer over HTTP."""

    def __init__(
        self, what: str, answer: http.client.HTTPResponse, deadline: _Deadline, seconds: float
    ) -> None:
        self.content_type = answer.headers.get("Content-Type", "").lower()
        self._what = what
        self._answer = answer
        self._deadline = deadline
        self._seconds = seconds

    def read(self, size: int, /) -> bytes:
        """Read within a deadline."""
        self._deadline.renew(self._seconds)
        with _failures(self._what):
            data = self._answer.read(size)
            if len(data) < size and self._answer.length:
                raise http.client.IncompleteRead(b"", self._answer.length)
        return data


@contextmanager
def open_stream(
    url: str, headers: Mapping[str, str], *, seconds: float, silence: float
) -> Iterator[Stream]:
    """Ask for a URL and hand over its body.

    Args:
        url: the whole address, `http` or `https`.
        headers: sent with the request.
        seconds: how long the answer may take to begin, and each piece to arrive.
        silence: how long nothing at all may arrive.

    Raises:
        NotFoundError: for status 404 or 410.
        UnavailableError: if there is no answer in time, or it has another status than 200.
    """
    deadline = _Deadline(silence)
    deadline.renew(seconds)
    parts = urlsplit(url)
    with _failures(url):
        tls = parts.scheme == "https"
        connected = _connect(parts.hostname or "", parts.port, deadline, tls=tls)
    with connected:
        connection = http.client.HTTPConnection(parts.netloc)
        connection.sock = connected
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            with _failures(url):
                connection.request("GET", quote(target, safe=_URL_SAFE), headers=dict(headers))
                answer = connection.getresponse()
            with closing(answer):
                _check(url, answer)
                yield _Body(url, answer, deadline, seconds)
        finally:
            connection.close()


def _connect(host: str, port: int | None, deadline: _Deadline, *, tls: bool) -> socket.socket:
    plain = socket.create_connection((host, port or (443 if tls else 80)), deadline.left())
    if not tls:
        timed = _TimedSocket(fileno=plain.detach())
        timed.deadline = deadline
        return timed
    import httpx2

    context = httpx2.create_ssl_context(trust_env=False)
    context.sslsocket_class = _TimedTLSSocket
    plain.settimeout(deadline.left())
    secure = context.wrap_socket(plain, server_hostname=host)
    assert isinstance(secure, _TimedTLSSocket)
    secure.deadline = deadline
    return secure


def _check(url: str, answer: http.client.HTTPResponse) -> None:
    text = f"{url}: HTTP status {answer.status}"
    if answer.status in (404, 410):
        raise NotFoundError(text)
    if answer.status != 200:
        raise UnavailableError(text)
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise UnavailableError(f"{url}: compressed although not asked for")


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UnavailableError(f"{what}: {str(error) or type(error).__name__}") from None
