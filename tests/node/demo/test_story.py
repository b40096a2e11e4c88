"""The whole story, for real and small: it ends well twice in a row, and refuses foreign folders."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from ledger.errors import UsageError
from node.api import Node
from node.demo.story import BEST, METHODS, Told, run

ITEMS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("story") / "demo"


@pytest.fixture(scope="module")
def told(folder: Path) -> tuple[Told, str]:
    said: list[str] = []
    return run(folder, test_items=ITEMS, say=said.append), "\n".join(said)


def test_it_ends_with_the_path_of_a_report(told: tuple[Told, str]) -> None:
    result, said = told
    assert said.rstrip().endswith(result.report)
    assert Path(result.report).read_text("utf-8").startswith("<!DOCTYPE html>")
    for twin in (".json", ".csv"):
        assert Path(result.report).with_suffix(twin).stat().st_size > 0


def test_every_method_is_replayed_by_the_auditor(told: tuple[Told, str]) -> None:
    result, _ = told
    verdicts = {row["what"]: row["verdict"] for row in result.replays}
    assert verdicts == {"audit": "clean", **dict.fromkeys(METHODS, "reproduced")}


def test_selecting_solves_what_every_single_model_fails(told: tuple[Told, str]) -> None:
    result, _ = told
    scores = {name: Fraction(row["all"]) for name, row in result.systems.items()}
    assert scores["base alone"] < scores["best single"] < scores[BEST]
    solved, failed = map(int, result.emergence[BEST].split("/"))
    assert solved > failed / 2


def test_the_values_share_out_the_whole_gain(told: tuple[Told, str]) -> None:
    result, _ = told
    assert sum(Fraction(value["share"]) for value in result.values) == 1
    gain = Fraction(result.systems[BEST]["all"]) - Fraction(result.systems["base alone"]["all"])
    assert sum(Fraction(value["value"]) for value in result.values) == gain


def test_every_forgery_is_caught_with_the_right_exit_code(told: tuple[Told, str]) -> None:
    result, _ = told
    assert [each.exit_code for each in result.caught] == [3, 3, 3]
    assert [each.check for each in result.caught] == ["pnode verify", "pnode audit", "pnode replay"]


def test_the_kept_homes_pass_an_audit_by_anybody(told: tuple[Told, str], folder: Path) -> None:
    auditor = Node.open(folder / "homes" / "auditor", folder / "state")
    assert auditor.audit().exit_code == 0
    assert auditor.show(told[0].composition).kind == "composition"


def test_contributors_and_auditor_have_keys_of_their_own(
    told: tuple[Told, str], folder: Path
) -> None:
    del told
    homes = sorted((folder / "homes").iterdir())
    authors = {Node.open(home, folder / "state").home.author for home in homes}
    assert len(authors) == len(homes) == 10


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="not made by an earlier demo"):
        run(tmp_path, say=lambda _: None)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
