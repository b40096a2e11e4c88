"""The known traps of ipfshttpclient and of daemons, one test each, against a misbehaving daemon.

The client is unmaintained and thin; what is wrong with it is listed in docs/adr/0025-ipfs-rpc.md
by the same numbers. Where the way round is not to use something, the test looks at all that was
sent while every method of the store was used.
"""

from __future__ import annotations

import re
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from ledger.cid import Cid
from ledger.errors import DigestError, MalformedError, PnodeError, UnavailableError
from ledger.unixfs import Limits, build_directory, walk
from node.storage.ipfs import IpfsStore
from node.storage.ipfsbudget import Pace
from tests.node.storage.fakeipfs import (
    Asked,
    FakeDaemon,
    always,
    base58,
    chunked,
    fake_daemon,
    http,
    reply,
)

pytest.importorskip("ipfshttpclient", reason="the extra 'ipfs' is not installed")

IMPATIENT = Pace(call=0.3)
BLOCKS: dict[Cid, bytes] = {}
ROOT = build_directory(
    {"adapter_config.json": BytesIO(b"{}"), "weights": BytesIO(bytes(range(256)) * 9_000)},
    BLOCKS.__setitem__,
).cid
LEAF = Cid.of(b"{}")

Trap = Callable[[FakeDaemon, pytest.MonkeyPatch, Path], None]
TRAPS: dict[int, Trap] = {}


def trap(number: int) -> Callable[[Trap], Trap]:
    def register(function: Trap) -> Trap:
        assert number not in TRAPS
        TRAPS[number] = function
        return function

    return register


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon() as daemon:
        yield daemon


@pytest.mark.parametrize("number", range(1, 21))
def test_trap(
    number: int, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    TRAPS[number](daemon, monkeypatch, tmp_path)


def blocks() -> Iterator[tuple[Cid, bytes]]:
    return walk(ROOT, BLOCKS.__getitem__, Limits())


def store_of(daemon: FakeDaemon) -> IpfsStore:
    return IpfsStore(daemon.address, auth="", pace=Pace(waits=(0.0,)))


def use_everything(daemon: FakeDaemon) -> list[Asked]:
    """Use every method of the store, and return all that was sent."""
    store = store_of(daemon)
    store.put_dag(ROOT, list(blocks()))
    assert store.has(LEAF)
    assert store.get_block(LEAF) == b"{}"
    store.unpin(ROOT)
    store.pin(ROOT)
    assert list(store.pins()) == [ROOT]
    assert store.health().ok
    return daemon.asked


def never_sends(daemon: FakeDaemon, *commands: str) -> None:
    sent = {asked.command for asked in use_everything(daemon)}
    assert sent == {
        "version",
        "id",
        "dag/import",
        "pin/ls",
        "pin/add",
        "pin/rm",
        "block/get",
        "block/stat",
    }
    assert not [each for each in sent for command in commands if re.fullmatch(command, each)]


@trap(1)
def connect_compares_versions(daemon: FakeDaemon, *_: object) -> None:
    """A daemon that the client does not know is asked all the same, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store_of(daemon).health().detail == "fake/0.44.0-dev, version 0.44.0-dev"
        store_of(daemon).put_dag(ROOT, blocks())
    assert daemon.commands == ["version", "id", "dag/import", "pin/ls"]


@trap(2)
def swarm_connect_sends_every_character(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "swarm/.*")


@trap(3)
def add_always_sends_raw_leaves_false(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "add")


@trap(4)
def defaults_of_add_are_the_daemons_own(daemon: FakeDaemon, *_: object) -> None:
    """The bytes of every block are ours: the CAR holds exactly them, each once."""
    use_everything(daemon)
    assert daemon.blocks == {str(cid): block for cid, block in BLOCKS.items()}
    for asked in daemon.asked:
        assert not {"chunker", "raw-leaves", "cid-version", "hash"} & set(asked.query)


@trap(5)
def dag_put_sends_names_that_are_ignored(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "dag/put", "dag/get")


@trap(6)
def block_put_has_another_default_on_each_daemon(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "block/put")


@trap(7)
def an_import_must_have_one_root_and_be_answered_by_one_object(
    daemon: FakeDaemon, *_: object
) -> None:
    store_of(daemon).put_dag(ROOT, blocks())
    (asked,) = (asked for asked in daemon.asked if asked.command == "dag/import")
    assert asked.query["pin-roots"] == ["true"]
    assert "stats" not in asked.query
    one = {"Root": {"Cid": {"/": base58(ROOT)}, "PinErrorMsg": ""}}
    for answer in (http(200, b""), reply(one, one), reply(one, {"Stats": {"BlockCount": 3}})):
        daemon.wrong["dag/import"] = always(answer)
        with pytest.raises(MalformedError, match="not an answer of an IPFS daemon"):
            store_of(daemon).put_dag(ROOT, blocks())


@trap(8)
def a_failed_pin_is_a_success_with_a_message(daemon: FakeDaemon, *_: object) -> None:
    root = {"Cid": {"/": base58(ROOT)}, "PinErrorMsg": "no space left on device"}
    daemon.wrong["dag/import"] = always(reply({"Root": root}))
    with pytest.raises(UnavailableError, match=f"did not pin {ROOT}: no space left on device"):
        store_of(daemon).put_dag(ROOT, blocks())
    daemon.wrong["dag/import"] = always(reply({"Root": {**root, "PinErrorMsg": ""}}))
    with pytest.raises(UnavailableError, match="did not pin"):
        store_of(daemon).put_dag(ROOT, blocks())
    daemon.wrong["dag/import"] = always(reply({"Root": {"Cid": {"/": base58(LEAF)}}}))
    with pytest.raises(DigestError, match=f"imported {LEAF} instead of {ROOT}"):
        store_of(daemon).put_dag(ROOT, blocks())


@trap(9)
def an_error_in_a_trailer_is_dropped_and_half_a_body_looks_whole(
    daemon: FakeDaemon, *_: object
) -> None:
    half = BLOCKS[ROOT][:20]
    trailer = b"0\r\nX-Stream-Error: blockstore: block not found\r\n\r\n"
    daemon.wrong["block/get"] = always(chunked(half, end=trailer))
    with pytest.raises(DigestError, match=str(ROOT)):
        store_of(daemon).get_block(ROOT)


_NO_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"
STRANGE = {
    "closed at once": (b"", UnavailableError),
    "shorter than its length": (_NO_LENGTH, UnavailableError),
    "a chunk cut off": (chunked(b"x", end=b"ff\r\nxx"), UnavailableError),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", UnavailableError),
    "empty": (http(200, b""), MalformedError),
    "HTML": (http(200, b"<html>welcome</html>", "Content-Type: text/html"), MalformedError),
    "a list": (reply([1, 2]), MalformedError),
    "a number": (reply(5), MalformedError),
    "null": (reply(None), MalformedError),
    "not UTF-8": (http(200, b'{"Keys": "\xff"}'), MalformedError),
    "nested": (http(200, b"[" * 60_000), MalformedError),
    "other keys": (reply({"Pins": []}), MalformedError),
    "keys of another type": (reply({"Keys": [1]}), MalformedError),
    "compressed": (http(200, b"{}", "Content-Encoding: gzip"), MalformedError),
    "half a JSON object": (http(200, b'{"Keys": {'), MalformedError),
    "an error after the beginning": (
        reply({"Type": "error", "Message": "late"}),
        UnavailableError,
    ),
    "too many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", UnavailableError),
}


@trap(10)
def exceptions_of_four_libraries_come_out(daemon: FakeDaemon, *_: object) -> None:
    for name, (answer, error) in STRANGE.items():
        daemon.wrong["pin/ls"] = always(answer)
        with pytest.raises(PnodeError) as caught:
            list(store_of(daemon).pins())
        assert isinstance(caught.value, error), (name, caught.value)
        assert daemon.address in caught.value.message, name
        assert "Traceback" not in caught.value.message, name


def drip(*first: bytes, piece: bytes) -> Callable[[Asked, BinaryIO], None]:
    """Write something, and then a piece again and again until nobody listens."""

    def wrong(_: Asked, out: BinaryIO) -> None:
        out.writelines(first)
        while True:
            out.write(piece)
            out.flush()
            STOP.wait(0.05)

    return wrong


class _Stop:
    """Waits on the event of the daemon that is running."""

    daemon: FakeDaemon

    def wait(self, seconds: float) -> None:
        if self.daemon.stop.wait(seconds):
            raise ConnectionError


STOP = _Stop()


@trap(11)
def a_timeout_counts_from_each_receive(daemon: FakeDaemon, *_: object) -> None:
    STOP.daemon = daemon
    head = b"HTTP/1.1 200 OK\r\n"
    wrong = {
        "headers": drip(head, piece=b"X: y\r\n"),
        "one header": drip(head, b"X: ", piece=b"y"),
        "body": drip(head, b"Content-Length: 900\r\n\r\n", piece=b"y"),
        "chunks": drip(head, b"Transfer-Encoding: chunked\r\n\r\n", piece=b"1\r\ny\r\n"),
        "error": drip(b"HTTP/1.1 500 X\r\nContent-Length: 900\r\n\r\n", piece=b"y"),
    }
    for name, each in wrong.items():
        daemon.wrong["block/get"] = each
        with pytest.raises(UnavailableError) as caught:
            IpfsStore(daemon.address, auth="", pace=IMPATIENT).get_block(LEAF)
        assert "no complete answer in 0.3 s" in caught.value.message, name


@trap(12)
def redirects_and_netrc_are_followed(
    daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert all("authorization" not in asked.headers for asked in use_everything(daemon))
    with fake_daemon() as other:
        target = f"Location: http://127.0.0.1:{other.port}/api/v0/version"
        for status in (301, 302, 303, 307, 308):
            daemon.wrong["version"] = always(http(status, b"", target))
            assert f"HTTP status {status}" in store_of(daemon).health().detail
        assert other.asked == []


@trap(13)
def get_unpacks_an_archive_of_the_daemon(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "get", "cat")


@trap(14)
def an_upload_tells_the_path_on_this_machine(daemon: FakeDaemon, *_: object) -> None:
    use_everything(daemon)
    (asked,) = (asked for asked in daemon.asked if asked.command == "dag/import")
    head = asked.body.partition(b"\r\n\r\n")[0]
    assert b"Abspath" not in head
    assert b'filename=""' in head
    assert b"/" not in head.partition(b"Content-Disposition")[2].partition(b"\r\n")[0].replace(
        b"form-data", b""
    )


@trap(15)
def an_answer_is_held_whole_in_memory(daemon: FakeDaemon, *_: object) -> None:
    """A flood ends at the limit, and a length that lies is never allocated."""
    STOP.daemon = daemon
    piece = bytes(1 << 20)
    lies = {
        "a long body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 10**12, piece=piece),
        "no end": drip(b"HTTP/1.1 200 OK\r\n\r\n", piece=piece),
        "a long chunk": drip(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", piece=piece
        ),
        "a long length of a chunk": drip(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", piece=b"0" * (1 << 20)
        ),
        "a long error": drip(b"HTTP/1.1 500 X\r\n\r\n", piece=b"[" * (1 << 20)),
    }
    for name, wrong in lies.items():
        daemon.wrong["block/get"] = wrong
        tracemalloc.start()
        try:
            with pytest.raises((MalformedError, UnavailableError)):
                store_of(daemon).get_block(LEAF)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 16 << 20, (name, peak)


@trap(16)
def uploads_go_in_small_chunks(daemon: FakeDaemon, *_: object) -> None:
    use_everything(daemon)
    (asked,) = (asked for asked in daemon.asked if asked.command == "dag/import")
    assert max(asked.chunks) == 1 << 20
    assert len(asked.chunks) < 10


@trap(17)
def commands_that_kubo_removed(daemon: FakeDaemon, *_: object) -> None:
    never_sends(daemon, "object/.*", "dht/.*", "pubsub/.*", "refs.*")


@trap(18)
def booleans_go_out_as_python_writes_them(daemon: FakeDaemon, *_: object) -> None:
    """Both daemons accept `True`; no other form of a boolean is sent."""
    for asked in use_everything(daemon):
        for name in ("recursive", "pin-roots", "offline"):
            assert set(asked.query.get(name, [])) <= {"True", "true"}


@trap(19)
def unknown_parameters_are_ignored(daemon: FakeDaemon, *_: object) -> None:
    """So nothing may depend on one: this daemon looks at none of these, and all is well."""
    sent = {name for asked in use_everything(daemon) for name in asked.query}
    assert {"cid-base", "timeout", "offline"} <= sent


@trap(20)
def the_interface_is_post_only_and_refuses_browsers(daemon: FakeDaemon, *_: object) -> None:
    for asked in use_everything(daemon):
        assert asked.method == "POST"
        assert asked.headers["user-agent"] == "pnode"
        assert not {"origin", "referer", "cookie"} & set(asked.headers)
