"""What a method says about itself, for people and programs.

The text is the docstring of the method's module, which is its specification; parameters are those
that the method checks. `docs/reference/methods.md` tells the same with formulas and sources.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from compose.methods.method import Level, Method, Semantics


@dataclass(frozen=True, slots=True)
class ParameterReference:
    """One parameter: its name, its default, and what it may be."""

    name: str
    default: str
    values: str


@dataclass(frozen=True, slots=True)
class MethodReference:
    """One method; `exports` says whether it can be written as an adapter."""

    name: str
    version: str
    level: Level
    summary: str
    needs_dev: bool
    exports: bool
    coalitions: Semantics
    parameters: tuple[ParameterReference, ...]
    text: str


def reference(method: Method) -> MethodReference:
    """Return the reference of a method."""
    document = sys.modules[type(method).__module__].__doc__ or ""
    first, _, text = document.partition("\n")
    return MethodReference(
        name=method.name,
        version=method.version,
        level=method.level,
        summary=first.removeprefix(f"`{method.name}`: "),
        needs_dev=method.needs_dev,
        exports=method.level == "weight",
        coalitions=method.semantics,
        parameters=tuple(
            ParameterReference(name, parameter.default, parameter.values)
            for name, parameter in method.parameters.items()
        ),
        text=text.strip(),
    )
