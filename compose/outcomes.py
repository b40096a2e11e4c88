"""The outcomes file: what a system answered on every item of a suite, committed by one root.

The file is canonical JSON, one object per line, each line ended by LF. First the header

    {"correct":k,"items":n,"root":hex,"schema":"pnode.outcomes/1","suite":id}

then one line per item in the order of the suite: {"answer","correct","item","margin"}.

The root is the RFC 6962 root over the canonical JSON of {"answer","correct","item"} of each item.
Margins stay out of it: they are measurements that may differ in the last unit between machines,
while the root must not. One item is therefore proven, or shown to be false, by a logarithmic path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compose.scoring import MAX_MARGIN
from compose.untrusted import check_keys, shown
from ledger.encoding import canonical_json, decode_hex, parse_canonical_json
from ledger.errors import DigestError, MalformedError, NotFoundError
from ledger.merkle import (
    HASH_SIZE,
    inclusion_proof,
    leaf_hash,
    root_of,
    verify_inclusion,
)

SCHEMA = "pnode.outcomes/1"
MAX_BYTES = 512 * 1024 * 1024
MAX_LINE_BYTES = 1024 * 1024
MAX_OUTCOMES = 100_000
MAX_NAME = 256
MAX_ANSWER = 64 * 1024

_HEADER_KEYS = ("schema", "suite", "items", "correct", "root")
_OUTCOME_KEYS = ("item", "answer", "correct", "margin")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result on one item.

    `answer` is the chosen index or the produced text. `margin` is the smallest lead of any
    decision behind it, in units of 1e-6 nat, floored and capped at 10^9; None if nothing was
    decided.
    """

    item: str
    answer: int | str
    correct: bool
    margin: int | None

    def __post_init__(self) -> None:
        if not isinstance(self.item, str) or not 0 < len(self.item) <= MAX_NAME:
            raise MalformedError(f"outcome: item {shown(self.item)} is not an item id")
        where = f"outcome of item {shown(self.item)}"
        if isinstance(self.answer, str):
            if len(self.answer) > MAX_ANSWER:
                raise MalformedError(f"{where}: answer has more than {MAX_ANSWER} characters")
        elif type(self.answer) is not int or self.answer < 0:
            raise MalformedError(f"{where}: answer is {shown(self.answer)}, no index and no text")
        if not isinstance(self.correct, bool):
            raise MalformedError(f"{where}: correct is {shown(self.correct)}, not true or false")
        if self.margin is not None and (
            type(self.margin) is not int or not 0 <= self.margin <= MAX_MARGIN
        ):
            raise MalformedError(f"{where}: margin is {shown(self.margin)}, not in 0..{MAX_MARGIN}")

    def describe(self) -> str:
        """Return the answer, cut short, and whether it is correct, for people."""
        answer = repr(self.answer) if isinstance(self.answer, str) else str(self.answer)
        return f"{answer[:80]} ({'correct' if self.correct else 'wrong'})"

    def leaf(self) -> bytes:
        """Return the bytes that the root commits to."""
        return canonical_json({"answer": self.answer, "correct": self.correct, "item": self.item})


@dataclass(frozen=True, slots=True)
class Outcomes:
    """All outcomes on one suite, in the order of the suite; ids are unique."""

    suite: str
    outcomes: tuple[Outcome, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.suite, str) or not 0 < len(self.suite) <= MAX_NAME:
            raise MalformedError(f"outcomes: suite {shown(self.suite)} is not an id")
        if not 0 < len(self.outcomes) <= MAX_OUTCOMES:
            raise MalformedError(f"outcomes of suite {self.suite}: {len(self.outcomes)} items")
        if len({outcome.item for outcome in self.outcomes}) != len(self.outcomes):
            raise MalformedError(f"outcomes of suite {self.suite}: an item is listed twice")

    @property
    def correct(self) -> int:
        """Number of items answered correctly."""
        return sum(outcome.correct for outcome in self.outcomes)

    @property
    def root(self) -> bytes:
        """The RFC 6962 root of the outcomes."""
        return outcomes_root(self.outcomes)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two runs disagree; a side is None where that run has no such item."""

    index: int
    left: Outcome | None
    right: Outcome | None


@dataclass(frozen=True, slots=True)
class OutcomeProof:
    """An inclusion proof of one outcome (RFC 6962 section 2.1.1)."""

    outcome: Outcome
    index: int
    size: int
    path: tuple[bytes, ...]

    def verify(self, root: bytes) -> None:
        """Check that a root commits to the outcome at this index.

        Raises:
            ProofError: if it does not.
        """
        leaf = leaf_hash(self.outcome.leaf())
        verify_inclusion(leaf, self.index, self.size, self.path, root)


def outcomes_root(outcomes: Iterable[Outcome]) -> bytes:
    """Return the RFC 6962 root over item, answer and correctness of each outcome."""
    return root_of(leaf_hash(outcome.leaf()) for outcome in outcomes)


def pack_cell(cell: Sequence[Sequence[Outcome]]) -> bytes:
    """Return one bit per item over all suites in order, most significant bit first."""
    bits = np.array([outcome.correct for suite in cell for outcome in suite], dtype=np.bool_)
    return np.packbits(bits).tobytes()


def encode_outcomes(suite: str, outcomes: Sequence[Outcome]) -> bytes:
    """Return the outcomes file of one suite, outcomes in the order of its items.

    Raises:
        MalformedError: for no outcomes, or an item twice.
    """
    checked = Outcomes(suite, tuple(outcomes))
    lines = [canonical_json(_header(checked))]
    lines.extend(
        canonical_json(
            {
                "answer": outcome.answer,
                "correct": outcome.correct,
                "item": outcome.item,
                "margin": outcome.margin,
            }
        )
        for outcome in checked.outcomes
    )
    return b"".join(line + b"\n" for line in lines)


def parse_outcomes(data: bytes, *, what: str = "outcomes") -> Outcomes:
    """Parse an outcomes file and recompute everything its header claims.

    Raises:
        MalformedError: if the bytes are not such a file.
        DigestError: if the header's counts or root are not those of the items.
    """
    if len(data) > MAX_BYTES:
        raise MalformedError(f"{what}: {len(data)} bytes, at most {MAX_BYTES} are accepted")
    if not data.endswith(b"\n"):
        raise MalformedError(f"{what}: the last line is not ended")
    first, *rest = data[:-1].split(b"\n")
    header = _row(first, _HEADER_KEYS, f"{what} line 1")
    if header["schema"] != SCHEMA:
        raise MalformedError(f"{what}: schema is {shown(header['schema'])}, not {SCHEMA}")
    decode_hex(header["root"], what=f"{what}: root", length=HASH_SIZE)
    parsed = Outcomes(
        header["suite"],
        tuple(
            Outcome(**_row(line, _OUTCOME_KEYS, f"{what} line {number}"))
            for number, line in enumerate(rest, start=2)
        ),
    )
    # Compared as bytes: in Python the counts 1 and true are equal.
    for key, value in _header(parsed).items():
        if canonical_json(header[key]) != canonical_json(value):
            raise DigestError(
                f"{what}: header says {key} {shown(header[key])}, the items give {shown(value)}"
            )
    return parsed


def first_difference(left: Outcomes, right: Outcomes) -> Difference | None:
    """Return the first item on which two runs disagree, margins aside, or None."""
    for index, (ours, theirs) in enumerate(zip(left.outcomes, right.outcomes, strict=False)):
        if ours.leaf() != theirs.leaf():
            return Difference(index, ours, theirs)
    index = min(len(left.outcomes), len(right.outcomes))
    if len(left.outcomes) > index:
        return Difference(index, left.outcomes[index], None)
    if len(right.outcomes) > index:
        return Difference(index, None, right.outcomes[index])
    return None


def inclusion(outcomes: Outcomes, index: int) -> OutcomeProof:
    """Return the proof of one item's outcome.

    Raises:
        NotFoundError: if there is no such index.
    """
    size = len(outcomes.outcomes)
    if not 0 <= index < size:
        raise NotFoundError(f"outcomes of suite {outcomes.suite}: no item {index} of {size}")
    leaves = [leaf_hash(outcome.leaf()) for outcome in outcomes.outcomes]

    def read(level: int, position: int) -> bytes:
        return root_of(leaves[position << level : (position + 1) << level])

    path = inclusion_proof(index, size, read)
    return OutcomeProof(outcomes.outcomes[index], index, size, tuple(path))


def _header(outcomes: Outcomes) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "suite": outcomes.suite,
        "items": len(outcomes.outcomes),
        "correct": outcomes.correct,
        "root": outcomes.root.hex(),
    }


def _row(line: bytes, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    row = parse_canonical_json(line, what=what, max_bytes=MAX_LINE_BYTES)
    if not isinstance(row, dict):
        raise MalformedError(f"{what}: not a JSON object")
    check_keys(row, keys, what=what, error=MalformedError, required=keys)
    return row
