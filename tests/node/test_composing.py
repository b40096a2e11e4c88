"""Composing: two nodes get the same digests, and what makes no sense is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import (
    DigestError,
    IdentityError,
    NotFoundError,
    PnodeError,
    PolicyError,
    UsageError,
)
from node.api import Node
from node.saving import open_system
from tests.node.worlds import (
    BASE,
    TASKS,
    World,
    build_world,
    check_home,
    predicate_of,
    snapshot,
    write_recipe,
    write_suite,
)

DIGESTS = ("system_digest", "exactness", "lock")


def score_roots(world: World, evaluation: str) -> list[tuple[int, int, str]]:
    scores = predicate_of(world.node, evaluation)["scores"]
    return [(score["correct"], score["total"], score["root"]) for score in scores]


def test_the_same_seeds_give_the_same_systems_and_outcomes(
    composed_home: World, tmp_path: Path
) -> None:
    """Even the lock is the same: it pins nothing that differs between two machines."""
    other = build_world(tmp_path / "other")
    assert other.ids == composed_home.ids
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=[other.ids[name] for name in ("cy", "bo", "ada")],
        parameters={"form": "sum"},
        suites=other.tests,
    )
    composed = other.node.compose(recipe)
    assert composed.id == composed_home.compositions["merge.linear"]
    assert composed.members == sorted(composed.members)
    assert composed.exactness == "bitwise"
    ours = predicate_of(composed_home.node, str(composed.id))
    theirs = predicate_of(other.node, str(composed.id))
    assert {name: ours[name] for name in DIGESTS} == {name: theirs[name] for name in DIGESTS}
    assert composed.evaluation is not None
    assert score_roots(other, composed.evaluation) == score_roots(
        composed_home, composed.evaluation
    )
    check_home(other.node)


def test_without_a_seed_nothing_is_evaluated(world: World, tmp_path: Path) -> None:
    node = world.node
    (node.home.path / "keys" / "seed").unlink()
    recipe = write_recipe(tmp_path / "recipe.toml", suites=world.tests)
    steps: list[str] = []
    with pytest.raises(IdentityError, match="cannot sign"):
        Node(node.home, progress=lambda step, *_: steps.append(step)).compose(recipe)
    assert steps == []


def test_a_composition_never_trusts_an_extracted_folder_of_an_earlier_run(
    composed: World, tmp_path: Path
) -> None:
    """Somebody writes other answers into the cache; what is signed still follows from blocks."""
    node = composed.node
    shown = predicate_of(node, composed.compositions["merge.linear"])
    for id_ in composed.tests:
        folder = node.home.cache / "artifacts" / predicate_of(node, id_)["cid"]
        items = folder / "items.jsonl"
        rows = [json.loads(line) | {"answer": "x"} for line in items.read_text().splitlines()]
        items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=shown["members"],
        parameters={"form": "sum"},
        suites=composed.tests,
    )
    node.compose(recipe)
    first, second = (item.id for item in node.list(kind="evaluation") if _of(composed, item.id))
    assert score_roots(composed, first) == score_roots(composed, second)
    check_home(node)


def _of(world: World, evaluation: str) -> bool:
    said = predicate_of(world.node, evaluation)
    composition = predicate_of(world.node, said["composition"])
    return bool(composition["method"] == "merge.linear")


def test_another_node_with_other_keys_gets_the_same_system(
    composed_home: World, tmp_path: Path
) -> None:
    from node.peering.source import open_source
    from node.peering.sync import sync
    from tests.node.worlds import Place

    composed_home.node.export(tmp_path / "stick")
    dave = Place(tmp_path / "dave").init("dave")
    sync(dave.home, open_source(str(tmp_path / "stick"), offline=True))
    dave.add_base(str(BASE), "cipher-tiny")
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=[composed_home.ids[name] for name in ("ada", "bo", "cy")],
        parameters={"form": "sum"},
        suites=composed_home.tests,
    )
    theirs = dave.compose(recipe)
    ours = predicate_of(composed_home.node, composed_home.compositions["merge.linear"])
    assert theirs.system_digest == ours["system_digest"]
    assert theirs.lock != ours["lock"]
    found = dave.list(kind="evaluation")
    roots = {
        tuple(score["root"] for score in predicate_of(dave, item.id)["scores"])
        for item in found
        if predicate_of(dave, item.id)["composition"]
        in (theirs.id, composed_home.compositions["merge.linear"])
    }
    assert len(found) == 3
    assert len(roots) == 1
    check_home(dave)


def test_selection_scores_more_than_the_merge(composed_home: World) -> None:
    """The reference world: nobody but Ada and Bo knows operation Q0, each half of it."""
    node = composed_home.node
    totals = {}
    for item in node.list(kind="evaluation"):
        said = predicate_of(node, item.id)
        totals[said["composition"]] = sum(score["correct"] for score in said["scores"])
    merged, selected = (
        totals[composed_home.compositions[name]] for name in ("merge.linear", "logit.select")
    )
    assert selected > merged


def test_titles_that_route_are_those_of_the_statements_that_ids_pin(
    world: World, tmp_path: Path
) -> None:
    """A composition by description is reproduced in another process, from statements alone."""
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=[world.ids[name] for name in ("ada", "bo")],
        method="route.description",
        suites=world.tests[:1],
    )
    composed = world.node.compose(recipe)
    assert composed.id is not None
    replayed = world.node.replay(composed.id)
    assert (replayed.verdict, replayed.mismatches) == ("reproduced", [])
    values = world.node.attribute(composed.id).values
    assert len(values) == 2


def test_a_dry_run_locks_and_writes_nothing(world: World, tmp_path: Path) -> None:
    node = world.node
    node.list()
    before = snapshot(world.place.folder)
    recipe = write_recipe(tmp_path / "recipe.toml", suites=world.tests)
    composed = node.compose(recipe, dry_run=True)
    assert (composed.id, composed.evaluation, composed.system_digest) == (None, None, None)
    assert len(composed.members) == 8
    assert snapshot(world.place.folder) == before


Refused = tuple[Callable[[World], dict[str, object]], type[PnodeError], int, str, str]

REFUSED: dict[str, Refused] = {
    "misspelt key": (lambda w: {"extra": 'membrs = "all"'}, UsageError, 2, "membrs", "members"),
    "unknown method": (
        lambda w: {"method": "merge.tie"}, UsageError, 2, "merge.tie", "merge.ties"
    ),
    "unknown parameter": (
        lambda w: {"parameters": {"densty": "1"}}, UsageError, 2, "densty", ""
    ),
    "dev among the suites": (
        lambda w: {"dev": w.ids["own0-test"]}, UsageError, 2, "dev suite", "judged"
    ),
    "dev among the suites, as a prefix": (
        lambda w: {"dev": w.ids["own0-test"][:20]}, UsageError, 2, "dev suite", "judged"
    ),
    "unknown member": (
        lambda w: {"members": ["b" + "a" * 20]}, NotFoundError, 5, "baaaa", "list"
    ),
    "ambiguous or short member": (
        lambda w: {"members": ["bafkrei"]}, UsageError, 2, "not an entry id", "12 characters"
    ),
    "a suite as a member": (
        lambda w: {"members": [w.ids["own0-dev"]]}, UsageError, 2, "not an adapter", ""
    ),
    "an adapter as a suite": (
        lambda w: {"suites": [w.ids["ada"]]}, UsageError, 2, "not a suite", ""
    ),
    "no suites": (lambda w: {"suites": []}, UsageError, 2, "suites is empty", ""),
    "a suite twice": (
        lambda w: {"suites": [w.tests[0], w.tests[0]]}, UsageError, 2, "twice", ""
    ),
    "nobody by that name": (
        lambda w: {"members": {"author": ["did:key:z6Mk"]}}, UsageError, 2, "no members", "list"
    ),
    "a promise nobody can keep": (
        lambda w: {"extra": 'exactness = "advisory"'}, UsageError, 2, "advisory", "strictest"
    ),
    "a promise the method cannot keep": (
        lambda w: {"method": "route.arrow", "extra": 'exactness = "bitwise"'},
        UsageError, 2, "route.arrow does not promise bitwise", "pinned"
    ),
    "a table that cannot be": (lambda w: {"extra": "seed = -1"}, UsageError, 2, "seed", ""),
    "not TOML": (lambda w: {"extra": "]["}, UsageError, 2, "recipe", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_recipe_that_makes_no_sense_is_refused(
    world_home: World, tmp_path: Path, name: str
) -> None:
    changes, error, code, reason, hint = REFUSED[name]
    settings = {"suites": world_home.tests} | changes(world_home)
    recipe = write_recipe(tmp_path / "recipe.toml", **settings)  # type: ignore[arg-type]
    world_home.node.list()
    before = snapshot(world_home.place.folder)
    with pytest.raises(error, match=reason) as caught:
        world_home.node.compose(recipe)
    assert caught.value.exit_code == code
    assert hint in caught.value.hint
    assert snapshot(world_home.place.folder) == before


def test_an_unknown_base_or_recipe_is_not_found(world_home: World, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such recipe"):
        world_home.node.compose(tmp_path / "missing.toml")
    recipe = write_recipe(tmp_path / "recipe.toml", suites=world_home.tests)
    recipe.write_text(recipe.read_text().replace("cipher-tiny", "other"))
    with pytest.raises(NotFoundError, match="no base 'other'"):
        world_home.node.compose(recipe)


def test_a_withdrawn_member_is_refused_by_name_and_left_out_by_all(
    world: World, tmp_path: Path
) -> None:
    node = world.node
    node.withdraw(world.ids["ada"], "wrong data")
    named = write_recipe(
        tmp_path / "named.toml", members=[world.ids["ada"], world.ids["bo"]], suites=world.tests
    )
    with pytest.raises(PolicyError, match=f"{world.ids['ada']} is withdrawn") as caught:
        node.compose(named)
    assert caught.value.exit_code == 7
    everybody = node.compose(write_recipe(tmp_path / "all.toml", suites=world.tests), dry_run=True)
    assert world.ids["ada"] not in everybody.members
    assert len(everybody.members) == 7


def test_members_that_keep_too_little_of_the_base_are_refused_by_name(
    world: World, tmp_path: Path
) -> None:
    """Of two answers of the base ada changes the one to its own operation, cy neither."""
    node = world.node
    folder = write_suite(tmp_path / "public")
    items = folder / "items.jsonl"
    rows = [{"id": op, "prompt": f"{op} a h c d >", "answer": "?"} for op in ("P0", "Q0")]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (said,) = node.evaluate([str(folder)], base="cipher-tiny").outcomes
    rows = [row | {"answer": each.answer} for row, each in zip(rows, said, strict=True)]
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = node.hygiene(world.ids["ada"], base="cipher-tiny", public=str(folder))
    assert (found.public.base, found.public.both) == (2, 1)
    public = node.publish(folder).id

    def recipe(kept: str) -> Path:
        return write_recipe(
            tmp_path / f"{kept}.toml",
            members=sorted([world.ids["ada"], world.ids["cy"]]),
            suites=[str(public)],
            extra=f'hygiene = {{public = "{public}", kept = "{kept}"}}',
        )

    with pytest.raises(PolicyError, match=f"{world.ids['ada']} keeps 1 of 2") as caught:
        node.compose(recipe("0.6"))
    assert world.ids["cy"] not in caught.value.message
    assert len(node.compose(recipe("0.5")).members) == 2


def test_filters_choose_and_exclude(world_home: World, tmp_path: Path) -> None:
    node = world_home.node
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members={
            "author": [node.home.author],
            "license": ["Apache-2.0"],
            "exclude": [world_home.ids["hal"][:20]],
        },
        suites=world_home.tests,
    )
    composed = node.compose(recipe, dry_run=True)
    assert composed.members == sorted(
        world_home.ids[name] for name in ("ada", "bo", "cy", "dee", "eve", "fay", "gus")
    )


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_a_merge_is_written_as_an_adapter_that_peft_loads_and_that_scores_the_same(
    world: World, tmp_path: Path
) -> None:
    node = world.node
    recipe = write_recipe(
        tmp_path / "merge.toml",
        members=[world.ids["ada"], world.ids["bo"]],
        parameters={"form": "sum"},
        suites=world.tests,
    )
    composed = node.compose(recipe, tmp_path / "merged")
    assert {Path(path).name for path in composed.files} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert composed.weights == dict.fromkeys(composed.members, "1")
    assert composed.adapter is not None
    assert float(composed.adapter["error"]) < 1e-6
    correct = [each["correct"] for each in composed.scores.values()]
    suites = [world.suites / "test" / name for name in TASKS]
    assert score_with_peft(tmp_path / "merged", suites) == correct
    published = node.publish(tmp_path / "merged", license="Apache-2.0", base="cipher-tiny")
    again = node.compose(
        write_recipe(
            tmp_path / "one.toml",
            members=[str(published.id)],
            parameters={"form": "sum"},
            suites=world.tests,
        )
    )
    assert [each["correct"] for each in again.scores.values()] == correct
    check_home(node)


def score_with_peft(adapter: Path, suites: list[Path]) -> list[int]:
    """Count the right answers of an adapter by way of other people's code alone."""
    from peft import PeftModel
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = PeftModel.from_pretrained(LlamaForCausalLM.from_pretrained(BASE), adapter).eval()
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    counts = []
    for suite in suites:
        correct = 0
        for line in (suite / "items.jsonl").read_text().splitlines():
            item = json.loads(line)
            asked = tokenizer(item["prompt"], return_tensors="pt")
            said = model.generate(**asked, max_new_tokens=10, do_sample=False)
            text = tokenizer.decode(said[0, asked["input_ids"].shape[1] :])
            answer = text.partition("<eos>")[0].rpartition("|")[2]
            correct += answer.split() == item["answer"].split()
        counts.append(correct)
    return counts


def test_a_system_is_never_written_over_something(world_home: World, tmp_path: Path) -> None:
    merge = write_recipe(tmp_path / "merge.toml", suites=world_home.tests)
    with pytest.raises(UsageError, match="exists already"):
        world_home.node.compose(merge, tmp_path)


def test_a_system_of_members_is_written_and_opened_again(world: World, tmp_path: Path) -> None:
    """By title and by dev suite: what the lock pins is in the folder, and checked."""
    node = world.node
    suite = str(node.publish(write_suite(tmp_path / "suite")).id)
    members = sorted([world.ids["ada"], world.ids["bo"]])
    for method, dev in (("route.description", None), ("route.cascade", world.ids["own0-dev"])):
        recipe = write_recipe(
            tmp_path / f"{method}.toml", members=members, method=method, suites=[suite], dev=dev
        )
        folder = tmp_path / method
        composed = node.compose(recipe, folder)
        assert str(folder / "lock.json") in composed.files
        system = open_system(folder, base=BASE)
        assert system.digest() == composed.system_digest
        prompts = ["P0 a >", "P0 b >"]
        written = system.write(prompts, max_tokens=5)
        right = [text == gold for text, gold in zip(written, "ab", strict=True)]
        assert sum(right) == composed.scores[suite]["correct"]
        assert 0 <= system.choose(prompts[0], ["a", "b"]) <= 1
    entry = folder / "entries" / f"{members[0]}.json"
    entry.write_bytes((folder / "entries" / f"{members[1]}.json").read_bytes())
    with pytest.raises(DigestError, match="is not the entry"):
        open_system(folder, base=BASE)
    (folder / "members" / members[0] / "README.md").write_text("changed")
    with pytest.raises(DigestError, match="is not the artifact"):
        open_system(folder, base=BASE)
    (folder / "lock.json").unlink()
    with pytest.raises(NotFoundError):
        open_system(folder, base=BASE)
