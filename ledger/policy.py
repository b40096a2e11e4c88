"""Which witnesses must have seen a tree before it counts (c2sp.org/tlog-policy of 2026-06).

    log <vkey> [<url>]
    witness <name> <vkey> [<url>]
    group <name> all|any|<k> <member>...
    quorum <name>|none

One statement a line, items separated by spaces and tabs; empty lines and lines that begin with `#`
are ignored. Names are defined before they are used and are opaque octets, here kept as Latin-1
text. Each name is a member of at most one group, so that a witness counts in one way only.

Subset and limits: keys are Ed25519 (type 01 for logs, 04 for witnesses); a file has at most 64 KiB
and 256 logs, witnesses and groups each. A policy without `log` lines is about every log, because
the origin of a pnode log names its key.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ledger.cosignature import CosignatureVerifier, cosigned_at
from ledger.errors import IncompleteError, MalformedError
from ledger.keys import PublicKey
from ledger.note import ED25519_COSIGNATURE, ED25519_NOTE, Note, NoteKey

MAX_POLICY_BYTES: Final = 65_536
MAX_DEFINITIONS: Final = 256
NONE: Final = "none"

_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_BLANKS = re.compile(r"[ \t]+")
_THRESHOLD = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness of a policy: its name there, and the key of its cosignatures."""

    name: str
    key: NoteKey


@dataclass(frozen=True, slots=True)
class Group:
    """A group of a policy: it has witnessed a tree when `threshold` members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A cosignature that counted: the witness, its key, and the POSIX second it signed."""

    name: str
    key: NoteKey
    time: int


@dataclass(frozen=True, slots=True)
class Quorum:
    """A quorum that was reached: every witness that counted, and since when it was enough."""

    witnesses: tuple[Seen, ...]
    time: int


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy; `quorum` is the name of a witness or group, or `none`."""

    logs: tuple[NoteKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    quorum: str

    @classmethod
    def parse(cls, data: bytes) -> Policy:
        """Parse the bytes of a policy file.

        Raises:
            MalformedError: naming the line that is wrong.
        """
        if len(data) > MAX_POLICY_BYTES:
            raise MalformedError(f"policy: more than {MAX_POLICY_BYTES} bytes")
        draft = _Draft()
        for number, line in enumerate(data.split(b"\n"), start=1):
            draft.read(number, line)
        if draft.quorum is None:
            raise MalformedError("policy: no line 'quorum'")
        return cls(tuple(draft.logs), draft.witnesses, draft.groups, draft.quorum)

    @property
    def asks_for_witnesses(self) -> bool:
        """Whether any cosignature is needed at all."""
        return self.quorum != NONE

    def could_suffice(self, keys: Collection[str]) -> bool:
        """Whether cosignatures by these verifier keys would reach the quorum, if they are valid."""
        times = {name: 0 for name, each in self.witnesses.items() if str(each.key) in keys}
        return self.asks_for_witnesses and self._time(self.quorum, times) is not None

    def evaluate(self, note: Note, *, excluded: Collection[str] = ()) -> Quorum:
        """Decide whether a checkpoint note carries enough cosignatures.

        The signature of the log itself is not looked at: open the checkpoint first.

        Args:
            note: the checkpoint note with its cosignatures.
            excluded: key names that do not count, such as origins that equivocated.

        Raises:
            IncompleteError: if the quorum is not reached; it names what is missing.
            SignatureError: if a line by the key of a witness does not verify.
        """
        if not self.asks_for_witnesses:
            raise IncompleteError(
                "the policy asks for no witnesses", hint="name a quorum in the policy file"
            )
        origin = note.text.partition("\n")[0]
        if self.logs and origin not in {key.name for key in self.logs}:
            raise IncompleteError(
                f"the policy does not name the log {origin}",
                hint="add a line 'log VKEY' for it, or none at all to accept every log",
            )
        seen = {
            witness.name: Seen(witness.name, witness.key, time)
            for witness in self.witnesses.values()
            if witness.key.name not in excluded
            and (time := _cosigned_since(note, witness.key)) is not None
        }
        time = self._time(self.quorum, {name: each.time for name, each in seen.items()})
        if time is None:
            raise IncompleteError(
                f"not witnessed: {self._missing(self.quorum, seen)}",
                hint="run 'pnode sync' to ask peers for their cosignatures",
            )
        return Quorum(tuple(seen[name] for name in self.witnesses if name in seen), time)

    def _time(self, name: str, times: Mapping[str, int]) -> int | None:
        """Return when `name` had witnessed, given when each witness cosigned."""
        group = self.groups.get(name)
        if group is None:
            return times.get(name)
        reached = (self._time(member, times) for member in group.members)
        ordered = sorted(time for time in reached if time is not None)
        # The threshold was met when the k-th fastest member had witnessed.
        return ordered[group.threshold - 1] if len(ordered) >= group.threshold else None

    def _missing(self, name: str, seen: Mapping[str, Seen]) -> str:
        group = self.groups.get(name)
        if group is None:
            return f"no cosignature by {printable(name)}"
        times = {each: value.time for each, value in seen.items()}
        open_ = [member for member in group.members if self._time(member, times) is None]
        done = len(group.members) - len(open_)
        names = ", ".join(printable(member) for member in open_)
        return f"{printable(name)} needs {group.threshold}, has {done}; missing: {names}"


def printable(name: str) -> str:
    """Return a name as text for people; most names are UTF-8, and none need be."""
    return name.encode("latin-1").decode("utf-8", errors="backslashreplace")


def _cosigned_since(note: Note, key: NoteKey) -> int | None:
    """Return the earliest time at which a key cosigned a note, or None."""
    verifier = CosignatureVerifier(key)
    times = []
    for line in note.signatures:
        if line.is_by(key):
            verifier.verify_line(note.text, line)
            times.append(cosigned_at(line))
    # SPEC says: "The cosignature MUST NOT omit the timestamp, i.e. the timestamp MUST NOT be zero."
    return min((time for time in times if time), default=None)


@dataclass(slots=True)
class _Draft:
    """A policy while its lines are read."""

    logs: list[NoteKey] = field(default_factory=list)
    witnesses: dict[str, Witness] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str | None = None
    _grouped: set[str] = field(default_factory=set)
    _keys: set[tuple[str, PublicKey]] = field(default_factory=set)

    def read(self, number: int, line: bytes) -> None:
        # SPEC says: "the allowed octet values are 0x09 (tab), 0x0A (newline), 0x20-0x7E, and
        # 0x80-0xFF."
        if _FORBIDDEN.search(line):
            _refuse(number, "contains a control character")
        items = [item for item in _BLANKS.split(line.decode("latin-1")) if item]
        if not items or items[0].startswith("#"):
            return
        keyword, *rest = items
        try:
            if keyword == "log":
                self._log(rest)
            elif keyword == "witness":
                self._witness(rest)
            elif keyword == "group":
                self._group(rest)
            elif keyword == "quorum":
                self._quorum(rest)
            else:
                raise MalformedError(f"'{printable(keyword)[:40]}' is not a keyword")
        except MalformedError as error:
            _refuse(number, error.message)

    def _log(self, items: Sequence[str]) -> None:
        if len(items) not in (1, 2):
            raise MalformedError("needs the form 'log VKEY [URL]'")
        key = self._key("log", items[0], ED25519_NOTE)
        _check_count(self.logs)
        self.logs.append(key)

    def _witness(self, items: Sequence[str]) -> None:
        if len(items) not in (2, 3):
            raise MalformedError("needs the form 'witness NAME VKEY [URL]'")
        name = self._new_name(items[0])
        key = self._key("witness", items[1], ED25519_COSIGNATURE)
        _check_count(self.witnesses)
        self.witnesses[name] = Witness(name, key)

    def _group(self, items: Sequence[str]) -> None:
        # SPEC says: "At least one member must be listed (i.e., n >= 1)."
        if len(items) < 3:
            raise MalformedError("needs the form 'group NAME all|any|K MEMBER...'")
        name = self._new_name(items[0])
        members = tuple(items[2:])
        threshold = _threshold(items[1], len(members))
        for member in members:
            self._require_defined(member)
            # SPEC says: "Each defined name can be listed as a group member at most once."
            if member in self._grouped:
                raise MalformedError(f"'{printable(member)}' is a member already")
            self._grouped.add(member)
        _check_count(self.groups)
        self.groups[name] = Group(name, threshold, members)

    def _quorum(self, items: Sequence[str]) -> None:
        if len(items) != 1:
            raise MalformedError("needs the form 'quorum NAME' or 'quorum none'")
        # SPEC says: "A policy file must include exactly one quorum line."
        if self.quorum is not None:
            raise MalformedError("a second quorum")
        if items[0] != NONE:
            self._require_defined(items[0])
        self.quorum = items[0]

    def _key(self, use: str, text: str, kind: int) -> NoteKey:
        key = NoteKey.parse(printable(text))
        if key.kind != kind:
            raise MalformedError(f"a {use} needs a key of type {kind:02}, this is {key.kind:02}")
        # SPEC: "Two vkeys are considered duplicate if they wrap the same underlying public key,
        # even if they differ by key name and key id."
        if (use, key.key) in self._keys:
            raise MalformedError(f"the key of an earlier {use}")
        self._keys.add((use, key.key))
        return key

    def _new_name(self, name: str) -> str:
        if name == NONE:
            raise MalformedError("'none' is not a name")
        if name in self.witnesses or name in self.groups:
            raise MalformedError(f"'{printable(name)}' is defined already")
        return name

    def _require_defined(self, name: str) -> None:
        # SPEC: "A line defining a group can only reference names of groups and witnesses defined
        # on preceding lines."
        if name not in self.witnesses and name not in self.groups:
            raise MalformedError(f"'{printable(name)[:80]}' is not defined before this line")


def _threshold(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    # SPEC says: "it must be written in decimal, and it is required that 1 <= k <= n."
    if not _THRESHOLD.fullmatch(text) or int(text) > members:
        raise MalformedError(f"the threshold is not all, any or a number from 1 to {members}")
    return int(text)


def _check_count(defined: Collection[object]) -> None:
    if len(defined) >= MAX_DEFINITIONS:
        raise MalformedError(f"more than {MAX_DEFINITIONS} of them")


def _refuse(number: int, reason: str) -> NoReturn:
    raise MalformedError(f"policy line {number}: {reason}") from None
