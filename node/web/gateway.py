"""`/ipfs/<cid>`: the trustless gateway over HTTP (IPFS trustless gateway specification).

Subset: raw blocks and CARs (`node.web.blockrequest`) of CIDs as pnode writes them, below a path
if one is given; no ranges of bytes, no records of names. Only published blocks that are here are
answered, nothing is fetched. A CAR begins only when all of it is here, and has a length: one that
ends early can be told from a whole one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from starlette.responses import PlainTextResponse, Response, StreamingResponse

from ledger.car import car_frame, car_header, write_car
from ledger.cid import DAG_PB, Cid
from ledger.dagpb import parse_node
from ledger.database import Database
from ledger.errors import MalformedError, NotFoundError, PnodeError, UsageError
from ledger.unixfs import checked_block, is_directory
from node.peering.published import Published, dag_cids
from node.peering.tree import resolve
from node.storage.local import LocalStore
from node.web.blockrequest import IMMUTABLE, BlockRequest, tag_matches

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

PROBE: Final = "bafkqaaa"
"""The identity CID of no bytes, by which clients ask whether this is a gateway."""
MAX_CARS: Final = 16
RETRY_SECONDS: Final = 5

_PROBE_CAR = b"\x19\xa2\x65roots\x81\xd8\x2a\x45\x00\x01\x55\x00\x00\x67version\x01"
_log = logging.getLogger(__name__)


class CarStream(StreamingResponse):
    """A CAR as it is read from the store; at most so many at once as there are slots."""

    def __init__(self, slots: BoundedSemaphore, pieces: Iterator[bytes], **rest: Any) -> None:
        super().__init__(pieces, **rest)
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send, or ask to come back later."""
        if not self._slots.acquire(blocking=False):
            later = {"Retry-After": str(RETRY_SECONDS), "Cache-Control": "no-store"}
            busy = PlainTextResponse("too many CARs at once, ask again later\n", 429, later)
            await busy(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._slots.release()

    async def stream_response(self, send: Send) -> None:
        """Send the pieces; if one cannot be read, leave the answer visibly unfinished."""
        try:
            await super().stream_response(send)
        except PnodeError as error:
            _log.error("a CAR was cut short: %s", error.message)


class Gateway:
    """Answers for the blocks of one home."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._published = Published()
        self._slots = BoundedSemaphore(MAX_CARS)

    def answer(self, request: Request, database: Database) -> Response:
        """Answer GET or HEAD of `/ipfs/<cid>` or `/ipfs/<cid>/<path>`.

        Raises:
            UsageError, NotAcceptableError, UnsupportedError, NotFoundError: as statuses 400, 406,
                501 and 404.
        """
        if request.headers.get("service-worker") == "script":
            raise UsageError("no script is served here")
        cid, path = request.path_params["cid"], request.path_params.get("path", "")
        accept = request.headers.get("accept", "")
        wanted = BlockRequest.parse(request.query_params, accept, path)
        headers = _headers(cid, wanted)
        if cid == PROBE and not path:
            body = b"" if wanted.form == "raw" else _PROBE_CAR
            return Response(body, media_type=wanted.content_type, headers=headers)
        root = resolve(database, self._store, f"/ipfs/{cid}", self._published).body
        if tag_matches(request.headers.get("if-none-match", ""), headers["Etag"]):
            return Response(status_code=304, headers=headers)
        if wanted.form == "raw":
            return Response(root, media_type=wanted.content_type, headers=headers)
        cids = self._cids(Cid.parse(cid), wanted)
        headers["Content-Length"] = str(self._car_size(cids))
        if request.method == "HEAD":
            return Response(media_type=wanted.content_type, headers=headers)
        blocks = ((each, checked_block(each, self._store.get_block)) for each in cids)
        pieces = write_car(cids[0], blocks)
        return CarStream(self._slots, pieces, media_type=wanted.content_type, headers=headers)

    def _cids(self, root: Cid, wanted: BlockRequest) -> list[Cid]:
        """Return what a CAR holds: the blocks on the way along the path, and those asked for.

        Raises:
            NotFoundError: if a directory has no such name, or a block is not here.
        """
        on_the_way, end = [], root
        for name in filter(None, wanted.path.split("/")):
            on_the_way.append(end)
            end = self._child(end, name)
        alone = wanted.scope == "block" or (wanted.scope == "entity" and self._is_directory(end))
        below = [end] if alone else self._below(end, repeats=wanted.duplicates)
        if wanted.duplicates:
            return on_the_way + below
        return on_the_way + [each for each in below if each not in on_the_way]

    def _below(self, root: Cid, *, repeats: bool) -> list[Cid]:
        try:
            return list(dag_cids(root, self._node, repeats=repeats))
        except MalformedError as error:
            if repeats:
                raise UsageError(f"{error.message}; ask with car-dups=n") from None
            raise

    def _car_size(self, cids: list[Cid]) -> int:
        total = len(car_header(cids[0]))
        for cid in cids:
            size = self._store.size_of(cid)
            total += len(car_frame(cid, size)) + size
        return total

    def _child(self, directory: Cid, name: str) -> Cid:
        if self._is_directory(directory):
            links, _ = parse_node(self._node(directory))
            for link in links:
                if link.name == name:
                    return link.cid
        raise NotFoundError(f"{directory} has nothing named '{name[:80]}'")

    def _is_directory(self, cid: Cid) -> bool:
        return cid.codec == DAG_PB and is_directory(self._node(cid))

    def _node(self, cid: Cid) -> bytes:
        return checked_block(cid, self._store.get_block)


def _headers(cid: str, wanted: BlockRequest) -> dict[str, str]:
    extension = "bin" if wanted.form == "raw" else "car"
    headers = {
        "Cache-Control": IMMUTABLE,
        "Etag": wanted.etag(cid),
        "Content-Disposition": f'attachment; filename="{cid}.{extension}"',
        "X-Ipfs-Path": quote(f"/ipfs/{cid}/{wanted.path}".rstrip("/")),
        "Vary": "Accept",
    }
    if not wanted.stated:
        headers["Content-Location"] = wanted.location(cid)
    return headers
