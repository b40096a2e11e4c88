"""Appended, signed, witnessed: a policy of two in three over real homes and sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint, sign_checkpoint
from ledger.errors import MalformedError, NotFoundError, UsageError
from ledger.evidence import same_size
from ledger.heldevidence import hold
from ledger.log import Log, store_rows
from ledger.note import Note
from node.api import Node
from node.checking.verifying import verify
from node.peering.policyfile import home_policy, read_policy
from node.peering.states import APPENDED, SIGNED, WITNESSED, entry_state, witnessed_size
from node.peering.witnessing import Cosigner
from tests.node.served import served
from tests.node.worlds import check_home, write_suite
from tests.simulator import note_entry

NAMES = ("bob", "carl", "dora")


def write_policy(path: Path, threshold: int, *witnesses: Node) -> Path:
    lines = [f"witness {node.home.name} {Cosigner.of(node.home).key}\n" for node in witnesses]
    members = " ".join(node.home.name for node in witnesses)
    path.write_text("".join(lines) + f"group all-three {threshold} {members}\nquorum all-three\n")
    return path


def follow(witness: Node, ada: Node) -> None:
    """Let a witness mirror ada's log over HTTP, and ada take over what it says."""
    with served(ada.home) as url:
        assert [report.state for report in witness.sync([url])] == ["complete"]
    with served(witness.home) as url:
        assert [report.state for report in ada.sync([url])] == ["complete"]


def test_two_of_three_witnesses_make_an_entry_witnessed(
    new_node: Callable[[str], Node], tmp_path: Path
) -> None:
    ada = new_node("ada")
    bob, carl, dora = (new_node(name) for name in NAMES)
    policy = write_policy(ada.home.path / "policy.txt", 2, bob, carl, dora)
    suite = write_suite(tmp_path / "suite")
    published = ada.publish(suite)
    id_ = str(published.id)
    assert published.state == ada.show(id_).state == SIGNED

    follow(bob, ada)
    shown = ada.show(id_)
    assert (shown.state, shown.witnesses, shown.witnessed_since) == (SIGNED, [], "")
    follow(carl, ada)
    shown = ada.show(id_)
    assert shown.state == WITNESSED
    assert [each.name for each in shown.witnesses] == ["bob", "carl"]
    assert shown.witnessed_since == max(each.time for each in shown.witnesses)
    assert ada.publish(suite).state == WITNESSED

    # The proof carries what a stranger with the policy needs, and nothing else.
    proof = tmp_path / "entry.tlog-proof"
    proof.write_bytes(ada.prove(id_))
    stranger = verify(None, [str(proof)], witnessed=True, policy=policy)
    assert stranger.ok
    (check,) = (check for check in stranger.checks if check.name == "witnessed")
    assert "bob" in check.detail
    assert "carl" in check.detail

    # What comes later is signed, and the earlier entry stays witnessed.
    later = str(ada.publish(write_suite(tmp_path / "later", "later")).id)
    assert ada.show(later).state == SIGNED
    assert ada.show(id_).state == WITNESSED
    proof.write_bytes(ada.prove(id_))
    assert verify(None, [str(proof)], witnessed=True, policy=policy).ok
    follow(dora, ada)
    assert ada.show(later).state == SIGNED
    with served(bob.home) as url:
        # Asked for it, bob cosigns ahead of his mirror.
        ada.sync([url])
    shown = ada.show(later)
    assert (shown.state, [each.name for each in shown.witnesses]) == (WITNESSED, ["bob", "dora"])
    for node in (ada, bob, carl, dora):
        check_home(node)


def test_an_unsigned_entry_is_appended(node: Node) -> None:
    with node.home.locked() as database:
        log = Log(database, node.home.origin)
        with database.transaction() as writer:
            store_rows(writer, log, [note_entry(node.home.keys(), "x").body])
        assert entry_state(log, 1, None).state == APPENDED
        assert entry_state(log, 0, None).state == SIGNED


@pytest.fixture
def witnessed(new_node: Callable[[str], Node]) -> tuple[Node, Node]:
    """A home whose log one witness has cosigned, and that witness."""
    ada, bob = new_node("ada"), new_node("bob")
    write_policy(ada.home.path / "policy.txt", 1, bob)
    follow(bob, ada)
    return ada, bob


def own_state(node: Node) -> str:
    with node.home.reading() as database:
        log = Log(database, node.home.origin)
        return entry_state(log, 0, home_policy(node.home)).state


def test_a_witness_that_forked_its_own_log_does_not_count(
    witnessed: tuple[Node, Node], tmp_path: Path
) -> None:
    ada, bob = witnessed
    assert own_state(ada) == WITNESSED
    key = bob.home.keys().log
    with bob.home.reading() as database:
        log = Log(database, bob.home.origin)
    point = Checkpoint(log.origin, 1, bytes(32))
    sides = bytes(Note.parse(bob.checkpoint())), bytes(sign_checkpoint(point, key))
    with ada.home.locked() as database:
        hold(database, same_size(log.key, *sides))
    assert own_state(ada) == SIGNED
    checks = {check.name: check for check in ada.verify([ada.log()[0].id]).checks}
    assert not checks["witnessed"].ok
    assert not checks["witnessed"].required


def test_a_log_is_no_witness_of_itself(node: Node) -> None:
    write_policy(node.home.path / "policy.txt", 1, node)
    note = Note.parse(node.checkpoint())
    from ledger.cosignature import cosign
    from ledger.observations import add_cosignatures

    own = Cosigner.of(node.home)
    line = cosign(note.text, own.key.name, own.private, time=1)
    with node.home.locked() as database, database.transaction() as writer:
        log = Log(database, node.home.origin)
        add_cosignatures(writer, log, Checkpoint.parse(note.text), [(own.key, line)])
    assert own_state(node) == SIGNED


def test_without_a_policy_or_with_none_nothing_is_witnessed(
    witnessed: tuple[Node, Node],
) -> None:
    ada, _ = witnessed
    policy = ada.home.path / "policy.txt"
    with ada.home.reading() as database:
        assert witnessed_size(Log(database, ada.home.origin), home_policy(ada.home)) == 1
    policy.write_text(policy.read_text().replace("quorum all-three", "quorum none"))
    assert own_state(ada) == SIGNED
    (check,) = (c for c in ada.verify([ada.log()[0].id]).checks if c.name == "witnessed")
    assert not check.ok
    policy.unlink()
    assert own_state(ada) == SIGNED
    assert "witnessed" not in {check.name for check in ada.verify([ada.log()[0].id]).checks}
    with pytest.raises(UsageError, match="no policy"):
        ada.verify([ada.log()[0].id], witnessed=True)


def test_an_unsatisfied_policy_decides_only_when_asked(
    witnessed: tuple[Node, Node], new_node: Callable[[str], Node]
) -> None:
    ada, bob = witnessed
    write_policy(ada.home.path / "policy.txt", 2, bob, new_node("carl"))
    id_ = ada.log()[0].id
    verified = ada.verify([id_])
    assert (verified.ok, verified.exit_code) == (True, 0)
    strict = ada.verify([id_], witnessed=True)
    assert (strict.ok, strict.exit_code) == (False, 9)
    (check,) = (check for check in strict.checks if not check.ok)
    assert check.detail == "not witnessed: all-three needs 2, has 1; missing: carl"


def test_a_wrong_policy_names_file_and_line(node: Node, tmp_path: Path) -> None:
    path = node.home.path / "policy.txt"
    path.write_text("\nquorum nobody\n")
    with pytest.raises(MalformedError, match=r"policy\.txt: policy line 2"):
        home_policy(node.home)
    with pytest.raises(NotFoundError):
        read_policy(tmp_path / "nowhere")
