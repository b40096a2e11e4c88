"""`route.trained`: a classifier fitted on the dev suite names the member that answers a prompt.

Version 1. Features, labels, fit and rounding are those of `compose.methods.router`. The member
with the largest logit writes the whole answer; the smaller id wins a tie. The base answers only
when no member is present. In coalitions the router is fitted once, on all members of the lock, and
then restricted to those present.
"""

from __future__ import annotations

from compose.methods.method import Assembly, Context, Method
from compose.methods.router import PARAMETERS, Routed, Router


class RouteTrained(Method):
    """One member per prompt, chosen by a trained router."""

    name = "route.trained"
    version = "1"
    level = "api"
    exactness = "bitwise"
    selects = True
    needs_dev = True
    semantics = "fitted once, restricted"
    parameters = PARAMETERS

    def assemble(self, context: Context) -> Assembly:
        """Fit the router and gather the members."""
        router = Router.fit(context)
        return Assembly(context.together(Routed(router)), router.state())
