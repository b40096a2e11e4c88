"""The blocks of an IPFS daemon, through its RPC (docs/adr/0025-ipfs-rpc.md).

    put_dag     our own CAR into dag/import, then pin/ls
    get_block   block/get        has    block/stat
    pin unpin   pin/add pin/rm   pins   pin/ls         health   version, id

Nothing else is ever asked of a daemon, so nothing depends on its defaults for importing files.
CIDs in answers are compared as bytes: js-ipfs writes them in base58. Every block is hashed before
it is handed out, because js-ipfs keeps whatever it is given under any CID.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ledger.blocks import Health
from ledger.car import write_car
from ledger.cid import Cid
from ledger.encoding import decode_base58
from ledger.errors import (
    DigestError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
    UsageError,
)
from ledger.unixfs import MAX_BLOCK_BYTES
from node.storage.ipfsbudget import Budget, Pace

if TYPE_CHECKING:
    from node.storage.ipfsrpc import Rpc

AUTH_VARIABLE: Final = "PNODE_IPFS_AUTH"
_MAX_JSON = 64 << 10
_MAX_PINS = 16 << 20
_MAX_TEXT = 200
_STAT_SECONDS = 5
_BASE32 = {"cid-base": "base32"}
_SECRET = re.compile(r"(basic):([!-9;-~]*:[!-~]*)|(bearer):([!-~]+)", re.ASCII)


class IpfsStore:
    """The block store of one daemon; safe to share by threads.

    Every method raises `UnavailableError` if the daemon does not answer, or not in time, and
    `MalformedError` if its answer is not one of an IPFS daemon.

    Args:
        address: in the form of `node.storage.ipfsaddress`.
        auth: `basic:USER:PASSWORD` or `bearer:TOKEN`; by default what PNODE_IPFS_AUTH says.
        pace: how long the daemon may take.

    Raises:
        UsageError: if `auth` has another form.
    """

    def __init__(self, address: str, *, auth: str | None = None, pace: Pace | None = None) -> None:
        self.address = address
        self._pace = pace or Pace()
        text = os.environ.get(AUTH_VARIABLE, "") if auth is None else auth
        self._authorization = parse_authorization(text)
        self._opened: Rpc | None = None

    def put_dag(self, root: Cid, blocks: Iterable[tuple[Cid, bytes]]) -> None:
        """Import and pin a DAG as one CAR, in constant memory; idempotent.

        An import that is broken off is repeated if `blocks` can be iterated again.

        Raises:
            DigestError: if the daemon says it imported something else.
            UnavailableError: if it could not pin it.
        """

        def upload(client: Any, budget: Budget) -> tuple[Cid, str]:
            stream = _CarStream(write_car(root, blocks), budget, self._pace.bytes_per_second)
            told = client.dag.imprt(stream, opts={"pin-roots": "true", **_BASE32}).as_json()["Root"]
            return decode_cid(told["Cid"]["/"]), str(told.get("PinErrorMsg", ""))[:_MAX_TEXT]

        again = iter(blocks) is not blocks
        imported, failure = self._rpc.call(
            "dag/import", upload, max_bytes=_MAX_JSON, seconds=self._pace.whole_dag, repeat=again
        )
        if imported != root:
            raise DigestError(
                f"IPFS daemon at {self.address} imported {imported} instead of {root}",
                hint="do not rely on this daemon; what was published is in the local store",
            )
        self._require_pinned(root, failure)

    def get_block(self, cid: Cid) -> bytes:
        """Return a block, verified; the daemon may look for it at its peers.

        Raises:
            NotFoundError: if the daemon does not find it.
            DigestError: if what it gives is not what the CID names.
        """
        options = {"timeout": f"{self._pace.search:g}s"}

        def download(client: Any, _: Budget) -> bytes:
            with client.block.get(str(cid), stream=True, opts=options) as pieces:
                return b"".join(pieces)

        block = self._rpc.call("block/get", download, max_bytes=MAX_BLOCK_BYTES)
        try:
            cid.check(block)
        except DigestError as error:
            raise DigestError(f"IPFS daemon at {self.address}: {error.message}") from None
        return block

    def has(self, cid: Cid) -> bool:
        """Whether the daemon has a block itself."""
        options = {"offline": "true", "timeout": f"{_STAT_SECONDS}s", **_BASE32}

        def stat(client: Any, _: Budget) -> bool:
            return decode_cid(client.block.stat(str(cid), opts=options)["Key"]) == cid

        try:
            return self._rpc.call("block/stat", stat, max_bytes=_MAX_JSON)
        except NotFoundError:
            return False

    def pin(self, root: Cid) -> None:
        """Have the daemon keep everything below a root, which it must have or find.

        Raises:
            NotFoundError: if it does not find all of it.
        """
        seconds = self._pace.whole_dag
        options = {"timeout": f"{seconds:g}s"}

        def add(client: Any, _: Budget) -> None:
            client.pin.add(str(root), opts=options)

        self._rpc.call("pin/add", add, max_bytes=_MAX_JSON, seconds=seconds)
        self._require_pinned(root)

    def unpin(self, root: Cid) -> None:
        """Have the daemon keep a root no longer; one that is not pinned is left so."""

        def remove(client: Any, _: Budget) -> None:
            client.pin.rm(str(root))

        with suppress(NotFoundError):
            self._rpc.call("pin/rm", remove, max_bytes=_MAX_JSON)

    def is_pinned(self, root: Cid) -> bool:
        """Whether the daemon keeps everything below a root."""
        try:
            return root in self._pinned(str(root), max_bytes=_MAX_JSON)
        except NotFoundError:
            return False

    def pins(self) -> Iterator[Cid]:
        """Yield the pinned roots that have a CID of our form, sorted."""
        yield from sorted(self._pinned(max_bytes=_MAX_PINS))

    def health(self) -> Health:
        """Say whether the daemon answers, and what it calls itself."""

        def ask(client: Any, _: Budget) -> str:
            version, agent = client.version()["Version"], client.id()["AgentVersion"]
            return f"{agent}, version {version}"[:_MAX_TEXT]

        try:
            detail = self._rpc.call("version", ask, max_bytes=_MAX_JSON)
        except PnodeError as error:
            return Health(ok=False, detail=error.message)
        return Health(ok=True, detail=detail)

    @property
    def _rpc(self) -> Rpc:
        if self._opened is None:
            try:
                from node.storage.ipfsrpc import Rpc
            except ModuleNotFoundError as error:
                raise UnavailableError(
                    f"IPFS daemon at {self.address}: the package {error.name} is not installed",
                    hint="install it with: pip install 'pnode[ipfs]'",
                ) from None
            self._opened = Rpc(self.address, self._authorization, self._pace)
        return self._opened

    def _require_pinned(self, root: Cid, failure: str = "") -> None:
        if failure or not self.is_pinned(root):
            reason = f": {failure}" if failure else ""
            raise UnavailableError(f"IPFS daemon at {self.address} did not pin {root}{reason}")

    def _pinned(self, *only: str, max_bytes: int) -> set[Cid]:
        def look(client: Any, _: Budget) -> set[Cid]:
            keys = client.pin.ls(*only, type="recursive", opts=dict(_BASE32))["Keys"]
            return {cid for text in keys for cid in _decoded(text)}

        return self._rpc.call("pin/ls", look, max_bytes=max_bytes)


def decode_cid(text: str) -> Cid:
    """Return the CID that a daemon writes in base32 or base58btc.

    Raises:
        ValueError: if it is none of the form that is used here.
    """
    try:
        if text[:1] == "z" and len(text) <= 60:
            return Cid.from_bytes(decode_base58(text[1:], what="CID"))
        return Cid.parse(text)
    except MalformedError as error:
        raise ValueError(error.message) from None


def _decoded(text: str) -> Iterator[Cid]:
    """Yield a CID if it has our form; others pin what they like."""
    with suppress(ValueError):
        yield decode_cid(text)


def parse_authorization(text: str) -> str:
    """Return the HTTP header for `basic:USER:PASSWORD` or `bearer:TOKEN`; empty for empty.

    These are the forms of Kubo's `API.Authorizations`.

    Raises:
        UsageError: for any other text, which is not repeated.
    """
    if not text:
        return ""
    match = _SECRET.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{AUTH_VARIABLE} is neither basic:USER:PASSWORD nor bearer:TOKEN",
            hint="write it as in the daemon's API.Authorizations",
        )
    if match[1]:
        return "Basic " + base64.b64encode(match[2].encode()).decode()
    return f"Bearer {match[4]}"


class _CarStream:
    """A CAR as a file to read from: made while it is read, and never whole in memory.

    It has no name, so no path on this machine goes to the daemon. What has been read gives the
    call the time to send it.
    """

    def __init__(self, pieces: Iterator[bytes], budget: Budget, bytes_per_second: int) -> None:
        self._pieces = pieces
        self._budget = budget
        self._bytes_per_second = bytes_per_second
        self._held = bytearray()

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, `size` of them except at the end.

        Raises:
            UnavailableError: if the daemon took the earlier ones too slowly.
        """
        self._budget.wait()
        while len(self._held) < size and (piece := next(self._pieces, b"")):
            self._held += piece
        data = bytes(self._held[:size])
        del self._held[:size]
        self._budget.extend(len(data) / self._bytes_per_second)
        return data
