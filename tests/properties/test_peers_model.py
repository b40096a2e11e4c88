"""A model of several homes that publish, sync, crash, restore, lie, withhold and corrupt.

Real homes on disk sync from trees in memory: copies of what honest homes publish, of which a peer
may withhold or damage parts, a log whose owner signs two histories, and one whose owner puts in
what is no entry. hypothesis chooses the
steps; after every step and at the end these must hold:

- an honest entry that was stored anywhere is never lost or changed by a sync, a crash or an attack,
- no home holds an entry that its log has not signed, and every home passes its audit,
- what is no valid entry is in no view, and stops nothing that is,
- homes whose frontiers name the same trees have the same view,
- whoever has met both histories of the liar knows: the log is refused, and what proves it verifies.

This fails when a sync stores what it did not verify, when a killed process leaves half a log, when
a restored backup signs another history, or when the order of messages changes the result.
PNODE_MODEL_EXAMPLES=200 and PNODE_MODEL_STEPS=40 run a larger search.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ledger.entry import Entry
from ledger.errors import EquivocationError, EvidenceError, LogFrozenError, PnodeError
from ledger.frontier import Frontier
from ledger.heldevidence import held_evidence
from ledger.log import find_log, logs
from ledger.merkle import leaf_hash, root_of
from ledger.rules import ERROR
from node.home import Home
from node.peering.sync import SyncReport, sync
from node.reading import load_view
from tests.node.worlds import Place
from tests.simulator import SimulatedLog, SimulatedPeer, note_entry

NAMES = ("ada", "bo", "cy")
WHO = st.sampled_from(NAMES)
COMMON = 2
"""How many entries the two histories of the liar share."""


class CrashError(BaseException):
    """The end of a process, at a read; nothing may catch it."""


class Peers(RuleBasedStateMachine):
    """The homes, what each of them is known to have published, and the liar's two histories."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="pnode-model-"))
        self.published: dict[str, list[bytes]] = {name: [] for name in NAMES}
        self.shown: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.backups: dict[str, int] = {}
        self.origins: dict[str, str] = {}
        self.restored: set[str] = set()
        self.met: dict[str, set[int]] = {name: set() for name in NAMES}
        self.number = 0
        base = SimulatedLog(200).grow(COMMON)
        self.messy = SimulatedLog(202).grow(2)
        self.sides = [SimulatedLog(200, base.bodies).grow(COMMON + 1, f"s{n}") for n in range(2)]

    def teardown(self) -> None:
        """End with everybody meeting everybody: then all must agree."""
        try:
            self.agree()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- the homes ------------------------------------------------------------------------------

    def place(self, name: str) -> Place:
        return Place(self.folder / name)

    def home(self, name: str) -> Home:
        place = self.place(name)
        return Home.open(place.home, place.state)

    @initialize()
    def create(self) -> None:
        for name in NAMES:
            self.place(name).init(name)
            self.origins[self.home(name).origin] = name
            with self.home(name).reading() as database:
                log = find_log(database, self.home(name).origin)
                assert log is not None
                self.published[name] = list(log.bodies())

    @rule(who=WHO, count=st.integers(1, 3))
    def publish(self, who: str, count: int) -> None:
        home = self.home(who)
        entries = []
        for _ in range(count):
            self.number += 1
            entries.append(note_entry(home.keys(), f"{who} {self.number}"))
        try:
            with home.writing() as log:
                log.append(entries)
        except LogFrozenError:
            # The signing lock knows of more than a restored ledger does.
            assert who in self.restored
            return
        assert who not in self.restored, "a restored home signed another history"
        self.published[who] += [entry.body for entry in entries]

    @rule(who=WHO)
    def back_up(self, who: str) -> None:
        """A copy of the home alone, as `docs/how-to/restore.md` says; never of the lock."""
        backup = self.folder / "backups" / who
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(self.place(who).home, backup)
        self.backups[who] = len(self.published[who])

    @precondition(lambda self: self.backups)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        who = data.draw(st.sampled_from(sorted(self.backups)))
        home = self.place(who).home
        shutil.rmtree(home)
        shutil.copytree(self.folder / "backups" / who, home)
        self.met[who] = self._held_sides(who)
        if self.backups[who] < len(self.published[who]):
            self.restored.add(who)
        else:
            self.restored.discard(who)

    # --- syncing --------------------------------------------------------------------------------

    def peer(self, name: str, kind: str = "honest") -> SimulatedPeer:
        """What a home publishes, at an address of its own."""
        peer = SimulatedPeer.of(self.home(name))
        peer.address = f"{kind}-{name}"
        return peer

    def take(self, who: str, peer: SimulatedPeer) -> SyncReport:
        return sync(self.home(who), peer, clock=peer.clock)

    def check_errors(self, who: str, report: SyncReport) -> None:
        """An honest peer is refused for the liar's log, or for a log the home itself lost."""
        for error in report.errors:
            assert isinstance(error, EquivocationError | LogFrozenError), error
            if isinstance(error, LogFrozenError):
                frozen = self.sides[0].origin in error.message
                assert frozen or who in self.restored, error

    @rule(who=WHO, other=WHO)
    def sync_honestly(self, who: str, other: str) -> None:
        if who != other:
            self.check_errors(who, self.take(who, self.peer(other)))
            self._meet(who)

    @rule(who=WHO, other=WHO, at=st.integers(0, 40))
    def crash_in_a_sync(self, who: str, other: str, at: int) -> None:
        if who == other:
            return
        peer = self.peer(other)

        def stop(path: str) -> None:
            if len(peer.requests) > at:
                raise CrashError

        peer.before_read = stop
        with suppress(CrashError):
            self.take(who, peer)
        self._meet(who)

    @rule(who=WHO, other=WHO, data=st.data())
    def sync_from_a_peer_that_withholds(self, who: str, other: str, data: st.DataObject) -> None:
        if who == other:
            return
        peer = self.peer(other, "hostile")
        names = st.sets(st.sampled_from(sorted(peer.files)), max_size=3)
        for path in data.draw(names):
            del peer.files[path]
        self._try(who, peer)

    @rule(who=WHO, other=WHO, data=st.data())
    def sync_from_a_peer_that_corrupts(self, who: str, other: str, data: st.DataObject) -> None:
        if who == other:
            return
        peer = self.peer(other, "hostile")
        for path in data.draw(st.sets(st.sampled_from(sorted(peer.files)), min_size=1, max_size=3)):
            content = peer.files[path]
            at = data.draw(st.integers(0, max(0, len(content) - 1)))
            peer.files[path] = content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :]
        self._try(who, peer)

    @rule(who=WHO, side=st.integers(0, 1), more=st.integers(0, 2))
    def meet_the_liar(self, who: str, side: int, more: int) -> None:
        """Either history may grow; what it has in common with the other never does."""
        log = self.sides[side]
        log.grow(len(log.bodies) + more, f"s{side}")
        peer = SimulatedPeer(log)
        peer.address = f"liar-{side}"
        try:
            report = self.take(who, peer)
        except PnodeError as error:
            raise AssertionError(error) from error
        for error in report.errors:
            assert isinstance(error, EquivocationError | LogFrozenError), error
        self.met[who].add(side)
        self._meet(who)
        assert len(self.met[who]) == 1 or self._knows(who)

    @rule(who=WHO, more=st.lists(st.sampled_from(["valid", "junk", "forged", "repeated"])))
    def meet_the_messy(self, who: str, more: list[str]) -> None:
        for kind in more:
            self.number += 1
            body = note_entry(self.messy.keys, f"messy {self.number}").body
            if kind == "junk":
                body = b"%d" % self.number
            elif kind == "forged":
                at = body.index(b'"sig":"') + 30
                body = body[:at] + (b"A" if body[at : at + 1] != b"A" else b"B") + body[at + 1 :]
            elif kind == "repeated":
                body = self.messy.bodies[self.number % len(self.messy.bodies)]
            self.messy.bodies.append(body)
        peer = SimulatedPeer(self.messy)
        peer.address = "messy"
        self.check_errors(who, self.take(who, peer))
        self._meet(who)
        with self.home(who).reading() as database:
            log = find_log(database, self.messy.origin)
            assert log is not None
            assert list(log.bodies()) == self.messy.bodies

    @rule(who=WHO, other=WHO)
    def meet_a_forger(self, who: str, other: str) -> None:
        """Somebody offers an honest log with an entry more, signed by another key."""
        forged = SimulatedLog(201, [*self.published[other], self.sides[0].bodies[-1]])
        victim = self.home(other)
        forged.origin, forged.key = victim.origin, _key_of(victim)
        forged.folder = f"/{_folder(victim.origin)}"
        self._try(who, SimulatedPeer(forged))

    def _try(self, who: str, peer: SimulatedPeer) -> None:
        """Sync from a peer that may be anything; our errors are all that may come of it."""
        try:
            self.take(who, peer)
        except PnodeError as error:
            assert str(error)
        self._meet(who)

    def _meet(self, who: str) -> None:
        """Note what a home has seen, and what it said itself: evidence, and nothing else."""
        self.met[who] |= self._held_sides(who)
        with self.home(who).reading() as database:
            own = find_log(database, self.home(who).origin)
            assert own is not None
            bodies = list(own.bodies(len(self.published[who])))
        assert {Entry.parse(body).kind for body in bodies} <= {"evidence"}
        self.published[who] += bodies

    def _held_sides(self, who: str) -> set[int]:
        """Which history of the liar a home holds entries of; the common ones tell nothing."""
        with self.home(who).reading() as database:
            log = find_log(database, self.sides[0].origin)
            bodies = list(log.bodies()) if log else []
        if len(bodies) <= COMMON:
            return set()
        return {n for n, side in enumerate(self.sides) if bodies[COMMON] == side.bodies[COMMON]}

    # --- what must hold -------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_or_forged(self) -> None:
        for name in NAMES:
            if not self.published[name]:
                return
            with self.home(name).reading() as database:
                for log in logs(database):
                    bodies = list(log.bodies())
                    assert bodies == self._truth(log.origin, bodies)[: len(bodies)], log.origin
                own = find_log(database, self.home(name).origin)
                assert own is not None
                if name not in self.restored:
                    assert own.size == len(self.published[name])
                for log in logs(database):
                    found = log.checkpoint()
                    assert found is not None
                    point, size = found[0], log.size
                    assert point.size == size
                    assert point.root == root_of(map(leaf_hash, log.bodies()))

    def _truth(self, origin: str, bodies: list[bytes]) -> list[bytes]:
        """What the owner of a log has signed; of the liar, the history that these begin."""
        if origin in self.origins:
            return self.published[self.origins[origin]]
        if origin == self.messy.origin:
            return self.messy.bodies
        assert origin == self.sides[0].origin, "a log that nobody owns"
        side = 1 if bodies[COMMON:] and bodies[COMMON] == self.sides[1].bodies[COMMON] else 0
        return self.sides[side].bodies

    @invariant()
    def what_is_no_entry_counts_for_nothing(self) -> None:
        valid = {index for index, body in enumerate(self.messy.bodies) if _is_valid(body)}
        for name in NAMES:
            if not self.published[name]:
                return
            with self.home(name).reading() as database:
                log = find_log(database, self.messy.origin)
                if log is None:
                    continue
                held = set(range(log.size))
                assert set(log.rejected()) == held - valid
                seen = load_view(database).entries.values()
            found = {item.entry.body for item in seen if item.origin == log.origin}
            assert found == {self.messy.bodies[index] for index in held & valid}

    @invariant()
    def each_home_holds_one_history(self) -> None:
        for name in NAMES:
            assert len(self.met[name]) <= 1 or self._knows(name)

    def _knows(self, name: str) -> bool:
        with self.home(name).reading() as database:
            found = held_evidence(database, self.sides[0].origin)
        for evidence in found:
            evidence.verify()
        return bool(found)

    def agree(self) -> None:
        """Everybody syncs with everybody; honest logs are then the same everywhere."""
        if not all(self.published.values()):
            return
        for _ in range(3):
            for who in NAMES:
                for other in NAMES:
                    if who != other:
                        self.check_errors(who, self.take(who, self.peer(other)))
                        self._meet(who)
        self.nothing_is_lost_or_forged()
        views: dict[str, str] = {}
        for name in NAMES:
            audited = self.place(name).open().audit()
            assert audited.exit_code in (0, 3, 8), audited.findings
            errors = [finding for finding in audited.findings if finding.severity == ERROR]
            assert all(self.messy.origin in finding.subject for finding in errors), errors
            with self.home(name).reading() as database:
                points = [log.checkpoint() for log in logs(database)]
                for other in NAMES:
                    if other not in self.restored:
                        log = find_log(database, self.home(other).origin)
                        assert log is not None
                        assert log.size == len(self.published[other])
                ledger = load_view(database)
            frontier = Frontier.of(point[0] for point in points if point is not None)
            view = repr((sorted(ledger.entries.items()), sorted(ledger.contributions.items())))
            assert views.setdefault(frontier.digest, view) == view


def _is_valid(body: bytes) -> bool:
    try:
        Entry.parse(body)
    except EvidenceError:
        return False
    return True


def _key_of(home: Home) -> object:
    with home.reading() as database:
        log = find_log(database, home.origin)
        assert log is not None
        return log.key


def _folder(origin: str) -> str:
    from node.peering.tree import log_folder

    return log_folder(origin)


TestPeers = Peers.TestCase
TestPeers.settings = settings(
    max_examples=int(os.environ.get("PNODE_MODEL_EXAMPLES", "12")),
    stateful_step_count=int(os.environ.get("PNODE_MODEL_STEPS", "15")),
    derandomize="PNODE_MODEL_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
