"""Checking the artifacts and documents that entries name, from blocks alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ledger.blocks import BlockStore
from ledger.cid import Cid
from ledger.entry import Entry
from ledger.errors import DigestError, IncompleteError, NotFoundError, PnodeError
from ledger.rules import ERROR, WARNING, Finding
from ledger.statement import artifact_cids
from ledger.unixfs import Limits, walk
from node.artifacts import extract


class ArtifactChecker:
    """Checks artifacts in one block store; what was verified once is not read again."""

    def __init__(self, store: BlockStore) -> None:
        self._store = store
        self._whole: set[Cid] = set()
        self._files: dict[Cid, dict[str, str]] = {}

    def check_blocks(self, entry: Entry, *, withdrawn: bool = False) -> Iterator[Finding]:
        """Check that everything an entry names is here, block by block.

        A base model may be too large to travel: without its blocks nothing can be replayed, but
        every claim about it can still be checked, so its absence is only a warning. So is that of
        an artifact whose author has `withdrawn` it and asked that nobody keeps it then.
        """
        let_go = withdrawn and entry.statement.predicate.get("on_withdrawal") == "unpin"
        base = entry.statement.predicate.get("base")
        base_cid = base.get("cid") if isinstance(base, dict) else None
        for cid in artifact_cids(entry.statement):
            if str(cid) == base_cid and not self._store.has(cid):
                message = f"the base model {cid} is not in the block store; a replay needs it"
                yield Finding("artifact.blocks", WARNING, entry.id, message)
                continue
            if let_go and not self._store.has(cid):
                message = f"{cid} was withdrawn, and its terms ask that nobody keeps it; it is gone"
                yield Finding("artifact.blocks", WARNING, entry.id, message)
                continue
            try:
                self._read_all(cid)
            except NotFoundError as error:
                missing = IncompleteError(f"artifact {cid}: {error.message}")
                yield Finding.of("artifact.blocks", entry.id, missing)
            except PnodeError as error:
                yield Finding.of("artifact.blocks", entry.id, error)

    def holds(self, contribution: Entry) -> bool:
        """Whether the artifact of a contribution is here, as far as its root tells."""
        return self._store.has(Cid.parse(contribution.statement.predicate["cid"]))

    def check_files(self, entry: Entry) -> Iterator[Finding]:
        """Check that the files of a contribution are those its statement and manifest list."""
        predicate = entry.statement.predicate
        try:
            found = self._hashes(Cid.parse(predicate["cid"]))
        except PnodeError as error:
            yield Finding.of("artifact.files", entry.id, error)
            return
        listed = {subject.name: subject.sha256 for subject in entry.statement.subjects}
        manifest = {item["name"]: item["digest"] for item in predicate["manifest"]["resources"]}
        for path in sorted({*found, *listed, *manifest}):
            if not found.get(path) == listed.get(path) == manifest.get(path):
                message = f"file '{path}' is not what the statement lists"
                yield Finding("artifact.files", ERROR, entry.id, message)

    def _read_all(self, cid: Cid) -> None:
        if cid not in self._whole:
            for _ in walk(cid, self._store.get_block, Limits()):
                pass
            self._whole.add(cid)

    def _hashes(self, cid: Cid) -> dict[str, str]:
        """Return the hex SHA-256 of every file of an artifact that can be extracted, by path."""
        if cid not in self._files:
            with TemporaryDirectory(prefix="pnode-check-") as folder:
                artifact = extract(cid, self._store, Path(folder) / "artifact")
            self._files[cid] = {file.path: file.sha256 for file in artifact.files}
        return self._files[cid]


def check_subject(entry: Entry, name: str, data: bytes) -> None:
    """Require that a document is the subject of that name.

    Raises:
        DigestError: if the statement lists another digest, or none.
    """
    digest = hashlib.sha256(data).hexdigest()
    listed: dict[str, Any] = {item.name: item.sha256 for item in entry.statement.subjects}
    if listed.get(name) != digest:
        raise DigestError(f"{name} has SHA-256 {digest}, the statement lists {listed.get(name)}")
