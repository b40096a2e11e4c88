"""Verifying single things: entries by id, and files that stand alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import NotFoundError, UsageError
from ledger.evidence import same_size
from node.checking.verifying import verify
from tests.ledger.forks import KEY, fork, note
from tests.node.worlds import Place, World, block_path, flip, forging, predicate_of, write_suite


def test_an_entry_is_verified_with_its_artifact(world_home: World) -> None:
    verified = world_home.node.verify([world_home.ids["ada"][:20], world_home.ids["bo"]])
    assert (verified.ok, verified.exit_code) == (True, 0)
    assert [check.name for check in verified.checks] == ["signature", "inclusion", "artifact"] * 2
    assert {check.target for check in verified.checks} == {
        world_home.ids["ada"],
        world_home.ids["bo"],
    }


def test_every_kind_of_entry_is_verified(attributed_home: World) -> None:
    node = attributed_home.node
    assert node.verify([item.id for item in node.list()]).ok


@pytest.mark.parametrize(("damage", "code"), [("missing", 9), ("flipped", 3)])
def test_artifact_bytes_are_part_of_it(world: World, damage: str, code: int) -> None:
    node = world.node
    path = block_path(node.home, predicate_of(node, world.ids["ada"])["cid"])
    if damage == "missing":
        path.unlink()
    else:
        flip(path)
    verified = node.verify([world.ids["ada"]])
    assert (verified.ok, verified.exit_code) == (False, code)
    assert [check.name for check in verified.checks if not check.ok] == ["artifact"]


def test_a_forged_body_fails_by_its_signature(world: World) -> None:
    node = world.node
    id_ = world.ids["ada"]
    with forging(node.home) as ledger:
        (body,) = ledger.execute("SELECT body FROM entry WHERE id = ?", (id_,)).fetchone()
        at = body.index(b'"sig":"') + 30
        forged = body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]
        ledger.execute("UPDATE entry SET body = ? WHERE id = ?", (forged, id_))
    verified = node.verify([id_])
    assert verified.exit_code == 3
    assert {check.name for check in verified.checks if not check.ok} >= {"signature"}


def test_an_envelope_file_is_verified_with_or_without_a_home(
    world_home: World, tmp_path: Path
) -> None:
    path = tmp_path / "entry.json"
    path.write_bytes(world_home.node.show(world_home.ids["ada"]).raw)
    assert [check.name for check in verify(None, [str(path)]).checks] == ["signature"]
    held = world_home.node.verify([str(path)])
    assert [check.name for check in held.checks] == ["signature", "inclusion"]
    assert held.ok


def flipped_copies(data: bytes) -> list[bytes]:
    """The bytes with one bit flipped, at a sample of places."""
    return [data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in range(0, len(data), 13)]


def test_no_flipped_bit_of_an_envelope_passes(world_home: World, tmp_path: Path) -> None:
    raw = world_home.node.show(world_home.ids["own0-test"]).raw
    path = tmp_path / "entry.json"
    for copy in flipped_copies(raw):
        path.write_bytes(copy)
        verified = verify(None, [str(path)])
        assert not verified.ok
        assert verified.exit_code in (3, 9)


def test_no_flipped_bit_of_a_proof_passes(world_home: World, tmp_path: Path) -> None:
    path = tmp_path / "entry.tlog-proof"
    for copy in flipped_copies(world_home.node.prove(world_home.ids["own0-test"])):
        path.write_bytes(copy)
        verified = verify(None, [str(path)])
        assert not verified.ok
        assert verified.exit_code in (3, 9)


def test_a_proof_of_another_entry_does_not_pass(world_home: World, tmp_path: Path) -> None:
    """The entry carried along is swapped for another one of the same log."""
    from dataclasses import replace

    from ledger.tlogproof import TlogProof

    node = world_home.node
    ours, theirs = (
        TlogProof.parse(node.prove(world_home.ids[name])) for name in ("own0-test", "pub1-test")
    )
    path = tmp_path / "forged.tlog-proof"
    path.write_bytes(bytes(replace(ours, extra=theirs.extra)))
    verified = verify(None, [str(path)])
    assert [check.name for check in verified.checks if not check.ok] == ["inclusion"]
    assert verified.exit_code == 3


def test_a_proof_without_its_entry_needs_the_log(world_home: World, tmp_path: Path) -> None:
    from dataclasses import replace

    from ledger.tlogproof import TlogProof

    node = world_home.node
    proof = TlogProof.parse(node.prove(world_home.ids["ada"]))
    path = tmp_path / "bare.tlog-proof"
    path.write_bytes(bytes(replace(proof, extra=None)))
    assert verify(None, [str(path)]).exit_code == 9
    assert node.verify([str(path)]).ok


def test_a_checkpoint_file_is_compared_with_the_log(place: Place, tmp_path: Path) -> None:
    node = place.init("alice")
    path = tmp_path / "checkpoint"
    path.write_bytes(node.checkpoint())
    node.publish(write_suite(tmp_path / "suite"))
    assert node.verify([str(path)]).ok
    assert verify(None, [str(path)]).exit_code == 9
    ahead = tmp_path / "ahead"
    ahead.write_bytes(node.checkpoint())
    fork = Place(tmp_path / "fork").init("alice")
    assert fork.verify([str(ahead)]).exit_code == 9
    fork.publish(write_suite(tmp_path / "other", "other"))
    assert fork.verify([str(ahead)]).exit_code == 8
    assert Place(tmp_path / "bob").init("bob").verify([str(path)]).exit_code == 9


@pytest.mark.parametrize(
    "data", [b"", b"{", b"{}", b"c2sp.org/tlog-proof@v1\n", b"\x00" * 100, b"hello\n"]
)
def test_nonsense_is_bad_evidence(world_home: World, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    for home in (None, world_home.node.home):
        verified = verify(home, [str(path)])
        assert (verified.ok, verified.exit_code) == (False, 3)


def test_a_huge_file_is_refused_before_it_is_parsed(world_home: World, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"{" * ((1 << 20) + 1))
    verified = world_home.node.verify([str(path)])
    assert (verified.exit_code, [check.ok for check in verified.checks]) == (3, [False])
    assert "too large" in verified.checks[0].detail


def test_the_gravest_result_decides(world: World, tmp_path: Path) -> None:
    node = world.node
    block_path(node.home, predicate_of(node, world.ids["ada"])["cid"]).unlink()
    flip(block_path(node.home, predicate_of(node, world.ids["bo"])["cid"]))
    assert node.verify([world.ids["cy"], world.ids["ada"]]).exit_code == 9
    assert node.verify([world.ids["ada"], world.ids["bo"], world.ids["cy"]]).exit_code == 3


def test_what_is_neither_a_file_nor_an_id_is_refused(world_home: World) -> None:
    with pytest.raises(NotFoundError):
        world_home.node.verify(["b" + "a" * 30])
    with pytest.raises(NotFoundError, match="no such file"):
        world_home.node.verify(["Nowhere.json"])
    with pytest.raises(UsageError, match="too short"):
        world_home.node.verify(["bafkrei"])
    with pytest.raises(NotFoundError, match="no home"):
        verify(None, ["b" + "a" * 30])


def test_a_proof_of_another_history_is_equivocation(place: Place, tmp_path: Path) -> None:
    """The proof is sound by itself; only the log held here shows that it cannot be true as well."""
    place.init("ada")
    other = place.copy_to(tmp_path / "other")
    place.open().publish(write_suite(tmp_path / "one", "one"))
    forked = other.open().publish(write_suite(tmp_path / "two", "two"))
    proof = tmp_path / "fork.tlog-proof"
    proof.write_bytes(other.open().prove(str(forked.id)))
    alone = verify(None, [str(proof)])
    assert alone.ok
    verified = place.open().verify([str(proof)])
    assert (verified.ok, verified.exit_code) == (False, 8)


def test_what_an_attribution_claims_is_verified_too(attributed: World) -> None:
    verified = attributed.node.verify([attributed.compositions["attribution"]])
    assert verified.ok
    assert [check.name for check in verified.checks][-1] == "claim"


def test_an_oversized_file_does_not_hide_the_others(attributed: World, tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_bytes(bytes(2 << 20))
    ids = [attributed.compositions["attribution"]]
    verified = attributed.node.verify([*ids, str(big), *ids])
    assert verified.exit_code == 3
    assert [check.ok for check in verified.checks if check.target == str(big)] == [False]
    assert len({check.target for check in verified.checks}) == 2


def test_an_evidence_file_is_verified_with_nothing_but_the_file(tmp_path: Path) -> None:
    data = bytes(same_size(KEY, note(fork(2, 5, "a")), note(fork(2, 5, "b"))))
    path = tmp_path / "equivocation.txt"
    path.write_bytes(data)
    verified = verify(None, [str(path)])
    assert (verified.ok, verified.exit_code) == (True, 0)
    (check,) = verified.checks
    assert check.name == "evidence"
    assert f"{KEY.name} signed two histories" in check.detail
    path.write_bytes(data.replace(b"\n5\n", b"\n6\n"))
    assert verify(None, [str(path)]).exit_code == 3
