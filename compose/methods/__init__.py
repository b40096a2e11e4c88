"""The composition methods, one module each: a new method is a new file here and nothing else.

Every module of this package is imported, and each concrete `Method` class that it defines is a
method under its own name. No two may share one.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator

from compose.errors import MethodError
from compose.methods.method import Method


def discover(path: Iterable[str]) -> Iterator[Method]:
    """Yield the methods that the modules of this package define, by module name."""
    for found in sorted(pkgutil.iter_modules(path), key=lambda module: module.name):
        module = importlib.import_module(f"{__name__}.{found.name}")
        for cls in vars(module).values():
            defined_here = inspect.isclass(cls) and cls.__module__ == module.__name__
            if defined_here and issubclass(cls, Method) and not inspect.isabstract(cls):
                yield cls()


METHODS: dict[str, Method] = {method.name: method for method in discover(__path__)}
"""Every method by name."""


def find_method(name: str, *, version: str | None = None) -> Method:
    """Return the method of that name and, if given, exactly that version.

    Raises:
        MethodError: if there is none, naming the nearest known one.
    """
    method = METHODS.get(name)
    if method is None:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.0)
        known = ", ".join(sorted(METHODS))
        raise MethodError(
            f"unknown method '{name[:40]}'",
            hint=f"did you mean '{near[0]}'? known: {known}",
        )
    if version is not None and method.version != version:
        raise MethodError(
            f"{name} version {version} is not implemented here, version {method.version} is",
            hint="use the pnode release that the lock names",
        )
    return method
