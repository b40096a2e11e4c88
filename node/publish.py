"""Publishing: a directory becomes an artifact and a signed contribution; and withdrawal.

The order matters: recognise, inspect, store the blocks durably, then sign and append. A crash in
between leaves blocks that nothing refers to, and the same command simply works again. Inspecting
and storing both read the files, so these are hashed before and after: what is signed was inspected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.append import OwnLog
from ledger.cid import Cid
from ledger.encoding import canonical_json
from ledger.entry import Entry
from ledger.errors import MalformedError, NotFoundError, PolicyError, UsageError
from ledger.log import Log, places, resolve_id
from ledger.modelsigning import manifest_of
from ledger.predicate import line, text
from ledger.statement import Statement, Subject, subjects_of
from ledger.view import ACTIVE, Contribution, LedgerView
from node.artifacts import StoredArtifact, StoredFile, directory_root, store_directory
from node.clock import Clock, utc_now
from node.digestcache import DigestCache
from node.home import Home
from node.hub import HubModel, Progress, Snapshot, fetch_snapshot
from node.inspection import Offer, accepted_files, inspect, recognise
from node.nearcopies import Comparison, NearCopy, near_copies
from node.peering.policyfile import home_policy
from node.peering.states import entry_state
from node.reading import load_view

if TYPE_CHECKING:
    from node.storage.keeping import Kept
    from node.storage.pinning import DaemonPins


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contributor says about a contribution."""

    title: str | None = None
    license: str | None = None
    base: str | None = None
    terms: str | None = None
    supersedes: str | None = None
    derived_from: Sequence[str] = ()
    on_withdrawal: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """A contribution and its place; `id` and `index` are None after a dry run.

    `near_copies` are the adapters in force that this one is nearly the same as; `not_compared` the
    ids of those whose bytes are not here, so that nothing can be said about them.
    """

    id: str | None
    cid: str
    kind: str
    origin: str
    index: int | None
    checkpoint: dict[str, Any] | None
    files: list[StoredFile]
    state: str
    already: bool
    summary: str
    near_copies: list[NearCopy]
    not_compared: list[str]
    source: Snapshot | None = None
    pins: DaemonPins | None = None


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A withdrawal; `affected` are the compositions that have the target as a member.

    `released` are the artifacts that this home keeps no longer, as their terms ask.
    """

    id: str
    target: str
    affected: list[str]
    released: list[Kept] = field(default_factory=list)


def publish_from_hub(
    home: Home,
    text: str,
    terms: Terms,
    *,
    offline: bool,
    progress: Progress,
    dry_run: bool = False,
    clock: Clock = utc_now,
) -> Published:
    """Publish what a commit on the Hugging Face hub holds; `text` is `hf:OWNER/NAME[@REVISION]`.

    The statement names repository and commit. The files that were fetched stay in the cache.

    Raises:
        UsageError: if the text is no such name.
        UnavailableError, NotFoundError, PolicyError, DigestError: as `fetch_snapshot`.
        PnodeError: as `publish`.
    """
    model = HubModel.find(text)
    if model is None:
        raise UsageError(f"'{text}' is not hf:OWNER/NAME[@REVISION]", hint="check the name")
    snapshot = fetch_snapshot(
        model,
        accepted_files(),
        home.cache / "hub" / "artifacts",
        offline=offline,
        progress=progress,
        hash_file=DigestCache(home.cache),
    )
    return publish(home, snapshot.folder, terms, source=snapshot, dry_run=dry_run, clock=clock)


def publish(
    home: Home,
    directory: Path,
    terms: Terms,
    *,
    source: Snapshot | None = None,
    dry_run: bool = False,
    clock: Clock = utc_now,
) -> Published:
    """Publish a PEFT adapter or a task suite.

    Publishing the same bytes again with the same terms returns the entry that exists.

    Args:
        directory: what to publish.
        terms: what the contributor says about it.
        source: the commit on the hub that the directory was fetched from, if any.
        dry_run: check everything, store and sign nothing.

    Raises:
        NotFoundError: if the directory or a named base or entry does not exist.
        PolicyError: if the directory is neither, or unfit or unsafe, or would supersede a
            contribution of another author.
        UsageError: if the licence or the base cannot be determined.
        DigestError: if the files change meanwhile.
    """
    recognised = recognise(home, directory, terms.base)
    before = directory_root(directory)
    offer = inspect(recognised)
    said = _said(home, offer, terms)
    if source is not None:
        said["source"] = {
            "hub": source.hub,
            "repository": source.repository,
            "commit": source.commit,
        }
    compared = _compared(home, offer, before, said)
    if dry_run:
        artifact = store_directory(directory, None, expected=before)
        return _published(home, offer, artifact, compared, None, None, source, already=False)
    keys = home.keys()
    artifact = store_directory(directory, home.store, expected=before)
    files = [(file.path, file.sha256) for file in artifact.files]
    predicate = said | {"cid": str(artifact.cid), "manifest": manifest_of(files)}
    with home.writing() as log:
        ledger = load_view(log.log.database)
        _require_open(home, ledger)
        held = _find_same(ledger, predicate)
        if held is not None:
            return _published(home, offer, artifact, compared, log, held, source, already=True)
        statement = Statement("contribution", subjects_of(files), predicate | {"created": clock()})
        entry = Entry.sign(statement, keys.author)
        if entry.id in ledger.entries:
            # The same words within the same second as a withdrawn contribution: the same bytes.
            raise PolicyError(
                f"{entry.id} was withdrawn a moment ago", hint="wait a second and publish again"
            )
        log.append([entry])
        return _published(home, offer, artifact, compared, log, entry, source, already=False)


def withdraw(home: Home, prefix: str, reason: str, *, clock: Clock = utc_now) -> Withdrawn:
    """Stop the future use of one of this node's own contributions.

    Raises:
        PolicyError: if the contribution has another author or is withdrawn already, or if the log
            of this home was closed.
        NotFoundError: if it is not a contribution.
        UsageError: if a statement cannot hold the reason.
    """
    _check_text("reason", reason)
    with home.writing() as log:
        id_ = resolve_id(log.log.database, prefix)
        ledger = load_view(log.log.database)
        _require_open(home, ledger)
        offered = ledger.contributions.get(id_)
        if offered is None:
            raise NotFoundError(f"{id_} is not a contribution")
        _require_own(home, ledger, offered, "withdraw")
        if offered.status == "withdrawn":
            raise PolicyError(f"{id_} is withdrawn already", hint="nothing is left to do")
        predicate = {
            "author": home.author,
            "created": clock(),
            "target": id_,
            "reason": reason,
        }
        body = ledger.entries[id_].entry.body
        subject = Subject(id_, hashlib.sha256(body).hexdigest())
        entry = Entry.sign(Statement("withdrawal", (subject,), predicate), home.keys().author)
        log.append([entry])
        return Withdrawn(entry.id, id_, ledger.users_of(id_))


def _said(home: Home, offer: Offer, terms: Terms) -> dict[str, Any]:
    """Return the predicate but for the bytes, everything in it checked before any is stored."""
    license_ = terms.license or offer.license
    if not license_:
        raise UsageError(
            "no licence given, and a contribution without one can never be composed",
            hint="add --license with an SPDX identifier, for example --license Apache-2.0",
        )
    predicate: dict[str, Any] = {
        "author": home.author,
        "type": offer.kind,
        "title": terms.title or offer.title,
        "license": license_,
        **offer.fields,
    }
    if terms.terms:
        predicate["terms"] = terms.terms
    for name in ("title", "license", "terms"):
        _check_text(name, predicate.get(name, ""))
    if terms.on_withdrawal:
        predicate["on_withdrawal"] = terms.on_withdrawal
    if terms.supersedes:
        replaced, ledger = _known(home, terms.supersedes)
        _require_own(home, ledger, replaced, "supersede")
        predicate["supersedes"] = replaced.id
    if terms.derived_from:
        predicate["derived_from"] = sorted({_known(home, id_)[0].id for id_ in terms.derived_from})
    return predicate


def _compared(home: Home, offer: Offer, cid: Cid, said: Mapping[str, Any]) -> Comparison:
    """Compare an adapter with those in force; a report for people, never a reason to refuse."""
    if offer.adapter is None:
        return Comparison([], [])
    with home.reading() as database:
        ledger = load_view(database)
    return near_copies(
        home,
        ledger,
        offer.adapter,
        base=said["base"]["digest"],
        cid=str(cid),
        declared=[*said.get("derived_from", ()), said.get("supersedes", "")],
    )


def _check_text(name: str, value: str) -> None:
    try:
        (text if name in ("reason", "terms") else line)(value)
    except MalformedError as error:
        hint = f"shorten it or write it in plain text: --{name}"
        raise UsageError(f"{name}: {error.message}", hint=hint) from None


def _known(home: Home, prefix: str) -> tuple[Contribution, LedgerView]:
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        ledger = load_view(database)
    offered = ledger.contributions.get(id_)
    if offered is None:
        raise NotFoundError(f"{id_} is not a contribution")
    return offered, ledger


def _require_own(home: Home, ledger: LedgerView, offered: Contribution, verb: str) -> None:
    if offered.contributor != ledger.identity(home.author):
        raise PolicyError(
            f"{offered.id} belongs to {offered.author}",
            hint=f"only its author's key, or one that succeeds it, can {verb} a contribution",
        )


def _require_open(home: Home, ledger: LedgerView) -> None:
    closed = ledger.keys.successions.get(home.origin)
    if closed is not None:
        raise PolicyError(
            f"the log of this home was closed at {closed.size} and goes on as {closed.successor}; "
            "what it adds does not count",
            hint="publish from the home that continues it; if that is not yours, see "
            "docs/how-to/keys.md",
        )


def _find_same(ledger: LedgerView, predicate: Mapping[str, Any]) -> Entry | None:
    """Return the active contribution that says the same, apart from its time."""
    wanted = canonical_json(dict(predicate))
    for id_, offered in ledger.contributions.items():
        if offered.status == ACTIVE and offered.cid == predicate["cid"]:
            said = dict(ledger.entries[id_].entry.statement.predicate)
            said.pop("created")
            if offered.contributor == ledger.identity(predicate["author"]):
                said["author"] = predicate["author"]  # signed before the key was rotated
            if canonical_json(said) == wanted:
                return ledger.entries[id_].entry
    return None


def _state(home: Home, log: Log | None, index: int | None) -> str:
    if log is None or index is None:
        return "dry-run"
    return entry_state(log, index, home_policy(home)).state


def _published(
    home: Home,
    offer: Offer,
    artifact: StoredArtifact,
    compared: Comparison,
    log: OwnLog | None,
    entry: Entry | None,
    source: Snapshot | None,
    *,
    already: bool,
) -> Published:
    origin, index, latest, place = home.origin, None, None, None
    if log and entry:
        # Before its author's key was rotated it was published in the log that was closed then.
        origin, index, _ = places(log.log.database, entry.id)[0]
        place = Log(log.log.database, origin)
        latest = place.checkpoint()
    return Published(
        id=entry.id if entry else None,
        cid=str(artifact.cid),
        kind=offer.kind,
        origin=origin,
        index=index,
        checkpoint={"size": latest[0].size, "root": latest[0].root.hex()} if latest else None,
        files=list(artifact.files),
        state=_state(home, place, index),
        already=already,
        summary=offer.summary,
        near_copies=compared.near_copies,
        not_compared=compared.not_compared,
        source=source,
    )
