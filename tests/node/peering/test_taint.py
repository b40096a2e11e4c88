"""A fork taints what was composed of the disputed part, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer, note_entry

from ledger.errors import EquivocationError
from ledger.log import Log
from node.api import Node
from node.home import Home
from node.peering.sync import sync
from node.peering.tree import log_folder
from tests.node.worlds import Place, World


def forked(home: Home, at: int) -> SimulatedLog:
    """The log of a home, signed by its key, with another entry at `at`."""
    with home.reading() as database:
        own = Log(database, home.origin)
        log = SimulatedLog(1, list(own.bodies(0, at)))
    log.keys, log.key, log.origin = home.keys(), own.key, home.origin
    log.folder = f"/{log_folder(home.origin)}"
    log.bodies.append(note_entry(home.keys(), "forked").body)
    return log


def reader(world: World, folder: Path, at: int) -> tuple[Node, str]:
    """A second home that mirrors the world with all its blocks, then meets a fork of it."""
    node = Place(folder).init("bob")
    carol = world.node.home
    assert sync(node.home, SimulatedPeer.of(carol)).errors == ()
    assert node.audit().ok
    with pytest.raises(EquivocationError):
        sync(node.home, SimulatedPeer(forked(carol, at))).raise_gravest()
    (held,) = node.evidence()
    return node, held.id


def compositions(world: World) -> list[int]:
    return [line.index for line in world.node.log() if line.kind == "composition"]


def tainted(node: Node) -> set[str]:
    audited = node.audit()
    assert audited.exit_code == 8
    found = {each.subject for each in audited.findings if each.check == "composition.tainted"}
    shown = {line.id for line in node.list() if node.show(line.id).tainted}
    assert found == shown
    return found


def test_what_rests_on_the_disputed_part_is_tainted(attributed_home: World, tmp_path: Path) -> None:
    node, evidence = reader(attributed_home, tmp_path / "bob", at=2)
    kinds = {line.id: line.kind for line in node.list()}
    expected = {
        id_ for id_, kind in kinds.items() if kind in ("composition", "evaluation", "attribution")
    }
    assert tainted(node) == expected
    shown = node.show(attributed_home.compositions["merge.linear"])
    assert shown.tainted == shown.disputed == [evidence]
    ada, bo = (node.show(attributed_home.ids[name]) for name in ("ada", "bo"))
    assert (ada.index, ada.status, ada.disputed) == (1, "active", [])
    assert (bo.index, bo.status, bo.disputed) == (2, "disputed", [evidence])
    assert {line.status for line in node.list(status="disputed")} == {"disputed"}


def test_what_pinned_only_the_shared_part_is_not(attributed_home: World, tmp_path: Path) -> None:
    first, second = compositions(attributed_home)
    node, _ = reader(attributed_home, tmp_path / "bob", at=first)
    ids = [line.id for line in attributed_home.node.log()]
    found = tainted(node)
    assert ids[first] not in found
    assert ids[second] in found
    assert all(node.show(id_).index > first for id_ in found)


def test_a_fork_of_a_log_it_does_not_rest_on_taints_nothing(
    attributed: World, tmp_path: Path
) -> None:
    """Everybody can fork a log of their own; that must not reach the work of others."""
    node = attributed.node
    stranger = SimulatedLog(9).grow(5)
    assert sync(node.home, SimulatedPeer(stranger)).errors == ()
    other = SimulatedLog(9).grow(3).grow(5, prefix="forked")
    with pytest.raises(EquivocationError):
        sync(node.home, SimulatedPeer(other)).raise_gravest()
    assert tainted(node) == set()


def test_the_command_line_lists_writes_and_adds_evidence(
    attributed_home: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from node.cli.program import run

    _, evidence = reader(attributed_home, tmp_path / "bob", at=2)
    place = Place(tmp_path / "bob")
    file = tmp_path / "equivocation.txt"

    def pnode(*args: str, where: Place = place) -> tuple[int, str]:
        capsys.readouterr()
        code = run(["--home", str(where.home), *args])
        return code, capsys.readouterr().out

    code, out = pnode("evidence", "list", "--json")
    (listed,) = json.loads(out)
    assert (code, listed["id"], listed["kind"]) == (0, evidence, "prefix")
    assert pnode("evidence", "show", evidence[:12], "-o", str(file))[0] == 0
    assert pnode("evidence", "show", evidence[:12])[1].encode() == file.read_bytes()
    assert json.loads(pnode("evidence", "show", evidence, "--json")[1])["text"] == file.read_text()
    assert pnode("evidence", "show", "0" * 12)[0] == 5
    assert pnode("evidence", "show", "0")[0] == 2
    assert pnode("verify", str(file))[0] == 0
    assert pnode("audit")[0] == 8
    assert f"evidence {evidence}" in pnode("show", attributed_home.compositions["merge.linear"])[1]
    assert Node.open(place.home, place.state).evidence_file(evidence).raw == file.read_bytes()
    file.write_bytes(file.read_bytes()[:-1])
    assert pnode("evidence", "add", str(file))[0] == 3
    assert pnode("evidence", "add", str(tmp_path / "missing"))[0] == 5
