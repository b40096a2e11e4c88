"""Peers that stall, drip, lie or flood: bounded time and memory, precise errors, a clean ledger."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.dsse import Envelope
from ledger.errors import EvidenceError, IncompleteError, PnodeError, UnavailableError
from ledger.log import Log
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.loglist import encode_frontier, encode_logs
from node.peering.source import HTTPSource
from node.peering.sync import COMPLETE, sync
from tests.node.peering.test_source import OK, Server, drip
from tests.node.peering.test_sync import check_home, sizes

LOG = SimulatedLog(51).grow(2)
GOOD = SimulatedLog(52).grow(2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "h", tmp_path / "s", seed=b"\x01" * 32)


# --- every received byte count --------------------------------------------------------------------


class CutPeer(SimulatedPeer):
    """A peer whose connection breaks after so many bytes; `silently` as if that were all."""

    left = 0
    silently = False

    def read(self, path: str, *, max_bytes: int) -> bytes:
        data = super().read(path, max_bytes=max_bytes)
        if len(data) <= self.left:
            self.left -= len(data)
            return data
        data, self.left = data[: self.left], 0
        if self.silently:
            return data
        raise UnavailableError("the connection broke")


@pytest.mark.parametrize("silently", [True, False])
def test_a_sync_cut_at_any_byte_keeps_nothing_half(tmp_path: Path, *, silently: bool) -> None:
    peer = CutPeer(LOG)
    peer.silently = silently
    total = sum(len(data) for path, data in peer.files.items() if "checkpoint" not in path)
    made = 0
    home = Home.init(tmp_path / "h0", tmp_path / "s0", seed=b"\x01" * 32)
    # A connection that breaks is one error at any place; what is cut silently differs by byte.
    for end in range(0, total + 1, 1 if silently else 17):
        peer.left = end
        try:
            report = sync(home, peer)
            errors = list(report.errors)
        except PnodeError as error:
            errors = [error]
        held = sizes(home).get(LOG.origin, 0)
        assert held in (0, 2)
        assert held == 2 or not errors or all(error.message for error in errors)
        if held:
            check_home(home)
            made += 1
            home = Home.init(tmp_path / f"h{made}", tmp_path / f"s{made}", seed=b"\x01" * 32)
    peer.left = 3 * total
    assert sync(home, peer).state == COMPLETE
    check_home(home)


# --- what a log may contain ---------------------------------------------------------------------


def entry_of(payload: bytes) -> bytes:
    return bytes(Envelope.sign(payload, LOG.keys.author))


def deep(opening: bytes, closing: bytes) -> bytes:
    return b'{"a":' + opening * 4_000 + closing * 4_000 + b"}"


HOSTILE = {
    "deep lists": entry_of(deep(b"[", b"]")),
    "deep objects": entry_of(b'{"a":' * 4_000 + b"1" + b"}" * 4_000),
    "bad utf-8": entry_of(b'{"_type":"\xff\xfe"}'),
    "lone surrogate": entry_of(b'{"_type":"\\ud800"}'),
    "duplicate keys": entry_of(b'{"_type":"x","_type":"y"}'),
    "huge number": entry_of(b'{"_type":' + b"9" * 30_000 + b"}"),
    "not json": entry_of(b"\0" * 100),
    "empty": entry_of(b""),
    "envelope twice": b'{"payload":"","payload":""}',
    "envelope deep": deep(b"[", b"]"),
    "envelope bad utf-8": b"\xff" * 65_535,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_entry_is_rejected_and_stops_nothing(home: Home, name: str) -> None:
    log = SimulatedLog(51, [*LOG.bodies, HOSTILE[name]])
    report = sync(home, SimulatedPeer(log, GOOD))
    assert (report.errors, report.rejected) == ((), 1)
    assert sizes(home) == {home.origin: 1, GOOD.origin: 2, log.origin: len(log.bodies)}
    with home.reading() as database:
        assert list(Log(database, log.origin).rejected()) == [len(LOG.bodies)]


@pytest.mark.parametrize("size", [10**6 + 1, 10**9, 10**15, 2**63 - 1])
def test_a_claim_of_more_entries_than_accepted_reads_nothing(home: Home, size: int) -> None:
    claim = bytes(sign_checkpoint(Checkpoint(LOG.origin, size, b"\1" * 32), LOG.keys.log))
    peer = SimulatedPeer(LOG)
    peer.files["/frontier"] = encode_frontier([claim])
    report = sync(home, peer)
    with pytest.raises(IncompleteError):
        report.raise_gravest()
    assert not [path for path in peer.requests if "/tile/" in path]


def test_a_million_tiny_entries_cost_no_more_than_the_caps(home: Home) -> None:
    claim = bytes(sign_checkpoint(Checkpoint(LOG.origin, 10**6, b"\1" * 32), LOG.keys.log))
    peer = SimulatedPeer(LOG)
    peer.files["/frontier"] = encode_frontier([claim])
    tile = b"\0" * 8_192
    read = peer.read

    def endless(path: str, *, max_bytes: int) -> bytes:
        return tile if "/tile/" in path and ".p/" not in path else read(path, max_bytes=max_bytes)

    peer.read = endless  # type: ignore[method-assign]
    report = sync(home, peer, limits=SyncLimits(total_bytes=1 << 20))
    assert report.errors
    assert LOG.origin not in sizes(home)


@pytest.mark.parametrize("count", [1_025, 20_000])
def test_more_logs_than_accepted_hide_no_log_that_is_held(home: Home, count: int) -> None:
    sync(home, SimulatedPeer(SimulatedLog(51, LOG.bodies[:1])))
    note = LOG.note()
    notes = [note.replace(LOG.origin.encode(), b"log/%d" % number) for number in range(count)]
    peer = SimulatedPeer(LOG)
    peer.files["/frontier"] = encode_frontier([*notes, note])
    report = sync(home, peer, limits=SyncLimits(logs=64))
    assert sizes(home)[LOG.origin] == 2
    assert len(report.logs) <= 65
    assert any(isinstance(error, IncompleteError) for error in report.errors)


def test_a_list_with_a_key_twice_or_an_unknown_line_is_refused(home: Home) -> None:
    peer = SimulatedPeer(LOG)
    listed = encode_logs([LOG.key])
    for bad in (listed + listed[len("logs/v0\n") :], listed + b"extra 1\n", listed[:-1]):
        peer.files["/logs"] = bad
        with pytest.raises(EvidenceError, match="log list"):
            sync(home, peer)


# --- a real server that misbehaves ----------------------------------------------------------------

Script = Callable[..., None]


def answer(head: bytes, body: bytes = b"") -> Script:
    return lambda connection: connection.sendall(head + b"\r\n" + body)


MISBEHAVING: dict[str, Script] = {
    "stalls": lambda _: time.sleep(1.5),
    "drips": drip(OK + b"\r\n", b"x"),
    "drips headers": drip(OK, b"X-A: b\r\n"),
    "redirects": answer(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"),
    "redirects for ever": answer(b"HTTP/1.1 307 T\r\nLocation: /frontier\r\nContent-Length: 0\r\n"),
    "claims 10 GB": answer(OK + b"Content-Length: 10737418240\r\n", b"x" * 100),
    "sends too little": answer(OK + b"Content-Length: 5000\r\n", b"x"),
    "never asked for 304": answer(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 0\r\n"),
    "compressed": answer(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n", b"abc"),
    "not http": lambda connection: connection.sendall(b"SSH-2.0-x\r\n"),
    "html": answer(OK + b"Content-Length: 6\r\n", b"<html>"),
    "bad utf-8": answer(OK + b"Content-Length: 4\r\n", b"\xff\n\n\n"),
    "nothing": lambda _: None,
    "json": answer(OK + b"Content-Length: 14\r\n", json.dumps({"a": [{}] * 2}).encode()),
}


@pytest.mark.parametrize("name", MISBEHAVING)
def test_a_server_that_misbehaves_is_an_error_in_bounded_time(home: Home, name: str) -> None:
    server = Server(MISBEHAVING[name])
    before = time.monotonic()
    try:
        with HTTPSource(server.url, total_seconds=0.6) as source, pytest.raises(PnodeError) as seen:
            sync(home, source)
    finally:
        server.close()
    assert time.monotonic() - before < 30
    assert seen.value.message
    assert seen.value.hint
    assert isinstance(seen.value, UnavailableError | EvidenceError)
    check_home(home)


def test_an_endless_frontier_takes_no_more_memory_than_its_limit(home: Home) -> None:
    server = Server(drip(OK + b"\r\n", b"x" * (1 << 20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with HTTPSource(server.url, total_seconds=10) as source, pytest.raises(PnodeError):
            sync(home, source)
    finally:
        server.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024
