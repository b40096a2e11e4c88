"""`merge.linear`: W + scale * sum of w_i D_i, one adapter out (task arithmetic, 2212.04089).

Version 1. `form` "mean": every w_i is 1/n, so they sum to one. `form` "sum": every w_i is 1. The
sum runs over members in id order as `compose.delta.weighted_sum` defines it. Two copies of an
adapter count twice. One member at scale 1 is that member, bit for bit, in both forms.
"""

from __future__ import annotations

from typing import ClassVar

from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters


class MergeLinear(Method):
    """The mean or the sum of the members' deltas."""

    name = "merge.linear"
    version = "1"
    level = "weight"
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "form": Option("mean", ("mean", "sum")),
        "scale": Number("1", "-16", "16", "factor on the merged delta"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Merge the members into one model."""
        members = len(context.members)
        share = 1 if context.parameters["form"] == "sum" else members
        coefficients = (context.number("scale") / share,) * members
        return context.merged(context.weighted_sum(coefficients), coefficients=coefficients)
