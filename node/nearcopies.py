"""Near copies: which adapters in force an adapter that is offered is a copy of, or nearly.

Only what is held can be compared. What is not is listed too, so that silence is not taken for an
answer. Held artifacts are read from verified blocks into a temporary folder, one at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ledger.cid import Cid
from ledger.errors import EvidenceError, IncompleteError, PolicyError
from ledger.view import ACTIVE, Contribution, LedgerView
from node.artifacts import read_artifact
from node.home import Home

if TYPE_CHECKING:
    from compose.adapter import OpenedAdapter
    from compose.similarity import Similarity


@dataclass(frozen=True, slots=True)
class NearCopy:
    """A contribution that an adapter is a near copy of.

    `cosine` is that of the two deltas, six decimals; `alike` of `layers` layers are near copies by
    themselves; `declared` says that the offer names it as what it supersedes or derives from.
    """

    id: str
    title: str
    author: str
    cosine: str
    alike: int
    layers: int
    declared: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The near copies of an adapter, and the contributions that could not be compared with it."""

    near_copies: list[NearCopy]
    not_compared: list[str]


def near_copies(
    home: Home,
    ledger: LedgerView,
    opened: OpenedAdapter,
    *,
    base: str,
    cid: str = "",
    declared: Collection[str] = (),
) -> Comparison:
    """Compare an adapter with every adapter in force for the same base.

    Args:
        base: the digest of the base.
        cid: of the files that are offered, so that publishing them again is not called a copy.
        declared: ids of contributions that the offer says it builds on.
    """
    found, skipped = [], []
    own = ledger.identity(home.author)
    for id_, offered in ledger.contributions.items():
        if offered.type != "adapter" or offered.status != ACTIVE or offered.base != base:
            continue
        if offered.cid == cid and offered.contributor == own:
            continue
        try:
            similarity = _compare(home, opened, offered)
        except (IncompleteError, EvidenceError, PolicyError):
            # Blocks that are missing or damaged, or an adapter that nobody can compose; an audit
            # says which. It is no reason to refuse what is offered here.
            skipped.append(id_)
        else:
            if similarity.near_copy:
                found.append(_near_copy(offered, similarity, declared=id_ in declared))
    return Comparison(found, skipped)


def _compare(home: Home, opened: OpenedAdapter, offered: Contribution) -> Similarity:
    from compose.adapter import open_adapter
    from compose.similarity import similarities

    with TemporaryDirectory(prefix="pnode-compare-") as folder:
        read_artifact(Cid.parse(offered.cid), home.store, Path(folder))
        held = open_adapter(Path(folder), None)
        (similarity,) = similarities({"offered": opened, "held": held}).values()
    return similarity


def _near_copy(offered: Contribution, similarity: Similarity, *, declared: bool) -> NearCopy:
    return NearCopy(
        id=offered.id,
        title=offered.title,
        author=offered.author,
        cosine=f"{similarity.cosine:.6f}",
        alike=similarity.alike,
        layers=similarity.fewer,
        declared=declared,
    )
