"""Pushing the own log to a peer: for a node behind NAT that nobody can pull from.

The peer is first told the newest checkpoint alone, and answers how many entries it holds and which
blocks it misses. Then entries follow, and blocks, in requests of at most MAX_PUSH_BYTES. Entries
that do not fit into one request are cut at older checkpoints, which are signed too; the peer keeps
what is complete after each request, so an interrupted push continues.

A peer that takes no pushes, or not of this log, says so with a status; that is no error.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.cid import Cid
from ledger.errors import (
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    UnavailableError,
)
from ledger.heldevidence import frozen_origins
from ledger.log import Log, find_log
from ledger.tile import TILE_WIDTH, Tile, changed_tiles, encode_bundle, tiles_of
from node.home import Home
from node.identity.lineage import own_origins
from node.peering.blockpull import Progress
from node.peering.peerstate import PeerState
from node.peering.source import Poster
from node.peering.tree import log_folder
from node.peering.upload import MAX_PUSH_BYTES, PUSH_PATH, RECORD_OVERHEAD, encode_upload

NOT_ACCEPTED: Final = (403, 404, 405, 501)
MAX_ANSWER_BYTES: Final = 1 << 20
_SPARE: Final = 1 << 16
_LARGEST_BLOCK: Final = 2 << 20

Files = Iterator[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push brought: entries and blocks, whether the peer takes any, and what went wrong."""

    entries: int = 0
    blocks: int = 0
    accepted: bool = True
    error: PnodeError | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a peer says it stands; unverified, and good for nothing but what to send next."""

    size: int
    missing: tuple[Cid, ...]

    @classmethod
    def parse(cls, body: bytes) -> Standing:
        """Parse the answer to a push.

        Raises:
            MalformedError: if it is not in the accepted form.
        """
        try:
            value = json.loads(body)
            size, missing = value["size"], tuple(Cid.parse(text) for text in value["missing"])
        except (ValueError, KeyError, TypeError, RecursionError):
            raise MalformedError("the answer to a push is not in the accepted form") from None
        if type(size) is not int or size < 0:
            raise MalformedError("the answer to a push has no size")
        return cls(size, missing)


def push_own_log(home: Home, peer: Poster, state: PeerState, progress: Progress) -> Pushed:
    """Bring a peer what it lacks of this home's own log; what goes wrong is in the result.

    After a change of keys also of the logs that it continues, the oldest first: their last entry
    says where they go on.
    """
    with home.reading() as database:
        entries = blocks = 0
        pushed = Pushed()
        for origin in reversed(own_origins(home, database)):
            log = find_log(database, origin)
            latest = log.checkpoint() if log is not None else None
            if log is None or latest is None or origin in frozen_origins(database):
                continue
            behind = state.offers(peer.address).get(origin, 0) < latest[0].size
            if not behind and not (origin == home.origin and state.push_unfinished(peer.address)):
                continue
            pushed = _Push(home, peer, log, latest[1], progress).run(state)
            entries, blocks = entries + pushed.entries, blocks + pushed.blocks
            if isinstance(pushed.error, UnavailableError):
                break
        return replace(pushed, entries=entries, blocks=blocks)


class _Push:
    def __init__(self, home: Home, peer: Poster, log: Log, note: bytes, progress: Progress) -> None:
        self._home = home
        self._peer = peer
        self._log = log
        self._note = note
        self._progress = progress
        self._prefix = f"/{log_folder(log.origin)}/"
        self._checkpoints = list(log.notes())
        self._entries = 0
        self._blocks = 0

    def run(self, state: PeerState) -> Pushed:
        try:
            standing = self._send([("checkpoint", self._note)])
            if standing is None:
                state.push_finished(self._peer.address)
                return Pushed(accepted=False)
            state.push_begun(self._peer.address)
            self._push_blocks(self._push_entries(standing))
        except PnodeError as error:
            return Pushed(self._entries, self._blocks, error=error)
        state.push_finished(self._peer.address)
        size = self._checkpoints[-1][0]
        state.offered(self._peer.address, [(self._log.origin, size, False)])
        return Pushed(self._entries, self._blocks)

    def _push_entries(self, standing: Standing) -> Standing:
        last = self._checkpoints[-1][0]
        while standing.size < last:
            self._progress("entries pushed", standing.size, last)
            size, note = self._stage(standing.size)
            files = [("checkpoint", note), *self._files(standing.size, size)]
            after = self._required(files)
            if after.size < size:
                raise IncompleteError(
                    f"{self._peer.address}: {size} entries were pushed, it holds {after.size}"
                )
            self._entries += size - standing.size
            standing = after
        return standing

    def _stage(self, held: int) -> tuple[int, bytes]:
        """Return the largest checkpoint whose new entries fit into one request."""
        larger = [each for each in self._checkpoints if each[0] > held]
        sizes = [size for size, _ in larger]
        fitting = bisect_right(sizes, MAX_PUSH_BYTES, key=lambda size: self._bytes(held, size))
        if not fitting:
            raise IncompleteError(
                f"the entries {held} to {sizes[0] - 1} of this log were signed at once and are "
                f"too large for one request of {MAX_PUSH_BYTES} bytes",
                hint="let the peer pull: 'pnode serve', or 'pnode export' to a directory",
            )
        return larger[fitting - 1]

    def _bytes(self, held: int, size: int) -> int:
        start = held // TILE_WIDTH * TILE_WIDTH
        sql = (
            "SELECT coalesce(sum(length(body) + 2), 0) FROM entry"
            " WHERE log = ? AND idx >= ? AND idx < ?"
        )
        (total,) = next(self._log.database.query(sql, (self._log.row_id, start, size)))
        return int(total) + 34 * (size - start) + _SPARE

    def _files(self, held: int, size: int) -> Files:
        edge = (tile for tile in tiles_of(size) if tile.width < TILE_WIDTH)
        for tile in sorted({*changed_tiles(held, size), *edge}):
            yield tile.path, b"".join(self._log.tile(tile)[: tile.width])
        for index in range(held // TILE_WIDTH, -(-size // TILE_WIDTH)):
            start = index * TILE_WIDTH
            bundle = Tile(-1, index, min(TILE_WIDTH, size - start))
            yield bundle.path, encode_bundle(list(self._log.bodies(start, start + bundle.width)))

    def _push_blocks(self, standing: Standing) -> None:
        """Send what the peer misses until it misses nothing that is here."""
        sent: set[Cid] = set()
        while wanted := [cid for cid in standing.missing if cid not in sent]:
            self._progress("blocks pushed", self._blocks, self._blocks + len(wanted))
            batch = dict(self._batch(wanted, sent))
            if not batch:
                break
            standing = self._required([("checkpoint", self._note), *batch.items()])
            self._blocks += len(batch)

    def _batch(self, wanted: Sequence[Cid], sent: set[Cid]) -> Files:
        left = MAX_PUSH_BYTES - _SPARE
        for cid in wanted:
            if left < _LARGEST_BLOCK:
                return
            sent.add(cid)
            try:
                block = self._home.store.get_block(cid)
            except NotFoundError:
                continue
            left -= len(block) + len(str(cid)) + RECORD_OVERHEAD + 16
            yield f"/ipfs/{cid}", block

    def _required(self, files: Sequence[tuple[str, bytes]]) -> Standing:
        standing = self._send(files)
        if standing is None:
            raise UnavailableError(f"{self._peer.address} takes no more pushes")
        return standing

    def _send(self, files: Sequence[tuple[str, bytes]]) -> Standing | None:
        """Send files and return where the peer stands, or None if it takes no pushes of this log.

        Raises:
            UnavailableError: if the peer does not answer or is busy.
            IncompleteError: if it refuses this push.
        """
        absolute = (
            (path if path.startswith("/") else self._prefix + path, content)
            for path, content in files
        )
        body = encode_upload(absolute)
        answer = self._peer.post(PUSH_PATH, body, max_bytes=MAX_ANSWER_BYTES)
        if answer.status == 200:
            return Standing.parse(answer.body)
        first = len(files) == 1
        if first and answer.status in NOT_ACCEPTED:
            return None
        text = _said(answer.body)
        if answer.status in (429, 502, 503, 504):
            raise UnavailableError(f"{self._peer.address}: busy ({text})")
        raise IncompleteError(
            f"{self._peer.address} refused this log with status {answer.status}: {text}",
            hint="what it holds already stays there; see what it says",
        )


def _said(body: bytes) -> str:
    """Return the first line of an answer, short and printable."""
    line = body.decode("utf-8", errors="replace").partition("\n")[0]
    return "".join(letter for letter in line if letter.isprintable())[:200]
