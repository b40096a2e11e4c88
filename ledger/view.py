"""The ledger at a frontier: what is in force, as a pure function of the entries below it.

Rules, in one place:
- An entry counts once, however many logs carry it. Its place is in the log whose genesis names
  its author, else the first by (origin, index).
- A contributor is a chain of author keys joined by successions (`ledger.succession`). What a later
  key of the chain signs counts like what the earlier ones signed.
- Bytes that are no valid entry count for nothing (`ledger.rejected`).
- Where a log signed two histories, what stands behind their fork is disputed (`ledger.dispute`).
  Of several places of an entry, those that are not disputed come first.
- The first rule of `_statuses` that names a contribution decides its status.
- Statements of others about a contribution never change its status. Nothing is ever deleted.
- Claimed times are shown, never used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ledger.dispute import Dispute, Disputes, find_disputes
from ledger.frontier import Frontier
from ledger.placedentry import PlacedEntry
from ledger.rejected import Placed
from ledger.succession import DOUBTFUL, REVOKED, KeyHistory, Standing, is_genesis_of, key_history

Status = Literal["active", "superseded", "disputed", "withdrawn", "revoked", "doubtful"]
ArtifactType = Literal["adapter", "suite"]

ACTIVE: Final = "active"
SUPERSEDED: Final = "superseded"
WITHDRAWN: Final = "withdrawn"
DISPUTED: Final = "disputed"

NOT_IN_FORCE: Final[frozenset[Status]] = frozenset({REVOKED, WITHDRAWN, DISPUTED})
"""What may not be used at all, however it is named."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contribution and its status.

    `contributor` is the first author key of the chain that `author` belongs to; `base` is the
    digest of its base model, for adapters.
    """

    id: str
    type: ArtifactType
    author: str
    contributor: str
    title: str
    license: str
    cid: str
    base: str | None
    status: Status
    origin: str
    index: int
    created: str


@dataclass(frozen=True, slots=True)
class LedgerView:
    """Everything in force at a frontier; all mappings are keyed by id or author and sorted.

    `standings` has the entries whose key no longer speaks for them or is in doubt; `names` gives
    every author key of a contributor the one name that its newest genesis claims.
    """

    frontier: Frontier
    entries: Mapping[str, PlacedEntry]
    contributions: Mapping[str, Contribution]
    names: Mapping[str, str]
    keys: KeyHistory
    standings: Mapping[str, Standing]
    disputes: Disputes

    def dispute_of(self, id_: str) -> Dispute | None:
        """Return the dispute that an entry falls under by its place."""
        placed = self.entries[id_]
        return self.disputes.of(placed.origin, placed.index)

    def of_kind(self, kind: str) -> Iterator[PlacedEntry]:
        """Yield the entries of a kind, by id."""
        return (placed for placed in self.entries.values() if placed.entry.kind == kind)

    def speaking(self, kind: str) -> Iterator[PlacedEntry]:
        """Yield the entries of a kind but for those whose key was closed before them."""
        revoked = (id_ for id_, standing in self.standings.items() if standing == REVOKED)
        ignored = frozenset(revoked)
        return (placed for placed in self.of_kind(kind) if placed.entry.id not in ignored)

    def about(self, kind: str, field: str, id_: str) -> list[PlacedEntry]:
        """Return the entries of a kind whose predicate field names `id_`, by log order."""
        found = [
            placed
            for placed in self.speaking(kind)
            if placed.entry.statement.predicate.get(field) == id_
        ]
        return sorted(found, key=lambda placed: (placed.origin, placed.index))

    def users_of(self, contribution: str) -> list[str]:
        """Return the ids of the compositions that have a contribution as a member."""
        return [
            placed.entry.id
            for placed in self.speaking("composition")
            if contribution in placed.entry.statement.predicate["members"]
        ]

    def name_of(self, author: str) -> str:
        """Return the name an author's genesis claims, or the shortened key."""
        return self.names.get(author) or f"{author[:16]}...{author[-4:]}"

    def identity(self, author: str) -> str:
        """Return the first author key of the contributor that a key belongs to."""
        return self.keys.identity(author)


def view(frontier: Frontier, placed: Iterable[Placed]) -> LedgerView:
    """Compute what is in force from whatever stands below a frontier, in any order."""
    standing = sorted(placed, key=lambda item: (item.origin, item.index))
    everything = [item for item in standing if isinstance(item, PlacedEntry)]
    homes = {item.entry.author: item.origin for item in reversed(everything) if is_genesis_of(item)}
    disputes = find_disputes(everything)
    entries: dict[str, PlacedEntry] = {}
    for item in sorted(everything, key=lambda item: _is_disputed(item, disputes)):
        held = entries.get(item.entry.id)
        if held is None or (held.origin != homes.get(item.entry.author) == item.origin):
            entries[item.entry.id] = item
    entries = dict(sorted(entries.items()))
    keys = key_history(standing)
    found = ((id_, keys.standing(item)) for id_, item in entries.items())
    standings = {id_: standing for id_, standing in found if standing is not None}
    disputed = frozenset(id_ for id_, item in entries.items() if _is_disputed(item, disputes))
    contributions = _contributions(entries, keys, standings, disputed)
    names = _names(entries, homes, keys)
    return LedgerView(frontier, entries, contributions, names, keys, standings, disputes)


def _is_disputed(item: PlacedEntry, disputes: Disputes) -> bool:
    return disputes.of(item.origin, item.index) is not None


def _contributions(
    entries: Mapping[str, PlacedEntry],
    keys: KeyHistory,
    standings: Mapping[str, Standing],
    disputed: frozenset[str],
) -> dict[str, Contribution]:
    offered = {id_: item for id_, item in entries.items() if item.entry.kind == "contribution"}
    identities = {item.entry.author: keys.identity(item.entry.author) for item in entries.values()}
    rules = _statuses(entries, offered, identities, standings, disputed)
    return {
        id_: _contribution(item, identities[item.entry.author], _status(id_, rules))
        for id_, item in offered.items()
    }


_Rules = list[tuple[Status, Collection[str]]]


def _statuses(
    entries: Mapping[str, PlacedEntry],
    offered: Mapping[str, PlacedEntry],
    identities: Mapping[str, str],
    standings: Mapping[str, Standing],
    disputed: frozenset[str],
) -> _Rules:
    """Return the rules that decide a status, the strongest first: a status and whom it befalls."""
    revoked = {id_ for id_, standing in standings.items() if standing == REVOKED}
    doubtful = {id_ for id_, standing in standings.items() if standing == DOUBTFUL}

    def named(kind: str, field: str, *, by: Collection[str]) -> set[str]:
        """Return what entries of a kind, among some ids and by their own contributor, name."""
        targets = set()
        for id_ in by:
            item = entries[id_]
            target = str(item.entry.statement.predicate.get(field))
            if item.entry.kind != kind or target not in offered or target == id_:
                continue
            if identities[offered[target].entry.author] == identities[item.entry.author]:
                targets.add(target)
        return targets

    certain = entries.keys() - revoked - doubtful
    withdrawn = named("withdrawal", "target", by=certain)
    superseded = named("contribution", "supersedes", by=certain - withdrawn - disputed)
    # Whoever stole a key must not end a contribution; whoever owns it may have meant to.
    maybe_withdrawn = named("withdrawal", "target", by=doubtful)
    maybe_superseded = named("contribution", "supersedes", by=doubtful - withdrawn)
    return [
        (REVOKED, revoked),
        (WITHDRAWN, withdrawn),
        (DISPUTED, disputed),
        (SUPERSEDED, superseded),
        (DOUBTFUL, doubtful | maybe_withdrawn | maybe_superseded),
    ]


def _status(id_: str, rules: _Rules) -> Status:
    return next((status for status, ids in rules if id_ in ids), ACTIVE)


def _contribution(item: PlacedEntry, contributor: str, status: Status) -> Contribution:
    predicate = item.entry.statement.predicate
    base = predicate.get("base")
    return Contribution(
        id=item.entry.id,
        type=predicate["type"],
        author=item.entry.author,
        contributor=contributor,
        title=predicate["title"],
        license=predicate["license"],
        cid=predicate["cid"],
        base=base["digest"] if base else None,
        status=status,
        origin=item.origin,
        index=item.index,
        created=predicate["created"],
    )


def _names(
    entries: Mapping[str, PlacedEntry], homes: Mapping[str, str], keys: KeyHistory
) -> dict[str, str]:
    claimed = {}
    for item in entries.values():
        if item.entry.kind == "genesis" and homes.get(item.entry.author) == item.origin:
            claimed[item.entry.author] = str(item.entry.statement.predicate.get("name", ""))
    names = {}
    for author in claimed:
        newest = (claimed.get(each) for each in reversed(keys.chain(author)))
        name = next(filter(None, newest), "")
        if name:
            names[author] = name
    return dict(sorted(names.items()))
