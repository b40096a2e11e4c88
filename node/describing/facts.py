"""What is known of a contribution or a composition, from published bytes alone.

No document says more than its statement, and the files that the statement lists, so that everybody
who has them makes the same document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from unicodedata import category

from ledger.cid import Cid
from ledger.errors import DigestError, IncompleteError
from ledger.modelsigning import manifest_of
from ledger.view import LedgerView
from node.artifacts import StoredFile, extract
from node.home import Home

_HUB_ID: Final = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", re.ASCII)
_MAX_CARD_BYTES: Final = 1 << 20
_FRONT_MATTER = re.compile(r"---[ \t]*\n.*?\n---[ \t]*(?:\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Facts:
    """A contribution: its id, the name of its contributor, and what its statement says.

    Only of one that is described itself, and not of one that it is made of, there are `files`
    with their sizes in bytes, `base_model` (the hub id that an adapter's configuration names, or
    empty) and `card` (its README.md without front matter, or empty).
    """

    id: str
    name: str
    said: Mapping[str, Any]
    manifest: Mapping[str, Any]
    ancestors: tuple[Facts, ...] = ()
    files: tuple[StoredFile, ...] = ()
    base_model: str = ""
    card: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """What an evaluation says: how many items of a suite were answered right."""

    evaluation: str
    suite: Facts
    correct: int
    total: int


@dataclass(frozen=True, slots=True)
class CompositionFacts:
    """A composition: its statement, its members, and every evaluation of it that is in force."""

    id: str
    name: str
    said: Mapping[str, Any]
    members: tuple[Facts, ...]
    scores: tuple[Score, ...]


def contribution_facts(home: Home, ledger: LedgerView, id_: str) -> Facts:
    """Return what is known of a contribution, its files compared with its statement.

    Raises:
        IncompleteError: if a block of the artifact is missing.
        DigestError: if its files are not those that the statement lists.
    """
    brief = _brief(ledger, id_)
    said = brief.said
    ancestors = tuple(
        _brief(ledger, each)
        for each in said.get("derived_from", ())
        if each in ledger.contributions
    )
    with TemporaryDirectory(prefix="pnode-describe-") as folder:
        artifact = extract(Cid.parse(said["cid"]), home.store, Path(folder) / "artifact")
        _require_same(brief, ledger, artifact.files)
        return Facts(
            brief.id,
            brief.name,
            said,
            brief.manifest,
            ancestors,
            artifact.files,
            _base_model(Path(folder) / "artifact"),
            _card(Path(folder) / "artifact"),
        )


def composition_facts(ledger: LedgerView, id_: str) -> CompositionFacts:
    """Return what is known of a composition.

    Raises:
        IncompleteError: if a member or suite is not in the ledger that is held here.
    """
    entry = ledger.entries[id_].entry
    said = entry.statement.predicate
    scores = tuple(
        Score(placed.entry.id, _brief(ledger, row["suite"]), row["correct"], row["total"])
        for placed in ledger.about("evaluation", "composition", id_)
        for row in placed.entry.statement.predicate["scores"]
    )
    members = tuple(_brief(ledger, member) for member in said["members"])
    return CompositionFacts(id_, ledger.names.get(said["author"], ""), said, members, scores)


def _brief(ledger: LedgerView, id_: str) -> Facts:
    if id_ not in ledger.contributions:
        raise IncompleteError(f"the contribution {id_} is not held here")
    said = ledger.entries[id_].entry.statement.predicate
    files = [(item["name"], item["digest"]) for item in said["manifest"]["resources"]]
    return Facts(id_, ledger.names.get(said["author"], ""), said, manifest_of(files))


def _require_same(facts: Facts, ledger: LedgerView, files: tuple[StoredFile, ...]) -> None:
    found = {file.path: file.sha256 for file in files}
    subjects = ledger.entries[facts.id].entry.statement.subjects
    listed = {item["name"]: item["digest"] for item in facts.manifest["resources"]}
    if not found == listed == {subject.name: subject.sha256 for subject in subjects}:
        raise DigestError(f"{facts.id}: the files of its artifact are not those it lists")


def _base_model(folder: Path) -> str:
    """Return the hub id of the base in an adapter's configuration; a name for people only."""
    path = folder / "adapter_config.json"
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        data = stream.read(_MAX_CARD_BYTES)
    try:
        claimed = json.loads(data).get("base_model_name_or_path")
    except (ValueError, AttributeError, RecursionError):
        return ""
    fits = isinstance(claimed, str) and _HUB_ID.fullmatch(claimed) and ".." not in claimed
    return str(claimed) if fits else ""


def _card(folder: Path) -> str:
    path = folder / "README.md"
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        text = stream.read(_MAX_CARD_BYTES).decode("utf-8", errors="replace")
    text = text.replace("\r\n", "\n")
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    # A terminal obeys control characters, and a stranger wrote these.
    return "".join(c for c in body if c in "\n\t" or category(c) != "Cc").strip()
