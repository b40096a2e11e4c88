"""kill -9 at every write, sync, rename and creation of the commands that write.

The longest commands are killed at every few calls only, with a step that is prime to the rhythm of
a write, so that every kind of call is met. PNODE_CRASH_EVERYWHERE=1 kills them at every one.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ledger import errors
from ledger.errors import EquivocationError
from ledger.heldevidence import held_evidence
from ledger.log import logs
from node.api import Node
from node.home import Home
from node.peering.sync import sync
from tests.faults import fail_at, kill_at, trace
from tests.node.worlds import ADAPTERS, BASE, Place, check_home, write_suite
from tests.simulator import SimulatedLog, SimulatedPeer

EVERYWHERE = os.environ.get("PNODE_CRASH_EVERYWHERE") == "1"
OURS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.PnodeError)
}

pytestmark = pytest.mark.usefixtures("ptrace")


def killed_everywhere(
    place: Place,
    kept: Place,
    action: Callable[[], object],
    after: Callable[[int], None],
    within: slice = slice(None),
) -> int:
    """Kill an action at its n-th storage call, for every n, each time from the same state.

    `within` narrows the calls (counted from 0) where the rest is another test's business.
    """
    kept.copy_to(place.folder)
    calls = trace(action, place.both)
    # One beyond the last: the action then ends by itself.
    numbers = range(1, len(calls) + 2)[within]
    for n in numbers:
        kept.copy_to(place.folder)
        ended = kill_at(n, action, place.both)
        assert ended == (n > len(calls))
        audited = place.open().audit()
        assert audited.exit_code == 0, (n, audited.findings)
        assert {finding.check for finding in audited.findings} <= {"log.unsigned"}, n
        after(n)
        check_home(place.open())
    return len(numbers)


def numbers(calls: Sequence[str], step: int) -> list[int]:
    """The calls at which to break a long command, and one beyond the last."""
    return [*range(1, len(calls) + 1, 1 if EVERYWHERE else step), len(calls) + 1]


def check_published_once(node: Node, directory: Path, license_: str | None = None) -> None:
    """Publish again: there is one contribution of these bytes, signed, and nothing beside it."""
    before = {line.id for line in node.log() if line.kind == "contribution"}
    published = node.publish(directory, license=license_)
    assert published.state == "signed"
    assert published.id in before or not published.already
    lines = [item for item in node.list() if item.cid == published.cid]
    assert [item.id for item in lines] == [published.id]
    assert published.checkpoint is not None
    assert published.checkpoint["size"] == len(node.log())


@pytest.fixture
def kept(place: Place, tmp_path: Path) -> Place:
    """A home with one contribution, kept aside to start from again and again."""
    place.init("alice").publish(write_suite(tmp_path / "first", "first"))
    return place.copy_to(tmp_path / "kept")


def test_publish_of_a_suite_survives_a_kill_anywhere(
    place: Place, kept: Place, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "second", "second")
    calls = killed_everywhere(
        place,
        kept,
        lambda: place.open().publish(suite),
        lambda _: check_published_once(place.open(), suite),
    )
    assert calls > 40


def test_publish_of_an_adapter_survives_a_kill_before_it_is_appended(
    place: Place, tmp_path: Path
) -> None:
    """Its base is unpacked and its blocks are stored; what follows is as for a suite."""
    node = place.init("alice")
    node.add_base(str(BASE), "cipher-tiny")
    kept = place.copy_to(tmp_path / "kept")
    adapter = ADAPTERS / "ada"

    def publish() -> None:
        place.open().publish(adapter, license="MIT")

    calls = trace(publish, place.both)
    last = calls.index("openat writer.lock") + 2
    killed_everywhere(
        place,
        kept,
        publish,
        lambda _: check_published_once(place.open(), adapter, "MIT"),
        slice(None) if EVERYWHERE else slice(last),
    )
    assert last > 20


def test_withdraw_survives_a_kill_anywhere(place: Place, kept: Place) -> None:
    target = Node.open(kept.home, kept.state).log()[1].id
    states = set()

    def withdraw() -> None:
        place.open().withdraw(target, "wrong")

    def after(n: int) -> None:
        node = place.open()
        states.add(node.show(target).status)
        if node.show(target).status == "active" and len(node.log()) == 2:
            withdraw()
        else:
            # It is recorded; whoever writes next finishes signing it.
            node.publish(place.folder.parent / "first", title="again")
        assert place.open().show(target).status == "withdrawn"
        kinds = [line.kind for line in node.log()]
        assert kinds.count("withdrawal") == 1, (n, kinds)

    killed_everywhere(place, kept, withdraw, after)
    assert states == {"active", "withdrawn"}


def test_what_comes_next_after_a_kill_may_be_something_else(
    place: Place, kept: Place, tmp_path: Path
) -> None:
    """The next command is not always the same one; it must finish what the dead one began."""
    suite = write_suite(tmp_path / "second", "second")
    other = write_suite(tmp_path / "other", "other")
    orders = set()

    def publish() -> None:
        place.open().publish(suite)

    def after(_: int) -> None:
        node = place.open()
        node.publish(other)
        node.publish(suite)
        orders.add(tuple(line.title for line in node.log()[2:]))

    first = trace(publish, place.both).index("openat writer.lock")
    killed_everywhere(place, kept, publish, after, slice(first, None, 2))
    assert orders == {("other", "second"), ("second", "other")}


def test_init_survives_a_kill_anywhere(place: Place, tmp_path: Path) -> None:
    """There is no home to audit before it is done; running `init` again must finish it."""

    def init() -> None:
        place.init("alice")

    calls = trace(init, [place.folder])
    assert len(calls) > 20
    suite = write_suite(tmp_path / "suite")
    for n in numbers(calls, 7):
        shutil.rmtree(place.folder, ignore_errors=True)
        assert kill_at(n, init, [place.folder]) == (n > len(calls))
        node = place.init("alice")
        assert [line.kind for line in node.log()] == ["genesis"], n
        if n % 4 == 0:
            assert node.publish(suite).state == "signed"
            check_home(place.open())


def test_sync_survives_a_kill(place: Place, kept: Place) -> None:
    """A mirror that grows, a new one with blocks, and a log that signed two histories."""
    grown, forked = SimulatedLog(9).grow(5), SimulatedLog(11).grow(3)
    fork = SimulatedLog(11, forked.bodies[:2]).grow(3, "other")
    sync(Home.open(kept.home, kept.state), SimulatedPeer(SimulatedLog(9).grow(2), fork))
    peer = SimulatedPeer()
    new = SimulatedLog(12)
    new.add("artifact", cid=str(peer.put_artifact({"a": b"one", "b": b"two"})))
    peer.list(new, grown, forked)
    kept.copy_to(place.folder)
    home = Home.open(place.home, place.state)
    calls = trace(lambda: sync(home, peer), place.both)
    assert len(calls) > 60
    for n in numbers(calls, 19):
        kept.copy_to(place.folder)
        assert kill_at(n, lambda: sync(home, peer), place.both) == (n > len(calls))
        audited = place.open().audit()
        assert audited.exit_code in (0, 8, 9), (n, audited.findings)
        report = sync(home, peer)
        assert {type(error) for error in report.errors} <= {EquivocationError}, n
        with home.reading() as database:
            assert {log.size for log in logs(database)} >= {2, 5}, n
            assert len(held_evidence(database, forked.origin)) == 1, n
        # Nothing but the forked log is left to complain about.
        assert place.open().audit().exit_code in (0, 8), n


def test_a_full_disk_in_a_sync_is_our_error(place: Place, kept: Place) -> None:
    peer = SimulatedPeer(SimulatedLog(9).grow(5))
    kept.copy_to(place.folder)
    home = Home.open(place.home, place.state)
    calls = trace(lambda: sync(home, peer), place.both)
    for n in numbers(calls, 13)[:-1]:
        kept.copy_to(place.folder)
        outcome = fail_at(n, errno.ENOSPC, lambda: sync(home, peer), place.both, onwards=True)
        assert outcome.error is None or outcome.error.split(":")[0] in OURS, (n, outcome)
        assert place.open().audit().exit_code == 0, n
        assert sync(home, peer).errors == (), n
        check_home(place.open())
