"""From adapters to a report through the command line, with the small models that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from commandline import Pnode

import node.demo

pytest.importorskip("torch")

DATA = Path(node.demo.__file__).parent / "data"


def test_compose_replay_attribute_and_report(
    pnode: Pnode, home: Path, suite: Path, tmp_path: Path
) -> None:
    added = pnode("base", "add", str(DATA / "base"), "--name", "cipher-tiny", "--json").json
    assert {"name", "digest"} <= set(added)
    assert [base["name"] for base in pnode("base", "list", "--json").json] == ["cipher-tiny"]
    adapters = []
    for name in ("ada", "bo"):
        folder = str(DATA / "adapters" / name)
        result = pnode("publish", folder, "--base", "cipher-tiny", "--license", "MIT", "-q")
        assert result.code == 0, result.err
        adapters.append(result.out.strip())
    task = pnode("publish", str(suite), "-q").out.strip()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'base = "cipher-tiny"\nmembers = "all"\nmethod = "merge.linear"\nsuites = ["{task}"]\n'
        "seed = 0\n"
    )

    dry = pnode("compose", str(recipe), "--dry-run", "--json").json
    assert dry["id"] is None
    composed = pnode("compose", str(recipe), "-o", "system", "--json").json
    assert composed["lock"] == dry["lock"]
    assert composed["members"] == sorted(adapters)
    assert composed["scores"][task]["total"] == 4
    assert (tmp_path / "system" / "adapter_config.json").is_file()

    replayed = pnode("replay", composed["id"], "--json")
    assert replayed.code == 0, replayed
    assert (replayed.json["verdict"], replayed.json["checked"]) == ("reproduced", 4)

    shown = pnode("attribute", composed["id"])
    assert shown.code == 0, shown.err
    assert "exact" in shown.out
    assert shown.out.count("\nada  ") == 2, "contributors are shown by name"
    assert "VALUE ON SUITE" in shown.out
    assert "null-player" in shown.out
    attributed = pnode("attribute", composed["id"], "--json").json
    assert {value["contribution"] for value in attributed["values"]} == set(adapters)
    assert attributed["efficiency_gap"] == "0"
    assert attributed["coalitions"]["cached"] == attributed["coalitions"]["total"] == 4

    reported = pnode("report", attributed["id"], "-o", "page.html", "--json").json
    assert {Path(name).name for name in reported["files"]} == {
        "page.html",
        "page.json",
        "page.csv",
    }
    assert pnode("audit").code == 0
    assert pnode("attribute", task, "--json").json["error"]["code"] == "usage"
