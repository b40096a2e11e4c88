"""What is hostile does not get in: not by `publish`, and not in an artifact from a peer."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from compose.adapter import inspect_adapter
from compose.base import BaseModel, open_base
from compose.errors import UnfitAdapterError
from ledger.cid import Cid
from ledger.errors import PolicyError
from ledger.unixfs import build_directory
from node.api import Node
from node.artifacts import read_artifact, store_directory
from tests.compose import hostile
from tests.compose.attacks import ATTACKS, Attack
from tests.compose.test_similarity import mixed, variant
from tests.node.worlds import (
    ADAPTERS,
    BASE,
    Place,
    World,
    block_path,
    check_home,
    predicate_of,
    say,
    snapshot,
    write_recipe,
)


def adapter(folder: Path, change: Callable[[Path], None] | None = None, name: str = "ada") -> Path:
    """A copy of a shipped adapter, changed."""
    directory = Path(shutil.copytree(ADAPTERS / name, folder / f"{name}-copy"))
    if change is not None:
        change(directory)
    return directory


@pytest.fixture(scope="module")
def based(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A home with the base and nothing else; refusals leave it as it is."""
    node = Place(tmp_path_factory.mktemp("based")).init("alice")
    node.add_base(str(BASE), "cipher-tiny")
    # The base is now in the cache as well.
    node.publish(ADAPTERS / "ada", license="MIT", base="cipher-tiny", dry_run=True)
    return node


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_publish_refuses_it_and_leaves_no_trace(
    based: Node, tmp_path: Path, attack: Attack
) -> None:
    directory = adapter(tmp_path, attack.change)
    before = snapshot(based.home.path)
    with pytest.raises(UnfitAdapterError) as caught:
        based.publish(directory, license="MIT", base="cipher-tiny")
    assert caught.value.code == f"unfit-adapter.{attack.check}"
    assert attack.reason in caught.value.message
    assert (caught.value.exit_code, bool(caught.value.hint)) == (7, True)
    assert snapshot(based.home.path) == before


@pytest.fixture(scope="module")
def base() -> BaseModel:
    return open_base(BASE, name="cipher-tiny")


@pytest.mark.parametrize(
    "attack", [each for each in ATTACKS if not each.local], ids=lambda attack: attack.name
)
def test_an_artifact_that_carries_it_is_refused_when_it_is_read(
    base: BaseModel, tmp_path: Path, attack: Attack
) -> None:
    """A peer may have published anything; reading ends as inspecting the folder does."""
    directory = adapter(tmp_path, attack.change)
    blocks: dict[Cid, bytes] = {}
    streams = {
        path.relative_to(directory).as_posix(): io.BytesIO(path.read_bytes())
        for path in directory.rglob("*")
        if path.is_file()
    }
    root = build_directory(streams, blocks.__setitem__).cid
    store: Any = SimpleNamespace(get_block=blocks.__getitem__)
    (tmp_path / "read").mkdir()
    with pytest.raises(PolicyError) as caught:
        read_artifact(root, store, tmp_path / "read")
        inspect_adapter(tmp_path / "read", base)
    if isinstance(caught.value, UnfitAdapterError):
        assert caught.value.code == f"unfit-adapter.{attack.check}"
        assert attack.reason in caught.value.message
    else:
        # Hidden files are in no artifact, so they are refused while the root is built again.
        assert attack.check == "hidden-file"


def test_a_composition_names_the_member_that_is_refused_and_why(
    world: World, tmp_path: Path
) -> None:
    node = world.node
    directory = adapter(tmp_path, hostile.filled(hostile.Q0, lambda n: hostile.floats(*[9e9] * n)))
    artifact = store_directory(directory, node.home.store)
    said = predicate_of(node, world.ids["ada"]) | {"cid": str(artifact.cid), "title": "evil"}
    said["manifest"] = said["manifest"] | {
        "resources": [
            {"name": file.path, "digest": file.sha256, "algorithm": "sha256"}
            for file in artifact.files
        ]
    }
    files = {path.name: path.read_bytes() for path in sorted(directory.iterdir())}
    id_ = say(node.home, "contribution", said, files)
    recipe = write_recipe(tmp_path / "r.toml", members=[id_, world.ids["bo"]], suites=world.tests)
    with pytest.raises(UnfitAdapterError, match=f"member {id_}: adapter .*size 9e\\+09") as caught:
        node.compose(recipe)
    assert caught.value.code == "unfit-adapter.value-size"
    assert "exclude" in caught.value.hint


def test_a_configuration_that_names_another_known_base_is_refused(
    based: Node, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(BASE, tmp_path / "other"))
    (other / "generation_config.json").write_text("{}")
    based.add_base(str(other), "other")
    directory = adapter(tmp_path, hostile.configured(base_model_name_or_path="hub/Other"))
    with pytest.raises(UnfitAdapterError, match="says it is for base other") as caught:
        based.publish(directory, license="MIT", base="cipher-tiny", dry_run=True)
    assert caught.value.code == "unfit-adapter.base-override"
    assert based.publish(directory, license="MIT", base="other", dry_run=True).cid


def test_a_copy_in_other_factors_is_reported_with_its_original(
    world: World, tmp_path: Path
) -> None:
    node = world.node
    copy = variant(tmp_path / "copy", mixed)
    published = node.publish(copy, license="MIT", base="cipher-tiny")
    (near,) = published.near_copies
    assert (near.id, near.title) == (world.ids["ada"], "ada")
    assert near.author == node.home.author
    assert near.cosine == "1.000000"
    assert (near.alike, near.layers, near.declared) == (14, 14, False)
    assert published.not_compared == []
    check_home(node)
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=[str(published.id), world.ids["ada"], world.ids["bo"]],
        suites=world.tests[:1],
    )
    (warning,) = node.compose(recipe).warnings
    assert str(published.id) in warning
    assert world.ids["ada"] in warning
    assert "cosine 1.000000, 14 of 14 layers alike" in warning


def test_a_copy_that_says_so_is_reported_as_declared(world: World, tmp_path: Path) -> None:
    published = world.node.publish(
        variant(tmp_path / "copy", mixed),
        license="MIT",
        base="cipher-tiny",
        derived_from=[world.ids["ada"]],
        dry_run=True,
    )
    assert [near.declared for near in published.near_copies] == [True]


def test_the_same_files_again_are_no_copy(world: World) -> None:
    again = world.node.publish(ADAPTERS / "ada", license="Apache-2.0", base="cipher-tiny")
    assert (again.already, again.near_copies) == (True, [])


def test_what_is_not_here_or_withdrawn_is_not_compared(world: World, tmp_path: Path) -> None:
    node = world.node
    block_path(node.home, predicate_of(node, world.ids["ada"])["cid"]).unlink()
    node.withdraw(world.ids["bo"], "no more")
    published = node.publish(
        variant(tmp_path / "copy"), license="MIT", base="cipher-tiny", dry_run=True
    )
    assert published.near_copies == []
    assert published.not_compared == [world.ids["ada"]]
