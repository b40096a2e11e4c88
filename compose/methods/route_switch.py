"""`route.switch`: the router chooses anew for each segment of the answer.

Version 1. A segment ends with the token of `delimiter`, which must be a single token of the base's
tokenizer. The router of `route.trained`, fitted on whole prompts, is applied to the prompt
followed by the complete segments so far, delimiters included; the member it names writes the next
segment, its delimiter or the end of the answer included. Ties, absence and coalitions are those of
`route.trained`. Since the router never saw a partial answer in fitting, its later choices lean on
the counts of operations in the prompt.
"""

from __future__ import annotations

from typing import ClassVar

from compose.errors import MethodError
from compose.methods.method import Assembly, Context, Method, Parameters, Text
from compose.methods.router import PARAMETERS, Routed, Router


class RouteSwitch(Method):
    """One member per segment, chosen by a trained router."""

    name = "route.switch"
    version = "1"
    level = "api"
    exactness = "bitwise"
    selects = True
    needs_dev = True
    semantics = "fitted once, restricted"
    parameters: ClassVar[Parameters] = {**PARAMETERS, "delimiter": Text("|")}

    def assemble(self, context: Context) -> Assembly:
        """Fit the router and gather the members."""
        delimiter = context.parameters["delimiter"]
        ids = context.tokens.encode_continuation(delimiter, what="parameter delimiter")
        if len(ids) != 1:
            raise MethodError(
                f"route.switch: delimiter '{delimiter}' is {len(ids)} tokens of this base",
                hint="name a text that is a single token",
            )
        router = Router.fit(context)
        return Assembly(context.together(Routed(router, ids[0])), router.state())
