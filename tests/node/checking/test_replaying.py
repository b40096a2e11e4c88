"""Replaying: what was claimed is rebuilt in a new process, and a lie is pinned to one item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from compose.outcomes import Outcome, encode_outcomes, outcomes_root
from ledger.cid import Cid
from ledger.errors import DigestError, IncompleteError, UsageError
from node.api import Node
from node.artifacts import read_document, store_document
from node.checking.replaying import Replayed
from tests.node.lies import forge, honest, improve, relock
from tests.node.worlds import (
    World,
    block_path,
    check_home,
    flip,
    predicate_of,
    say,
    snapshot,
    write_recipe,
)

MERGE, SELECT = "merge.linear", "logit.select"


@pytest.mark.parametrize("method", [MERGE, SELECT])
def test_an_honest_composition_is_reproduced(composed_home: World, method: str) -> None:
    node = composed_home.node
    id_ = composed_home.compositions[method]
    replayed = node.replay(id_)
    assert (replayed.verdict, replayed.exit_code, replayed.mismatches) == ("reproduced", 0, [])
    assert replayed.checked == replayed.total == 18
    assert replayed.system_digest == predicate_of(node, id_)["system_digest"]
    assert replayed.probability == "1.0000"
    assert (replayed.attested, replayed.seed) == (None, None)


def test_a_replay_searches_again_and_finds_the_same_weights(
    composed: World, tmp_path: Path
) -> None:
    recipe = write_recipe(
        tmp_path / "search.toml",
        method="merge.lorahub",
        members=[composed.ids["ada"], composed.ids["bo"]],
        parameters={"objective": "loss", "budget": "5"},
        dev=composed.ids["own0-dev"],
        suites=composed.tests,
    )
    found = composed.node.compose(recipe)
    assert any(weight not in ("0", "1") for weight in found.weights.values())
    assert found.exactness == "bitwise"
    replayed = composed.node.replay(str(found.id), sample=2)
    assert (replayed.verdict, replayed.system_digest) == ("reproduced", found.system_digest)


def test_an_evaluation_is_replayed_by_its_own_id(composed_home: World) -> None:
    (first, *_) = composed_home.node.list(kind="evaluation")
    replayed = composed_home.node.replay(first.id, sample=4)
    assert (replayed.verdict, replayed.checked, replayed.total) == ("reproduced", 4, 18)
    assert 0 < float(replayed.probability) < 1
    assert replayed.seed is not None


def test_as_many_items_are_drawn_as_find_a_false_one(composed_home: World) -> None:
    id_ = composed_home.compositions[SELECT]
    replayed = composed_home.node.replay(id_, detect="0.7", false="0.25")
    assert (replayed.verdict, replayed.checked, replayed.false) == ("reproduced", 4, "1/4")
    assert replayed.detection == (
        "if 25 % of the 18 items were false (5), checking 4 would find one with probability 0.7663"
    )
    for wrong in (
        {"detect": "1.5"},
        {"false": "0"},
        {"detect": "0.5", "sample": 3},
        {"seed": "ab" * 32},
        {"seed": "ab", "sample": 3},
    ):
        with pytest.raises(UsageError):
            composed_home.node.replay(id_, **wrong)  # type: ignore[arg-type]


def test_the_seed_of_a_verdict_draws_its_items_again(composed: World) -> None:
    """A lie about one item of 18 is met, or missed, by everybody who draws with the seed."""
    lie = forge(
        composed.node, composed.compositions[MERGE], lambda o: (replace(o[0], answer="z"), *o[1:])
    )
    first = composed.node.replay(lie, sample=9)
    again = composed.node.replay(lie, sample=9, seed=first.seed)
    assert again == first


def test_two_outcomes_in_one_another_s_places_are_a_mismatch(composed: World) -> None:
    """Only the root commits to the order, and the root is the liar's own."""
    forged = forge(composed.node, composed.compositions[MERGE], lambda o: (o[1], o[0], *o[2:]))
    replayed = composed.node.replay(forged)
    assert (replayed.verdict, len(replayed.mismatches)) == ("mismatch", 2)


def test_a_sample_of_nothing_decides_nothing(composed_home: World) -> None:
    replayed = composed_home.node.replay(composed_home.compositions[MERGE], sample=0)
    assert (replayed.verdict, replayed.checked, replayed.exit_code) == ("inconclusive", 0, 9)


def test_a_replay_trusts_no_cache_and_writes_nothing(composed: World) -> None:
    node = composed.node
    for path in (node.home.path / "cache").rglob("*.safetensors"):
        flip(path)
    node.list()
    before = snapshot(composed.place.folder)
    assert node.replay(composed.compositions[MERGE]).verdict == "reproduced"
    assert snapshot(composed.place.folder) == before


def test_counts_that_do_not_follow_from_the_outcomes_are_refused(composed: World) -> None:
    node = composed.node
    forged = forge(node, composed.compositions[MERGE], lambda each: each, correct=6)
    with pytest.raises(DigestError, match="the evaluation says 6 of 6") as caught:
        node.replay(forged)
    assert caught.value.exit_code == 3
    audited = node.audit()
    assert [(f.check, f.subject) for f in audited.findings] == [("evaluation.outcomes", forged)]
    assert audited.exit_code == 3


def test_a_consistent_lie_is_pinned_to_its_first_item(composed: World) -> None:
    """Outcomes, counts, root and signature agree: only running it again tells."""
    node = composed.node
    id_ = composed.compositions[MERGE]
    _, outcomes = honest(node, id_)
    first = next(iter(outcomes))
    wrong = [outcome.item for outcome in outcomes[first] if not outcome.correct]
    forged = forge(node, id_, improve)
    check_home(node)
    replayed = node.replay(forged, attest=True)
    assert (replayed.id, replayed.verdict, replayed.exit_code) == (forged, "mismatch", 3)
    # The verdict is on the lie: anybody can make a false claim about an honest composition.
    assert [each.verdict for each in node.show(forged).verdicts] == ["mismatch"]
    assert node.show(id_).verdicts == []
    assert f"suite {first}: item {wrong[0]}" in replayed.mismatches[0]
    assert len(replayed.mismatches) == len(wrong)
    audited = node.audit(replay=2)
    assert {finding.check for finding in audited.findings} == {"replay"}
    assert audited.exit_code == 3


def test_an_honest_evaluation_does_not_cover_up_a_later_or_earlier_lie(composed: World) -> None:
    node = composed.node
    id_ = composed.compositions[MERGE]
    forge(node, id_, improve)
    forge(node, id_, lambda outcomes: outcomes)
    assert node.replay(id_).verdict == "mismatch"


@pytest.mark.parametrize("keep", [slice(0, 3), slice(3, 6)], ids=["first half", "second half"])
def test_leaving_out_items_is_refused(composed: World, keep: slice) -> None:
    node = composed.node
    forged = forge(node, composed.compositions[MERGE], lambda outcomes: outcomes[keep])
    with pytest.raises(DigestError, match="3 outcomes are claimed, it has 6 items"):
        node.replay(forged)


def test_inventing_items_is_refused(composed: World) -> None:
    extra = Outcome("invented", "a b", correct=True, margin=None)
    forged = forge(composed.node, composed.compositions[MERGE], lambda each: (*each, extra))
    with pytest.raises(DigestError, match="7 outcomes are claimed, it has 6 items"):
        composed.node.replay(forged)


def test_scoring_a_suite_the_composition_does_not_have_is_refused(composed: World) -> None:
    node = composed.node
    predicate, outcomes = honest(node, composed.compositions[MERGE])
    other = composed.ids["own0-dev"]
    each = next(iter(outcomes.values()))
    document = encode_outcomes(other, each)
    predicate["scores"] = [
        {
            "suite": other,
            "correct": sum(outcome.correct for outcome in each),
            "total": len(each),
            "root": outcomes_root(each).hex(),
            "outcomes": str(store_document(document, node.home.store)),
        }
    ]
    forged = say(node.home, "evaluation", predicate, {f"{other}.jsonl": document})
    with pytest.raises(DigestError, match=other):
        node.replay(forged)
    assert [(f.check, f.subject) for f in node.audit().findings] == [
        ("evaluation.outcomes", forged)
    ]


def test_another_system_digest_is_a_mismatch(composed: World) -> None:
    node = composed.node
    predicate = predicate_of(node, composed.compositions[MERGE])
    lock = read_document(Cid.parse(predicate["lock"]), node.home.store, what="lock")
    predicate["system_digest"] = "00" * 32
    forged = say(node.home, "composition", predicate, {"lock.json": lock})
    replayed = node.replay(forged)
    assert replayed.verdict == "mismatch"
    assert replayed.mismatches[0].startswith("system digest: claimed 00000000")


def test_a_verdict_is_attested_and_listed(composed: World) -> None:
    node = composed.node
    id_ = composed.compositions[MERGE]
    replayed = node.replay(id_, attest=True)
    assert replayed.attested is not None
    said = predicate_of(node, replayed.attested)
    assert (said["target"], said["verdict"], said["checked"]) == (id_, "reproduced", 18)
    assert said["system_digest"] == replayed.system_digest
    assert [item.id for item in node.list(kind="verification")] == [replayed.attested]
    check_home(node)


def test_a_second_auditor_confirms_the_first(
    composed: World, tmp_path: Path, new_node: Callable[[str], Node]
) -> None:
    """`show` counts distinct auditors; whoever composed it speaks and does not count."""
    id_ = composed.compositions[MERGE]
    fields = {
        "target": id_,
        "verdict": "reproduced",
        "checked": 18,
        "mismatches": 0,
        "exactness": "bitwise",
    }
    own = say(composed.node.home, "verification", fields, {id_: composed.node.show(id_).raw})
    composed.node.export(tmp_path / "stick")
    auditor = new_node("bo")
    auditor.add_peer(str(tmp_path / "stick"))
    auditor.sync()
    replayed = auditor.replay(id_, sample=2, attest=True)
    assert replayed.attested is not None
    said = predicate_of(auditor, replayed.attested)
    assert (said["confirms"], said["seed"]) == ([own], replayed.seed)
    verdicts = {each.id: each for each in auditor.show(id_).verdicts}
    assert {id_: (each.name, each.counts) for id_, each in verdicts.items()} == {
        own: ("carol", False),
        replayed.attested: ("bo", True),
    }
    assert (verdicts[replayed.attested].verdict, verdicts[replayed.attested].checked) == (
        "reproduced",
        2,
    )
    check_home(auditor)


@pytest.mark.parametrize("what", ["base", "member", "suite", "lock"])
def test_missing_bytes_are_incomplete_never_a_verdict(composed: World, what: str) -> None:
    node = composed.node
    id_ = composed.compositions[MERGE]
    predicate = predicate_of(node, id_)
    cid = {
        "base": lambda: predicate["base"]["cid"],
        "member": lambda: predicate_of(node, composed.ids["ada"])["cid"],
        "suite": lambda: predicate_of(node, composed.tests[0])["cid"],
        "lock": lambda: predicate["lock"],
    }[what]()
    block_path(node.home, cid).unlink()
    if what == "base":
        for path in (node.home.path / "bases").iterdir():
            path.unlink()
    with pytest.raises(IncompleteError) as caught:
        node.replay(id_)
    assert caught.value.exit_code == 9
    assert caught.value.hint


def test_a_damaged_member_is_bad_evidence(composed: World) -> None:
    node = composed.node
    flip(block_path(node.home, predicate_of(node, composed.ids["ada"])["cid"]))
    with pytest.raises(DigestError):
        node.replay(composed.compositions[MERGE])


def test_only_compositions_and_evaluations_are_replayed(composed_home: World) -> None:
    with pytest.raises(UsageError, match="is a contribution"):
        composed_home.node.replay(composed_home.ids["ada"])


def lie_about(world: World, composition: str) -> Replayed:
    """Replay the claim that a composition answers everything correctly."""
    node = world.node
    return node.replay(forge(node, world.compositions[MERGE], improve, about=composition))


def test_on_another_software_stack_a_pinned_difference_is_not_held_against_the_claim(
    composed: World,
) -> None:
    """Class `pinned` promises equality only on the versions that the lock names."""
    replayed = lie_about(composed, relock(composed, "pinned", torch="1.0.0"))
    assert (replayed.verdict, replayed.exit_code) == ("inconclusive", 9)
    assert "torch 1.0.0" in replayed.mismatches[-1]
    # Merged deltas are the same bits on every stack, so a false digest has no excuse.
    false = relock(composed, "pinned", digest="00" * 32, torch="1.0.0")
    assert composed.node.replay(false).exit_code == 3


def test_no_software_excuses_a_bitwise_difference(composed: World) -> None:
    replayed = lie_about(composed, relock(composed, "bitwise", torch="1.0.0", numpy="1.0"))
    assert (replayed.verdict, replayed.exit_code) == ("mismatch", 3)


@pytest.mark.parametrize("exactness", ["pinned", "tolerance"])
def test_other_classes_give_the_same_outcomes_in_their_own_arithmetic(
    composed: World, exactness: str
) -> None:
    node = composed.node
    other = relock(composed, exactness)
    replayed = node.replay(
        forge(node, composed.compositions[MERGE], lambda each: each, about=other)
    )
    assert (replayed.verdict, replayed.exactness) == ("reproduced", exactness)


def test_another_version_of_the_exact_engine_is_named(composed: World) -> None:
    with pytest.raises(IncompleteError, match="version 2 of the exact engine") as caught:
        composed.node.replay(relock(composed, "bitwise", exact="2"))
    assert caught.value.exit_code == 9


def test_what_promises_nothing_is_not_replayed(composed: World) -> None:
    with pytest.raises(IncompleteError, match="advisory"):
        composed.node.replay(relock(composed, "advisory"))


def test_nothing_in_the_current_folder_is_run(
    composed_home: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor may well stand in the folder that a stranger sent."""
    for name in ("json", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('pwned')\n")
    monkeypatch.chdir(tmp_path)
    replayed = composed_home.node.replay(composed_home.compositions[MERGE], sample=1)
    assert replayed.verdict == "reproduced"
