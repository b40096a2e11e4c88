"""Where a peer's static tree is read from: a directory or an HTTP server.

A source moves bytes and promises nothing about them. What it does promise is to come back: every
read has a limit on bytes, and an HTTP read has limits on time as well, so a peer that stalls,
drips or floods costs a bounded amount. Links and redirects are never followed.

A list that changes is polled: the caller says which state it has seen, by the tag that came with
it, and may be told that nothing is new. A directory is only read; an HTTP server may also be sent
something (`Poster`).
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import stat
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, runtime_checkable
from urllib.parse import quote, urlsplit

from ledger.errors import MalformedError, NotFoundError, PnodeError, UnavailableError, UsageError
from node.peering.streaming import Stream, open_stream

if TYPE_CHECKING:
    import httpx2

Headers = dict[str, str]
Result = TypeVar("Result")

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
TOTAL_SECONDS = 60.0
POST_SECONDS = 600.0
"""For a request with a body: it is sent, and the peer verifies it, before the answer comes."""
MAX_ADDRESS = 2_048
MAX_TAG: Final = 160
_CHUNK = 1 << 16
_STRONG_TAG = re.compile(rf'"(?P<tag>[!#-~]{{1,{MAX_TAG}}})"', re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """What polling a list gave: its bytes, or None if they are as before, and the tag of it."""

    # Not shown: asyncio formats the result of every request, and of megabytes that takes long.
    body: bytes | None = field(repr=False)
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Posted:
    """The answer to something that was sent; every status is an answer."""

    status: int
    body: bytes
    content_type: str = ""


class Source(Protocol):
    """A peer's tree, readable by path."""

    @property
    def address(self) -> str:
        """How a person names it: a URL or a directory."""

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return what the peer has under an absolute path, unverified.

        Raises:
            NotFoundError: if the peer has no such path.
            UnavailableError: if the peer cannot be read now, or not in time.
            MalformedError: if there are more than `max_bytes` bytes.
        """

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Return a list that changes, or only what is new since the tag of an earlier answer.

        Raises:
            NotFoundError, UnavailableError, MalformedError: as `read` does.
        """


@runtime_checkable
class Poster(Protocol):
    """A peer that can be sent something."""

    @property
    def address(self) -> str:
        """How a person names it."""

    def post(self, path: str, body: bytes, *, max_bytes: int) -> Posted:
        """Send bytes to an absolute path and return the answer, whatever its status.

        Raises:
            UnavailableError: if the peer does not answer, or not in time.
            MalformedError: if the answer has more than `max_bytes` bytes.
        """


@runtime_checkable
class Streamer(Protocol):
    """A peer that hands over an answer as it arrives, however long it is."""

    def stream(self, path: str, accept: str) -> AbstractContextManager[Stream]:
        """Ask for a path with its query, in a media type, and return the body, unverified.

        Raises:
            NotFoundError: if the peer has no such path.
            UnavailableError: if the peer does not answer so, or not in time.
        """


class DirectorySource:
    """A tree in a directory, such as a mounted USB stick.

    Paths are walked one name at a time from an open folder, so neither `..` nor a link inside the
    directory leads out of it.

    Raises:
        UnavailableError: if there is no such directory.
    """

    def __init__(self, directory: Path) -> None:
        self.address = str(directory)
        try:
            self._root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise UnavailableError(
                f"{directory}: {error.strerror}", hint="is the disk plugged in and mounted?"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory, so that it can be unmounted."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the bytes of a regular file below the directory."""
        names = path.removeprefix("/").split("/")
        if any(name in ("", ".", "..") or "\0" in name for name in names):
            raise NotFoundError(f"{self.address}: '{path[:120]}' is not a path of a tree")
        try:
            return self._read(names, path, max_bytes)
        except OSError as error:
            missing = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
            text = f"{self.address}{path}: {error.strerror}"
            if error.errno in missing:
                raise NotFoundError(text) from None
            raise UnavailableError(text) from None

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Return a whole file, unless it is the very one that was seen before."""
        body = self.read(path, max_bytes=max_bytes)
        tag = hashlib.sha256(body).hexdigest()
        return Answer(None if tag == since else body, tag)

    def _read(self, names: list[str], path: str, max_bytes: int) -> bytes:
        folder = os.dup(self._root)
        try:
            for name in names[:-1]:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                below = os.open(name, flags, dir_fd=folder)
                os.close(folder)
                folder = below
            # O_NONBLOCK: opening a FIFO must not wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(names[-1], flags, dir_fd=folder)
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotFoundError(f"{self.address}{path} is not a regular file")
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise _too_large(self.address + path, max_bytes)
        return data


class HTTPSource:
    """A tree behind an HTTP server. Use it as a context manager, or close it.

    Proxy variables, netrc and redirects are ignored: only the given host is contacted.

    Args:
        address: `http://` or `https://` URL, without query.
        total_seconds: how long one read may take in all, name look-up and headers included.
    """

    def __init__(self, address: str, *, total_seconds: float = TOTAL_SECONDS) -> None:
        import httpx2

        self.address = parse_address(address)
        self._total_seconds = total_seconds
        # One event loop for all reads: connections stay open, and a deadline can end a read in
        # any phase, which the timeouts of a blocking client cannot (they count per receive).
        self._runner = asyncio.Runner()
        self._client = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._runner.run(self._client.aclose())
        self._runner.close()

    def read(self, path: str, *, max_bytes: int) -> bytes:
        """Return the body of a GET."""
        # A server may look at the parameter or at the header only; blocks are asked for by both.
        block = path.startswith("/ipfs/")
        headers = {"Accept": "application/vnd.ipld.raw"} if block else {}
        work = self._get(path, "?format=raw" if block else "", headers, max_bytes)
        answer = self._run(work, path, self._total_seconds)
        assert answer.body is not None  # no condition was sent
        return answer.body

    def poll(self, path: str, *, max_bytes: int, since: str = "") -> Answer:
        """Return the body of a GET that names the state already seen.

        A pnode server answers with what is new; a static server ignores the parameter and looks
        at `If-None-Match` only.
        """
        query = f"?since={quote(since, safe='')}" if since else ""
        headers = {"If-None-Match": f'"{since}"'} if since else {}
        work = self._get(path, query, headers, max_bytes)
        return self._run(work, path, self._total_seconds)

    def stream(self, path: str, accept: str) -> AbstractContextManager[Stream]:
        """Return the body of a GET, each piece of which has the time of one read."""
        headers = {"Accept": accept}
        return open_stream(
            self.address + path, headers, seconds=self._total_seconds, silence=READ_SECONDS
        )

    def post(self, path: str, body: bytes, *, max_bytes: int) -> Posted:
        """Return the answer to a POST, whatever its status."""
        return self._run(self._post(path, body, max_bytes), path, POST_SECONDS)

    def _run(self, work: Coroutine[None, None, Result], path: str, seconds: float) -> Result:
        """Run one request within the time it may take."""
        import httpx2

        async def within() -> Result:
            async with asyncio.timeout(seconds):
                return await work

        try:
            return self._runner.run(within())
        except TimeoutError:
            text = f"{self.address}{path}: no complete answer in {seconds:g} s"
            raise UnavailableError(text) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"{self.address}{path}: {reason}") from None

    async def _get(self, path: str, query: str, headers: Headers, max_bytes: int) -> Answer:
        url = f"{self.address}{path}{query}"
        sent = {"Accept": "*/*", **headers, "Accept-Encoding": "identity"}
        async with self._client.stream("GET", url, headers=sent) as response:
            if response.status_code == 304 and "If-None-Match" in headers:
                return Answer(None, headers["If-None-Match"].strip('"'))
            self._check_status(response, path)
            body = await self._body(response, path, max_bytes)
        match = _STRONG_TAG.fullmatch(response.headers.get("etag", ""))
        return Answer(body, match["tag"] if match else "")

    async def _post(self, path: str, body: bytes, max_bytes: int) -> Posted:
        sent = {"Content-Type": "application/octet-stream", "Accept-Encoding": "identity"}
        url = f"{self.address}{path}"
        async with self._client.stream(
            "POST", url, headers=sent, content=body, timeout=POST_SECONDS
        ) as response:
            self._check_plain(response, path)
            answer = await self._body(response, path, max_bytes)
        content_type = str(response.headers.get("content-type", ""))[:200]
        return Posted(response.status_code, answer, content_type)

    async def _body(self, response: httpx2.Response, path: str, max_bytes: int) -> bytes:
        data = bytearray()
        async for chunk in response.aiter_raw(_CHUNK):
            data += chunk
            if len(data) > max_bytes:
                raise _too_large(self.address + path, max_bytes)
        return bytes(data)

    def _check_status(self, response: httpx2.Response, path: str) -> None:
        status = response.status_code
        text = f"{self.address}{path}: HTTP status {status}"
        if status in (404, 410):
            raise NotFoundError(text)
        if 300 <= status < 400:
            hint = "redirects are not followed; give the address it leads to"
            raise UnavailableError(text, hint=hint)
        if status != 200:
            raise UnavailableError(text)
        self._check_plain(response, path)

    def _check_plain(self, response: httpx2.Response, path: str) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise UnavailableError(f"{self.address}{path}: compressed although not asked for")


def parse_address(text: str) -> str:
    """Return the one form of a peer's address: a URL without final slash, or an absolute path.

    Raises:
        UsageError: if it is neither.
    """
    if not text or len(text) > MAX_ADDRESS or not text.isprintable():
        raise UsageError(f"'{text[:80]}' is not an address", hint="give a URL or a directory")
    scheme, separator, _ = text.partition("://")
    if not separator:
        return str(Path(text).absolute())
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"'{text[:80]}' is not an address ({error})") from None
    if scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise UsageError(f"'{text[:80]}': only http and https URLs and directories are peers")
    if parts.username or parts.password or parts.query or parts.fragment or "\\" in text:
        raise UsageError(f"'{text[:80]}': a peer's URL has no user name, query or fragment")
    return text.rstrip("/")


def open_source(text: str, *, offline: bool) -> DirectorySource | HTTPSource:
    """Open a peer by its address; close it, or use it as a context manager.

    Raises:
        UsageError: if it is not an address.
        UnavailableError: for a URL when offline, or a directory that is not there.
    """
    address = parse_address(text)
    if "://" not in address:
        return DirectorySource(Path(address))
    if offline:
        raise UnavailableError(
            f"{address} is on the network, and --offline was given",
            hint="run without --offline, or sync from a directory",
        )
    return HTTPSource(address)


def _too_large(what: str, max_bytes: int) -> PnodeError:
    return MalformedError(f"{what}: more than the {max_bytes} bytes it may have")
