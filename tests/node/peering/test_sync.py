"""Syncing: honest peers bring a home up to date, all others change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulator import SimulatedLog, SimulatedPeer, genesis_entry, note_entry

from ledger.cid import RAW, Cid
from ledger.entry import Entry
from ledger.errors import (
    DigestError,
    EquivocationError,
    EvidenceError,
    IncompleteError,
    LogFrozenError,
    MalformedError,
    NotFoundError,
    PnodeError,
    ProofError,
    SignatureError,
    StorageError,
    UnavailableError,
)
from ledger.log import Log, logs
from ledger.mirror import extend
from ledger.rules import check_log
from ledger.unixfs import MAX_BLOCK_BYTES
from node.artifacts import store_document
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.export import export
from node.peering.loglist import encode_frontier
from node.peering.peers import add_peer
from node.peering.pull import is_new, read_entries, read_offer
from node.peering.quota import QuotaError
from node.peering.source import DirectorySource
from node.peering.sync import COMPLETE, ENTRIES_ONLY, REFUSED, sync
from node.reading import load_view
from node.storage.local import LocalStore
from tests.ledger.makers import evidence_of

OTHER = SimulatedLog(9).grow(300)
HONEST = SimulatedLog(10).grow(5)


def make_home(folder: Path, number: int = 1, name: str = "h") -> Home:
    seed = bytes([number]) * 32
    return Home.init(folder / name, folder / f"{name}-state", name="ada", seed=seed)


def append(home: Home, count: int, prefix: str = "n", **fields: object) -> None:
    with home.writing() as log:
        log.append([note_entry(home.keys(), f"{prefix}{i}", **fields) for i in range(count)])


def sizes(home: Home) -> dict[str, int]:
    with home.reading() as database:
        return {log.origin: log.size for log in logs(database)}


def check_home(home: Home) -> None:
    """Require that everything stored is valid: what every attack must leave behind."""
    with home.reading() as database:
        for log in logs(database):
            assert list(check_log(evidence_of(log), [])) == []
    for path in (home.path / "store").rglob("*"):
        if path.is_file() and path.parent.name != "pins":
            Cid.parse(path.name).check(path.read_bytes())


def content_of(home: Home) -> str:
    """Return a digest of every row and block of a home."""
    digest = hashlib.sha256()
    with home.reading() as database:
        for table in ("log", "entry", "tile", "checkpoint"):
            digest.update(repr(sorted(database.query(f"SELECT * FROM {table}"))).encode())
    for path in sorted((home.path / "store").rglob("*")):
        digest.update(str(path).encode() + (path.read_bytes() if path.is_file() else b""))
    return digest.hexdigest()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that mirrors the first 260 entries of OTHER."""
    home = make_home(tmp_path)
    append(home, 3)
    report = sync(home, SimulatedPeer(SimulatedLog(9).grow(260)))
    assert (report.added, report.size, report.state) == (260, 260, COMPLETE)
    return home


# --- honest peers -------------------------------------------------------------------------------


def test_a_mirror_grows_and_a_second_sync_changes_nothing(home: Home) -> None:
    peer = SimulatedPeer(OTHER, HONEST)
    report = sync(home, peer)
    assert report.errors == ()
    assert (report.added, report.size, report.state) == (45, 305, COMPLETE)
    assert {log.state for log in report.logs} == {"extended", "new"}
    before = content_of(home)
    again = sync(home, peer)
    assert (again.added, again.size, again.state) == (0, 305, COMPLETE)
    assert content_of(home) == before
    check_home(home)


def test_only_what_is_new_is_read(home: Home) -> None:
    peer = SimulatedPeer(SimulatedLog(9).grow(530))
    assert sync(home, peer).errors == ()
    read = [path.partition("/tile/")[2] for path in peer.requests if "/tile/" in path]
    assert sorted(read) == [
        "0/001", "0/002.p/18", "1/000.p/2", "entries/001", "entries/002.p/18",
    ]  # fmt: skip


def test_a_home_without_keys_can_mirror(home: Home) -> None:
    for path in (home.path / "keys").iterdir():
        path.unlink()
    assert sync(home, SimulatedPeer(OTHER)).added == 40


def test_three_homes_agree_by_way_of_a_directory(tmp_path: Path) -> None:
    ada, bob, eve = (make_home(tmp_path, n, f"h{n}") for n in (1, 2, 3))
    for number, home in enumerate((ada, bob, eve), start=2):
        append(home, number)
    for _ in range(2):
        for source, target in ((ada, bob), (bob, eve), (eve, ada), (ada, bob)):
            export(source, tmp_path / "stick")
            with DirectorySource(tmp_path / "stick") as stick:
                report = sync(target, stick)
            assert report.errors == ()
    assert sizes(ada) == sizes(bob) == sizes(eve)
    assert sum(sizes(ada).values()) == 3 + 4 + 5
    for home in (ada, bob, eve):
        check_home(home)


def test_a_smaller_tree_is_ignored(home: Home) -> None:
    before = content_of(home)
    report = sync(home, SimulatedPeer(SimulatedLog(9).grow(100)))
    assert report.logs[0].state == "unchanged"
    assert report.errors == ()
    assert content_of(home) == before


def test_a_dropped_partial_tile_is_cut_from_the_full_one(home: Home) -> None:
    peer = SimulatedPeer(SimulatedLog(9).grow(512))
    grown = peer.files
    offered = SimulatedPeer(OTHER)
    for path in [path for path in offered.files if "001.p/44" in path]:
        del offered.files[path]
        full = path.removesuffix(".p/44")
        offered.files[full] = grown[full]
    assert sync(home, offered).added == 40
    check_home(home)


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_growth_is_verified_from_the_tiles_alone(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    new = data.draw(st.sampled_from([1, 2, 255, 256, 257, 511, 512, 513, 600, 768, 1024, 1025]))
    old = data.draw(st.one_of(st.integers(1, new), st.sampled_from([1, 255, 256, 257, 512, 768])))
    if old > new:
        return
    home = grown_home(tmp_path_factory, old)
    peer = grown_peer(new)
    with home.reading() as database:
        held = Log(database, BIG.origin)
        offer = read_offer(peer, BIG.key)
        assert is_new(offer, held) == (new > old)
        if new > old:
            assert list(read_entries(peer, offer, held, SyncLimits())) == BIG.bodies[old:new]


BIG = SimulatedLog(11).grow(1025)
_HOMES: dict[int, Home] = {}
_PEERS: dict[int, SimulatedPeer] = {}


def grown_home(factory: pytest.TempPathFactory, size: int) -> Home:
    if size not in _HOMES:
        home = make_home(factory.mktemp("grown"))
        part = SimulatedLog(11, BIG.bodies[:size])
        with home.locked() as database:
            extend(database, part.key, part.note(), part.bodies)
        _HOMES[size] = home
    return _HOMES[size]


def grown_peer(size: int) -> SimulatedPeer:
    if size not in _PEERS:
        _PEERS[size] = SimulatedPeer(SimulatedLog(11, BIG.bodies[:size]))
    return _PEERS[size]


# --- attacks on logs ----------------------------------------------------------------------------

Attack = Callable[[SimulatedPeer], None]


def fork(size: int, at: int) -> SimulatedLog:
    """Return a log under the key of OTHER that differs from entry `at` on."""
    return SimulatedLog(9).grow(at).grow(size, prefix="forked")


def replace(suffix: str, change: Callable[[bytes], bytes]) -> Attack:
    def attack(peer: SimulatedPeer) -> None:
        paths = [path for path in peer.files if path == OTHER.folder + suffix]
        assert paths, suffix
        for path in paths:
            peer.files[path] = change(peer.files[path])

    return attack


def offer(log: SimulatedLog) -> Attack:
    return lambda peer: peer.list(log, HONEST)


def flip(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


ATTACKS: dict[str, tuple[Attack, type[PnodeError]]] = {
    "same size, different root": (offer(fork(260, 250)), EquivocationError),
    "smaller fork": (offer(fork(200, 150)), EquivocationError),
    "larger fork": (offer(fork(300, 259)), EquivocationError),
    "fork below a full tile": (offer(fork(600, 3)), EquivocationError),
    "fork of everything": (offer(SimulatedLog(9, OTHER.bodies[1:])), EquivocationError),
    "checkpoint of another log": (
        replace("/checkpoint", lambda _: HONEST.note()), SignatureError,
    ),
    "checkpoint unsigned": (
        replace("/checkpoint", lambda note: note.split(b"\n\n")[0] + b"\n"), MalformedError,
    ),
    "checkpoint forged": (
        replace("/checkpoint", lambda note: note.replace(b"\n300\n", b"\n301\n")), SignatureError,
    ),
    "checkpoint missing": (lambda peer: drop(peer, "/checkpoint"), NotFoundError),
    "checkpoint too large": (
        replace("/checkpoint", lambda note: note + b"x" * 100_000), MalformedError,
    ),
    "wrong edge tile": (replace("/tile/0/001.p/44", flip), ProofError),
    "wrong upper tile": (
        replace("/tile/1/000.p/1", lambda data: bytes([data[0] ^ 1]) + data[1:]), ProofError,
    ),
    "cut tile": (replace("/tile/0/001.p/44", lambda data: data[:-32]), MalformedError),
    "tile too large": (replace("/tile/0/001.p/44", lambda data: data * 99), MalformedError),
    "missing tile": (lambda peer: drop(peer, "/tile/0/001.p/44"), NotFoundError),
    "wrong bundle": (replace("/tile/entries/001.p/44", flip), ProofError),
    "cut bundle": (replace("/tile/entries/001.p/44", lambda data: data[:-1]), MalformedError),
    "long bundle": (
        replace("/tile/entries/001.p/44", lambda data: data + b"\0\1x"), MalformedError,
    ),
    "huge bundle": (
        replace("/tile/entries/001.p/44", lambda data: data * 2_000), MalformedError,
    ),
    "missing bundle": (lambda peer: drop(peer, "/tile/entries/001.p/44"), NotFoundError),
    "key of another log": (lambda peer: swap_key(peer, HONEST), SignatureError),
    "key that is none": (lambda peer: break_key(peer), MalformedError),  # noqa: PLW0108
}  # fmt: skip


def drop(peer: SimulatedPeer, suffix: str) -> None:
    del peer.files[OTHER.folder + suffix]


def swap_key(peer: SimulatedPeer, log: SimulatedLog) -> None:
    old, new = str(OTHER.key).encode(), str(log.key).encode()
    peer.files["/logs"] = peer.files["/logs"].replace(b"vkey " + old, b"vkey " + new)


def break_key(peer: SimulatedPeer) -> None:
    listed = peer.files["/logs"]
    peer.files["/logs"] = listed.replace(b"vkey " + str(OTHER.key).encode(), b"vkey x+y+z")


NOT_IN_A_FRONTIER = {
    "checkpoint missing",  # then the log is not offered
    "checkpoint of another log",  # then that log is there twice
    "checkpoint unsigned",  # then it is no frontier
    "checkpoint too large",
    "key of another log",  # the key held counts, not the one listed
    "key that is none",
}


@pytest.mark.parametrize(
    ("name", "frontier"),
    [(name, kept) for name in ATTACKS for kept in (True, False)
     if not kept or name not in NOT_IN_A_FRONTIER],
)  # fmt: skip
def test_an_attack_on_one_log_stores_nothing_and_stops_no_other(
    home: Home, name: str, *, frontier: bool
) -> None:
    attack, error = ATTACKS[name]
    before = sizes(home)
    peer = SimulatedPeer(OTHER, HONEST)
    attack(peer)
    notes = [data for path, data in peer.files.items() if path.endswith("/checkpoint")]
    peer.files["/frontier"] = encode_frontier(notes)
    if not frontier:
        del peer.files["/frontier"]
    report = sync(home, peer)
    assert report.state == REFUSED
    with pytest.raises(error):
        report.raise_gravest()
    equivocated = error is EquivocationError
    stated = {home.origin: before[home.origin] + 1} if equivocated else {}
    assert sizes(home) == {**before, HONEST.origin: 5, **stated}
    check_home(home)
    honest = sync(home, SimulatedPeer(OTHER, HONEST))
    assert honest.errors == ()
    assert sizes(home)[OTHER.origin] == (260 if equivocated else 300)
    check_home(home)


def test_equivocation_has_its_own_exit_code_and_is_gravest(home: Home) -> None:
    peer = SimulatedPeer(fork(260, 250), HONEST)
    peer.files[f"{HONEST.folder}/tile/entries/000.p/5"] = b"\0"
    report = sync(home, peer)
    assert len(report.errors) == 2
    assert report.gravest is not None
    assert report.gravest.exit_code == 8


def test_no_bundle_is_read_of_a_log_that_forked(home: Home) -> None:
    peer = SimulatedPeer(fork(600, 3))
    assert isinstance(sync(home, peer).gravest, EquivocationError)
    assert not [path for path in peer.requests if "entries" in path]


def test_no_bundle_is_read_behind_wrong_tiles(home: Home) -> None:
    peer = SimulatedPeer(OTHER)
    replace("/tile/0/001.p/44", flip)(peer)
    assert isinstance(sync(home, peer).gravest, ProofError)
    assert not [path for path in peer.requests if "entries" in path]


def test_a_full_tile_that_is_not_below_the_root_is_noticed(home: Home) -> None:
    peer = SimulatedPeer(SimulatedLog(9).grow(600))
    path = f"{OTHER.folder}/tile/0/001"
    peer.files[path] = flip(peer.files[path])
    assert isinstance(sync(home, peer).gravest, ProofError)
    assert sizes(home)[OTHER.origin] == 260


@pytest.mark.parametrize("kind", ["no genesis", "foreign origin", "foreign key"])
def test_entry_zero_must_bind_the_log_to_its_author(home: Home, kind: str) -> None:
    log = SimulatedLog(12)
    public = log.keys.log.public
    if kind == "no genesis":
        log.bodies = [note_entry(log.keys, "first").body]
    elif kind == "foreign origin":
        log.bodies = [genesis_entry(log.keys, HONEST.origin, public).body]
    else:
        log.bodies = [genesis_entry(log.keys, log.origin, HONEST.keys.log.public).body]
    before = content_of(home)
    report = sync(home, SimulatedPeer(log))
    assert isinstance(report.gravest, MalformedError | SignatureError)
    assert content_of(home) == before


@pytest.mark.parametrize("held", [False, True], ids=["new log", "held log"])
def test_an_entry_that_occurs_twice_stops_nothing(home: Home, *, held: bool) -> None:
    log = SimulatedLog(9).grow(260) if held else SimulatedLog(12).grow(3)
    log.bodies.append(log.bodies[1])
    log.grow(len(log.bodies) + 1)
    sync(home, SimulatedPeer(log)).raise_gravest()
    with home.reading() as database:
        assert list(Log(database, log.origin).bodies()) == log.bodies
        placed = load_view(database).entries[Entry.parse(log.bodies[1]).id]
    assert (placed.origin, placed.index) == (log.origin, 1)


@pytest.mark.parametrize("offered", [100, 258, 260, 300, 600])
@pytest.mark.parametrize("tile", [(0, 0), (0, 1), (1, 0)])
def test_a_tile_damaged_on_this_disk_never_accuses_the_log(
    home: Home, tile: tuple[int, int], offered: int
) -> None:
    with home.locked() as database, database.transaction() as writer:
        where = "log = (SELECT id FROM log WHERE origin = ?) AND level = ? AND idx = ?"
        (hashes,) = writer.execute(
            f"SELECT hashes FROM tile WHERE {where}", (OTHER.origin, *tile)
        ).fetchone()
        damaged = hashes[:-1] + bytes([hashes[-1] ^ 1])
        writer.execute(f"UPDATE tile SET hashes = ? WHERE {where}", (damaged, OTHER.origin, *tile))
    (home.path / "peers.db").unlink()
    report = sync(home, SimulatedPeer(SimulatedLog(9).grow(offered)))
    assert not any(isinstance(error, EquivocationError) for error in report.errors)
    # A full level-0 tile is read for smaller trees only, the tile above it for larger ones.
    if {(0, 0): offered < 256, (0, 1): True, (1, 0): offered >= 256}[tile]:
        (error,) = report.errors
        assert isinstance(error, EvidenceError)
        assert "the ledger here is damaged" in error.message
        assert "pnode audit" in error.hint


# --- attacks on this home -----------------------------------------------------------------------


def test_the_own_log_is_never_taken_from_a_peer(home: Home, tmp_path: Path) -> None:
    peer = SimulatedPeer.of(home)
    append(home, 1, "later")
    report = sync(home, peer)
    assert report.errors == ()
    assert {log.state for log in report.logs} == {"own", "unchanged"}


def test_a_peer_with_more_of_the_own_log_means_a_restored_home(home: Home, tmp_path: Path) -> None:
    twin = make_home(tmp_path, 1, "twin")
    append(twin, 7)
    before = content_of(home)
    report = sync(home, SimulatedPeer.of(twin))
    with pytest.raises(LogFrozenError, match="restored or copied"):
        report.raise_gravest()
    assert content_of(home) == before


@pytest.mark.parametrize("count", [3, 1])
def test_another_tree_under_the_own_key_is_an_equivocation(
    home: Home, tmp_path: Path, count: int
) -> None:
    twin = make_home(tmp_path, 1, "twin")
    append(twin, count, "other")
    report = sync(home, SimulatedPeer.of(twin))
    with pytest.raises(EquivocationError, match="this home's own"):
        report.raise_gravest()


# --- peers as a whole ---------------------------------------------------------------------------


@pytest.mark.parametrize("listed", [b"", b"<html>", b"logs/v0\n\nvkey x\n"])
def test_what_is_no_log_list_is_refused_at_once(home: Home, listed: bytes) -> None:
    peer = SimulatedPeer(OTHER, HONEST)
    peer.files["/logs"] = listed
    with pytest.raises(MalformedError):
        sync(home, peer)
    assert peer.requests == ["/frontier", "/logs"]


@pytest.mark.parametrize("listed", [b"\n", b"<html>", b"a\n\nb\n\nc\n\n", b"\xff\n\n\n"])
def test_what_is_no_frontier_is_refused_at_once(home: Home, listed: bytes) -> None:
    peer = SimulatedPeer(OTHER)
    peer.files["/frontier"] = listed
    with pytest.raises(MalformedError):
        sync(home, peer)
    assert peer.requests == ["/frontier"]


def test_something_that_is_no_peer_is_unavailable(home: Home) -> None:
    peer = SimulatedPeer()
    del peer.files["/logs"], peer.files["/frontier"]
    with pytest.raises(UnavailableError, match="not a pnode peer"):
        sync(home, peer)


CROWD = sorted((SimulatedLog(n).grow(1) for n in range(60, 66)), key=lambda log: log.origin)


@pytest.mark.parametrize("polled", [True, False])
def test_the_surplus_of_a_long_list_is_left_out_and_reported(home: Home, *, polled: bool) -> None:
    peer = SimulatedPeer(*CROWD, OTHER)
    if not polled:
        del peer.files["/frontier"]
    report = sync(home, peer, limits=SyncLimits(logs=2))
    assert sizes(home) == {home.origin: 4, OTHER.origin: 300}
    left_out, full = sorted(report.errors, key=lambda error: "left out" not in error.message)
    assert "5 logs beyond the 2 looked at were left out" in left_out.message
    assert f"{CROWD[0].origin}: not added, 2 logs are held of 2 (limit logs)" in full.message
    for error in report.errors:
        assert isinstance(error, IncompleteError)
        assert "peers.toml" in error.hint


def test_a_followed_log_is_looked_at_first(home: Home) -> None:
    add_peer(home, str(CROWD[-1].key))
    report = sync(home, SimulatedPeer(*CROWD), limits=SyncLimits(logs=3))
    assert set(sizes(home)) == {home.origin, OTHER.origin, CROWD[-1].origin}
    assert not any(CROWD[-1].origin in error.message for error in report.errors)


def test_what_was_left_out_is_taken_when_there_is_room(home: Home) -> None:
    peer = SimulatedPeer(*CROWD)
    assert sync(home, peer, limits=SyncLimits(logs=3)).errors
    assert len(sizes(home)) == 3
    assert sync(home, peer).errors == ()
    assert len(sizes(home)) == 8


def test_a_peer_that_stalls_runs_out_of_time(home: Home) -> None:
    peer = SimulatedPeer(OTHER, HONEST)

    def stall(path: str) -> None:
        peer.now += 50

    peer.before_read = stall
    before = sizes(home)
    report = sync(home, peer, limits=SyncLimits(seconds=120), clock=peer.clock)
    with pytest.raises(UnavailableError, match="120 s"):
        report.raise_gravest()
    assert sizes(home) == before
    peer.before_read = lambda path: None
    assert sync(home, peer, clock=peer.clock).state == COMPLETE


def test_a_peer_that_goes_away_leaves_what_was_finished(home: Home) -> None:
    first, second = sorted((OTHER, HONEST), key=lambda log: log.origin)
    peer = SimulatedPeer(OTHER, HONEST)

    def go_away(path: str) -> None:
        if path.startswith(f"{second.folder}/tile/entries"):
            raise UnavailableError("gone")

    peer.before_read = go_away
    report = sync(home, peer)
    with pytest.raises(UnavailableError):
        report.raise_gravest()
    assert sizes(home)[first.origin] == len(first.bodies)
    check_home(home)
    peer.before_read = lambda path: None
    assert sync(home, peer).state == COMPLETE
    check_home(home)


@pytest.mark.parametrize(
    "limits", [SyncLimits(entries=39), SyncLimits(log_bytes=9_000), SyncLimits(total_bytes=1_500)]
)
def test_caps_end_a_sync_before_anything_is_stored(home: Home, limits: SyncLimits) -> None:
    before = content_of(home)
    report = sync(home, SimulatedPeer(OTHER), limits=limits)
    with pytest.raises(IncompleteError):
        report.raise_gravest()
    assert content_of(home) == before


def test_more_entries_than_the_cap_are_refused_before_they_are_read(home: Home) -> None:
    peer = SimulatedPeer(OTHER)
    sync(home, peer, limits=SyncLimits(entries=39))
    assert not [path for path in peer.requests if "/tile/" in path]


# --- blocks -------------------------------------------------------------------------------------

FILES = {"a.bin": b"a" * 2_500_000, "b.bin": bytes(range(256)) * 8_192, "c/d.txt": b"small"}


def peer_with_artifact() -> tuple[SimulatedPeer, Cid]:
    peer = SimulatedPeer()
    root = peer.put_artifact(FILES)
    log = SimulatedLog(9).grow(3)
    log.add("artifact", cid=str(root))
    peer.list(log)
    return peer, root


def blocks_of(peer: SimulatedPeer) -> list[str]:
    return sorted(path for path in peer.files if path.startswith("/ipfs/"))


def held_blocks(store: LocalStore, peer: SimulatedPeer) -> list[str]:
    return [path for path in blocks_of(peer) if store.has(Cid.parse(path[6:]))]


def test_the_blocks_of_new_entries_follow(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, root = peer_with_artifact()
    report = sync(home, peer)
    assert report.state == COMPLETE
    assert report.blocks == len(blocks_of(peer))
    assert held_blocks(home.store, peer) == blocks_of(peer)
    assert list(home.store.pins()) == [root]
    check_home(home)


def test_documents_of_scores_and_records_follow(tmp_path: Path) -> None:
    ada, bob = make_home(tmp_path, 1, "ada"), make_home(tmp_path, 2, "bob")
    names = {
        field: str(store_document(field.encode(), ada.store))
        for field in ("lock", "record", "table")
    }
    outcomes = store_document(b"outcomes", ada.store)
    append(ada, 1, **names, scores=[{"outcomes": str(outcomes)}])
    report = sync(bob, SimulatedPeer.of(ada))
    assert report.blocks == 4
    assert bob.store.get_block(outcomes) == b"outcomes"


def test_missing_blocks_are_reported_and_fetched_next_time(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, root = peer_with_artifact()
    gone = next(path for path in blocks_of(peer) if Cid.parse(path[6:]).codec == RAW)
    kept = peer.files.pop(gone)
    report = sync(home, peer)
    assert report.errors == ()
    assert report.state == ENTRIES_ONLY
    assert report.missing == (Cid.parse(gone[6:]),)
    assert list(home.store.pins()) == []
    peer.files[gone] = kept
    peer.requests.clear()
    assert sync(home, peer).state == COMPLETE
    assert [path for path in peer.requests if path.startswith("/ipfs/")] == [gone]
    assert list(home.store.pins()) == [root]


def test_a_daily_quota_of_block_bytes_is_kept_and_spares_other_logs(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, root = peer_with_artifact()
    large, other = SimulatedLog(9).grow(3), SimulatedLog(10).grow(1)
    large.add("artifact", cid=str(root))
    small = b"a document of another log"
    peer.files[f"/ipfs/{Cid.of(small)}"] = small
    other.add("document", record=str(Cid.of(small)))
    peer.list(large, other)
    sizes = {path: len(peer.files[path]) for path in blocks_of(peer)}
    limits = SyncLimits(block_bytes_per_day=max(sizes.values()) + len(small))
    report = sync(home, peer, limits=limits, now=lambda: "2026-11-24T23:00:00Z")
    (error,) = report.errors
    assert isinstance(error, QuotaError)
    assert "block_bytes_per_day" in error.message
    assert 0 < sum(map(sizes.__getitem__, held_blocks(home.store, peer))) < sum(sizes.values())
    assert list(home.store.pins()) == [Cid.of(small)]
    again = sync(home, peer, limits=limits, now=lambda: "2026-11-24T23:30:00Z")
    assert again.blocks == 0
    assert sync(home, peer, now=lambda: "2026-11-25T00:00:00Z").state == COMPLETE
    assert set(home.store.pins()) == {root, Cid.of(small)}


def test_an_interrupted_pull_continues_where_it_stopped(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, _ = peer_with_artifact()
    total = len(blocks_of(peer))
    for allowed in range(total):
        served: list[str] = []

        def stop(path: str, served: list[str] = served) -> None:
            if path.startswith("/ipfs/"):
                if len(served) == 1:
                    raise KeyboardInterrupt
                served.append(path)

        peer.before_read = stop
        if allowed < total - 1:
            with pytest.raises(KeyboardInterrupt):
                sync(home, peer)
        else:
            assert sync(home, peer).state == COMPLETE
        assert len(held_blocks(home.store, peer)) == allowed + 1
        check_home(home)


def test_a_block_damaged_on_this_disk_is_fetched_again(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, _ = peer_with_artifact()
    sync(home, peer)
    for path in blocks_of(peer):
        file = home.store.path_of(Cid.parse(path[6:]))
        file.write_bytes(flip(file.read_bytes() + bytes(41)))
        assert sync(home, peer).blocks == 0
        peer.requests.clear()
        report = sync(home, peer, repair=True)
        assert (report.state, report.blocks) == (COMPLETE, 1)
        assert [each for each in peer.requests if each.startswith("/ipfs/")] == [path]
        check_home(home)


def test_a_corrupt_block_is_the_peers_error_and_is_not_stored(tmp_path: Path) -> None:
    peer, _ = peer_with_artifact()
    for number, path in enumerate(blocks_of(peer)):
        home = make_home(tmp_path, name=f"h{number}")
        honest = peer.files[path]
        peer.files[path] = honest[:-1] + bytes([honest[-1] ^ 1])
        report = sync(home, peer)
        with pytest.raises(DigestError):
            report.raise_gravest()
        assert not home.store.has(Cid.parse(path[6:]))
        peer.files[path] = honest
        check_home(home)
        assert sync(home, peer).state == COMPLETE


def test_an_oversized_block_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    large = b"x" * (MAX_BLOCK_BYTES + 1)
    cid = Cid.of(large)
    log = SimulatedLog(9)
    log.add("large", cid=str(cid))
    peer = SimulatedPeer(log)
    peer.files[f"/ipfs/{cid}"] = large
    assert isinstance(sync(home, peer).gravest, MalformedError)
    assert not home.store.has(cid)


def test_blocks_nobody_named_are_not_read(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, _ = peer_with_artifact()
    peer.files[f"/ipfs/{Cid.of(b'extra')}"] = b"extra"
    assert sync(home, peer).state == COMPLETE
    assert not home.store.has(Cid.of(b"extra"))


def test_an_artifact_with_too_many_blocks_is_left_out(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    peer, root = peer_with_artifact()
    report = sync(home, peer, limits=SyncLimits(blocks=3))
    assert report.errors == ()
    assert report.state == ENTRIES_ONLY
    assert str(root) in report.refused[0]
    assert list(home.store.pins()) == []


def test_a_published_block_that_is_no_dag_harms_nobody(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    junk = Cid(0x70, hashlib.sha256(b"junk").digest())
    log = SimulatedLog(9)
    log.add("junk", cid=str(junk))
    peer = SimulatedPeer(log)
    peer.files[f"/ipfs/{junk}"] = b"junk"
    report = sync(home, peer)
    assert report.errors == ()
    assert report.state == ENTRIES_ONLY


def test_a_chain_of_blocks_that_is_too_deep_is_left_out(tmp_path: Path) -> None:
    from ledger.dagpb import Link, encode_node

    home = make_home(tmp_path)
    peer = SimulatedPeer()
    below = Cid.of(b"leaf")
    peer.files[f"/ipfs/{below}"] = b"leaf"
    for _ in range(20):
        block = encode_node([Link(below, "a", 1)], b"\x08\x01")
        below = Cid.of(block, 0x70)
        peer.files[f"/ipfs/{below}"] = block
    log = SimulatedLog(9)
    log.add("deep", cid=str(below))
    peer.list(log)
    assert "deeper" in sync(home, peer).refused[0]


def test_a_full_disk_ends_the_sync_and_the_next_one_continues(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    import node.storage.local

    def full(path: Path, data: bytes) -> None:
        raise StorageError("disk full")

    peer = SimulatedPeer()
    log = SimulatedLog(9, OTHER.bodies)
    log.add("artifact", cid=str(peer.put_artifact(FILES)))
    peer.list(log)
    write = node.storage.local.write_atomic
    monkeypatch.setattr(node.storage.local, "write_atomic", full)
    with pytest.raises(StorageError):
        sync(home, peer)
    monkeypatch.setattr(node.storage.local, "write_atomic", write)
    assert sync(home, peer).state == COMPLETE
    check_home(home)


def test_a_sync_that_was_overtaken_stores_nothing_twice(home: Home) -> None:
    peer = SimulatedPeer(OTHER)
    inner = SimulatedPeer(OTHER)

    def overtake(path: str) -> None:
        if path.endswith("/tile/entries/001.p/44"):
            peer.before_read = lambda _: None
            assert sync(home, inner).added == 40

    peer.before_read = overtake
    report = sync(home, peer)
    assert report.errors == ()
    assert (report.added, report.size) == (0, 300)
    check_home(home)


def test_progress_is_reported(home: Home) -> None:
    steps: list[tuple[str, int, int]] = []
    peer, _ = peer_with_artifact()
    sync(home, peer, progress=lambda *step: steps.append(step))
    assert ("logs", 0, 1) in steps
