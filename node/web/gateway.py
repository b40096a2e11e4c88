"""`/ipfs/<cid>`: the trustless gateway over HTTP (IPFS trustless gateway specification).

Subset: `format=raw` and `format=car` (CARv1, depth first, no duplicates), `dag-scope` of `block`
or `all`, CIDs as pnode writes them. The format must be asked for, by parameter or by `Accept`;
the parameter wins. Only published blocks that are here are answered, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ledger.car import write_car
from ledger.cid import DAG_PB, Cid
from ledger.database import Database
from ledger.errors import NotFoundError, UsageError
from ledger.unixfs import Limits, checked_block, walk
from node.peering.published import Published, dag_cids
from node.peering.tree import RAW_BLOCK, resolve
from node.storage.local import LocalStore

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

CAR: Final = "application/vnd.ipld.car"
CAR_TYPE: Final = f"{CAR}; version=1; order=dfs; dups=n"
IMMUTABLE: Final = "public, max-age=29030400, immutable"
PROBE: Final = "bafkqaaa"
"""The identity CID of no bytes, by which clients ask whether this is a gateway."""

_RAW, _CAR = "raw", "car"


class NotAcceptableError(UsageError):
    """A format this gateway does not speak."""

    code = "not-acceptable"


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """What a client asks for: a format and, for a CAR, its scope."""

    format: str
    scope: str

    @classmethod
    def parse(cls, query: Mapping[str, str], accept: str) -> BlockRequest:
        """Parse parameters and the `Accept` header.

        Raises:
            UsageError: if no format is asked for, or the scope is unknown.
            NotAcceptableError: if it is one that is not spoken here.
        """
        scope = query.get("dag-scope", "all")
        if scope not in ("all", "block"):
            raise UsageError("dag-scope must be 'all' or 'block'")
        name = query.get("format")
        if name is None:
            name = _accepted(accept)
        elif name not in (_RAW, _CAR):
            raise NotAcceptableError(f"format '{name[:40]}' is not spoken here, ask for raw or car")
        return cls(name, scope)

    def etag(self, cid: str) -> str:
        """Return the entity tag, different for each form of one CID."""
        return f'"{cid}.{self.format}' + (f'.{self.scope}"' if self.format == _CAR else '"')


def answer(
    request: Request, database: Database, store: LocalStore, published: Published
) -> Response:
    """Answer GET or HEAD of `/ipfs/<cid>`.

    Raises:
        UsageError, NotAcceptableError, NotFoundError: as statuses 400, 406 and 404.
    """
    from starlette.responses import Response, StreamingResponse

    cid = request.path_params["cid"]
    wanted = BlockRequest.parse(request.query_params, request.headers.get("accept", ""))
    headers = _headers(cid, wanted)
    if cid == PROBE and wanted.format == _RAW:
        return Response(b"", media_type=RAW_BLOCK, headers=headers)
    root = resolve(database, store, f"/ipfs/{cid}", published).body
    if request.headers.get("if-none-match") == headers["Etag"]:
        return Response(status_code=304, headers=headers)
    if wanted.format == _RAW:
        return Response(root, media_type=RAW_BLOCK, headers=headers)
    parsed = Cid.parse(cid)
    if wanted.scope == "block":
        body = b"".join(write_car(parsed, [(parsed, root)]))
        return Response(body, media_type=CAR_TYPE, headers=headers)
    _require_whole(parsed, store)
    if request.method == "HEAD":
        return Response(media_type=CAR_TYPE, headers=headers)
    blocks = walk(parsed, store.get_block, Limits())
    return StreamingResponse(write_car(parsed, blocks), media_type=CAR_TYPE, headers=headers)


def _accepted(accept: str) -> str:
    types = [part.split(";")[0].strip().lower() for part in accept.split(",")]
    for name in types:
        if name in (RAW_BLOCK, CAR):
            return _RAW if name == RAW_BLOCK else _CAR
    ipld = [name for name in types if name.startswith("application/vnd.ipld.")]
    if ipld:
        raise NotAcceptableError(f"{ipld[0][:80]} is not spoken here, ask for raw or car")
    raise UsageError("ask for ?format=raw or ?format=car; files are not assembled here")


def _headers(cid: str, wanted: BlockRequest) -> dict[str, str]:
    extension = "bin" if wanted.format == _RAW else "car"
    return {
        "Cache-Control": IMMUTABLE,
        "Etag": wanted.etag(cid),
        "Content-Disposition": f'attachment; filename="{cid}.{extension}"',
        "X-Ipfs-Path": f"/ipfs/{cid}",
        "Vary": "Accept",
    }


def _require_whole(root: Cid, store: LocalStore) -> None:
    """Refuse a CAR that would end early: a short body cannot be told from a whole one."""

    def read(cid: Cid) -> bytes | None:
        return checked_block(cid, store.get_block)

    for cid in dag_cids(root, read):
        if cid.codec != DAG_PB and not store.has(cid):
            raise NotFoundError(f"block {cid} below {root} is not here")
