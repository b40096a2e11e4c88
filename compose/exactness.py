"""Exactness classes: what is promised of outcomes, and the engine that keeps the promise.

    bitwise    every machine gets the same outcomes, by construction (`compose.exact`)
    pinned     machines with the software of the lock do: float64 (`compose.forward`)
    tolerance  they do except where a decision's margin is below 1e-3 nat: float32
    advisory   nothing; no engine here is of this class, and recipes that ask for it are refused

A class is chosen before anything is computed and written into the lock. Unless the recipe asks for
one it is the strictest that the method promises and whose models fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from compose import exact
from compose.errors import MethodError, RecipeError
from compose.forward import MAX_WEIGHT_BYTES, Decoder, Float32Decoder
from compose.llama import LlamaShape
from ledger.errors import IncompleteError

if TYPE_CHECKING:
    from compose.base import BaseModel
    from compose.methods.method import Method

SOFTWARE: Final = "exact"
"""The name under which a lock's software states the version of the exact engine."""

NEAR_TIE: Final[Mapping[str, int]] = {"bitwise": 0, "pinned": 1, "tolerance": 1000}
"""Margins below this many units of 1e-6 nat are near ties."""


class Chosen(NamedTuple):
    """A class, and in words why it is this one."""

    exactness: str
    reason: str


def engine(exactness: str) -> type[Decoder]:
    """Return the decoder that computes in a class; there is none for advisory."""
    if exactness == "bitwise":
        from compose.exact.decoder import ExactDecoder

        return ExactDecoder
    return {"pinned": Decoder, "tolerance": Float32Decoder}[exactness]


def choose_exactness(asked: str | None, method: Method, shape: LlamaShape, members: int) -> Chosen:
    """Return the class a composition is made in.

    Args:
        asked: the class that the recipe names, if any.
        method: its method.
        shape: of the base model.
        members: how many take part.

    Raises:
        RecipeError: if the class asked for is advisory.
        MethodError: if the method does not promise it.
    """
    if asked == "advisory":
        raise RecipeError(
            "exactness advisory: no engine here computes without a promise",
            hint="leave out exactness for the strictest class that is possible",
        )
    if asked is not None:
        check_promise(method, asked)
        return Chosen(asked, "the recipe asks for it")
    promised = [each for each in NEAR_TIE if _promises(method, each)]
    models = members + 1 if method.shares_members else 2
    weights = models * sum(math.prod(each) for each in shape.tensors().values())
    reasons = [] if promised[0] == "bitwise" else [f"{method.name} promises no more"]
    for each in promised:
        needed = weights * engine(each).bytes_per_weight
        if needed <= MAX_WEIGHT_BYTES or each == promised[-1]:
            return Chosen(each, "; ".join(reasons) or "the strictest class")
        sizes = f"{math.ceil(needed / 2**30)} GiB for {models} models, of {MAX_WEIGHT_BYTES >> 30}"
        reasons.append(f"{each} takes {sizes}")
    raise AssertionError  # the last one is always taken


def check_promise(method: Method, exactness: str) -> None:
    """Require that a method can promise a class.

    Raises:
        MethodError: if it cannot.
    """
    if not _promises(method, exactness):
        strictest = next(each for each in NEAR_TIE if _promises(method, each))
        raise MethodError(
            f"{method.name} does not promise {exactness} outcomes",
            hint=f"write exactness = '{strictest}', or leave it out",
        )


def load_decoder(base: BaseModel, exactness: str, software: Mapping[str, str]) -> Decoder:
    """Load a base into the engine of a class.

    Args:
        base: the base model, opened.
        exactness: the class of a lock.
        software: what the lock says of versions; it names that of the exact engine.

    Raises:
        IncompleteError: if the class is advisory, the lock names another exact engine, or this
            machine does not compute as the exact engine is specified.
        UnfitBaseError, MissingExtraError: as `Decoder.load`.
    """
    if exactness == "advisory":
        raise IncompleteError("outcomes of class advisory cannot be computed again")
    version = software.get(SOFTWARE, "unknown")
    if exactness == "bitwise" and version != exact.VERSION:
        raise IncompleteError(
            f"the lock is for version {version[:20]} of the exact engine, "
            f"version {exact.VERSION} is here",
            hint=f"use the release that it names: pnode {software.get('pnode', 'unknown')[:20]}",
        )
    if exactness == "bitwise":
        from compose.exact.selftest import check_arithmetic

        check_arithmetic()
    return engine(exactness).load(base)


def _promises(method: Method, exactness: str) -> bool:
    if exactness == "tolerance":
        # What is fitted on float32 states differs between machines, and everything after it.
        return not method.needs_dev
    return exactness != "bitwise" or method.exactness == "bitwise"
