"""Layouts: statements that differ only in their values, read by one regular expression each.

Most statements of a log look alike: the same fields in the same order, with other digests and
names in them. Once some of one layout were parsed the long way (`Statement.parse`), the layout is
written down as a pattern: its keys and brackets literally, and at the place of each value what the
rule of its field accepts. A payload that matches is a canonical statement whose every field obeys
its rule, because

- brackets, keys and their order are those of a document that was found canonical;
- a text is printable ASCII without quote and backslash, which has one spelling;
- an integer is written without sign of zero, leading zeros or more than 15 digits;
- a rule without a pattern of its own is called with the value.

What does not match is parsed the long way, so the pattern decides nothing but speed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from ledger import predicate
from ledger.cid import CID_PATTERN
from ledger.encoding import parse_canonical_json
from ledger.errors import MalformedError
from ledger.outline import Outline, OutlinePaths, Path, outline_of, outline_paths
from ledger.predicate import Distinct, Fields, Many, OneOf, Rule
from ledger.statement import Statement

_MAX_BYTES: Final = 4_096
_MAX_LAYOUTS: Final = 64
_MAX_PER_KIND: Final = 16
_LEARN_AFTER: Final = 4
_MAX_TRIALS: Final = 1_024

_CHARACTER = r"[ !#-\[\]-~]"
_PATTERNS: Final[Mapping[Rule | None, str]] = {
    None: f"{_CHARACTER}*",
    predicate.text: f"{_CHARACTER}{{0,{predicate.MAX_TEXT}}}",
    predicate.line: f"{_CHARACTER}{{0,{predicate.MAX_TEXT}}}",
    predicate.sha256: "[0-9a-f]{64}",
    predicate.commit: "[0-9a-f]{40}",
    predicate.cid: CID_PATTERN,
    predicate.time: predicate.TIME_PATTERN,
}
_KIND_BEFORE = b'"predicateType":"urn:pnode:'
_SUBJECTS = Distinct(
    "name", Fields({"name": predicate.text, "digest": Fields({"sha256": predicate.sha256})})
)


class Layouts:
    """Reads statements one after the other and remembers the layouts they have.

    Use one per log: what one author writes then never slows down the reading of another.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, list[_Layout]] = {}
        self._seen: Counter[str] = Counter()
        self._trials = 0

    def read(self, payload: bytes) -> Outline:
        """Return the outline of a statement.

        Raises:
            MalformedError: as `Statement.parse` does.
        """
        start = payload.rfind(_KIND_BEFORE)
        hint = payload[start : payload.find(b'"', start + len(_KIND_BEFORE))]
        layouts = self._known.get(hint)
        if layouts is not None and payload.isascii():
            text = payload.decode("ascii")
            for number, layout in enumerate(layouts):
                outline = layout.read(text)
                if outline is not None:
                    if number:
                        layouts.insert(0, layouts.pop(number))
                    return outline
        statement = Statement.parse(payload)
        if self._trials < _MAX_TRIALS and len(payload) <= _MAX_BYTES and payload.isascii():
            self._trials += 1
            self._learn(hint, payload, statement)
        return outline_of(statement)

    def _learn(self, hint: bytes, payload: bytes, statement: Statement) -> None:
        layouts = self._known.setdefault(hint, [])
        total = sum(map(len, self._known.values()))
        if len(layouts) >= _MAX_PER_KIND or total >= _MAX_LAYOUTS:
            return
        try:
            writer = _Writer(outline_paths(statement))
            writer.write_statement(parse_canonical_json(payload, what="statement"), statement.kind)
        except _NoLayoutError:
            return
        source = writer.source
        self._seen[source] += 1
        if self._seen[source] == _LEARN_AFTER:
            layouts.append(_Layout(statement, writer))


class _Layout:
    """One pattern, and which of its groups make the outline."""

    def __init__(self, statement: Statement, writer: _Writer) -> None:
        self._match = re.compile(writer.source, re.ASCII).fullmatch
        self._kind = statement.kind
        # Authors and the like come again and again; what breaks a rule is not remembered.
        self._checks = tuple((group, lru_cache(maxsize=256)(rule)) for group, rule in writer.checks)
        self._distinct = tuple(
            (_getter(group), len(group)) for group in writer.distinct if len(group) > 1
        )
        paths, groups = outline_paths(statement), writer.groups
        self._author = groups[paths.author]
        self._names = tuple(name for name, _ in paths.references)
        self._references = _getter([groups[path] for _, path in paths.references])
        kinds = (paths.artifacts, paths.subjects, paths.resources)
        self._others = [_getter([groups[path] for path in several]) for several in kinds]

    def read(self, text: str) -> Outline | None:
        """Return the outline of a statement of this layout, None if it has another."""
        match = self._match(text)
        if match is None:
            return None
        found = match.groups()
        try:
            for group, rule in self._checks:
                rule(found[group])
        except MalformedError:
            return None
        for several, number in self._distinct:
            if len(set(several(found))) != number:
                return None
        artifacts, subjects, resources = self._others
        return Outline(
            self._kind,
            found[self._author],
            tuple(zip(self._names, self._references(found), strict=True)) if self._names else (),
            artifacts(found),
            subjects(found),
            resources(found),
        )


def _getter(groups: Sequence[int]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """Return what picks some groups of a match, as one slice where they stand side by side."""
    first, count = groups[0] if groups else 0, len(groups)
    if list(groups) == list(range(first, first + count)):
        return itemgetter(slice(first, first + count))
    return itemgetter(*groups)


class _NoLayoutError(Exception):
    """A statement that cannot be written as a pattern."""


class _Writer:
    """Writes the pattern of one statement, rule by rule."""

    def __init__(self, paths: OutlinePaths) -> None:
        self.groups: dict[Path, int] = {}
        self.checks: list[tuple[int, Rule]] = []
        self.distinct: list[tuple[int, ...]] = []
        self._wanted = paths.all
        self._parts: list[str] = []

    @property
    def source(self) -> str:
        """The regular expression."""
        return "".join(self._parts)

    def write_statement(self, document: Mapping[str, Any], kind: str) -> None:
        """Write a whole statement; its type and its kind are part of the layout."""
        rules: dict[str, Rule] = {
            "_type": OneOf(document["_type"]),
            "predicate": Fields(predicate.rules_of(kind)),
            "predicateType": OneOf(document["predicateType"]),
            "subject": _SUBJECTS,
        }
        self._write(document, Fields(rules), ())

    def _write(self, value: Any, rule: Rule | None, path: Path) -> None:
        if isinstance(value, dict):
            self._write_object(value, rule, path)
        elif isinstance(value, list):
            self._write_list(value, rule, path)
        elif isinstance(value, str):
            self._write_text(value, rule, path)
        elif value is None or isinstance(value, bool):
            self._parts.append({None: "null", True: "true", False: "false"}[value])
        elif rule is None or rule is predicate.count:
            sign = "" if rule else "-?"
            self._parts.append(f"(?:0|{sign}[1-9][0-9]{{0,14}})")
        else:
            raise _NoLayoutError

    def _write_object(self, value: Mapping[str, Any], rule: Rule | None, path: Path) -> None:
        if isinstance(rule, Fields):
            rules = rule.rules
        elif rule is None or rule is predicate.record:
            rules = {}
        else:
            raise _NoLayoutError
        self._parts.append(re.escape("{"))
        for number, (name, item) in enumerate(value.items()):
            separator = "," if number else ""
            if not re.fullmatch(f"{_CHARACTER}*", name):
                raise _NoLayoutError
            self._parts.append(f'{separator}"{re.escape(name)}":')
            self._write(item, rules.get(name), (*path, name))
        self._parts.append(re.escape("}"))

    def _write_list(self, value: Sequence[Any], rule: Rule | None, path: Path) -> None:
        if isinstance(rule, Distinct):
            self._wanted |= {(*path, number, rule.name) for number in range(len(value))}
        elif rule is not None and not isinstance(rule, Many):
            raise _NoLayoutError
        self._parts.append(re.escape("["))
        for number, item in enumerate(value):
            if number:
                self._parts.append(",")
            self._write(item, None if rule is None else rule.rule, (*path, number))
        self._parts.append(re.escape("]"))
        if isinstance(rule, Distinct):
            names = [self.groups[*path, number, rule.name] for number in range(len(value))]
            self.distinct.append(tuple(names))

    def _write_text(self, value: str, rule: Rule | None, path: Path) -> None:
        if isinstance(rule, OneOf):
            words = [word for word in rule.values if re.fullmatch(f"{_CHARACTER}*", word)]
            pattern = f"(?:{'|'.join(map(re.escape, words))})"
        else:
            pattern = _PATTERNS.get(rule, _PATTERNS[None])
        checked = not isinstance(rule, OneOf) and rule not in _PATTERNS
        if checked or path in self._wanted:
            pattern = f"({pattern})"
            self.groups[path] = len(self.groups)
            if checked and rule is not None:
                self.checks.append((self.groups[path], rule))
        if not re.fullmatch(f"{_CHARACTER}*", value):
            raise _NoLayoutError
        self._parts.append(f'"{pattern}"')
