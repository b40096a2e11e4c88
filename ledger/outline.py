"""Outlines: the few things about an entry that other checks need, without its text.

An audit of a million entries cannot keep them parsed. It keeps of each entry its outline: who
signed what kind of statement, to which entries it refers and which artifacts it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ledger.statement import Statement, artifact_fields

REFERENCES: Final[Mapping[str, tuple[str, ...]]] = {
    "withdrawal": ("target",),
    "evaluation": ("composition",),
    "attribution": ("composition",),
    "verification": ("target",),
    "contribution": ("supersedes", "derived_from"),
    "composition": ("members", "suites"),
}
"""The fields by which an entry of a kind refers to other entries."""


Path = tuple[str | int, ...]
"""Where a value stands in a statement: keys and positions from the outside in."""


class Outline(NamedTuple):
    """What is kept of a valid entry.

    `references` are (field, id) in the order they stand; an artifact is a text that may be the
    CID of one; `subjects` and `resources` are digest and name of each file of a contribution, one
    after the other.
    """

    kind: str
    author: str
    references: tuple[tuple[str, str], ...]
    artifacts: tuple[str, ...]
    subjects: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OutlinePaths:
    """Where the values of an outline stand in its statement."""

    author: Path
    references: tuple[tuple[str, Path], ...]
    artifacts: tuple[Path, ...]
    subjects: tuple[Path, ...]
    resources: tuple[Path, ...]

    @property
    def all(self) -> set[Path]:
        """Every path."""
        named = {self.author, *self.artifacts, *self.subjects, *self.resources}
        return named | {path for _, path in self.references}


def outline_paths(statement: Statement) -> OutlinePaths:
    """Return where the outline of a statement stands."""
    fields = statement.predicate
    return OutlinePaths(
        ("predicate", "author"),
        tuple(_references(statement.kind, fields)),
        tuple(("predicate", *path) for path, _ in artifact_fields(fields)),
        tuple(_subjects(statement)),
        tuple(_resources(statement)),
    )


def outline_of(statement: Statement) -> Outline:
    """Return the outline of a parsed statement."""
    paths = outline_paths(statement)
    document = {
        "predicate": statement.predicate,
        "subject": [
            {"name": subject.name, "digest": {"sha256": subject.sha256}}
            for subject in statement.subjects
        ],
    }

    def value(path: Path) -> str:
        found: Any = document
        for step in path:
            found = found[step]
        return str(found)

    return Outline(
        statement.kind,
        value(paths.author),
        tuple((name, value(path)) for name, path in paths.references),
        tuple(map(value, paths.artifacts)),
        tuple(map(value, paths.subjects)),
        tuple(map(value, paths.resources)),
    )


def _references(kind: str, fields: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    for name in REFERENCES.get(kind, ()):
        value = fields.get(name, [])
        if isinstance(value, list):
            yield from ((name, ("predicate", name, number)) for number in range(len(value)))
        else:
            yield name, ("predicate", name)


def _subjects(statement: Statement) -> Iterator[Path]:
    if statement.kind == "contribution":
        for number in range(len(statement.subjects)):
            at: Path = ("subject", number)
            yield (*at, "digest", "sha256")
            yield (*at, "name")


def _resources(statement: Statement) -> Iterator[Path]:
    if statement.kind == "contribution":
        for number in range(len(statement.predicate["manifest"]["resources"])):
            at: Path = ("predicate", "manifest", "resources", number)
            yield (*at, "digest")
            yield (*at, "name")
