"""Publishing and withdrawing: what is recorded, and what is refused without a trace."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
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
from node.home import Home
from node.inspection import Offer, Recognised, inspect
from tests.compose import hostile
from tests.node.worlds import (
    ADAPTERS,
    TIME,
    World,
    check_home,
    predicate_of,
    say,
    snapshot,
    write_suite,
)


def adapter(folder: Path, name: str = "ada") -> Path:
    """A copy of a shipped adapter, to be spoilt."""
    target = folder / f"{name}-copy"
    shutil.copytree(ADAPTERS / name, target)
    return target


def test_an_adapter_becomes_a_signed_contribution(world: World) -> None:
    node = world.node
    shown = node.show(world.ids["ada"])
    said = shown.statement["predicate"]
    assert (shown.kind, shown.status, shown.author) == ("adapter", "active", node.home.author)
    assert said["license"] == "Apache-2.0"
    assert said["created"] == TIME
    assert said["adapter"]["rank"] == 8
    assert said["base"]["name"] == "cipher-tiny"
    subjects = {item["name"]: item["digest"]["sha256"] for item in shown.statement["subject"]}
    assert subjects == snapshot(ADAPTERS / "ada")
    assert subjects == {item["name"]: item["digest"] for item in said["manifest"]["resources"]}
    check_home(node)


def test_a_suite_needs_no_base_and_brings_its_licence(node: Node, tmp_path: Path) -> None:
    published = node.publish(write_suite(tmp_path / "suite"))
    assert (published.kind, published.state, published.already) == ("suite", "signed", False)
    assert (published.index, published.checkpoint) == (1, published.checkpoint)
    assert published.checkpoint is not None
    assert published.checkpoint["size"] == 2
    said = predicate_of(node, str(published.id))
    assert said["license"] == "CC0-1.0"
    assert said["suite"]["items"] == 2
    check_home(node)


def test_the_same_bytes_again_are_the_same_entry(node: Node, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite")
    first = node.publish(suite)
    before = snapshot(node.home.path / "store")
    moved = suite.rename(tmp_path / "elsewhere")
    again = node.publish(moved)
    assert (again.id, again.cid, again.index) == (first.id, first.cid, first.index)
    assert again.already
    assert len(node.log()) == 2
    assert snapshot(node.home.path / "store") == before


def test_the_same_bytes_under_other_terms_are_another_entry(node: Node, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite")
    first = node.publish(suite)
    other = node.publish(suite, license="CC-BY-4.0")
    assert other.cid == first.cid
    assert other.id != first.id
    check_home(node)


def test_a_withdrawn_contribution_can_be_offered_anew(node: Node, tmp_path: Path) -> None:
    clock = iter(f"2026-11-22T20:00:0{n}Z" for n in range(9))
    node = Node(node.home, clock=lambda: next(clock))
    suite = write_suite(tmp_path / "suite")
    first = node.publish(suite)
    node.withdraw(str(first.id), "too early")
    again = node.publish(suite)
    assert not again.already
    assert again.id != first.id
    assert node.show(str(first.id)).status == "withdrawn"
    assert node.show(str(again.id)).status == "active"


def test_a_dry_run_writes_nothing(world: World, tmp_path: Path) -> None:
    node = world.node
    before = snapshot(world.place.folder)
    suite = node.publish(write_suite(tmp_path / "suite"), dry_run=True)
    assert (suite.state, suite.id, suite.index) == ("dry-run", None, None)
    extra = adapter(tmp_path)
    (extra / "card.json").write_text("{}")
    checked = node.publish(extra, license="MIT", base="cipher-tiny", dry_run=True)
    assert "for base cipher-tiny" in checked.summary
    assert snapshot(world.place.folder) == before
    real = node.publish(extra, license="MIT", base="cipher-tiny")
    assert real.cid == checked.cid


def test_a_dry_run_refuses_what_the_real_run_refuses(world: World) -> None:
    with pytest.raises(UsageError, match="no licence"):
        world.node.publish(ADAPTERS / "ada", dry_run=True)


def test_a_successor_supersedes_and_names_its_origins(node: Node, tmp_path: Path) -> None:
    first = node.publish(write_suite(tmp_path / "one", "one"))
    second = node.publish(write_suite(tmp_path / "two", "two"))
    third = node.publish(
        write_suite(tmp_path / "three", "three"),
        title="the third",
        terms="ask first",
        supersedes=str(first.id)[:20],
        derived_from=[str(second.id), str(first.id)[:30], str(second.id)[:40]],
    )
    said = predicate_of(node, str(third.id))
    assert (said["title"], said["terms"]) == ("the third", "ask first")
    assert said["supersedes"] == first.id
    assert said["derived_from"] == sorted([str(first.id), str(second.id)])
    assert node.show(str(first.id)).status == "superseded"
    assert node.show(str(second.id)).status == "active"
    check_home(node)


@pytest.mark.parametrize(
    ("text", "error"),
    [("b" + "a" * 20, NotFoundError), ("short", UsageError), ("bafkrei", UsageError)],
)
def test_a_successor_of_nothing_is_refused(
    node: Node, tmp_path: Path, text: str, error: type[PnodeError]
) -> None:
    before = snapshot(node.home.path)
    suite = write_suite(tmp_path / "suite")
    with pytest.raises(error, match=text):
        node.publish(suite, supersedes=text)
    with pytest.raises(error, match=text):
        node.publish(suite, derived_from=[text])
    assert snapshot(node.home.path) == before


@pytest.mark.parametrize("line", ["license: mit", "license:  'mit'  ", 'license: "mit"'])
def test_the_licence_of_a_model_card_is_taken(world: World, tmp_path: Path, line: str) -> None:
    directory = adapter(tmp_path)
    (directory / "README.md").write_text(f"---\ntags: [lora]\n{line}\n---\nlicense: other\n")
    published = world.node.publish(directory)
    assert predicate_of(world.node, str(published.id))["license"] == "mit"


@pytest.mark.parametrize(
    "card", ["license: mit\n", "---\ntags: []\n---\nlicense: mit\n", "---\nlicense:\n---\n", ""]
)
def test_a_licence_outside_the_front_matter_does_not_count(
    world: World, tmp_path: Path, card: str
) -> None:
    directory = adapter(tmp_path)
    (directory / "README.md").write_text(card)
    with pytest.raises(UsageError, match="no licence given") as caught:
        world.node.publish(directory)
    assert caught.value.hint
    assert "--license" in caught.value.hint


@dataclass(frozen=True)
class Refusal:
    """A directory somebody might publish, and how that ends."""

    name: str
    make: Callable[[Path], Path]
    exit_code: int
    reason: str
    base: str | None = None
    license: str | None = "MIT"


def spoilt(change: Callable[[Path], None]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        directory = adapter(folder)
        change(directory)
        return directory

    return make


def suite_with(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        directory = write_suite(folder / "suite")
        change(directory)
        return directory

    return make


def empty(folder: Path) -> Path:
    directory = folder / "empty"
    directory.mkdir()
    return directory


def plain_file(folder: Path) -> Path:
    path = folder / "file.safetensors"
    path.write_bytes(b"x")
    return path


def foreign(folder: Path) -> Path:
    directory = empty(folder)
    (directory / "notes.txt").write_text("hello")
    return directory


def crowded(directory: Path) -> None:
    for number in range(65):
        (directory / f"part{number}").write_bytes(b"")


def wrong_rows(directory: Path) -> None:
    """Make every projection 16 wide, as if the base were a smaller one."""

    def edit(tensors: hostile.Tensors) -> None:
        for name, (dtype, shape, data) in tensors.items():
            if "lora_A" in name:
                tensors[name] = (dtype, [shape[0], 16], data[: shape[0] * 16 * 4])

    hostile.retensored(edit)(directory)


def nan(directory: Path) -> None:
    hostile.filled(hostile.Q0, lambda n: hostile.floats(float("nan"), *[0.0] * (n - 1)))(directory)


def pickled(directory: Path) -> None:
    (directory / hostile.WEIGHTS).rename(directory / "adapter_model.bin")


def linked(directory: Path) -> None:
    target = directory.parent / "elsewhere"
    (directory / "items.jsonl").rename(target)
    (directory / "items.jsonl").symlink_to(target)


def linked_folder(directory: Path) -> None:
    (directory / "inner").symlink_to("/etc")


REFUSALS = (
    Refusal("missing", lambda folder: folder / "nowhere", 5, "no such directory"),
    Refusal("a file", plain_file, 5, "no such directory"),
    Refusal("empty", empty, 7, "empty"),
    Refusal("neither adapter nor suite", foreign, 7, "neither a PEFT adapter"),
    Refusal("pickle only", spoilt(pickled), 7, "only as a pickle"),
    Refusal("truncated", spoilt(hostile.patched(lambda data: data[:-4])), 7, "truncated"),
    Refusal("cut in the header", spoilt(hostile.patched(lambda data: data[:100])), 7, "in a file"),
    Refusal("NaN", spoilt(nan), 7, hostile.Q0),
    Refusal("made for another base", spoilt(wrong_rows), 7, "call for"),
    Refusal("unknown base", spoilt(lambda _: None), 5, "no base 'other'", base="other"),
    Refusal(
        "a base it only names",
        spoilt(hostile.configured(base_model_name_or_path="llama-9")),
        2,
        "llama-9",
    ),
    Refusal(
        "no licence", spoilt(hostile.with_file("card.json", b"{}")), 2, "no licence", license=None
    ),
    Refusal(
        "configuration that is a list", spoilt(hostile.config_text(lambda _: "[]")), 7, "not a JSON"
    ),
    Refusal("configuration that is no JSON", spoilt(hostile.config_text(lambda _: "{")), 7, "JSON"),
    Refusal(
        "no base named",
        spoilt(hostile.configured(base_model_name_or_path=None)),
        7,
        "names no base",
    ),
    Refusal("a link", suite_with(linked), 7, "links"),
    Refusal("a link to a folder", suite_with(linked_folder), 7, "links"),
    Refusal("a hidden file", suite_with(lambda d: (d / ".git").mkdir()), 7, "hidden"),
    Refusal("too many files", suite_with(crowded), 7, "67 files"),
    Refusal("code beside a suite", suite_with(lambda d: (d / "x.py").touch()), 7, "x.py"),
    Refusal("a suite without items", suite_with(lambda d: (d / "items.jsonl").unlink()), 7, "miss"),
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_is_unfit_is_refused_and_leaves_the_home_untouched(
    world_home: World, tmp_path: Path, refusal: Refusal
) -> None:
    directory = refusal.make(tmp_path)
    before = snapshot(world_home.place.folder)
    with pytest.raises(PnodeError, match=refusal.reason) as caught:
        world_home.node.publish(directory, license=refusal.license, base=refusal.base)
    assert caught.value.exit_code == refusal.exit_code
    assert caught.value.hint
    assert snapshot(world_home.place.folder) == before


@pytest.mark.parametrize("field", ["title", "license", "terms"])
@pytest.mark.parametrize("value", ["x" * 2001, "\x1b[31mred"], ids=["long", "control"])
def test_a_text_no_statement_can_hold_is_refused_before_anything_is_stored(
    node: Node, tmp_path: Path, field: str, value: str
) -> None:
    suite = write_suite(tmp_path / "suite")
    before = snapshot(node.home.path)
    with pytest.raises(UsageError, match=field):
        node.publish(suite, **{field: value})
    assert snapshot(node.home.path) == before


def test_without_a_seed_nothing_is_stored(node: Node, tmp_path: Path) -> None:
    (node.home.path / "keys" / "seed").unlink()
    before = snapshot(node.home.path)
    with pytest.raises(IdentityError, match="cannot sign"):
        node.publish(write_suite(tmp_path / "suite"))
    assert snapshot(node.home.path) == before


def test_withdrawing_stops_future_use_and_names_the_compositions(composed: World) -> None:
    node = composed.node
    withdrawn = node.withdraw(composed.ids["ada"][:16], "trained on the wrong data")
    assert withdrawn.target == composed.ids["ada"]
    assert sorted(withdrawn.affected) == sorted(composed.compositions.values())
    assert node.show(composed.ids["ada"]).status == "withdrawn"
    assert predicate_of(node, withdrawn.id)["reason"] == "trained on the wrong data"
    check_home(node)


def test_a_contribution_of_another_author_cannot_be_withdrawn(world: World, tmp_path: Path) -> None:
    """Mallory's own log says it, her key signs it, and it has no effect."""
    node = world.node
    target = mirror_foreign_contribution(node.home, tmp_path)
    with pytest.raises(PolicyError, match="belongs to did:key"):
        node.withdraw(target, "mine now")
    assert node.show(target).status == "active"
    say(
        node.home,
        "withdrawal",
        {"target": target, "reason": "mine now"},
        {target: node.show(target).raw},
    )
    assert node.show(target).status == "active"
    audited = node.audit()
    assert audited.exit_code == 0
    assert [finding.check for finding in audited.findings] == ["withdrawal.author"]


def test_a_contribution_of_another_author_cannot_be_superseded(node: Node, tmp_path: Path) -> None:
    target = mirror_foreign_contribution(node.home, tmp_path)
    before = snapshot(node.home.path)
    with pytest.raises(PolicyError, match="belongs to did:key"):
        node.publish(write_suite(tmp_path / "suite"), supersedes=target)
    assert snapshot(node.home.path) == before
    derived = node.publish(write_suite(tmp_path / "suite"), derived_from=[target])
    assert predicate_of(node, str(derived.id))["derived_from"] == [target]


def test_files_that_change_while_they_are_inspected_are_not_signed(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = write_suite(tmp_path / "suite")

    def swap(recognised: Recognised) -> Offer:
        offer = inspect(recognised)
        (recognised.directory / "items.jsonl").write_text("never inspected")
        return offer

    monkeypatch.setattr("node.publish.inspect", swap)
    with pytest.raises(DigestError, match="files changed while they were read"):
        node.publish(suite)
    assert len(node.log()) == 1


@pytest.mark.parametrize("reason", ["x" * 2001, "\x1b[31mred"], ids=["long", "control"])
def test_a_reason_no_statement_can_hold_is_a_usage_error(
    node: Node, tmp_path: Path, reason: str
) -> None:
    id_ = str(node.publish(write_suite(tmp_path / "suite")).id)
    with pytest.raises(UsageError, match="reason"):
        node.withdraw(id_, reason)
    assert node.show(id_).status == "active"


def mirror_foreign_contribution(home: Home, tmp_path: Path) -> str:
    """Let another node's log and its one contribution be held here; return that id."""
    from node.peering.source import open_source
    from node.peering.sync import sync
    from tests.node.worlds import Place

    other = Place(tmp_path / "bob").init("bob")
    id_ = other.publish(write_suite(tmp_path / "foreign", "foreign")).id
    other.export(tmp_path / "stick")
    sync(home, open_source(str(tmp_path / "stick"), offline=True))
    assert id_ is not None
    return id_


def test_withdrawing_twice_is_refused(node: Node, tmp_path: Path) -> None:
    id_ = str(node.publish(write_suite(tmp_path / "suite")).id)
    node.withdraw(id_, "once")
    with pytest.raises(PolicyError, match="withdrawn already"):
        node.withdraw(id_, "twice")
    assert len(node.log()) == 3


def test_only_contributions_are_withdrawn(node: Node) -> None:
    genesis = node.log()[0].id
    with pytest.raises(NotFoundError, match="not a contribution"):
        node.withdraw(genesis, "no")
    with pytest.raises(NotFoundError, match="no entry"):
        node.withdraw("b" + "a" * 58, "no")


@pytest.mark.parametrize("prefix", ["", "b", "bafkreiabcd", "bafkrei\x00abc"])
def test_too_short_a_prefix_is_refused(node: Node, prefix: str) -> None:
    with pytest.raises(UsageError, match="too short"):
        node.withdraw(prefix, "no")


def test_an_ambiguous_prefix_is_refused(node: Node) -> None:
    """Two entries with twelve characters in common, found by trying: 25 bits beyond 'bafkrei'."""
    from ledger.log import resolve_id
    from tests.node.worlds import forging

    first = node.log()[0].id
    twin = first[:13] + ("a" if first[13] != "a" else "b") + first[14:]
    with forging(node.home) as ledger:
        row = ledger.execute("SELECT log, body FROM entry").fetchone()
        ledger.execute("INSERT INTO entry VALUES (?, 1, ?, ?, ?)", (row[0], twin, b"x", row[1]))
    with node.home.reading() as database:
        with pytest.raises(UsageError, match="ambiguous"):
            resolve_id(database, first[:12])
        assert resolve_id(database, first[:14]) == first


def test_the_json_of_a_manifest_follows_the_model_signing_format(world_home: World) -> None:
    manifest = predicate_of(world_home.node, world_home.ids["ada"])["manifest"]
    names = [resource["name"] for resource in manifest["resources"]]
    assert names == sorted(names) == ["adapter_config.json", "adapter_model.safetensors"]
    assert {resource["algorithm"] for resource in manifest["resources"]} == {"sha256"}
    assert json.loads(json.dumps(manifest["serialization"]))["allow_symlinks"] is False
