"""Publications in an IPFS daemon: sent after the entry exists, never lost, and never hidden."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from ledger.cid import Cid
from ledger.errors import MalformedError, NotFoundError, UsageError
from ledger.statement import artifact_cids
from node.api import Node
from node.cli.program import run
from node.doctor import diagnose
from node.reading import load_view
from node.storage.keeping import Kept
from node.storage.pinning import DaemonPins, pin_published
from node.storage.settings import STORE_FILE
from tests.node.served import served
from tests.node.storage.fakeipfs import (
    Asked,
    FakeDaemon,
    always,
    base58,
    failure,
    fake_daemon,
    http,
    reply,
)
from tests.node.worlds import ADAPTERS, Place, World, block_path, flip, publish_adapter, snapshot

pytest.importorskip("ipfshttpclient", reason="the extra 'ipfs' is not installed")

DOWN = "/ip4/127.0.0.1/tcp/1"


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    with fake_daemon() as daemon:
        yield daemon


@pytest.fixture
def suites(world_home: World) -> list[Path]:
    """Small directories that can be published."""
    return sorted(path.parent for path in world_home.suites.rglob("suite.toml"))


def configure(node: Node, address: str) -> None:
    (node.home.path / STORE_FILE).write_text(f'ipfs = "{address}"\n')


def pins_of(node: Node) -> DaemonPins:
    pins = node.pins()
    assert pins is not None
    return pins


def roots_named(node: Node) -> set[str]:
    """Every root that an entry of this node names and that is whole here."""
    with node.home.reading() as database:
        ledger = load_view(database)
    return {
        str(root)
        for placed in ledger.entries.values()
        for root in artifact_cids(placed.entry.statement)
        if node.home.store.is_pinned(root)
    }


def test_without_a_daemon_nothing_is_said(node: Node, suites: list[Path]) -> None:
    assert node.publish(suites[0]).pins is None
    assert node.pins() is None


def test_a_publication_is_sent_once_its_entry_exists(
    node: Node, daemon: FakeDaemon, suites: list[Path]
) -> None:
    configure(node, daemon.address)
    entries: list[int] = []

    def look(asked: Asked, out: BinaryIO) -> None:
        entries.append(len(node.log()))
        out.write(daemon.dag_import(asked))

    daemon.wrong["dag/import"] = look
    published = node.publish(suites[0])
    assert entries == [2]
    assert daemon.pins == {published.cid}
    assert published.pins is not None
    assert (published.pins.pinned, published.pins.pending, published.pins.error) == (1, [], "")
    daemon.asked.clear()
    assert node.publish(suites[0]).already
    assert daemon.asked == [], "what it is known to keep is not asked for"


def test_everything_the_own_entries_name_is_sent(composed: World, daemon: FakeDaemon) -> None:
    """Adapters and suites, locks and outcomes; small bases too, large ones are not whole here."""
    configure(composed.node, daemon.address)
    pins = pin_published(composed.node.home)
    assert pins is not None
    assert pins.error == ""
    assert daemon.pins == roots_named(composed.node)
    assert pins.pinned == len(daemon.pins) > 15


def test_a_dry_run_sends_nothing(node: Node, daemon: FakeDaemon, suites: list[Path]) -> None:
    configure(node, daemon.address)
    assert node.publish(suites[0], dry_run=True).pins is None
    assert daemon.asked == []


def imported(cid: str, failure: str = "") -> bytes:
    """The answer to an import."""
    return reply({"Root": {"Cid": {"/": base58(Cid.parse(cid))}, "PinErrorMsg": failure}})


WRONG: dict[str, tuple[str, Callable[[str], bytes], str]] = {
    "full disk": ("dag/import", lambda _: failure("no space left on device"), "no space left"),
    "pin error": ("dag/import", lambda cid: imported(cid, "disk is full"), "disk is full"),
    "other root": ("dag/import", lambda _: imported(str(Cid.of(b"lie"))), "instead of"),
    "not pinned": ("dag/import", imported, "did not pin"),
    "HTML": ("pin/ls", lambda _: http(200, b"<html>hello</html>"), "not an answer of an IPFS"),
    "not allowed": ("pin/ls", lambda _: http(401, b""), "HTTP status 401"),
    "redirect": ("pin/ls", lambda _: http(307, b"", "Location: http://127.0.0.1:9/"), "307"),
    "broken": ("pin/ls", lambda _: http(500, b"oops"), "HTTP status 500"),
    "hostile text": ("pin/ls", lambda _: failure("\x1b[31m\ud800" * 999), "31m"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_publication_survives_whatever_the_daemon_does(
    name: str,
    place: Place,
    node: Node,
    daemon: FakeDaemon,
    suites: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command, answer, said = WRONG[name]
    configure(node, daemon.address)
    cid = node.publish(suites[0], dry_run=True).cid
    daemon.wrong[command] = always(answer(cid))
    monkeypatch.setenv("PNODE_HOME", str(place.home))
    monkeypatch.setenv("PNODE_STATE", str(place.state))
    assert run(["--json", "publish", str(suites[0])]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["state"] == "signed"
    assert result["pins"]["daemon"] == daemon.address
    assert result["pins"]["pending"] == [{"cid": cid, "entry": result["id"]}]
    assert said in result["pins"]["error"]
    assert "not pinned yet: 1 artifact or document" in err
    assert "\x1b" not in err
    del daemon.wrong[command]
    pins = node.publish(suites[1]).pins
    assert pins is not None
    assert (pins.pending, pins.error) == ([], "")
    assert daemon.pins == roots_named(node)


def test_a_daemon_that_is_down_gets_everything_later(
    node: Node, daemon: FakeDaemon, suites: list[Path]
) -> None:
    configure(node, DOWN)
    for suite in suites[:2]:
        pins = node.publish(suite).pins
        assert pins is not None
        assert "Connection refused" in pins.error
    assert len(pins_of(node).pending) == 2
    assert pins_of(node).tried != ""
    configure(node, daemon.address)
    assert pins_of(node).tried == "", "another daemon is known for itself"
    node.publish(suites[2])
    assert daemon.pins == roots_named(node)
    configure(node, DOWN)
    assert len(pins_of(node).pending) == 3


def test_after_a_while_the_rest_waits_for_a_sync(
    node: Node, daemon: FakeDaemon, suites: list[Path], tmp_path: Path
) -> None:
    published = [node.publish(suite).cid for suite in suites[:3]]
    configure(node, daemon.address)
    pins = pin_published(node.home, seconds=0)
    assert pins is not None
    assert daemon.pins == {published[2]}, "the newest comes first"
    assert [each.cid for each in pins.pending] == [published[1], published[0]]
    node.export(tmp_path / "stick")
    node.sync([str(tmp_path / "stick")], push=False)
    assert len(daemon.pins) == 1
    node.sync([str(tmp_path / "stick")])
    assert daemon.pins == set(published)


def test_what_is_known_may_be_deleted(node: Node, daemon: FakeDaemon, suites: list[Path]) -> None:
    configure(node, daemon.address)
    node.publish(suites[0])
    shutil.rmtree(node.home.cache)
    assert len(pins_of(node).pending) == 1
    daemon.asked.clear()
    pin_published(node.home)
    assert pins_of(node).pending == []
    assert daemon.commands == ["pin/ls"], "what it keeps is not sent again"
    (last,) = node.home.cache.glob("pinned/*/.last")
    for content in (b"", b"[]", b'{"tried":1}', b"\xff" * 9_000):
        last.write_bytes(content)
        assert pins_of(node).pinned == 1


def test_a_recheck_believes_the_daemon_only(
    node: Node, daemon: FakeDaemon, suites: list[Path]
) -> None:
    configure(node, daemon.address)
    first = node.publish(suites[0]).cid
    daemon.pins.clear()
    assert pins_of(node).pending == []
    assert node.store_pin_own() == [Kept(first, daemon.address)]
    assert daemon.pins == {first}
    daemon.pins.clear()
    daemon.wrong["dag/import"] = always(failure("no space left"))
    (lost,) = node.store_pin_own()
    assert lost.cid == first
    assert lost.error


def test_offline_the_daemon_is_left_alone(
    place: Place, daemon: FakeDaemon, suites: list[Path]
) -> None:
    place.init("alice")
    node = Node.open(place.home, place.state, offline=True)
    configure(node, daemon.address)
    pins = node.publish(suites[0]).pins
    assert pins is not None
    assert "--offline" in pins.error
    assert len(pins.pending) == 1
    assert daemon.asked == []


def test_what_is_withdrawn_or_of_others_is_not_sent(world: World, daemon: FakeDaemon) -> None:
    node = world.node
    other = Place(world.place.folder / "other").init("bob")
    node.withdraw(world.ids["ada"], "mistake")
    node.export(world.place.folder / "stick")
    other.sync([str(world.place.folder / "stick")])
    configure(other, daemon.address)
    assert pin_published(other.home) == DaemonPins(daemon.address, 0, [])
    configure(node, daemon.address)
    pin_published(node.home)
    withdrawn = {line.cid for line in node.list() if line.status == "withdrawn"}
    assert len(withdrawn) == 1
    assert daemon.pins == roots_named(node) - withdrawn


def test_what_an_earlier_key_published_is_sent_too(
    node: Node, daemon: FakeDaemon, suites: list[Path]
) -> None:
    before = node.publish(suites[0]).cid
    node.rotate_key()
    configure(node, daemon.address)
    after = node.publish(suites[1]).cid
    assert daemon.pins == {before, after}


def test_a_damaged_artifact_does_not_hold_up_the_others(world: World, daemon: FakeDaemon) -> None:
    node = world.node
    cid = next(line.cid for line in node.list() if line.id == world.ids["ada"])
    flip(block_path(node.home, cid))
    configure(node, daemon.address)
    pins = pin_published(node.home)
    assert pins is not None
    assert [each.cid for each in pins.pending] == [cid]
    assert f"artifact {cid} is damaged here" in pins.error
    assert daemon.pins == roots_named(node) - {cid}


@pytest.mark.parametrize(
    ("setting", "error"), [("ipfs = 5\n", MalformedError), ('ipfs = "nonsense"\n', MalformedError)]
)
def test_a_wrong_setting_is_said_before_anything_is_published(
    node: Node, suites: list[Path], setting: str, error: type[Exception]
) -> None:
    (node.home.path / STORE_FILE).write_text(setting)
    with pytest.raises(error, match=STORE_FILE):
        node.publish(suites[0])
    assert len(node.log()) == 1


def test_wrong_credentials_are_said_before_anything_is_published(
    node: Node, suites: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(node, DOWN)
    monkeypatch.setenv("PNODE_IPFS_AUTH", "hunter2")
    with pytest.raises(UsageError, match="PNODE_IPFS_AUTH") as caught:
        node.publish(suites[0])
    assert "hunter2" not in caught.value.message
    assert len(node.log()) == 1


def test_status_and_doctor_tell_where_what_is_kept(
    place: Place,
    node: Node,
    daemon: FakeDaemon,
    suites: list[Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PNODE_HOME", str(place.home))
    monkeypatch.setenv("PNODE_STATE", str(place.state))
    published = node.publish(suites[0])

    def pnode(*args: str) -> tuple[str, str]:
        capsys.readouterr()
        assert run(list(args)) == 0
        out, err = capsys.readouterr()
        return out, err

    assert json.loads(pnode("--json", "status")[0])["pins"] is None
    monkeypatch.setenv("PNODE_IPFS", DOWN)
    out, err = pnode("status")
    assert f"{DOWN}: 0 pinned, 1 not yet" in out
    assert published.cid in out
    assert "not pinned yet" in err
    node_by_flag = pnode("--json", "--ipfs", f"http://127.0.0.1:{daemon.port}", "status")[0]
    assert json.loads(node_by_flag)["pins"]["daemon"] == daemon.address
    assert daemon.asked == [], "status asks nobody"
    monkeypatch.setenv("PNODE_IPFS", daemon.address)
    pnode("publish", str(suites[1]))
    out, err = pnode("status")
    assert f"{daemon.address}: 2 pinned" in out
    assert "not yet" not in out + err

    def checked(address: str) -> tuple[str, str]:
        checks = diagnose(place.home, place.state, offline=False, ipfs=address).checks
        (check,) = (check for check in checks if check.name == "ipfs")
        return check.status, check.detail

    assert checked(daemon.address) == (
        "ok",
        f"{daemon.address}: fake/0.44.0-dev, version 0.44.0-dev",
    )
    assert checked(DOWN)[0] == "warn"
    assert checked("nonsense")[0] == "fail"


def test_attributing_sends_its_documents(attributed: World, daemon: FakeDaemon) -> None:
    node = attributed.node
    configure(node, daemon.address)
    result = node.attribute(attributed.compositions["logit.select"])
    assert {result.record, result.table} <= daemon.pins


def test_another_node_fetches_from_the_daemon_by_cid(
    world: World, daemon: FakeDaemon, tmp_path: Path
) -> None:
    configure(world.node, daemon.address)
    publish_adapter(world.node, "ada")
    cid = next(line.cid for line in world.node.list() if line.id == world.ids["ada"])
    other = Place(tmp_path / "other").init("bob")
    configure(other, daemon.address)
    fetched = other.fetch(cid, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")
    (used,) = fetched.providers
    assert (used.provider, used.dropped) == (f"IPFS daemon {daemon.address}", "")
    daemon.asked.clear()
    offline = Node.open(other.home.path, other.home.state, offline=True)
    with pytest.raises(NotFoundError):
        offline.fetch(str(Cid.of(b"missing")), tmp_path / "missing")
    assert daemon.asked == []


@pytest.mark.parametrize("wrong", ["missing", "corrupt", "down"])
def test_a_daemon_that_cannot_give_a_block_is_asked_once(
    world: World, daemon: FakeDaemon, tmp_path: Path, wrong: str
) -> None:
    """It looks for what it does not have at its peers, for seconds; the next provider has it."""
    node = world.node
    cid = next(line.cid for line in node.list() if line.id == world.ids["ada"])
    other = Place(tmp_path / "other").init("bob")
    if wrong == "corrupt":
        daemon.blocks[cid] = b"something else"
    with served(node.home) as url:
        address = DOWN if wrong == "down" else daemon.address
        (other.home.path / STORE_FILE).write_text(f'ipfs = "{address}"\ngateways = ["{url}"]\n')
        fetched = other.fetch(cid, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(ADAPTERS / "ada")
    assert [bool(used.dropped) for used in fetched.providers] == [True, False]
    assert len(daemon.asked) == (0 if wrong == "down" else 1)
