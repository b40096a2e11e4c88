"""Where a peer's static tree is read from: a directory or an HTTP server.

A source moves bytes and promises nothing about them. What it does promise is to come back: every
read has a limit on bytes, and an HTTP read has limits on time as well, so a peer that stalls,
drips or floods costs a bounded amount. Links and redirects are never followed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

from ledger.errors import MalformedError, NotFoundError, PnodeError, UnavailableError, UsageError

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
TOTAL_SECONDS = 60.0
MAX_ADDRESS = 2_048
_CHUNK = 1 << 16


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
        import httpx2

        try:
            return self._runner.run(self._read(path, max_bytes))
        except TimeoutError:
            text = f"{self.address}{path}: no complete answer in {self._total_seconds:g} s"
            raise UnavailableError(text) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError(f"{self.address}{path}: {reason}") from None

    async def _read(self, path: str, max_bytes: int) -> bytes:
        # A server may look at the parameter or at the header only; blocks are asked for by both.
        block = path.startswith("/ipfs/")
        url = f"{self.address}{path}" + ("?format=raw" if block else "")
        accept = "application/vnd.ipld.raw" if block else "*/*"
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        async with (
            asyncio.timeout(self._total_seconds),
            self._client.stream("GET", url, headers=headers) as response,
        ):
            self._check_status(response, path)
            return await self._body(response, path, max_bytes)

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
