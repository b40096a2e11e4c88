"""Homes for the tests of the program: empty ones, and copies of one with the demo world in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node.api import Node
from tests.faults import ptrace
from tests.node.lies import Accused, forge, improve
from tests.node.worlds import Place, World, build_world, write_recipe

__all__ = ["ptrace"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place without a home yet."""
    return Place(tmp_path / "place")


@pytest.fixture
def new_node(tmp_path: Path) -> Callable[[str], Node]:
    """Create homes by name; the same name always has the same keys."""
    return lambda name: Place(tmp_path / f"node-{name}").init(name)


@pytest.fixture
def node(place: Place) -> Node:
    """An empty home."""
    return place.init("alice")


@pytest.fixture(scope="session")
def world_home(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world, published once; read it, never write to it."""
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(world_home: World, tmp_path: Path) -> World:
    """A copy of the world for one test."""
    return world_home.copy_to(tmp_path / "world")


@pytest.fixture(scope="session")
def composed_home(world_home: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The world with a merge and a selection of three members composed, and both attributed."""
    folder = tmp_path_factory.mktemp("composed")
    composed = world_home.copy_to(folder)
    members = [composed.ids[name] for name in ("ada", "bo", "cy")]
    for method, parameters, dev in (
        ("merge.linear", {"form": "sum"}, None),
        ("logit.select", {}, composed.ids["own0-dev"]),
    ):
        recipe = write_recipe(
            folder / "recipe.toml",
            members=members,
            method=method,
            parameters=parameters,
            dev=dev,
            suites=composed.tests,
        )
        id_ = composed.node.compose(recipe).id
        assert id_ is not None
        composed.compositions[method] = id_
    return composed


@pytest.fixture
def composed(composed_home: World, tmp_path: Path) -> World:
    """A copy of the composed world for one test."""
    return composed_home.copy_to(tmp_path / "composed")


@pytest.fixture(scope="session")
def attributed_home(composed_home: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The composed world with the selection attributed; `compositions` also holds that id."""
    attributed = composed_home.copy_to(tmp_path_factory.mktemp("attributed"))
    result = attributed.node.attribute(attributed.compositions["logit.select"])
    attributed.compositions["attribution"] = result.id
    return attributed


@pytest.fixture
def attributed(attributed_home: World, tmp_path: Path) -> World:
    """A copy of the attributed world for one test."""
    return attributed_home.copy_to(tmp_path / "attributed")


@pytest.fixture(scope="session")
def accused_home(composed_home: World, tmp_path_factory: pytest.TempPathFactory) -> Accused:
    """The composed world with a lie about its merge, replayed, and the fault proof of the lie."""
    folder = tmp_path_factory.mktemp("accused")
    world = composed_home.copy_to(folder)
    lie = forge(world.node, world.compositions["merge.linear"], improve)
    file = folder / "lie.fault"
    return Accused(world, lie, file, world.node.replay(lie, fault_proof=file))
