"""Serving a home over HTTP: the static tree, the trustless gateway and the pages for people.

Reading is a GET of public, verifiable bytes. The home is opened read-only for each, so another
process may write to it meanwhile. `POST /add-checkpoint` asks this node to cosign a log that it
knows (`node.peering.witnessing`), `POST /evidence` hands it evidence about one it holds
(`node.peering.gossip`), and `POST /push` brings a log that it follows (`node.web.pushes`). Every
other method is answered with 405. Errors say nothing about this machine.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ledger.errors import (
    EquivocationError,
    EvidenceError,
    HomeBusyError,
    LogFrozenError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
    UsageError,
)
from ledger.evidence import MAX_EVIDENCE_BYTES
from ledger.witness import MAX_REQUEST_BYTES, SIZE_TYPE, NotCosignedError
from node.home import Home
from node.peering.cursor import cursor_of
from node.peering.gossip import accept_evidence
from node.peering.guard import ask_peers
from node.peering.tree import TEXT, frontier, resolve
from node.peering.upload import PUSH_PATH
from node.peering.witnessing import add_checkpoint
from node.web.blockrequest import IMMUTABLE, NotAcceptableError, UnsupportedError
from node.web.body import read_body
from node.web.pagehtml import POLICY
from node.web.pushes import Pushes
from node.web.site import Pages, error_page

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7677

_BRIEF = "public, max-age=5"
_NOT_STORED = {"Cache-Control": "no-store"}
_BODY_SECONDS = 20.0
_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", POLICY.encode("ascii")),
    (b"referrer-policy", b"no-referrer"),
)
_log = logging.getLogger(__name__)


class SafetyHeaders:
    """Adds to every answer what keeps a browser from running or guessing anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_SAFETY]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Site:
    """The endpoints of one home; each opens the ledger for itself."""

    def __init__(self, home: Home) -> None:
        from node.web.gateway import Gateway

        self._home = home
        self._gateway = Gateway(home.store)

    def block(self, request: Request) -> Response:
        """Answer `/ipfs/<cid>`."""
        from starlette.responses import PlainTextResponse

        try:
            with self._home.reading() as database:
                return self._gateway.answer(request, database)
        except NotFoundError:
            if "only-if-cached" in request.headers.get("cache-control", ""):
                return PlainTextResponse("not cached here\n", 412, _NOT_STORED)
            raise

    async def add_checkpoint(self, request: Request) -> Response:
        """Answer `POST /add-checkpoint` with a cosignature, or say why not."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse, Response

        body = await read_body(request, max_bytes=MAX_REQUEST_BYTES, seconds=_BODY_SECONDS)
        try:
            answer = await run_in_threadpool(add_checkpoint, self._home, body)
        except NotCosignedError as refusal:
            if refusal.size is not None:
                size = f"{refusal.size}\n".encode("ascii")
                headers = {"Content-Type": SIZE_TYPE, **_NOT_STORED}
                return Response(size, refusal.status, headers)
            return PlainTextResponse(f"{refusal.message}\n", refusal.status, _NOT_STORED)
        return Response(answer, headers={"Content-Type": TEXT, **_NOT_STORED})

    async def add_evidence(self, request: Request) -> Response:
        """Answer `POST /evidence`: keep what is proven about a log held here."""
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import PlainTextResponse

        body = await read_body(request, max_bytes=MAX_EVIDENCE_BYTES, seconds=_BODY_SECONDS)
        try:
            kept = await run_in_threadpool(accept_evidence, self._home, body)
        except EvidenceError as error:
            return PlainTextResponse(f"{error.message}\n", 400, _NOT_STORED)
        except NotFoundError as error:
            return PlainTextResponse(f"{error.message}\n", 404, _NOT_STORED)
        return PlainTextResponse(f"{kept.id}\n", 200, _NOT_STORED)

    def file(self, request: Request) -> Response:
        """Answer every other path of the static tree."""
        from starlette.responses import Response

        path, since = request.scope["path"], request.query_params.get("since", "")
        asked = request.headers.get("if-none-match", "")
        with self._home.reading() as database:
            # A poll that finds nothing new must cost next to nothing, however many logs there are.
            if path == "/frontier" and asked == f'"{cursor_of(database)}"':
                return Response(status_code=304, headers={"ETag": asked, "Cache-Control": _BRIEF})
            if path == "/frontier":
                found = frontier(database, since)
            else:
                found = resolve(database, self._home.store, path)
        headers = {"Cache-Control": IMMUTABLE if found.immutable else _BRIEF}
        if found.tag:
            headers["ETag"] = f'"{found.tag}"'
            if asked == headers["ETag"]:
                return Response(status_code=304, headers=headers)
        headers["Content-Type"] = found.content_type
        return Response(found.body, headers=headers)


def create_app(home: Home, *, url: str | None = None, show_peers: bool = False) -> Starlette:
    """Return the ASGI application of a home; `node.web.site.Pages` explains the options."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.routing import Route

    site = Site(home)
    return Starlette(
        routes=[
            *Pages(home, url=url, show_peers=show_peers).routes(),
            Route("/ipfs/{cid}", site.block),
            Route("/ipfs/{cid}/{path:path}", site.block),
            Route("/evidence", site.add_evidence, methods=["POST"]),
            Route("/add-checkpoint", site.add_checkpoint, methods=["POST"]),
            Route(PUSH_PATH, Pushes(home).push, methods=["POST"]),
            Route("/{path:path}", site.file),
        ],
        exception_handlers={PnodeError: _error_response},
        middleware=[Middleware(SafetyHeaders)],
    )


def create_server(
    home: Home,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    url: str | None = None,
    show_peers: bool = False,
) -> tuple[uvicorn.Server, socket.socket]:
    """Return a server and the socket it is bound to; run it with `server.run([socket])`.

    Raises:
        UnavailableError: if the address cannot be bound.
    """
    import uvicorn

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnavailableError(
            f"cannot listen on {host} port {port}: {reason}", hint="choose another --port"
        ) from None
    # An answer is sent in two parts, and the second would wait for the first to be acknowledged,
    # for 40 ms. asyncio sets this only on sockets that say they are TCP, which this one does not;
    # accepted ones inherit it.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    config = uvicorn.Config(
        create_app(home, url=url, show_peers=show_peers),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config), bound


def serve(
    home: Home,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    url: str | None = None,
    show_peers: bool = False,
    ready: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> None:
    """Serve a home until it is interrupted, then finish the requests in progress.

    Args:
        home: the home to serve.
        host: the address to listen on; the default is not reachable from other machines.
        port: 0 takes a free one.
        url: the address others reach the server by, for the commands that pages show.
        show_peers: whether the page of peers tells whom this node follows.
        ready: called with the URL once connections are accepted.
        warn: if given, peers are asked for the own log meanwhile, and it is told what is wrong.

    Raises:
        UnavailableError: if the address cannot be bound.
    """
    server, bound = create_server(home, host, port, url=url, show_peers=show_peers)
    with bound:
        if ready is not None:
            name = f"[{host}]" if ":" in host else host
            ready(f"http://{name}:{bound.getsockname()[1]}")
        if warn is not None:
            threading.Thread(target=_guard, args=(home, warn), daemon=True).start()
        try:
            server.run([bound])
        except KeyboardInterrupt:
            return


def _guard(home: Home, warn: Callable[[str], None]) -> None:
    """Ask peers whether this home was restored or copied; one that does not answer says nothing."""
    try:
        for asked in ask_peers(home, offline=False):
            if isinstance(asked.error, LogFrozenError | EquivocationError):
                warn(f"{asked.error.message}; {asked.error.hint}")
    except PnodeError as error:
        warn(error.message)


def http_status(error: PnodeError, method: str = "GET") -> int:
    """Return the HTTP status an error is answered with."""
    if isinstance(error, NotAcceptableError):
        return 406
    if isinstance(error, UnsupportedError):
        return 501
    if isinstance(error, HomeBusyError):
        return 503
    # In a POST it is the body of the request that is malformed, else something stored here.
    if isinstance(error, MalformedError) and method == "POST":
        return 400
    if isinstance(error, UsageError):
        return 400
    if isinstance(error, UnavailableError):
        return 503
    return 404 if isinstance(error, NotFoundError) else 500


def _error_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, PnodeError)
    status = http_status(error, request.method)
    text = error.message
    if status == 404:
        text = "nothing is published under this path"
    elif status == 500:
        _log.error("%s: %s", request.scope["path"], error.message)
        text = "this home cannot answer: run 'pnode audit' there"
    elif isinstance(error, HomeBusyError):
        text = "this home is being written to: try again"
    return error_page(request, status, error.code, text)
