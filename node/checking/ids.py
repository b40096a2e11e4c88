"""Checking an entry of this home by its id: signature, place, artifacts, and what it claims."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from ledger.entry import Entry
from ledger.log import places, resolve_id
from ledger.rules import WARNING
from ledger.statement import artifact_cids
from node.checking.artifactcheck import ArtifactChecker
from node.checking.claims import check_claim
from node.checking.held import check_place
from node.checking.proofs import check_signature
from node.checking.verdict import Check
from node.home import Home
from node.reading import load_view

if TYPE_CHECKING:
    from node.checking.witnessed import Wanted


def check_id(home: Home, prefix: str, wanted: Wanted | None) -> Iterator[Check]:
    """Check an entry by its id or the beginning of it.

    Raises:
        NotFoundError, UsageError: if no entry, or more than one, has such an id.
    """
    with home.reading() as database:
        id_ = resolve_id(database, prefix)
        _, _, body = places(database, id_)[0]
    signature, entry = check_signature(id_, body)
    yield signature
    yield from check_place(home, id_, id_, wanted)
    if entry is not None:
        yield from _artifacts(home, entry)


def _artifacts(home: Home, entry: Entry) -> Iterator[Check]:
    artifacts = ArtifactChecker(home.store)
    findings = [each for each in artifacts.check_blocks(entry) if each.severity != WARNING]
    if not findings and entry.kind == "contribution":
        findings = list(artifacts.check_files(entry))
    for finding in findings:
        code = 9 if finding.severity == "incomplete" else 3
        yield Check("artifact", ok=False, detail=finding.message, target=entry.id, exit_code=code)
    cids = artifact_cids(entry.statement)
    if cids and not findings:
        yield Check.passed("artifact", entry.id, ", ".join(map(str, cids)))
        if entry.kind in ("composition", "evaluation", "attribution"):
            yield Check.of("claim", entry.id, partial(_claim, home, entry))


def _claim(home: Home, entry: Entry) -> str:
    with home.reading() as database:
        ledger = load_view(database)
    check_claim(entry, ledger, home.store)
    return f"the {entry.kind} follows from its documents"
