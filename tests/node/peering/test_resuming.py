"""A pull that was interrupted goes on where it stopped, whatever is left in the cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from simulator import SimulatedLog, SimulatedPeer

from ledger.errors import IncompleteError, ProofError, UnavailableError
from node.home import Home
from node.peering.budget import SyncLimits
from node.peering.sync import COMPLETE, sync
from tests.node.peering.test_sync import check_home, sizes

LOG = SimulatedLog(41).grow(1_030)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.init(tmp_path / "h", tmp_path / "s", seed=b"\x01" * 32)


def cached(home: Home) -> list[Path]:
    return sorted(path for path in (home.cache / "pull").rglob("*") if path.is_file())


def stop_after(peer: SimulatedPeer, count: int, error: BaseException) -> None:
    served: list[str] = []

    def stop(path: str) -> None:
        if "/tile/" in path:
            if len(served) == count:
                raise error
            served.append(path)

    peer.before_read = stop


def tiles(peer: SimulatedPeer) -> list[str]:
    return [path for path in peer.requests if "/tile/" in path]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UnavailableError("gone")])
def test_what_arrived_is_not_asked_for_again(home: Home, error: BaseException) -> None:
    peer = SimulatedPeer(LOG)
    asked: list[str] = []
    for _ in range(20):
        peer.requests.clear()
        stop_after(peer, 3, error)
        try:
            finished = sync(home, peer).state == COMPLETE
        except KeyboardInterrupt:
            finished = False
        served = tiles(peer) if finished else tiles(peer)[:-1]
        assert not set(served) & set(asked)
        asked += served
        if finished:
            break
    assert sizes(home)[LOG.origin] == 1_030
    assert len(asked) == len(set(asked)) > 6
    assert cached(home) == []
    check_home(home)


@pytest.mark.parametrize("poison", [b"", b"junk", None])
def test_poison_in_the_cache_is_dropped_and_read_again(home: Home, poison: bytes | None) -> None:
    peer = SimulatedPeer(LOG)
    stop_after(peer, 5, UnavailableError("gone"))
    sync(home, peer)
    assert len(cached(home)) == 5
    for path in cached(home):
        data = path.read_bytes()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:] if poison is None else poison)
    peer.before_read = lambda path: None
    peer.requests.clear()
    assert sync(home, peer).errors == ()
    assert len(tiles(peer)) > 5
    assert cached(home) == []
    check_home(home)


def test_a_peer_that_sends_poison_does_not_stop_the_next_one(home: Home) -> None:
    bad, good = SimulatedPeer(LOG), SimulatedPeer(LOG)
    for path in [path for path in bad.files if "/tile/entries/003" in path]:
        bad.files[path] = bytes([bad.files[path][0] ^ 1]) + bad.files[path][1:]
    report = sync(home, bad)
    assert report.state == "refused"
    assert cached(home) == []
    assert sync(home, good).errors == ()
    check_home(home)


def test_a_fork_in_the_cache_accuses_nobody(home: Home) -> None:
    liar = SimulatedPeer(SimulatedLog(41, LOG.bodies[:500]).grow(1_030, "other"))
    stop_after(liar, 5, UnavailableError("gone"))
    liar.files[f"{LOG.folder}/checkpoint"] = LOG.note()
    liar.files["/frontier"] = SimulatedPeer(LOG).files["/frontier"]
    sync(home, liar)
    assert sync(home, SimulatedPeer(LOG)).errors == ()
    check_home(home)


# --- quotas -------------------------------------------------------------------------------------


def test_a_quota_of_entries_is_refused_before_anything_is_read(home: Home) -> None:
    peer = SimulatedPeer(SimulatedLog(41, LOG.bodies[:60]))
    limits = SyncLimits(entries_per_day=100)
    assert sync(home, peer, limits=limits, now=lambda: "2026-11-24T23:00:00Z").errors == ()
    peer = SimulatedPeer(SimulatedLog(41, LOG.bodies[:101]))
    peer.requests.clear()
    report = sync(home, peer, limits=limits, now=lambda: "2026-11-24T23:59:59Z")
    with pytest.raises(IncompleteError, match=r"40 of 100.*entries_per_day.*2026-11-25T00:00:00Z"):
        report.raise_gravest()
    assert tiles(peer) == []
    assert sync(home, peer, limits=limits, now=lambda: "2026-11-25T00:00:00Z").added == 41
    check_home(home)


def test_a_quota_of_bytes_ends_a_pull_and_keeps_nothing(home: Home) -> None:
    peer = SimulatedPeer(LOG)
    limits = SyncLimits(bytes_per_day=100_000)
    report = sync(home, peer, limits=limits, now=lambda: "2026-11-24T23:00:00Z")
    with pytest.raises(IncompleteError, match="bytes_per_day"):
        report.raise_gravest()
    assert LOG.origin not in sizes(home)
    assert cached(home) == []
    assert sync(home, peer).added == 1_030


def test_a_limit_on_the_bytes_of_a_log_keeps_nothing(home: Home) -> None:
    peer = SimulatedPeer(LOG)
    (error,) = sync(home, peer, limits=SyncLimits(log_bytes=100_000)).errors
    assert isinstance(error, IncompleteError)
    assert any("/tile/entries/" in path for path in peer.requests)
    assert cached(home) == []


def test_a_limit_on_the_bytes_of_one_sync_is_an_interruption(home: Home) -> None:
    peer = SimulatedPeer(LOG)
    (error, *_) = sync(home, peer, limits=SyncLimits(total_bytes=100_000)).errors
    assert isinstance(error, IncompleteError)
    assert cached(home)
    assert sync(home, peer).added == 1_030
    assert cached(home) == []


def test_a_clock_that_jumps_back_gives_no_second_quota(home: Home) -> None:
    limits = SyncLimits(entries_per_day=100)
    sync(
        home,
        SimulatedPeer(SimulatedLog(41, LOG.bodies[:90])),
        limits=limits,
        now=lambda: "2026-11-24T10:00:00Z",
    )
    peer = SimulatedPeer(SimulatedLog(41, LOG.bodies[:110]))
    assert sync(home, peer, limits=limits, now=lambda: "2026-11-23T10:00:00Z").added == 20
    peer = SimulatedPeer(SimulatedLog(41, LOG.bodies[:130]))
    assert sync(home, peer, limits=limits, now=lambda: "2026-11-24T10:00:00Z").added == 0


def test_every_entry_is_verified_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger.keys import PublicKey
    from ledger.quickverify import QuickVerifier

    verified: list[bytes] = []
    verify = PublicKey.verify

    def counting(
        key: PublicKey, signature: bytes, message: bytes, *, quick: QuickVerifier | None = None
    ) -> None:
        if message.startswith(b"DSSEv1 "):
            verified.append(message)
        verify(key, signature, message, quick=quick)

    monkeypatch.setattr(PublicKey, "verify", counting)
    assert sync(home, SimulatedPeer(LOG)).added == 1_030
    assert len(verified) == 1_030


def test_wrong_proofs_are_still_proof_errors(home: Home) -> None:
    peer = SimulatedPeer(LOG)
    path = f"{LOG.folder}/tile/1/000.p/4"
    peer.files[path] = b"\0" * len(peer.files[path])
    with pytest.raises(ProofError):
        sync(home, peer).raise_gravest()
