"""A liar is shown to everybody by one file, and whoever accuses an honest claim is shown too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compose.faultproof import FaultProof
from compose.outcomes import Outcome
from compose.replay import Mismatch
from ledger.errors import IncompleteError, MalformedError, NotFoundError, ProofError
from node.api import Node
from node.checking.claims import claimed_lock, claimed_outcomes
from node.checking.faults import fault_of
from node.checking.verifying import verify
from node.peering.export import export
from node.peering.peers import add_peer
from node.reading import load_view
from tests.node.lies import MERGE, Accused, forge, relock
from tests.node.worlds import World, check_home, predicate_of

CHECKS = ["signature", "inclusion", "lock", "outcome"]


def improve_first(outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
    """Claim another answer to the first item."""
    first, *rest = outcomes
    return replace(first, answer="zzzzz", correct=True), *rest


def accuse(node: Node, evaluation: str) -> bytes:
    """The fault proof of the first item of an evaluation's first suite, true or not."""
    with node.home.reading() as database:
        entries = {id_: placed.entry for id_, placed in load_view(database).entries.items()}
    said = entries[evaluation]
    about = entries[said.statement.predicate["composition"]]
    suite, claim = next(iter(claimed_outcomes(said, node.home.store).items()))
    first = claim.outcomes[0]
    other = replace(first, answer="made up", correct=not first.correct, margin=10**6)
    found = Mismatch(suite, 0, first.item, first, other, near_tie=False)
    lock = claimed_lock(about, node.home.store)
    return fault_of(node.home, about, lock, said, claim, found)


def test_a_mismatch_leaves_one_file_that_stands_alone(accused_home: Accused) -> None:
    replayed, file = accused_home.replayed, accused_home.file
    assert (replayed.verdict, replayed.fault_proof) == ("mismatch", str(file))
    verified = verify(None, [str(file)])
    assert (verified.ok, [check.name for check in verified.checks]) == (True, CHECKS)
    assert accused_home.lie in verified.checks[0].detail
    fault = FaultProof.parse(file.read_bytes())
    assert fault.recomputed.correct is False
    assert f"item {fault.claimed.item}: claimed" in replayed.mismatches[0]


def test_where_no_file_can_be_written_nothing_is_run(accused_home: Accused, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        accused_home.world.node.replay(accused_home.lie, fault_proof=tmp_path / "none" / "x")


def test_a_lie_whose_proof_would_be_too_large_is_still_a_mismatch(
    composed: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is not lost because its proof cannot be made."""
    node = composed.node
    lie = forge(node, composed.compositions[MERGE], improve_first)
    monkeypatch.setattr("compose.faultproof.MAX_FAULT_BYTES", 1000)
    replayed = node.replay(lie, fault_proof=tmp_path / "x.fault")
    assert (replayed.verdict, replayed.fault_proof) == ("mismatch", None)
    assert "no fault proof: fault proof: more than 1000 bytes" in replayed.mismatches[-1]
    assert not (tmp_path / "x.fault").exists()


def test_a_third_party_confirms_the_lie_from_blocks_of_a_peer(
    accused_home: Accused, tmp_path: Path, new_node: Callable[[str], Node]
) -> None:
    """Nothing of the liar's log, base or adapters is here before."""
    stick = tmp_path / "stick"
    export(accused_home.world.node.home, stick)
    node = new_node("referee")
    with pytest.raises(IncompleteError):
        node.settle(accused_home.file)
    add_peer(node.home, str(stick))
    with pytest.raises(IncompleteError, match="is in no log held here"):
        node.settle(accused_home.file, attest=True)
    settled = node.settle(accused_home.file)
    assert (settled.verdict, settled.exit_code) == ("confirmed", 3)
    assert settled.id == accused_home.lie
    assert settled.claimed_by == accused_home.world.node.home.author
    assert "(correct)" in settled.claimed
    assert "(wrong)" in settled.recomputed
    assert settled.notes == []
    check_home(node)


def test_a_confirmed_lie_is_attested_where_its_log_is_held(
    accused_home: Accused, tmp_path: Path
) -> None:
    node = accused_home.world.copy_to(tmp_path / "world").node
    settled = node.settle(accused_home.file, attest=True)
    assert settled.attested is not None
    said = predicate_of(node, settled.attested)
    assert (said["target"], said["verdict"], said["checked"]) == (settled.id, "mismatch", 1)
    assert said["fault"] == FaultProof.parse(accused_home.file.read_bytes()).id
    assert [each.verdict for each in node.show(settled.id).verdicts] == ["mismatch"]
    check_home(node)


def test_a_false_accusation_is_refuted(composed_home: World, tmp_path: Path) -> None:
    node = composed_home.node
    file = tmp_path / "slander.fault"
    (honest,) = (
        each.id
        for each in node.list(kind="evaluation")
        if node.show(each.id).statement["predicate"]["composition"]
        == composed_home.compositions[MERGE]
    )
    file.write_bytes(accuse(node, honest))
    assert verify(None, [str(file)]).ok
    settled = node.settle(file, attest=True)
    assert (settled.verdict, settled.exit_code, settled.attested) == ("refuted", 0, None)
    assert settled.claimed == settled.recomputed


def test_what_another_stack_may_excuse_is_inconclusive(composed: World, tmp_path: Path) -> None:
    node = composed.node
    about = relock(composed, "pinned", torch="1.0.0")
    lie = forge(node, composed.compositions[MERGE], improve_first, about=about)
    file = tmp_path / "doubt.fault"
    file.write_bytes(accuse(node, lie))
    settled = node.settle(file)
    assert (settled.verdict, settled.exit_code) == ("inconclusive", 9)
    assert "torch 1.0.0" in settled.notes[0]


def test_a_damaged_file_is_refused_before_anything_is_run(
    accused_home: Accused, tmp_path: Path
) -> None:
    fault = FaultProof.parse(accused_home.file.read_bytes())
    file = tmp_path / "moved.fault"
    file.write_bytes(bytes(replace(fault, index=fault.index + 1)))
    with pytest.raises(ProofError):
        accused_home.world.node.settle(file)
    verified = verify(None, [str(file)])
    assert [check.ok for check in verified.checks] == [True, True, True, False]
    assert verified.exit_code == 3
    file.write_bytes(accused_home.file.read_bytes()[:-1])
    with pytest.raises(MalformedError):
        accused_home.world.node.settle(file)
    assert verify(None, [str(file)]).exit_code == 3
