"""Receiving a push: a log that its owner brings, because nobody can reach them to pull it.

What arrives is treated as a peer that holds these files and no others, so it is verified and
stored exactly like a pull, under the same limits and quotas, all or nothing. Only logs that are
mirrored here, or whose keys the owner of this home has allowed (`logs` in peers.toml), are taken.
This home's own log never is.

A push that brings a checkpoint alone asks where this home stands. The answer always says how many
entries are held and which of the blocks they name are missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Final

from ledger.cid import Cid
from ledger.errors import (
    EquivocationError,
    EvidenceError,
    HomeBusyError,
    IncompleteError,
    MalformedError,
    NotFoundError,
    PnodeError,
    PolicyError,
)
from ledger.log import logs
from ledger.note import NoteKey
from node.clock import Clock, utc_now
from node.home import Home
from node.peering.blockpull import BlockPull, pull_blocks, silent
from node.peering.equivocation import learn_again
from node.peering.mirroring import NEW, REFUSED, UNCHANGED, LogReport, held_size, take_log
from node.peering.offers import OfferedLog
from node.peering.peers import read_settings
from node.peering.peerstate import PeerState
from node.peering.pull import open_offer
from node.peering.quota import Quota
from node.peering.tree import log_folder
from node.peering.upload import UploadSource, parse_upload

MAX_MISSING: Final = 1_000
"""How many missing blocks one answer names."""

_CHECKPOINT: Final = re.compile(r"/([0-9a-f]{64})/checkpoint", re.ASCII)


class ConflictError(PolicyError):
    """A pushed log that is smaller than, or contradicts, what is held of it."""

    code = "conflict"
    default_hint = "run 'pnode sync' with this peer: it holds more of your log than you do"


@dataclass(frozen=True, slots=True)
class Received:
    """Where this home stands after a push."""

    size: int
    missing: tuple[Cid, ...]

    def __bytes__(self) -> bytes:
        record = {"missing": [str(cid) for cid in self.missing], "size": self.size}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


class Receiver:
    """Takes pushes for one home; one at a time per log."""

    def __init__(self, home: Home, now: Clock = utc_now) -> None:
        self._home = home
        self._now = now
        self._lock = Lock()
        self._busy: set[str] = set()

    def receive(self, body: bytes) -> Received:
        """Take over a push.

        Raises:
            MalformedError, SignatureError, ProofError: if something in it is not valid.
            NotFoundError: if a file that is needed is not in it.
            PolicyError: if nobody here follows the log.
            IncompleteError: if it is more than limits or quotas allow.
            ConflictError, EquivocationError: if more, or another tree, is held already.
            HomeBusyError: if another push of this log, or another process, is writing.
        """
        files = parse_upload(body)
        folders = [match[1] for path in files if (match := _CHECKPOINT.fullmatch(path))]
        if len(folders) != 1:
            raise MalformedError("push: not exactly one checkpoint")
        key = self._key(folders[0])
        with self._one_at_a_time(key.name):
            return self._receive(key, files)

    def _receive(self, key: NoteKey, files: dict[str, bytes]) -> Received:
        settings = read_settings(self._home)
        source = UploadSource(files)
        note = files[f"/{log_folder(key.name)}/checkpoint"]
        offered = open_offer(key, note).checkpoint.size
        held = held_size(self._home, key.name)
        with PeerState.opened(self._home.path) as state:
            quota = Quota(state, settings.limits, self._now)
            if offered > held and len(files) == 1:
                report = LogReport(key.name, 0, held, UNCHANGED, offered)
            else:
                log = OfferedLog(key.name, str(key), note)
                report = take_log(self._home, source, log, quota)
                if report.state == NEW:
                    learn_again(self._home)
            if report.error is not None:
                raise report.error
            if offered < report.size or report.state == REFUSED:
                raise ConflictError(
                    f"{report.size} entries of {key.name} are held here, {offered} were pushed"
                )
            pull = BlockPull(source, self._home.store, settings.limits)
            if report.size:
                pull_blocks(self._home, state, [key.name], pull, quota, silent)
        for error in pull.report.errors:
            raise error
        missing = tuple(dict.fromkeys(pull.report.missing))
        return Received(report.size, missing[:MAX_MISSING])

    def _key(self, folder: str) -> NoteKey:
        """Return the key of a log that may be pushed here, given by its folder in the tree."""
        allowed = {log_folder(key.name): key for key in read_settings(self._home).log_keys()}
        with self._home.reading() as database:
            held = {log_folder(log.origin): log.key for log in logs(database)}
        held.pop(log_folder(self._home.origin), None)
        allowed.pop(log_folder(self._home.origin), None)
        key = {**allowed, **held}.get(folder)
        if key is None:
            raise PolicyError(
                "this log is not followed here",
                hint="ask the owner of this peer to run 'pnode peer add' with your log's key",
            )
        return key

    @contextmanager
    def _one_at_a_time(self, origin: str) -> Iterator[None]:
        with self._lock:
            if origin in self._busy:
                raise HomeBusyError(f"another push of {origin} is being verified")
            self._busy.add(origin)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(origin)


def push_status(error: PnodeError) -> int:
    """Return the HTTP status that refuses a push."""
    table: tuple[tuple[type[PnodeError] | tuple[type[PnodeError], ...], int], ...] = (
        ((ConflictError, EquivocationError), 409),
        ((PolicyError, IncompleteError), 403),
        ((EvidenceError, NotFoundError), 400),
        (HomeBusyError, 503),
    )
    return next((status for kind, status in table if isinstance(error, kind)), 500)
