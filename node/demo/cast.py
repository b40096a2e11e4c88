"""The people of the demo: homes with their own keys, and copies carried between them.

Seeds and times are fixed, so that every run of the demo gives the same ids on every machine. Never
do that outside a demo: whoever knows the seed is the node.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.api import Node
from node.composing import Composed, Progress
from node.demo.world import TASKS, World, items, task, write_suite, write_suites

DATA = Path(__file__).parent / "data"
BASE = "cipher-tiny"
TIME = "2026-11-22T12:00:00Z"
TEST_ITEMS = 30
DEV_ITEMS = 12


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo happens: one folder with everybody's homes and the copies between them."""

    folder: Path
    progress: Progress

    def node(self, name: str) -> Node:
        """Return the home of one person, created on first use."""
        return Node.init(
            self.folder / "homes" / name,
            self.folder / "state",
            name=name,
            seed=hashlib.sha256(f"pnode demo {name}".encode()).digest(),
            offline=True,
            progress=self.progress,
            clock=lambda: TIME,
        )

    def copy(self, node: Node) -> Path:
        """Export what a node holds to a folder, as on a USB stick, and return the folder."""
        target = self.folder / "copies" / node.home.name
        node.export(target)
        return target

    def recipe(
        self,
        method: str,
        suites: Sequence[str],
        *,
        members: Sequence[str] | None = None,
        dev: str | None = None,
        parameters: Mapping[str, str] | None = None,
        label: str = "",
    ) -> Path:
        """Write a recipe file and return its path."""
        lines = [
            f"base = {json.dumps(BASE)}",
            f"members = {json.dumps('all' if members is None else list(members))}",
            f"method = {json.dumps(method)}",
            f"suites = {json.dumps(list(suites))}",
            "seed = 0",
        ]
        if dev is not None:
            lines.append(f"dev = {json.dumps(dev)}")
        pairs = (f"{name} = {json.dumps(value)}" for name, value in (parameters or {}).items())
        lines.append(f"parameters = {{{', '.join(pairs)}}}")
        path = self.folder / "recipes" / f"{label or method}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path


def load_world() -> World:
    """Return the world that the shipped models were trained in."""
    return World(json.loads((DATA / "world.json").read_text("utf-8"))["seed"])


def publish_adapters(stage: Stage, data: Path, world: World) -> dict[str, str]:
    """Let every contributor publish an adapter from a home of its own; return ids by name."""
    ids = {}
    for contributor in world.contributors:
        node = stage.node(contributor.name)
        node.add_base(str(data / "base"), BASE)
        published = node.publish(
            data / "adapters" / contributor.name,
            title=f"{contributor.operation} on {''.join(contributor.symbols)}",
            license="Apache-2.0",
        )
        assert published.id is not None
        ids[contributor.name] = published.id
    return ids


def publish_suites(
    stage: Stage, node: Node, world: World, test_items: int
) -> tuple[dict[str, str], str]:
    """Publish the test suites of all tasks and one dev suite; return ids by task, and dev's."""
    folder = stage.folder / "suites"
    written = write_suites(world, folder, dev=DEV_ITEMS, test=test_items)
    tests = {}
    for each in TASKS:
        published = node.publish(written[each.name, "test"], title=each.name)
        assert published.id is not None
        tests[each.name] = published.id
    drawn = [item for each in TASKS for item in items(world, each, "dev", DEV_ITEMS)]
    path = write_suite(task("pub2"), folder / "dev" / "all", drawn, name="all-dev")
    dev = node.publish(path, title="dev")
    assert dev.id is not None
    return tests, dev.id


def compose_alone(
    stage: Stage, node: Node, ids: dict[str, str], suites: Sequence[str]
) -> dict[str, Composed]:
    """Record every contributor's adapter alone: a merge of one member at weight one."""
    composed = {}
    for number, (name, id_) in enumerate(ids.items()):
        stage.progress("each adapter alone", number, len(ids))
        recipe = stage.recipe("merge.linear", suites, members=[id_], label=f"alone-{name}")
        composed[name] = node.compose(recipe)
    return composed
