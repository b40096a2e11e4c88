"""The Python interface where it adds something to the functions it calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import MalformedError, UnavailableError, UsageError
from node.api import Node
from tests.node.worlds import snapshot, write_suite


@pytest.fixture
def stick(new_node: Callable[[str], Node], tmp_path: Path) -> Path:
    """The export of another node."""
    other = new_node("other")
    other.publish(write_suite(tmp_path / "suite"))
    other.export(tmp_path / "stick")
    return tmp_path / "stick"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_peer_that_cannot_be_read_has_a_report_and_stops_nobody(
    node: Node, stick: Path, tmp_path: Path
) -> None:
    away, liar = tmp_path / "away", tmp_path / "liar"
    liar.mkdir()
    (liar / "logs").write_bytes(b"\xff")
    descriptors = open_files()
    reports = node.sync([str(away), str(liar), str(stick)])
    assert open_files() == descriptors
    assert [report.peer for report in reports] == [str(away), str(liar), str(stick)]
    assert [report.state for report in reports] == ["refused", "refused", "complete"]
    for report, error in zip(reports, (UnavailableError, MalformedError), strict=False):
        assert (report.added, report.logs) == (0, ())
        with pytest.raises(error):
            report.raise_gravest()
    assert reports[2].added == 2


def test_a_typing_error_is_found_before_any_peer_is_asked(node: Node, stick: Path) -> None:
    before = snapshot(node.home.path)
    with pytest.raises(UsageError, match="ftp"):
        node.sync([str(stick), "ftp://peer.example"])
    assert snapshot(node.home.path) == before
