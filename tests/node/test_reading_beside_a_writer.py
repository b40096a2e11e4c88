"""Reading beside a writer gives one consistent state, and never changes the evidence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulator import note_entry

from ledger.errors import NotFoundError
from ledger.log import Log
from node.home import Home
from node.peering.tree import paths, resolve

SCRIPT = """
import sys
from pathlib import Path
from node.home import Home
from simulator import note_entry

home = Home.open(Path(sys.argv[1]), Path(sys.argv[2]))
for number in range(25):
    with home.writing() as log:
        log.append([note_entry(home.keys(), f"{number}.{part}") for part in range(40)])
"""


def make_home(folder: Path) -> Home:
    return Home.init(folder / "h", folder / "state", seed=b"\x01" * 32)


def test_every_tree_read_beside_a_writer_is_whole(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}"}
    command = [sys.executable, "-c", SCRIPT, str(home.path), str(home.state)]
    with subprocess.Popen(command, env=environment) as writer:
        while writer.poll() is None:
            with home.reading() as database:
                for path in paths(database, home.store):
                    assert resolve(database, home.store, path).body
    assert writer.returncode == 0
    with home.reading() as database:
        assert Log(database, home.origin).size == 1001


def test_a_view_does_not_change_while_it_is_open(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    with home.reading() as database:
        assert Log(database, home.origin).size == 1
        with home.writing() as log:
            log.append([note_entry(home.keys(), "meanwhile")])
        assert Log(database, home.origin).size == 1
    with home.reading() as database:
        assert Log(database, home.origin).size == 2


def test_a_home_that_cannot_be_written_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    home = make_home(tmp_path)
    connect = sqlite3.connect

    def refuse(target: object, *args: object, **options: object) -> sqlite3.Connection:
        # As on read-only media, which a test run by root cannot make: the first read fails.
        if str(target).endswith("?mode=ro"):
            raise sqlite3.OperationalError("unable to open database file")
        return connect(target, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with home.reading() as database:
        assert Log(database, home.origin).size == 1


def test_a_missing_ledger_is_not_created(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    home.ledger_path.unlink()
    with pytest.raises(NotFoundError), home.reading():
        pass
    assert not home.ledger_path.exists()
