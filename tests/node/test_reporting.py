"""The governance report: made from verified bytes only, the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ledger.errors import DigestError, IncompleteError, StorageError, UsageError
from tests.node.checking.test_replaying import forge
from tests.node.worlds import (
    ADAPTERS,
    World,
    block_path,
    check_home,
    flip,
    predicate_of,
    say,
    write_recipe,
)

MERGE, SELECT = "merge.linear", "logit.select"
HOSTILE = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>=1+1"


class Page(HTMLParser):
    """The tags and addresses of a page."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(data.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def report(world: World, id_: str, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    files = world.node.report(id_, folder / "report.html").files
    return {Path(path).suffix: Path(path).read_bytes() for path in files}


def test_a_report_has_twins_and_needs_nothing_else(attributed_home: World, tmp_path: Path) -> None:
    files = report(attributed_home, attributed_home.compositions["attribution"], tmp_path / "r")
    assert set(files) == {".html", ".json", ".csv"}
    page = Page(files[".html"])
    assert "script" not in page.tags
    loaded = [value for name, value in page.attributes if name in ("src", "href")]
    assert not [value for value in loaded if value and value.startswith(("http", "//"))]
    twin = json.loads(files[".json"])
    for name in ("ada", "bo", "cy"):
        assert attributed_home.ids[name] in files[".html"].decode()
        assert attributed_home.ids[name] in json.dumps(twin)
    rows = list(csv.reader(io.StringIO(files[".csv"].decode())))
    assert len(rows) > 3
    assert b"pnode audit" in files[".html"]


def test_a_report_is_the_same_bytes_every_time_and_by_either_id(
    attributed_home: World, tmp_path: Path
) -> None:
    ids = attributed_home.compositions
    first = report(attributed_home, ids["attribution"], tmp_path / "one")
    assert report(attributed_home, ids["attribution"], tmp_path / "two") == first
    assert report(attributed_home, ids[SELECT], tmp_path / "three") == first


def test_a_hostile_title_stays_text(world: World, tmp_path: Path) -> None:
    node = world.node
    hostile = node.publish(
        ADAPTERS / "ada", title=HOSTILE, license="<b>MIT</b>", terms=HOSTILE, base="cipher-tiny"
    )
    recipe = write_recipe(
        tmp_path / "recipe.toml",
        members=[str(hostile.id), world.ids["bo"]],
        suites=world.tests[:1],
    )
    id_ = node.attribute(str(node.compose(recipe).id)).id
    files = report(world, id_, tmp_path / "r")
    page = Page(files[".html"])
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "onerror" not in dict(page.attributes)
    assert b"<b>MIT</b>" not in files[".html"]
    assert b"alert(1)" in files[".html"]
    cells = [cell for row in csv.reader(io.StringIO(files[".csv"].decode())) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "@", "+"))]


def test_replays_and_their_absence_are_told(attributed: World, tmp_path: Path) -> None:
    node = attributed.node
    id_ = attributed.compositions[SELECT]
    before = report(attributed, id_, tmp_path / "before")
    assert b"Nobody has recorded a replay" in before[".html"]
    node.replay(id_, attest=True)
    after = report(attributed, id_, tmp_path / "after")
    assert b"Nobody has recorded a replay" not in after[".html"]
    assert b"Nobody but its own author has recorded a replay" in after[".html"]
    (replayed,) = json.loads(after[".json"])["replays"]
    assert (replayed["verdict"], replayed["checked"], replayed["total"]) == ("reproduced", 18, 18)
    assert "not counted" in replayed["detail"]


def test_a_later_withdrawal_is_told(attributed: World, tmp_path: Path) -> None:
    attributed.node.withdraw(attributed.ids["bo"], "changed my mind")
    files = report(attributed, attributed.compositions[SELECT], tmp_path / "r")
    assert b"is withdrawn since this composition" in files[".html"]


def test_the_score_of_another_method_on_the_same_members_is_shown(
    attributed_home: World, tmp_path: Path
) -> None:
    files = report(attributed_home, attributed_home.compositions[SELECT], tmp_path / "r")
    assert MERGE in files[".html"].decode()


def test_an_evaluation_of_fewer_suites_or_items_is_not_compared(
    attributed: World, tmp_path: Path
) -> None:
    """A liar scores another method on the easy suite alone, or on the easy items."""
    node = attributed.node
    before = report(attributed, attributed.compositions[SELECT], tmp_path / "before")
    forge(node, attributed.compositions[MERGE], lambda outcomes: outcomes[:1])
    predicate = predicate_of(node, node.list(kind="evaluation")[-1].id)
    cids = {score["suite"]: score["outcomes"] for score in predicate["scores"]}
    kept = predicate["scores"][-1]
    predicate["scores"] = [kept]
    data = block_path(node.home, cids[kept["suite"]]).read_bytes()
    say(node.home, "evaluation", predicate, {f"{kept['suite']}.jsonl": data})
    check_home(node)
    after = report(attributed, attributed.compositions[SELECT], tmp_path / "after")
    scores = [json.loads(files[".json"])["scores"] for files in (before, after)]
    assert scores[0] == scores[1]


def test_an_evaluation_that_does_not_check_out_stops_the_report(
    attributed: World, tmp_path: Path
) -> None:
    forge(attributed.node, attributed.compositions[SELECT], lambda each: each, correct=0)
    with pytest.raises(DigestError):
        report(attributed, attributed.compositions[SELECT], tmp_path / "r")


@pytest.mark.parametrize("damage", ["missing", "flipped"])
@pytest.mark.parametrize("field", ["record", "table"])
def test_nothing_is_written_from_bytes_that_are_not_verified(
    attributed: World, tmp_path: Path, field: str, damage: str
) -> None:
    node = attributed.node
    predicate = predicate_of(node, attributed.compositions["attribution"])
    path = block_path(node.home, predicate[field])
    if damage == "missing":
        path.unlink()
    else:
        flip(path, len(path.read_bytes()) // 2)
    with pytest.raises(IncompleteError if damage == "missing" else DigestError):
        node.report(attributed.compositions[SELECT], tmp_path / "report.html")
    assert list(tmp_path.glob("report*")) == []


def test_a_report_of_nothing_is_refused(composed_home: World, tmp_path: Path) -> None:
    node = composed_home.node
    with pytest.raises(IncompleteError, match="has no attribution yet") as caught:
        node.report(composed_home.compositions[MERGE], tmp_path / "report.html")
    assert "pnode attribute" in caught.value.hint
    with pytest.raises(UsageError, match="neither"):
        node.report(composed_home.ids["ada"], tmp_path / "report.html")
    with pytest.raises(UsageError, match="HTML"):
        node.report(composed_home.compositions[MERGE], tmp_path / "report.pdf")


def test_a_place_that_cannot_be_written_is_a_storage_error(
    attributed_home: World, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="file"):
        attributed_home.node.report(
            attributed_home.compositions[SELECT], tmp_path / "file" / "report.html"
        )
