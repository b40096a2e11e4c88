"""One call to the RPC of an IPFS daemon, through ipfshttpclient; imported only when one is made.

The library is a thin transport (docs/adr/0025-ipfs-rpc.md). It lets exceptions of four other
libraries out, follows redirects, reads `~/.netrc` and proxy variables, and bounds neither time nor
size. `Rpc.call` is the one place where all that is put right: a call ends within its budget, speaks
only to the configured address, and fails with an error of `ledger.errors`.
"""

from __future__ import annotations

import http.client
import io
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import requests
from ipfshttpclient import exceptions, requests_wrapper
from ipfshttpclient.client import Client

from ledger.errors import MalformedError, NotFoundError, PnodeError, UnavailableError
from node.storage.ipfsbudget import Budget, BudgetedReader, Pace

Result = TypeVar("Result")

UPLOAD_CHUNK = 1 << 20
_PIECE = 1 << 16
_MAX_MESSAGE = 300
_BUSY = (429, 502, 503, 504)
# What js-ipfs and Kubo say, with status 500, of a block or pin they do not have.
_MISSING = re.compile(r"not pinned|not found|could not find|timed out|deadline exceeded", re.ASCII)


_FOREIGN = (
    exceptions.Error,
    requests.RequestException,
    OSError,
    # What the client makes of answers that it did not expect.
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
)


class BrokenOffError(UnavailableError):
    """A call that was broken off, or put off, and may succeed when it is made again."""


class Rpc:
    """The RPC of one daemon.

    Args:
        address: in the form of `node.storage.ipfsaddress`.
        authorization: the value of the header of that name, empty for none.
        pace: how long the daemon may take.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        address: str,
        authorization: str,
        pace: Pace,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = address
        self._headers = {"User-Agent": "pnode", "Accept-Encoding": "identity"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._pace = pace
        self._sleep = sleep
        self._idle: list[tuple[Any, _Adapter]] = []

    def call(
        self,
        command: str,
        work: Callable[[Any, Budget], Result],
        *,
        max_bytes: int,
        seconds: float | None = None,
        repeat: bool = True,
    ) -> Result:
        """Run `work` with a client that no other thread uses meanwhile, and return what it gives.

        Args:
            command: named in errors, such as "block/get".
            work: makes the call; it must be idempotent if it may be repeated.
            max_bytes: how long the answer may be.
            seconds: how long the call may take, all of it in silence; by default as the pace says.
            repeat: whether a call that is broken off is made again.

        Raises:
            NotFoundError: if the daemon says that it does not have what was asked for.
            UnavailableError: if it does not answer, not in time, or with another error.
            MalformedError: if its answer is not one of an IPFS daemon, or too long.
        """
        budget = Budget(
            f"IPFS daemon at {self._address}: {command}",
            seconds=self._pace.call if seconds is None else seconds,
            silence=self._pace.silence if seconds is None else seconds,
            max_bytes=max_bytes,
        )
        for wait in self._pace.waits if repeat else ():
            try:
                return self._once(work, budget)
            except BrokenOffError:
                if wait >= budget.left:
                    raise
            self._sleep(wait)
        return self._once(work, budget)

    def _once(self, work: Callable[[Any, Budget], Result], budget: Budget) -> Result:
        client, adapter = self._idle.pop() if self._idle else self._connect()
        adapter.budget = budget
        try:
            result = work(client, budget)
        except _FOREIGN as error:
            client.close()
            raise _explained(error, budget.what) from error
        except BaseException:
            # Half an answer may still be on its way: no later call may read it.
            client.close()
            raise
        self._idle.append((client, adapter))
        return result

    def _connect(self) -> tuple[Any, _Adapter]:
        """Return a new client; it opens no connection yet and asks for no version."""
        client = Client(
            self._address,
            session=True,
            chunk_size=UPLOAD_CHUNK,
            headers=self._headers,
            timeout=(self._pace.connect, self._pace.silence),
            username=None,
            password=None,
        )
        session = client._client._session  # noqa: SLF001 - the release is pinned; there is no other way
        if not isinstance(session, requests.Session):
            raise UnavailableError(
                "ipfshttpclient is told to use httpx",
                hint="unset PY_IPFS_HTTP_CLIENT_PREFER_HTTPX",
            )
        session.trust_env = False  # neither ~/.netrc nor proxies
        adapter = _Adapter()
        for prefix in list(session.adapters):
            session.mount(prefix, adapter)
        return client, adapter


class _Adapter(requests_wrapper.HTTPAdapter):  # type: ignore[misc, name-defined]
    """Receives answers within the budget of the call, from the configured address alone."""

    budget: Budget

    def __init__(self) -> None:
        super().__init__(max_retries=0)
        pools = self.poolmanager
        pools.connection_pool_kw.pop("strict", None)  # urllib3 warns of it
        pools.pool_classes_by_scheme = {
            scheme: _budgeted(kind, self) for scheme, kind in pools.pool_classes_by_scheme.items()
        }

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send a request, and look at the head of its answer."""
        self.budget.begin()
        self.budget.wait()
        response: requests.Response = super().send(request, **options)
        try:
            self._check(response)
        except PnodeError:
            response.close()
            raise
        # The library asks for all that there is; a length or a chunk that lies would be allocated.
        read = response.iter_content
        response.iter_content = lambda *_, **__: read(_PIECE)  # type: ignore[method-assign]
        return response

    def _check(self, response: requests.Response) -> None:
        if 300 <= response.status_code < 400:
            raise UnavailableError(
                f"{self.budget.what}: HTTP status {response.status_code}",
                hint="redirects are not followed; give the address it leads to",
            )
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise MalformedError(f"{self.budget.what}: compressed although not asked for")


def _budgeted(pool: Any, adapter: _Adapter) -> Any:
    """Return a class of connection pools whose answers are read within the adapter's budget."""
    response_class = partial(_Response, adapter)
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": response_class})
    return type("Pool", (pool,), {"ConnectionCls": connection})


class _Response(http.client.HTTPResponse):
    """An HTTP answer read through the budget of the call."""

    def __init__(self, adapter: _Adapter, sock: Any, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        assert isinstance(self.fp, io.BufferedReader)
        reader = BudgetedReader(self.fp.detach(), sock, adapter.budget)
        self.fp = io.BufferedReader(reader)


def _explained(error: Exception, what: str) -> PnodeError:
    """Return our error for what came out of the client, or of what it stands on."""
    if isinstance(error, exceptions.StatusError):
        return _status_error(error, what)
    if isinstance(error, exceptions.TimeoutError | exceptions.ConnectionError):
        return UnavailableError(f"{what}: {_reason(error)}")
    if isinstance(error, exceptions.ProtocolError | requests.RequestException):
        return BrokenOffError(f"{what}: broken off ({_reason(error)})")
    if isinstance(error, OSError):
        return UnavailableError(f"{what}: {_reason(error)}")
    hint = "check that the address is that of an IPFS API"
    return MalformedError(f"{what}: not an answer of an IPFS daemon", hint=hint)


def _status_error(error: exceptions.StatusError, what: str) -> PnodeError:
    """Return our error for an answer that is an error itself."""
    message = str(error)[:_MAX_MESSAGE] if isinstance(error, exceptions.ErrorResponse) else ""
    response = getattr(error.original, "response", None)
    status = 500 if response is None else response.status_code
    text = f"{what}: {message or f'HTTP status {status}'}"
    if status in (401, 403):
        hint = "put its credentials into PNODE_IPFS_AUTH: basic:USER:PASSWORD or bearer:TOKEN"
        return UnavailableError(text, hint=hint)
    if status in _BUSY:
        return BrokenOffError(text)
    if status == 500 and _MISSING.search(message):
        return NotFoundError(text)
    return UnavailableError(text)


def _reason(error: BaseException) -> str:
    """Return why a connection failed in a few words, from the innermost error that has some."""
    words = ""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            words = seen.strerror
        elif isinstance(seen, TimeoutError):
            words = "timed out"
        seen = seen.__cause__ or seen.__context__
    return words or type(error).__name__
