"""The Python interface: the verbs of the command line as methods of one object.

    from pathlib import Path
    from node.api import Node

    node = Node.open(Path("~/.local/share/pnode").expanduser())
    published = node.publish(Path("my-adapter"), license="Apache-2.0")
    assert node.verify([published.id]).ok

Methods return frozen values and raise the errors of `ledger.errors`. Nothing is kept open between
calls, so several objects and processes can use one home; writers take turns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.errors import EvidenceError, UnavailableError, UsageError
from node.clock import Clock, utc_now
from node.home import Home
from node.location import state_folder

if TYPE_CHECKING:
    from compose.hygiene import Hygiene
    from node.attributing import Attributed, EstimatorName
    from node.bases import KnownBase
    from node.checking.auditing import Audited
    from node.checking.confinement import Limits
    from node.checking.faults import Settled
    from node.checking.replaying import Replayed
    from node.checking.verdict import Verified
    from node.composing import Composed, Progress
    from node.describing.describe import Described, Format
    from node.evaluating import Evaluated
    from node.fetching import Fetched
    from node.identity.keyring import Keyring, Moved, Protected
    from node.identity.revocation import Revoked
    from node.identity.rotation import Renewed
    from node.identity.watching import Watched
    from node.peering.evidencebook import HeldEvidence
    from node.peering.export import ExportReport
    from node.peering.recovering import Recovered
    from node.peering.sync import SyncReport
    from node.publish import Published, Withdrawn
    from node.reading import Listed, LogLine, Shown
    from node.reporting import Reported
    from node.storage.carfiles import CarFile
    from node.storage.keeping import Cleaned, Kept, StoreStatus
    from node.storage.pinning import DaemonPins

BACKLOG_SECONDS: Final = 60.0
"""How long a publication also sends a daemon what earlier ones could not; a sync takes longer."""


def _silent(step: str, done: int, total: int) -> None:
    del step, done, total


def _refuse(question: str) -> None:
    raise UsageError(f"{question} needs a yes", hint="give `confirm`")


class Node:
    """One node: a home and what can be done with it.

    Use `Node.open` or `Node.init`. `progress` is called with (step, done, total) by long work;
    `clock` gives the time that statements claim. Before its log grows, its peers are asked whether
    they hold more of it, unless `offline`; `hint` is called with a text if none of them answers.
    """

    def __init__(
        self,
        home: Home,
        *,
        offline: bool = False,
        progress: Progress | None = None,
        clock: Clock | None = None,
        hint: Callable[[str], None] | None = None,
    ) -> None:
        self._offline = offline
        self.home = replace(home, before_append=self._ask_peers)
        self._hint = hint
        self._progress = progress or _silent
        self._clock = clock or utc_now

    @classmethod
    def init(
        cls,
        home: Path,
        state: Path | None = None,
        *,
        name: str = "",
        seed: bytes | None = None,
        passphrase: bytes | None = None,
        offline: bool = False,
        progress: Progress | None = None,
        clock: Clock | None = None,
    ) -> Node:
        """Create a home, or open it if it exists; see `Home.init`."""
        opened = Home.init(
            home, state or state_folder(), name=name, seed=seed, passphrase=passphrase
        )
        return cls(opened, offline=offline, progress=progress, clock=clock)

    @classmethod
    def open(
        cls,
        home: Path,
        state: Path | None = None,
        *,
        offline: bool = False,
        progress: Progress | None = None,
        clock: Clock | None = None,
        hint: Callable[[str], None] | None = None,
    ) -> Node:
        """Open an existing home.

        Raises:
            IdentityError: if there is none.
        """
        opened = Home.open(home, state or state_folder())
        return cls(opened, offline=offline, progress=progress, clock=clock, hint=hint)

    def _ask_peers(self, home: Home) -> None:
        from node.peering.asking import ask_before_append

        asked = ask_before_append(home, offline=self._offline)
        if self._hint is not None and asked and all(each.error is not None for each in asked):
            self._hint("no peer could be asked whether it holds more of this home's own log")

    def publish(
        self,
        source: Path | str,
        *,
        title: str | None = None,
        license: str | None = None,  # noqa: A002 - the word everybody uses
        base: str | None = None,
        terms: str | None = None,
        supersedes: str | None = None,
        derived_from: Sequence[str] = (),
        on_withdrawal: str | None = None,
        dry_run: bool = False,
    ) -> Published:
        """Publish a PEFT adapter or a task suite; see `node.publish`.

        The IPFS daemon of store.toml, if there is one, gets it after its entry exists.

        Args:
            source: a directory, or as text `hf:OWNER/NAME@REVISION` on the Hugging Face hub.
            title, license, base, terms, supersedes, derived_from: what is said about it.
            on_withdrawal: `unpin` asks everybody to keep it no longer once it is withdrawn.
            dry_run: check everything, store and sign nothing.
        """
        from node.hub import PREFIX
        from node.publish import Terms, publish, publish_from_hub

        self._check_daemon()
        said = Terms(title, license, base, terms, supersedes, derived_from, on_withdrawal)
        if isinstance(source, str) and source.startswith(PREFIX):
            published = publish_from_hub(
                self.home,
                source,
                said,
                offline=self._offline,
                progress=self._progress,
                dry_run=dry_run,
                clock=self._clock,
            )
        else:
            published = publish(self.home, Path(source), said, dry_run=dry_run, clock=self._clock)
        return published if dry_run else replace(published, pins=self._pin())

    def withdraw(self, id_: str, reason: str) -> Withdrawn:
        """Stop the future use of one of this node's contributions.

        If its terms ask for it, this home keeps the artifact no longer, nor does its IPFS daemon.
        """
        from node.publish import withdraw
        from node.storage.keeping import release_withdrawn

        withdrawn = withdraw(self.home, id_, reason, clock=self._clock)
        released = release_withdrawn(self.home, offline=self._offline)
        return replace(withdrawn, released=released)

    def list(
        self, kind: str | None = None, author: str | None = None, status: str | None = None
    ) -> Sequence[Listed]:
        """Return what is in force, in log order; `author` is a did:key or a name."""
        from node.reading import list_entries

        return list_entries(self.home, kind=kind, author=author, status=status)

    def show(self, id_: str) -> Shown:
        """Return one entry, its place, and what refers to it."""
        from node.reading import show_entry

        return show_entry(self.home, id_)

    def fetch(self, id_or_cid: str, directory: Path) -> Fetched:
        """Write an artifact to a new directory, every block verified."""
        from node.fetching import fetch

        return fetch(
            self.home, id_or_cid, directory, offline=self._offline, progress=self._progress
        )

    def describe(self, id_: str, form: Format, key: Path | None = None) -> Described:
        """Describe an entry for another tool; see `node.describing.describe`."""
        from node.describing.describe import describe

        return describe(self.home, id_, form, key)

    def log(self, origin: str | None = None, since: int = 0) -> Sequence[LogLine]:
        """Return the entries of a log in order, by default of this node's own."""
        from node.reading import read_log

        return read_log(self.home, origin=origin, since=since)

    def checkpoint(self, origin: str | None = None) -> bytes:
        """Return the largest signed checkpoint of a log."""
        from node.reading import read_checkpoint

        return read_checkpoint(self.home, origin=origin)

    def prove(self, id_: str) -> bytes:
        """Return the tlog-proof file of an entry."""
        from node.reading import prove_entry

        return prove_entry(self.home, id_)

    def verify(
        self, targets: Sequence[str], *, witnessed: bool = False, policy: Path | None = None
    ) -> Verified:
        """Verify entries by id, or envelope, proof and checkpoint files.

        With `witnessed` they must satisfy the home's policy, or the one in the file `policy`.
        """
        from node.checking.verifying import verify

        return verify(self.home, targets, witnessed=witnessed, policy=policy)

    def audit(
        self,
        replay: int = 0,
        since: Path | None = None,
        *,
        jobs: int | None = None,
        cache: Path | None = None,
        incremental: bool = False,
    ) -> Audited:
        """Run every check on everything held, without changing a byte of the home.

        Args:
            replay: how many compositions to rebuild and score again.
            since: a checkpoint note kept from earlier.
            jobs: how many processes verify entries; by default what suits their number.
            cache: the folder where to remember what was verified, if anywhere.
            incremental: trust that memory instead of verifying every signature again.
        """
        from node.checking.auditing import audit
        from node.checking.auditmemory import AuditMemory

        memory = None if cache is None else AuditMemory.of(self.home.path, cache)
        return audit(
            self.home,
            replay=replay,
            since=since,
            jobs=jobs,
            memory=memory,
            incremental=incremental,
            progress=self._progress,
        )

    def evidence(self) -> Sequence[HeldEvidence]:
        """Return the evidence held of logs that signed two histories."""
        from node.peering.evidencebook import list_evidence

        return list_evidence(self.home)

    def evidence_file(self, id_: str) -> HeldEvidence:
        """Return one piece of evidence by the beginning of its id."""
        from node.peering.evidencebook import show_evidence

        return show_evidence(self.home, id_)

    def add_evidence(self, files: Sequence[Path]) -> Sequence[HeldEvidence]:
        """Keep evidence from files, and state it in this node's own log."""
        from node.peering.evidencebook import add_evidence

        return add_evidence(self.home, files, clock=self._clock)

    def add_base(self, source: str, name: str | None = None) -> KnownBase:
        """Register a base model from a directory or the hub."""
        from node.bases import add_base

        return add_base(self.home, source, name, offline=self._offline, progress=self._progress)

    def bases(self) -> Sequence[KnownBase]:
        """Return the registered base models."""
        from node.bases import bases

        return bases(self.home)

    def evaluate(
        self, suites: Sequence[str], *, base: str, adapter: str | None = None
    ) -> Evaluated:
        """Answer suites with a base, or with one adapter on it, and record nothing."""
        from node.evaluating import evaluate

        return evaluate(self.home, suites, base=base, adapter=adapter, progress=self._progress)

    def hygiene(self, adapter: str, *, base: str, public: str, own: str | None = None) -> Hygiene:
        """Report what an adapter keeps of the base's skill, adds and changes."""
        from node.evaluating import report_hygiene

        return report_hygiene(self.home, adapter, base=base, public=public, own=own)

    def compose(
        self, recipe: Path, output: Path | None = None, *, dry_run: bool = False
    ) -> Composed:
        """Lock, assemble, evaluate and record a recipe."""
        from node.composing import compose

        self._check_daemon()
        composed = compose(
            self.home,
            recipe,
            output=output,
            dry_run=dry_run,
            offline=self._offline,
            progress=self._progress,
            clock=self._clock,
        )
        return composed if dry_run else replace(composed, pins=self._pin())

    def replay(
        self,
        id_: str,
        sample: int | None = None,
        *,
        detect: str | None = None,
        false: str = "0.01",
        seed: str | None = None,
        fault_proof: Path | None = None,
        limits: Limits | None = None,
        attest: bool = False,
    ) -> Replayed:
        """Rebuild and re-score what an entry claims, in a new process.

        Args:
            sample: how many items, drawn at random, to answer again; all by default.
            detect: instead, the probability, as a decimal, of finding a false item.
            false: the fraction of the items supposed to be false, for that probability.
            seed: of an earlier sample, to draw the same items again.
            fault_proof: the file to write if an outcome is false: its proof for others.
            limits: what the new process may use, if not the defaults.
            attest: sign the verdict and append it.
        """
        from node.checking.replaying import replay

        return replay(
            self.home,
            id_,
            sample=sample,
            detect=detect,
            false=false,
            seed=seed,
            fault_proof=fault_proof,
            limits=limits,
            attest=attest,
            clock=self._clock,
        )

    def settle(
        self, fault_proof: Path, limits: Limits | None = None, *, attest: bool = False
    ) -> Settled:
        """Verify a fault proof, answer its one item again, and say who is right.

        Blocks that are not here are fetched from peers, unless this node is offline. With `attest`
        a claim that is false is called so by a signed verification.
        """
        from node.checking.faults import settle

        return settle(
            self.home,
            fault_proof,
            offline=self._offline,
            limits=limits,
            attest=attest,
            clock=self._clock,
            progress=self._progress,
        )

    def attribute(
        self,
        id_: str,
        estimator: EstimatorName = "auto",
        budget: int | None = None,
        confidence: str = "0.95",
        until: str | None = None,
        jobs: int | None = None,
        memory: int = 1536,
        ray: str | None = None,
    ) -> Attributed:
        """Compute and record what each member of a composition is worth.

        `until` ends sampling before the budget does: a half-width, `items` or `ranks`. `jobs`
        processes evaluate, each keeping up to `memory` MiB beside the weights, here or on the
        cluster whose address is `ray`.
        """
        from node.attributing import attribute
        from node.coalitions.spread import Spread

        self._check_daemon()
        attributed = attribute(
            self.home,
            id_,
            estimator=estimator,
            budget=budget,
            confidence=confidence,
            until=until,
            spread=Spread(jobs, memory, ray),
            progress=self._progress,
            clock=self._clock,
        )
        return replace(attributed, pins=self._pin())

    def report(self, id_: str, output: Path) -> Reported:
        """Write the governance report of an attribution as HTML, JSON and CSV."""
        from node.reporting import report

        return report(self.home, id_, output)

    def sync(
        self, peers: Sequence[str] = (), *, push: bool = True, repair: bool = False
    ) -> Sequence[SyncReport]:
        """Pull and verify what peers hold, and push what they lack; by default with every peer.

        With `repair` every block held is hashed again, and replaced if it is damaged. With `push`
        the IPFS daemon of store.toml gets what it lacks (`pins` says what it has).
        A peer that cannot be read has a report without logs and with its error.

        Raises:
            UsageError: if there is no peer, or one is not an address.
            StorageError: if this home cannot be written.
        """
        from node.peering.peers import list_peers
        from node.peering.source import parse_address

        addresses = [parse_address(text) for text in peers or list_peers(self.home)]
        if not addresses:
            raise UsageError("no peer to sync with", hint="add one: pnode peer add URL|DIR")
        if push:
            self._check_daemon()
        reports = [self._sync(address, push=push, repair=repair) for address in addresses]
        if push:
            self._pin(math.inf)
        return reports

    def _sync(self, address: str, *, push: bool, repair: bool) -> SyncReport:
        from node.peering.source import open_source
        from node.peering.sync import SyncReport, sync

        try:
            with open_source(address, offline=self._offline) as source:
                return sync(
                    replace(self.home, before_append=None),  # it asks by itself
                    source,
                    push=push,
                    repair=repair,
                    progress=self._progress,
                    now=self._clock,
                )
        except (UnavailableError, EvidenceError) as error:
            return SyncReport(address, (), 0, (), (), (error,))

    def pins(self) -> DaemonPins | None:
        """Return what is known of the IPFS daemon's pins, without asking it; None without one."""
        from node.storage.pinning import daemon_pins

        return daemon_pins(self.home)

    def store_status(self) -> StoreStatus:
        """Return what the store holds and lacks, and what the IPFS daemon says."""
        from node.storage.keeping import store_status

        return store_status(self.home, offline=self._offline)

    def store_pin(self, id_or_cid: str) -> Kept:
        """Bring an artifact here and keep it, here and at the IPFS daemon."""
        from node.storage.keeping import pin

        return pin(self.home, id_or_cid, offline=self._offline, progress=self._progress)

    def store_pin_own(self) -> Sequence[Kept]:
        """Ask the IPFS daemon what it keeps of this home's contributions, and send it the others.

        Raises:
            UsageError: if this home has no daemon.
        """
        from node.storage.keeping import pin_own

        return pin_own(self.home, offline=self._offline, progress=self._progress)

    def store_unpin(self, id_or_cid: str, confirm: Callable[[str], None] | None = None) -> Kept:
        """Stop keeping an artifact.

        `confirm` is asked first if an entry of this home in force offers it.

        Raises:
            UsageError: if it is not kept, the answer is no, or nobody is there to ask.
        """
        from node.storage.keeping import own_offer, unpin

        root, entry = own_offer(self.home, id_or_cid)
        if entry:
            (confirm or _refuse)(f"stop keeping {root}, which your entry {entry} offers")
        return unpin(self.home, root, offline=self._offline)

    def store_gc(self, older_than_hours: float = 24.0, *, dry_run: bool = False) -> Cleaned:
        """Let go of what was withdrawn so, and remove the blocks that nothing pinned has.

        Blocks that were stored or used within the hours given stay.
        """
        from node.storage.keeping import clean

        return clean(
            self.home,
            before=time.time() - 3_600 * older_than_hours,
            dry_run=dry_run,
            offline=self._offline,
            progress=self._progress,
        )

    def store_export(self, id_or_cid: str, file: Path) -> CarFile:
        """Write an artifact to a new CAR file."""
        from node.fetching import find_artifact
        from node.storage.carfiles import export_car

        return export_car(self.home.store, find_artifact(self.home, id_or_cid).cid, file)

    def store_import(self, file: Path) -> CarFile:
        """Store what a CAR file holds, every block verified, and keep it."""
        from node.storage.carfiles import import_car

        return import_car(self.home.store, file, self._progress)

    def _check_daemon(self) -> None:
        """Refuse a daemon that is configured wrongly before there is something to send."""
        from node.storage.pinning import open_daemon

        open_daemon(self.home)

    def _pin(self, seconds: float = BACKLOG_SECONDS) -> DaemonPins | None:
        from node.storage.pinning import pin_published

        return pin_published(
            self.home,
            offline=self._offline,
            seconds=seconds,
            progress=self._progress,
            now=self._clock,
        )

    def recover(
        self, peers: Sequence[str] = (), confirm: Callable[[str], None] | None = None
    ) -> Recovered:
        """Bring this home's own log back from peers, by default from every peer of this home.

        `confirm` is asked before the signing lock is created or moved; without it nobody is there
        to say yes, and the lock stays as it is.

        Raises:
            UsageError: if there is no peer, or the answer is no.
        """
        from node.peering.peers import list_peers
        from node.peering.recovering import recover
        from node.peering.source import parse_address

        addresses = [parse_address(text) for text in peers or list_peers(self.home)]
        if not addresses:
            raise UsageError("no peer to recover from", hint="name one: pnode recover URL|DIR")
        home = replace(self.home, before_append=None)  # it asks by itself
        return recover(home, addresses, confirm=confirm or _refuse, offline=self._offline)

    def add_peer(self, address: str) -> str:
        """Remember a peer to sync with, or the key of a log that may be pushed here."""
        from node.peering.peers import add_peer

        return add_peer(self.home, address)

    def peers(self) -> Sequence[str]:
        """Return the peers of this home."""
        from node.peering.peers import list_peers

        return list_peers(self.home)

    def remove_peer(self, address: str) -> str:
        """Forget a peer."""
        from node.peering.peers import remove_peer

        return remove_peer(self.home, address)

    def export(self, directory: Path) -> ExportReport:
        """Write the static tree of this home to a directory, such as a USB stick."""
        from node.peering.export import export

        return export(self.home, directory)

    def keys(self) -> Keyring:
        """Return what is known of the keys of this home."""
        from node.identity.keyring import show_keys

        return show_keys(self.home)

    def rotate_key(self) -> Renewed:
        """Take new keys and continue this node's log under them."""
        from node.identity.rotation import renewed_home, rotate

        renewed = rotate(self.home, clock=self._clock)
        self.home = renewed_home(self.home, renewed)
        return renewed

    def recover_key(
        self, recovery: Path, predecessor: str | None = None, passphrase: bytes | None = None
    ) -> Renewed:
        """Continue a log whose key is lost, by its recovery key, under new keys."""
        from node.identity.rotation import recover, renewed_home

        renewed = recover(self.home, recovery, predecessor=predecessor, passphrase=passphrase)
        self.home = renewed_home(self.home, renewed)
        return renewed

    def revoke_key(
        self,
        recovery: Path,
        start: int,
        log: str | None = None,
        reason: str = "",
        passphrase: bytes | None = None,
    ) -> Revoked:
        """Say that a stolen key is not to be trusted from an index on; recover its log first."""
        from node.identity.revocation import revoke
        from node.identity.rotation import renewed_home

        revoked = revoke(
            self.home,
            recovery,
            start,
            log=log,
            reason=reason,
            passphrase=passphrase,
            clock=self._clock,
        )
        if revoked.renewed is not None:
            self.home = renewed_home(self.home, revoked.renewed)
        return revoked

    def change_passphrase(self, passphrase: bytes | None) -> Protected:
        """Set, change or, with None, remove the passphrase of the keys."""
        from node.identity.keyring import change_passphrase

        return change_passphrase(self.home, None if passphrase is None else lambda: passphrase)

    def move_recovery_key(self, file: Path) -> Moved:
        """Move the recovery key out of the home."""
        from node.identity.keyring import move_recovery_key

        return move_recovery_key(self.home, file)

    def watch(self, *, sync: bool = True) -> Watched:
        """Look for entries and checkpoints under this node's keys that it did not make."""
        from node.identity.watching import watch

        reports = self.sync(push=False) if sync and not self._offline and self.peers() else ()
        return watch(self.home, reports)

    def serve(self, host: str = "127.0.0.1", port: int = 7677) -> None:
        """Serve the static tree over HTTP until interrupted."""
        from node.web.serve import serve

        serve(self.home, host, port)
