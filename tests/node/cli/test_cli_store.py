"""The command `store`: it asks, says what it did, and refuses what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import Pnode

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def id_(pnode: Pnode, suite: Path) -> str:
    """The id of a suite that this home offers."""
    return pnode("publish", str(suite), "-q").out.strip()


def test_status_counts_what_is_here_and_names_what_is_not(pnode: Pnode, id_: str) -> None:
    found = json.loads(pnode("store", "status", "--json").out)
    assert (found["blocks"], found["pins"], found["absent"], found["daemon"]) == (3, 1, [], None)
    assert "everything in force is kept" in pnode("store", "status").err
    assert pnode("store", "unpin", id_).code == 2
    assert pnode("store", "unpin", id_, "--yes").code == 0
    assert json.loads(pnode("store", "status", "--json").out)["absent"][0]["entry"] == id_
    shown = pnode("store", "status")
    assert "sums" in shown.out
    assert "not here" in shown.out
    assert "pnode store pin" in shown.err
    assert pnode("store", "unpin", id_, "--yes").code == 2
    assert pnode("store", "pin", id_).code == 0
    assert json.loads(pnode("store", "status", "--json").out)["absent"] == []
    assert pnode("store", "pin").code == 2, "this home has no daemon to ask"


def test_gc_says_what_it_would_remove_and_removes_it(pnode: Pnode, id_: str) -> None:
    pnode("store", "unpin", id_, "--yes")
    kept = json.loads(pnode("store", "gc", "--json").out)["collected"]
    assert (kept["removed"], kept["recent"]) == (0, 3)
    assert "would remove" in pnode("store", "gc", "--older-than", "0", "--dry-run").out
    assert "3 blocks" in pnode("store", "gc", "--older-than", "0").out
    gone = pnode("store", "pin", id_)
    assert gone.code == 9
    assert id_ not in gone.out
    assert pnode("store", "gc", "--older-than", "-1").code == 2


def test_a_car_goes_out_and_comes_in(pnode: Pnode, id_: str, tmp_path: Path) -> None:
    assert pnode("store", "export", id_, "-o", "a.car").code == 0
    assert pnode("store", "export", id_, "-o", "a.car").code == 2
    root = pnode("store", "import", "a.car", "-q").out.strip()
    assert root.startswith("bafy")
    data = (tmp_path / "a.car").read_bytes()
    (tmp_path / "a.car").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    bad = pnode("store", "import", "a.car", "--json")
    assert bad.code == 3
    assert json.loads(bad.out)["error"]["code"] == "bad-digest"
    (tmp_path / "a.car").write_bytes(data[:-1])
    assert pnode("store", "import", "a.car").code == 9
    assert pnode("store", "import", "none.car").code == 5


def test_a_withdrawal_says_what_it_cannot_undo(pnode: Pnode, suite: Path) -> None:
    id_ = pnode("publish", str(suite), "--on-withdrawal", "unpin", "-q").out.strip()
    withdrawn = pnode("withdraw", id_, "--reason", "mine")
    assert withdrawn.code == 0
    assert "unpinned" in withdrawn.out
    assert "every copy that others keep" in withdrawn.out
    assert "let go" not in pnode("store", "gc").out, "this home has let go of it already"
