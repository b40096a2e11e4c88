"""What a composition method is: a name, a version, parameters, and a way to assemble.

A version freezes everything a method computes: defaults, tie rules, optimiser steps. A change that
can change an answer is a new version. Parameters are text, numbers among them decimal strings,
brought into one canonical form before they are recorded.
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, Literal

from compose.adapter import Adapter
from compose.answering import Answerer
from compose.bank import MEMORY_BYTES, MemberBank, Rule
from compose.base import BaseModel
from compose.decoding import Decoding
from compose.delta import Deltas, parse_weight, weighted_sum
from compose.errors import MethodError
from compose.forward import MAX_WEIGHT_BYTES, Decoder
from compose.methods.speaker import Speaker
from compose.panel import Panel, Procedure
from compose.suite import Suite
from compose.tokens import Tokens
from ledger.errors import PolicyError

Level = Literal["weight", "api", "text", "logit"]
Semantics = Literal["re-assembled", "fitted once, restricted"]

Progress = Callable[[int, int], None]

MAX_TEXT = 64


def silent(done: int, total: int) -> None:
    """Report progress to nobody."""
    del done, total


@dataclass(frozen=True, slots=True)
class Number:
    """A parameter that is a decimal number in a closed range; `unit` is for people."""

    default: str
    low: str
    high: str
    unit: str
    integer: bool = False

    @property
    def values(self) -> str:
        """What it may be, for people."""
        whole = "whole number, " if self.integer else ""
        return f"{self.low} to {self.high}, {whole}{self.unit}"

    def canonical(self, text: str, *, what: str) -> str:
        """Return the one spelling of a value in range."""
        value = parse_weight(text, what=what)
        if not Fraction(self.low) <= value <= Fraction(self.high):
            raise MethodError(f"{what} is {text}, not in {self.low}..{self.high} ({self.unit})")
        if self.integer and value.denominator != 1:
            raise MethodError(f"{what} is {text}, not a whole number ({self.unit})")
        return _decimal(value)


@dataclass(frozen=True, slots=True)
class Option:
    """A parameter that is one of a few words."""

    default: str
    options: tuple[str, ...]

    @property
    def values(self) -> str:
        """What it may be, for people."""
        return ", ".join(self.options)

    def canonical(self, text: str, *, what: str) -> str:
        """Return the word itself if it is one of the options."""
        if text not in self.options:
            raise MethodError(f"{what} is '{text[:40]}', not one of {', '.join(self.options)}")
        return text


@dataclass(frozen=True, slots=True)
class Text:
    """A parameter that is a short text."""

    default: str

    @property
    def values(self) -> str:
        """What it may be, for people."""
        return f"text of 1 to {MAX_TEXT} characters"

    def canonical(self, text: str, *, what: str) -> str:
        """Return the text itself if it is short and not empty."""
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            raise MethodError(f"{what} must be a text of 1 to {MAX_TEXT} characters")
        return text


Parameters = Mapping[str, Number | Option | Text]


@dataclass(frozen=True, slots=True)
class Member:
    """One contribution ready to be composed."""

    id: str
    adapter: Adapter
    deltas: Deltas


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a method may look at; members are in id order, parameters canonical.

    `dev` and `titles`, the titles of the members' statements by id, are there for methods that say
    they need them.
    """

    base: BaseModel
    decoder: Decoder
    tokens: Tokens
    members: tuple[Member, ...]
    parameters: Mapping[str, str]
    dev: Suite | None
    seed: int
    titles: Mapping[str, str]
    progress: Progress = silent
    memo: dict[Hashable, Any] = field(default_factory=dict)
    """What was found out about these members, for all coalitions of them."""
    memory: int = MEMORY_BYTES
    """Bytes that what answers may keep beside the weights; no answer depends on it."""

    def decoders(self) -> list[Decoder]:
        """Return the base and each member as models of their own.

        Raises:
            PolicyError: if they do not fit in memory together as float64.
        """
        total = self.decoder.nbytes * (len(self.members) + 1)
        if total > MAX_WEIGHT_BYTES:
            raise PolicyError(
                f"{len(self.members)} members and the base take {total} bytes as float64, "
                f"at most {MAX_WEIGHT_BYTES} are held",
                hint="compose fewer members, or use a merge, which is one model",
            )
        members = [self.decoder.with_deltas(member.deltas) for member in self.members]
        return [self.decoder, *members]

    def names(self) -> list[str]:
        """Return what errors call the models of `decoders`."""
        return [
            f"base {self.base.name}",
            *(f"member {member.id}" for member in self.members),
        ]

    def together(self, rule: Rule) -> Decoding:
        """Return the base and the members, deciding together at each token.

        Raises:
            PolicyError: as `decoders`.
        """
        return self._decoding(self.decoders(), rule, names=self.names())

    def soloists(self) -> list[Decoding]:
        """Return the base and each member as something that answers by itself.

        Raises:
            PolicyError: as `decoders`.
        """
        models = list(zip(self.decoders(), self.names(), strict=True))
        banks = [
            # Who asks a soloist remembers its answers; prefixes need not be remembered as well.
            MemberBank(
                [decoder],
                Speaker(),
                names=[name],
                memo_bytes=0,
                cache_bytes=self.memory // (2 * len(models)),
            )
            for decoder, name in models
        ]
        return [Decoding(bank, self.tokens, self.base.eos_token_ids) for bank in banks]

    def panel(self, soloists: Sequence[Decoding], procedure: Procedure) -> Panel:
        """Return what answers by asking soloists, and remembers what they said."""
        return Panel(soloists, procedure, memo_bytes=self.memory // 2)

    def merged(
        self,
        deltas: Deltas,
        *,
        coefficients: Sequence[Fraction] | None = None,
        learned: Mapping[str, Any] | None = None,
    ) -> Assembly:
        """Return the assembly of one model: the base with deltas added.

        Args:
            deltas: what is added.
            coefficients: the factor on each member's delta, if their weighted sum is added.
            learned: what was fitted, for the digest.
        """
        state = {"deltas": deltas.digest(), **(learned or {})}
        factors = None if coefficients is None else tuple(coefficients)
        return Assembly(self.one_model(deltas), state, deltas, factors)

    def one_model(self, deltas: Deltas) -> Decoding:
        """Return what answers as the base with deltas added."""
        return self.speaking(self.decoder.with_deltas(deltas), "merged model")

    def speaking(self, decoder: Decoder, name: str) -> Decoding:
        """Return what answers as one model; errors call it `name`."""
        return self._decoding([decoder], Speaker(), names=[name])

    def weighted_sum(self, coefficients: Sequence[Fraction]) -> Deltas:
        """Return the weighted sum of the members' deltas, in id order."""
        deltas = [member.deltas for member in self.members]
        return weighted_sum(list(zip(deltas, coefficients, strict=True)))

    def _decoding(self, decoders: Sequence[Decoder], rule: Rule, *, names: list[str]) -> Decoding:
        memo = self.memory // 3
        bank = MemberBank(
            decoders, rule, names=names, memo_bytes=memo, cache_bytes=self.memory - memo
        )
        return Decoding(bank, self.tokens, self.base.eos_token_ids)

    def number(self, name: str) -> Fraction:
        """Return the exact value of a numeric parameter."""
        return Fraction(self.parameters[name])


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a method makes: what answers, and its parts of the digest.

    `merged` are the deltas of a merge, and `coefficients` the factor on each member's delta if it
    is their weighted sum.
    """

    answerer: Answerer
    state: Mapping[str, Any]
    merged: Deltas | None = None
    coefficients: tuple[Fraction, ...] | None = None


class Method(ABC):
    """One composition method; a module of this package defines it and the registry lists it."""

    name: ClassVar[str]
    version: ClassVar[str]
    level: ClassVar[Level]
    needs_dev: ClassVar[bool] = False
    needs_titles: ClassVar[bool] = False
    semantics: ClassVar[Semantics] = "re-assembled"
    selects: ClassVar[bool] = False
    """Whether members that had no say in an answer can leave without changing it; such a method is
    answered by a `compose.answering.Selector`."""
    exactness: ClassVar[Literal["bitwise", "pinned"]] = "pinned"
    """The strictest class it can promise. It is bitwise if what it fits and what its rule decides
    are IEEE operations on single numbers, integers and comparisons: no BLAS, no `np.exp`, and no
    sum whose order numpy chooses."""
    parameters: ClassVar[Parameters]

    @abstractmethod
    def assemble(self, context: Context) -> Assembly:
        """Build the system of the context's members, of whom there is at least one."""

    @property
    def shares_members(self) -> bool:
        """Whether all coalitions can be answered by the members kept apart."""
        return self.level != "weight"

    def defaults(self) -> dict[str, str]:
        """Return every parameter with its default."""
        return {name: self.parameters[name].default for name in sorted(self.parameters)}

    def validate(self, parameters: Mapping[str, str]) -> dict[str, str]:
        """Return all parameters in canonical form, defaults written out.

        Raises:
            MethodError: for an unknown parameter, naming the nearest known one, or a value that
                makes no sense.
        """
        for name in parameters:
            if name not in self.parameters:
                raise self._unknown(name)
        given = self.defaults() | dict(parameters)
        return {
            name: self.parameters[name].canonical(text, what=f"{self.name}: parameter {name}")
            for name, text in sorted(given.items())
        }

    def _unknown(self, name: str) -> MethodError:
        near = difflib.get_close_matches(name, self.parameters, n=1, cutoff=0.0)
        known = ", ".join(sorted(self.parameters)) or "none"
        hint = f"did you mean '{near[0]}'? known: {known}" if near else "it takes no parameters"
        return MethodError(f"{self.name}: unknown parameter '{name[:40]}'", hint=hint)


def _decimal(value: Fraction) -> str:
    """Return the shortest decimal string of a value with at most 12 decimals."""
    scaled = value * 10**12
    sign = "-" if scaled < 0 else ""
    whole, rest = divmod(abs(int(scaled)), 10**12)
    decimals = f"{rest:012d}".rstrip("0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
