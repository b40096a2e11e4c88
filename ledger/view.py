"""The ledger at a frontier: what is in force, as a pure function of the entries below it.

Rules, in one place:
- An entry counts once, however many logs carry it. Its place is in the log whose genesis names
  its author, else the first by (origin, index).
- A contribution is withdrawn if its own author signed a withdrawal of it; superseded if a
  contribution that is not withdrawn, by the same author, says so; otherwise active.
- Statements of others about a contribution never change its status. Nothing is ever deleted.
- Claimed times are shown, never used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ledger.entry import PlacedEntry
from ledger.frontier import Frontier

Status = Literal["active", "superseded", "withdrawn"]
ArtifactType = Literal["adapter", "suite"]

ACTIVE: Final = "active"
SUPERSEDED: Final = "superseded"
WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True, slots=True)
class Contribution:
    """A contribution and its status; `base` is the digest of its base model, for adapters."""

    id: str
    type: ArtifactType
    author: str
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
    """Everything in force at a frontier; all mappings are keyed by id and sorted."""

    frontier: Frontier
    entries: Mapping[str, PlacedEntry]
    contributions: Mapping[str, Contribution]
    names: Mapping[str, str]

    def of_kind(self, kind: str) -> Iterator[PlacedEntry]:
        """Yield the entries of a kind, by id."""
        return (placed for placed in self.entries.values() if placed.entry.kind == kind)

    def about(self, kind: str, field: str, id_: str) -> list[PlacedEntry]:
        """Return the entries of a kind whose predicate field names `id_`, by log order."""
        found = [
            placed
            for placed in self.of_kind(kind)
            if placed.entry.statement.predicate.get(field) == id_
        ]
        return sorted(found, key=lambda placed: (placed.origin, placed.index))

    def users_of(self, contribution: str) -> list[str]:
        """Return the ids of the compositions that have a contribution as a member."""
        return [
            placed.entry.id
            for placed in self.of_kind("composition")
            if contribution in placed.entry.statement.predicate["members"]
        ]

    def name_of(self, author: str) -> str:
        """Return the name an author's genesis claims, or the shortened key."""
        return self.names.get(author) or f"{author[:16]}...{author[-4:]}"


def view(frontier: Frontier, placed: Iterable[PlacedEntry]) -> LedgerView:
    """Compute what is in force from every entry below a frontier, in any order."""
    everything = sorted(placed, key=lambda item: (item.origin, item.index))
    homes = {
        item.entry.author: item.origin
        for item in reversed(everything)
        if item.entry.kind == "genesis"
        and item.index == 0
        and item.entry.statement.predicate["origin"] == item.origin
    }
    entries: dict[str, PlacedEntry] = {}
    for item in everything:
        held = entries.get(item.entry.id)
        if held is None or (held.origin != homes.get(item.entry.author) == item.origin):
            entries[item.entry.id] = item
    entries = dict(sorted(entries.items()))
    return LedgerView(frontier, entries, _contributions(entries), _names(entries, homes))


def _contributions(entries: Mapping[str, PlacedEntry]) -> dict[str, Contribution]:
    offered = {id_: item for id_, item in entries.items() if item.entry.kind == "contribution"}
    withdrawn = _targets(entries, offered, "withdrawal", "target", ignored=frozenset())
    superseded = _targets(entries, offered, "contribution", "supersedes", ignored=withdrawn)

    def status(id_: str) -> Status:
        if id_ in withdrawn:
            return WITHDRAWN
        return SUPERSEDED if id_ in superseded else ACTIVE

    return {id_: _contribution(item, status(id_)) for id_, item in offered.items()}


def _targets(
    entries: Mapping[str, PlacedEntry],
    offered: Mapping[str, PlacedEntry],
    kind: str,
    field: str,
    *,
    ignored: frozenset[str],
) -> frozenset[str]:
    """Return the contributions that an entry of `kind` by their own author names in `field`."""
    targets: set[str] = set()
    for id_, item in entries.items():
        target = str(item.entry.statement.predicate.get(field))
        if item.entry.kind != kind or id_ in ignored or target not in offered or target == id_:
            continue
        if offered[target].entry.author == item.entry.author:
            targets.add(target)
    return frozenset(targets)


def _contribution(item: PlacedEntry, status: Status) -> Contribution:
    predicate = item.entry.statement.predicate
    base = predicate.get("base")
    return Contribution(
        id=item.entry.id,
        type=predicate["type"],
        author=item.entry.author,
        title=predicate["title"],
        license=predicate["license"],
        cid=predicate["cid"],
        base=base["digest"] if base else None,
        status=status,
        origin=item.origin,
        index=item.index,
        created=predicate["created"],
    )


def _names(entries: Mapping[str, PlacedEntry], homes: Mapping[str, str]) -> dict[str, str]:
    names = {}
    for item in entries.values():
        if item.entry.kind == "genesis" and homes.get(item.entry.author) == item.origin:
            name = item.entry.statement.predicate.get("name", "")
            if name:
                names[item.entry.author] = name
    return dict(sorted(names.items()))
