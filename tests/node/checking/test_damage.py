"""A disk that lies: bits flip in every table, column and page, and a write-ahead log is cut short.

Whatever is damaged, every command that reads ends with a result or with one of our errors, and an
audit never calls damaged evidence clean. This fails when a damaged row escapes as a `KeyError` or
`sqlite3` error, when a column is stored and never compared with what it was computed from, or
when a home whose last commits were lost signs on and so forks its log.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.checkpoint import Checkpoint
from ledger.cosignature import cosign
from ledger.errors import LogFrozenError, PnodeError
from ledger.evidence import same_size
from ledger.heldevidence import hold
from ledger.keys import PrivateKey
from ledger.log import Log
from ledger.note import ED25519_COSIGNATURE, Note, NoteKey
from node.api import Node
from node.peering.sync import sync
from tests.node.worlds import Place, forging, write_suite
from tests.simulator import SimulatedLog, SimulatedPeer

MIRRORED = SimulatedLog(9).grow(258)
FORKED = SimulatedLog(11).grow(2)
MESSY = SimulatedLog(12, [*SimulatedLog(12).grow(2).bodies, b"no entry"])
WITNESS = PrivateKey(bytes([5]) * 32)

PAGE = 4096

KNOWN = "entry.form log.equivocation"
"""What an audit finds before anything is damaged."""

# How far two trees are known to agree is found out with the help of peers, so an audit can only
# compare it with their sizes.
NOT_COMPARED = {"evidence.common"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A home with rows in every table: its own log, a mirror of two levels, a fork, garbage."""
    folder = tmp_path_factory.mktemp("kept")
    place = Place(folder / "place")
    node = place.init("alice")
    published = node.publish(write_suite(folder / "one", "one"))
    node.publish(write_suite(folder / "two", "two"))
    assert published.id is not None
    node.withdraw(published.id, "wrong")
    assert sync(node.home, SimulatedPeer(MIRRORED, FORKED, MESSY)).errors == ()
    other = SimulatedLog(11, FORKED.bodies[:1]).grow(2, "other").note()
    with node.home.locked() as database:
        hold(database, same_size(FORKED.key, FORKED.note(), other), common=1)
        note = Note.parse(MIRRORED.note())
        point = Checkpoint.parse(note.text)
        row = Log(database, MIRRORED.origin).row_id
        key = NoteKey("w.example", ED25519_COSIGNATURE, WITNESS.public)
        line = str(cosign(note.text, "w.example", WITNESS, time=1_795_367_449))
        common = {"log": row, "size": point.size, "root": point.root}
        ahead = SimulatedLog(9, MIRRORED.bodies).grow(259).note()
        seen = Checkpoint.parse(Note.parse(ahead).text)
        with database.transaction() as writer:
            writer.table("cosignature").insert({**common, "key": str(key), "line": line})
            writer.table("sighting").insert(
                {"log": row, "size": seen.size, "root": seen.root, "note": ahead}
            )
    assert outcome(place.open()) == KNOWN
    return place


def commands(node: Node) -> list[Callable[[], object]]:
    """What a reader does with a home."""
    return [
        node.list,
        node.log,
        node.checkpoint,
        lambda: node.log(MIRRORED.origin),
        lambda: node.checkpoint(MIRRORED.origin),
        lambda: [node.prove(line.id) for line in node.log()[-1:]],
    ]


def outcome(node: Node) -> str:
    """Audit, and read in every way; only our errors may come, and the audit's verdict counts."""
    for command in commands(node):
        try:
            command()
        except PnodeError as error:
            assert str(error)
    try:
        audited = node.audit()
    except PnodeError as error:
        return error.code
    return " ".join(sorted({finding.check for finding in audited.findings})) or "clean"


def changed(value: object, *, more: bool) -> Iterator[object]:
    """One flipped bit; of some also a far one, and everything gone."""
    if isinstance(value, int):
        yield value ^ 1
        if more:
            yield value ^ 1 << 40
    elif isinstance(value, str):
        middle = len(value) // 2
        yield value[:middle] + chr(ord(value[middle]) ^ 1) + value[middle + 1 :]
        if more:
            yield ""
    elif isinstance(value, bytes):
        middle = len(value) // 2
        yield value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1 :]
        if more:
            yield from (value[:-1], b"")


def damages(ledger: Path) -> Iterator[tuple[str, str, int, object]]:
    """Every column of every table, in the last row of each log and the very first one."""
    with closing(sqlite3.connect(ledger)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in names.fetchall():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            group = "log" if "log" in columns else "rowid"
            last = connection.execute(f"SELECT max(rowid) FROM {table} GROUP BY {group}").fetchall()
            for number in {1, *(row for (row,) in last)}:
                sql = f"SELECT * FROM {table} WHERE rowid = ?"
                values = connection.execute(sql, (number,)).fetchone()
                for column, value in zip(columns, values, strict=True):
                    for new in changed(value, more=number == 1):
                        yield table, column, number, new


def fresh(place: Place, ledger: bytes) -> Node:
    """Put a ledger in place of the one there, as a new file."""
    for suffix in ("-wal", "-shm"):
        (place.home / f"ledger.db{suffix}").unlink(missing_ok=True)
    new = place.home / "new"
    new.write_bytes(ledger)
    new.replace(place.home / "ledger.db")
    return place.open()


def test_a_change_in_any_column_of_any_table_is_found(kept: Place, tmp_path: Path) -> None:
    place = kept.copy_to(tmp_path / "copy")
    good = (place.home / "ledger.db").read_bytes()
    found: dict[str, set[str]] = {}
    for table, column, row, new in list(damages(place.home / "ledger.db")):
        node = fresh(place, good)
        try:
            with forging(node.home) as ledger:
                ledger.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
        except sqlite3.IntegrityError:
            continue  # Another row is filed there; no single change of the column leads here.
        found.setdefault(f"{table}.{column}", set()).add(outcome(place.open()))
    assert len(found) > 25
    unnoticed = {
        name for name, outcomes in found.items() if outcomes & {KNOWN, f"{KNOWN} log.unsigned"}
    }
    assert unnoticed <= NOT_COMPARED, unnoticed


def test_a_flipped_bit_on_any_page_never_gives_a_traceback(kept: Place, tmp_path: Path) -> None:
    """SQLite has no checksums, so a bit in a free part of a page may well go unnoticed."""
    place = kept.copy_to(tmp_path / "copy")
    good = (place.home / "ledger.db").read_bytes()
    draw = random.Random(1)
    outcomes = []
    pages = len(good) // PAGE
    for page in sorted({0, 1, 2, *draw.sample(range(pages), 20)}):
        # The header of a page, its cell pointers, and somewhere in what it holds.
        for position in (0, draw.randrange(1, 40), draw.randrange(40, PAGE)):
            at = page * PAGE + position
            damaged = good[:at] + bytes([good[at] ^ 1 << draw.randrange(8)]) + good[at + 1 :]
            try:
                outcomes.append(outcome(fresh(place, damaged)))
            except PnodeError as error:
                outcomes.append(error.code)
    assert len(set(outcomes)) > 3, outcomes


def test_a_cut_ledger_is_an_error_and_not_a_shorter_log(kept: Place, tmp_path: Path) -> None:
    place = kept.copy_to(tmp_path / "copy")
    good = (place.home / "ledger.db").read_bytes()
    for size in (0, 1, 100, PAGE, PAGE + 1, len(good) // 2, len(good) - PAGE):
        try:
            result = outcome(fresh(place, good[:size]))
        except PnodeError as error:
            result = error.code
        assert result not in (KNOWN, f"{KNOWN} log.unsigned"), size


def test_a_cut_write_ahead_log_never_leads_to_a_fork(place: Place, tmp_path: Path) -> None:
    """The commits in it were signed. A home that lost them may continue only if it cannot fork."""
    node = place.init("alice")
    first = node.publish(write_suite(tmp_path / "one", "one"))
    with closing(sqlite3.connect(node.home.ledger_path)) as reader:
        # A second connection keeps the last writer from folding the log into the file.
        reader.execute("SELECT count(*) FROM entry").fetchone()
        node.publish(write_suite(tmp_path / "two", "two"))
        node.publish(write_suite(tmp_path / "three", "three"))
        kept = place.copy_to(tmp_path / "kept")
    signed = Checkpoint.parse(Note.parse(place.open().checkpoint()).text)
    log = (kept.home / "ledger.db-wal").read_bytes()
    assert len(log) > 3 * PAGE
    verdicts = set()
    for size in [0, 1, 31, 32, 33, *range(0, len(log), len(log) // 12), len(log) - 1]:
        copy = kept.copy_to(tmp_path / "copy")
        (copy.home / "ledger.db-shm").unlink(missing_ok=True)
        (copy.home / "ledger.db-wal").write_bytes(log[:size])
        audited = copy.open().audit()
        assert audited.exit_code in (0, 3), (size, audited.findings)
        assert first.id in {line.id for line in copy.open().list()}
        try:
            copy.open().publish(write_suite(tmp_path / "four", "four"))
        except LogFrozenError:
            verdicts.add("frozen")
            continue
        verdicts.add("continued")
        # It lost nothing that was signed, or it finished what it had.
        with copy.open().home.reading() as database:
            assert Log(database, signed.origin).root(signed.size) == signed.root, size
    assert verdicts == {"frozen", "continued"}


@pytest.mark.parametrize(
    "times",
    [
        ("2026-11-22T20:00:00Z", "2026-11-22T19:59:59Z", "1970-01-01T00:00:00Z"),
        ("2026-11-22T20:00:00Z", "9999-12-31T23:59:59Z", "2026-11-22T20:00:01Z"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"),
    ],
    ids=["backwards", "far ahead and back", "from end to end"],
)
def test_a_jumping_clock_harms_no_log(
    place: Place, tmp_path: Path, times: tuple[str, str, str]
) -> None:
    """Times are shown and never used: order is that of the log."""
    place.init("alice")
    suite = write_suite(tmp_path / "one", "one")
    first, second, third = (
        Node.open(place.home, place.state, clock=lambda time=time: time) for time in times
    )
    published = first.publish(suite)
    assert published.id is not None
    second.withdraw(published.id, "wrong")
    third.publish(write_suite(tmp_path / "two", "two"))
    assert place.open().show(published.id).status == "withdrawn"
    audited = place.open().audit()
    assert (audited.exit_code, audited.findings) == (0, [])
