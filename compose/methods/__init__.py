"""The composition methods, one module each; a new one is its module and one line here."""

from __future__ import annotations

import difflib

from compose.errors import MethodError
from compose.methods.logit_select import LogitSelect
from compose.methods.merge_linear import MergeLinear
from compose.methods.merge_ties import MergeTies
from compose.methods.method import Method
from compose.methods.route_switch import RouteSwitch
from compose.methods.route_trained import RouteTrained

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        MergeLinear(),
        MergeTies(),
        LogitSelect(),
        RouteTrained(),
        RouteSwitch(),
    )
}


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
