"""kill -9 at every write, sync, rename and creation of the commands that write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.api import Node
from tests.faults import kill_at, trace
from tests.node.worlds import ADAPTERS, BASE, Place, check_home, write_suite

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
        slice(last),
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
