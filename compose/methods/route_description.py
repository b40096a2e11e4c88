"""`route.description`: the member whose description is most like the prompt answers.

Version 1. The description of a member is the title of its statement, which its id pins. Prompt and
descriptions become texts: A to Z in lower case, runs of ASCII white space one space, one space at
either end. A text's terms are its character n-grams of 3, 4 and 5, each hashed to the first 8
bytes, big-endian, of sha256("pnode-description/1:" + UTF-8 of the n-gram) modulo 2^18. A term that
is in d of the n descriptions has weight ln((1 + n) / (1 + d)) + 1, to 15 digits; a term in none of
them has none. A text is the vector of count times weight over its terms, and the score of a member
the cosine of its description's vector and the prompt's, zero if either is empty.

The member with the largest score answers if it exceeds `threshold`, else the base; the smaller id
wins a tie. In coalitions the weights are those of all members of the lock. A copy under the same
title never answers before its twin with the smaller id, but its title counts in the weights; under
another title it may draw prompts of its own. Titles are claims of their authors, unchecked.
"""

from __future__ import annotations

import decimal
import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from compose.answering import Question
from compose.bank import Mask
from compose.methods.method import Assembly, Context, Method, Number, Parameters
from compose.methods.routing import routed
from compose.panel import Talk
from ledger.encoding import canonical_json

WIDTH = 2**18
LENGTHS = (3, 4, 5)

_DECIMALS = decimal.Context(prec=15, rounding=decimal.ROUND_HALF_EVEN)

_WHITE_SPACE = re.compile(r"[ \t\n\v\f\r]+")
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


class RouteDescription(Method):
    """One member per prompt, by what its author calls it."""

    name = "route.description"
    version = "1"
    level = "api"
    exactness = "bitwise"
    selects = True
    needs_titles = True
    semantics = "fitted once, restricted"
    parameters: ClassVar[Parameters] = {
        "threshold": Number("0", "0", "1", "cosine that a member must exceed"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Weigh the terms of the descriptions and gather the members."""
        titles = {member.id: context.titles[member.id] for member in context.members}
        described = Described(list(titles.values()), float(context.number("threshold")))
        digest = hashlib.sha256(canonical_json(titles)).hexdigest()
        return Assembly(context.panel(context.soloists(), described), {"titles": digest})


class Described:
    """The procedure; `score` is what it routes by."""

    def __init__(self, descriptions: Sequence[str], threshold: float) -> None:
        """Take the descriptions in id order, and the score that a member must exceed."""
        counts = [terms(each) for each in descriptions]
        found = Counter(term for each in counts for term in each)
        self._weights = {term: _weight(len(counts), number) for term, number in found.items()}
        self._vectors = [self._vector(each) for each in counts]
        self._threshold = threshold

    def score(self, prompt: str) -> list[float]:
        """Return the cosine of a prompt and each description, in id order, each in 0..1."""
        asked = self._vector(terms(prompt))
        return [
            math.fsum(value * asked[term] for term, value in vector.items() if term in asked)
            for vector in self._vectors
        ]

    def __call__(self, question: Question, present: Mask) -> Talk:
        """Ask the member that describes itself most like the prompt."""
        scores = np.array([self._threshold, *self.score(question.prompt)])
        return (yield from routed(question, scores, present))

    def _vector(self, counts: Mapping[int, int]) -> dict[int, float]:
        """Return the vector of a text at length one; empty if no description has its terms."""
        values = {
            term: count * self._weights[term]
            for term, count in counts.items()
            if term in self._weights
        }
        # Summed exactly, so that the order of the terms is of no account.
        length = math.sqrt(math.fsum(value * value for value in values.values()))
        return {term: value / length for term, value in values.items()}


def _weight(descriptions: int, number: int) -> float:
    """Return the weight of a term, in decimals: logarithms of C libraries differ in a bit."""
    ratio = _DECIMALS.divide(1 + descriptions, 1 + number)
    return float(_DECIMALS.add(_DECIMALS.ln(ratio), 1))


def terms(text: str) -> Counter[int]:
    """Return how often each hashed n-gram is in a text."""
    plain = f" {_WHITE_SPACE.sub(' ', text.translate(_LOWER)).strip(' ')} "
    return Counter(
        _bucket(plain[begin : begin + length])
        for length in LENGTHS
        for begin in range(len(plain) - length + 1)
    )


def _bucket(gram: str) -> int:
    digest = hashlib.sha256(f"pnode-description/1:{gram}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % WIDTH
