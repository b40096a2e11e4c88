"""The pages of `serve` for people, over HTTP: reading requests, caching, errors.

Every page is a GET with a JSON twin under the same address plus `.json` (`/index.json` for `/`)
and the same parameters. An answer carries an entity tag and is fresh for seconds; a request that
names the tag is answered without a body.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from ledger.encoding import canonical_json
from ledger.errors import NotFoundError, UsageError
from ledger.heldevidence import find_evidence
from node.home import Home
from node.web.blockrequest import IMMUTABLE
from node.web.pagehtml import HTML, Asset, assets, render, said
from node.web.pageindex import Filter
from node.web.pages import entries_page, entry_page, locate, log_page, overview
from node.web.peerpage import peers_page
from node.web.snapshots import Snapshots

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

BRIEF: Final = "public, max-age=5"
JSON: Final = "application/json"

_ENTRY_ID = re.compile(r"b[a-z2-7]{58}", re.ASCII)
_FOLDER = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PAGE = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
# What stands in a command that readers paste into a shell has no character a shell obeys.
_HOST = re.compile(r"([a-zA-Z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\])(:[0-9]{1,5})?", re.ASCII)
_MOST_QUERY = 1_000
_PROOF, _ENVELOPE, _TWIN = ".tlog-proof", ".dsse.json", ".json"


class Pages:
    """The pages of one home.

    Args:
        home: whose pages these are.
        url: the address others reach this server by, for the commands on pages; by default the
            one each request was sent to.
        show_peers: whether `/peers` tells whom this node follows.
    """

    def __init__(self, home: Home, *, url: str | None = None, show_peers: bool = False) -> None:
        self._home = home
        self._url = url
        self._show_peers = show_peers
        self._snapshots = Snapshots(home)

    def routes(self) -> list[Route]:
        """Return the routes of all pages."""
        from starlette.routing import Route

        return [
            Route("/", self._overview),
            Route("/index.json", self._overview),
            Route("/entries", self._entries),
            Route("/entries.json", self._entries),
            Route("/entry/{name}", self._entry),
            Route("/log/{name}", self._log),
            Route("/evidence/{name}", self._evidence),
            Route("/peers", self._peers),
            Route("/peers.json", self._peers),
            *(Route(asset.path, _asset(asset)) for asset in assets()),
        ]

    def _overview(self, request: Request) -> Response:
        record = overview(self._home, self._snapshots.current(), _page(_query(request)))
        return self._answer(request, "overview", record)

    def _entries(self, request: Request) -> Response:
        query = _query(request)
        wanted = Filter(*(query.get(name, "") for name in ("kind", "author", "status")))
        record = entries_page(self._snapshots.current(), wanted, _page(query))
        return self._answer(request, "entries", record, filter=wanted)

    def _entry(self, request: Request) -> Response:
        id_, ending = _split(request.path_params["name"], (_PROOF, _ENVELOPE, _TWIN))
        if not _ENTRY_ID.fullmatch(id_):
            raise NotFoundError("an entry has the path /entry/<id>")
        snapshot = self._snapshots.current()
        with self._home.reading() as database:
            if ending == _PROOF:
                body = bytes(locate(snapshot, database, id_).proof)
                return _download(request, body, f"{id_}{_PROOF}", "text/plain; charset=utf-8")
            if ending == _ENVELOPE:
                body = locate(snapshot, database, id_).body
                return _download(request, body, f"{id_}{_ENVELOPE}", JSON)
            record = entry_page(snapshot, database, id_)
        return self._answer(request, "entry", record, said=said(record))

    def _log(self, request: Request) -> Response:
        folder, _ = _split(request.path_params["name"], (_TWIN,))
        if not _FOLDER.fullmatch(folder):
            raise NotFoundError("a log has the path /log/<h>")
        page = _page(_query(request))
        snapshot = self._snapshots.current()
        with self._home.reading() as database:
            record = log_page(snapshot, database, folder, page)
        return self._answer(request, "log", record)

    def _evidence(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not _FOLDER.fullmatch(name):
            raise NotFoundError("evidence has the path /evidence/<id>")
        with self._home.reading() as database:
            body = bytes(find_evidence(database, name))
        return _download(request, body, f"{name}.equivocation", "text/plain; charset=utf-8")

    def _peers(self, request: Request) -> Response:
        return self._answer(request, "peers", peers_page(self._home, shown=self._show_peers))

    def _answer(
        self, request: Request, template: str, record: dict[str, Any], **context: Any
    ) -> Response:
        path = request.scope["path"]
        if path.endswith(_TWIN):
            return _tagged(request, canonical_json(record) + b"\n", JSON)
        body = render(
            template,
            record,
            home=self._home,
            twin=_twin(request),
            url=self._url or _address(request),
            here=path,
            **context,
        )
        return _tagged(request, body, HTML)


def public_url(text: str) -> str:
    """Return an address others reach a server by: scheme and host, and a port if need be.

    Raises:
        UsageError: if it is not one.
    """
    scheme, _, host = text.rstrip("/").partition("://")
    if scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise UsageError(
            f"'{text[:80]}' is not the address of a server", hint="such as https://ledger.example"
        )
    return f"{scheme}://{host}"


def error_page(request: Request, status: int, code: str, text: str) -> Response:
    """Return an error as JSON, HTML or plain text: whichever the path or `Accept` asks for."""
    from starlette.responses import Response

    accept = request.headers.get("accept", "")
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    hint = _HINTS.get(status, "")
    if request.scope["path"].endswith(_TWIN) or _prefers_json(accept):
        error = {"error": {"code": code, "message": text, "hint": hint}}
        body, kind = canonical_json(error) + b"\n", JSON
    elif "text/html" in accept:
        body = render("error", {"status": status, "text": text, "hint": hint})
        kind = HTML
    else:
        body, kind = f"{text}\n".encode(), "text/plain; charset=utf-8"
    return Response(body, status_code=status, headers=headers, media_type=kind)


_HINTS: Final[Mapping[int, str]] = {
    400: "The address has a parameter this page does not understand.",
    404: "It may be on another node, or not signed yet. The list of entries shows what is here.",
    503: "Come back in a few seconds.",
}


def _query(request: Request) -> dict[str, str]:
    """Return the parameters of a request; of one given twice the last counts.

    Raises:
        UsageError: if there is more of it than any page needs.
    """
    if len(request.scope["query_string"]) > _MOST_QUERY:
        raise UsageError(f"the query has more than {_MOST_QUERY} bytes")
    return {name: value.strip() for name, value in request.query_params.items()}


def _page(query: Mapping[str, str]) -> int:
    text = query.get("page", "1")
    if not _PAGE.fullmatch(text):
        raise UsageError("'page' is not the number of a page")
    return int(text)


def _split(name: str, endings: tuple[str, ...]) -> tuple[str, str]:
    for ending in endings:
        if name.endswith(ending):
            return name.removesuffix(ending), ending
    return name, ""


def _twin(request: Request) -> str:
    """Return the address of the JSON twin of a page, with the parameters of the request."""
    path = request.scope["path"]
    query = urlencode(_query(request))
    return ("/index" if path == "/" else path) + _TWIN + (f"?{query}" if query else "")


def _address(request: Request) -> str:
    """Return the address a request was sent to, if it can be part of a shell command."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        return "http://NODE"
    return f"{'https' if request.url.scheme == 'https' else 'http'}://{host}"


def _tagged(request: Request, body: bytes, content_type: str, **headers: str) -> Response:
    """Answer with an entity tag, or without a body if the client has these very bytes."""
    from starlette.responses import Response

    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": BRIEF} | headers
    asked = request.headers.get("if-none-match", "")
    if asked == "*" or tag in (one.strip().removeprefix("W/") for one in asked.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers | {"Content-Type": content_type})


def _download(request: Request, body: bytes, name: str, content_type: str) -> Response:
    disposition = f'attachment; filename="{name}"'
    return _tagged(request, body, content_type, **{"Content-Disposition": disposition})


def _asset(asset: Asset) -> Callable[[Request], Response]:
    def answer(_request: Request) -> Response:
        from starlette.responses import Response

        headers = {"Cache-Control": IMMUTABLE, "Content-Type": asset.content_type}
        return Response(asset.body, headers=headers)

    return answer


def _prefers_json(accept: str) -> bool:
    return JSON in accept and "text/html" not in accept
