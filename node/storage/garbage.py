"""Removing blocks that no pin reaches: mark everything below the pins, sweep the rest.

What was stored lately stays, pinned or not: a publication or a fetch under way pins its root last.
Whoever counts on a block that is here already renews it (`LocalStore.renew`). A block is renamed
before it is removed and put back if it was renewed meanwhile, so no lock is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ledger.cid import Cid
from ledger.errors import EvidenceError, IncompleteError, NotFoundError
from ledger.unixfs import checked_block
from node.peering.published import dag_cids
from node.storage.local import LocalStore

DEFAULT_HOURS: Final = 24
"""How long a block is kept without a pin."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed, or would remove, and what no pin reaches but is too new."""

    removed: int
    removed_bytes: int
    recent: int
    recent_bytes: int
    kept: int


def collect(
    store: LocalStore,
    *,
    before: float,
    dry_run: bool = False,
    progress: Progress = lambda *_: None,
) -> Collected:
    """Remove the blocks below no pin that were last stored or renewed before a time.

    Args:
        store: the store to clean.
        before: seconds since the epoch.
        dry_run: only count.
        progress: told how many pins were followed.

    Raises:
        IncompleteError: if what is below a pin cannot be told, because a block of it is missing or
            damaged; nothing was removed then.
    """
    keep = _below_pins(store, progress)
    removed = removed_bytes = recent = recent_bytes = kept = 0
    for cid, size, stored in store.blocks():
        if cid in keep:
            kept += 1
        elif stored >= before or not (dry_run or store.remove(cid, before=before)):
            recent += 1
            recent_bytes += size
        else:
            removed += 1
            removed_bytes += size
    if not dry_run:
        store.remove_leftovers(before=before)
    return Collected(removed, removed_bytes, recent, recent_bytes, kept)


def _below_pins(store: LocalStore, progress: Progress) -> set[Cid]:
    keep: set[Cid] = set()
    roots = list(store.pins())
    for done, root in enumerate(roots):
        progress("pins", done, len(roots))
        try:
            keep.update(dag_cids(root, lambda cid: checked_block(cid, store.get_block)))
        except (NotFoundError, EvidenceError) as error:
            raise IncompleteError(
                f"what is below the pin {root} cannot be told: {error.message}",
                hint=f"repair it with 'pnode sync --repair', or 'pnode store unpin {root}'",
            ) from None
    return keep
