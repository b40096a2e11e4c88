"""`merge.lorahub`: weights found by a search without gradients (Huang et al. 2023, 2307.13269).

Version 1. Minimise over w, one weight for each member,

    f(w) + l1 * mean |w_i|      f: 1 - accuracy on dev ("accuracy"), or the mean loss ("loss"), both
                                as `compose.methods.devscores` defines them

with `budget` evaluations of f, by a (1+1) evolution strategy:

    w = 0 is the first evaluation and the parent; sigma = 0.5
    child_i = w_i + sigma * z_i, rounded to a grid of 1e-6, clipped to -bound..bound
    if the child is strictly better it is the parent and sigma *= 1.3, else sigma *= 0.9

z_i is `compose.streams.bell` of the stream (seed, contribution i, number of the step): mean 0,
variance 1, exact arithmetic throughout. The result is the parent, so of equals the earlier; if no
child was better than w = 0, it is the base. A member whose weight is zero changes nothing; a copy
of a member has a weight of its own, with its own stream. The original combines A and B apart and
uses Nevergrad, whose sequence depends on its version.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar

from compose.methods.devscores import Coefficients, DevScores, learned_sum, on_grid
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.streams import BELL_WORDS, bell, draw

SIGMA, GROW, SHRINK = Fraction(1, 2), Fraction(13, 10), Fraction(9, 10)


class MergeLorahub(Method):
    """A weighted sum with weights searched on the dev suite."""

    name = "merge.lorahub"
    version = "1"
    level = "weight"
    needs_dev = True
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "objective": Option("accuracy", ("accuracy", "loss")),
        "budget": Number("40", "1", "1000", "evaluations of the dev suite", integer=True),
        "bound": Number("1.5", "0.000001", "16", "largest weight in absolute value"),
        "l1": Number("0.05", "0", "1000", "factor on the mean absolute weight"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Search the weights and merge the members into one model."""
        budget = int(context.number("budget"))
        scores = DevScores(context, expected=budget)

        def cost(weights: Coefficients) -> Fraction:
            missed = (
                scores.loss(weights)
                if context.parameters["objective"] == "loss"
                else 1 - scores.accuracy(weights)
            )
            size = sum(map(abs, weights), Fraction(0)) / len(weights)
            return missed + context.number("l1") * size

        parent: Coefficients = (Fraction(0),) * len(context.members)
        best, sigma = cost(parent), SIGMA
        for step in range(1, budget):
            other = child(context, parent, sigma, step)
            found = cost(other)
            if found < best:
                parent, best, sigma = other, found, sigma * GROW
            else:
                sigma *= SHRINK
        return learned_sum(context, parent)


def child(context: Context, parent: Coefficients, sigma: Fraction, step: int) -> Coefficients:
    """Return the weights that one step tries."""
    bound = context.number("bound")
    weights = []
    for member, weight in zip(context.members, parent, strict=True):
        bits = draw(context.seed, MergeLorahub.name, member.id, step, count=BELL_WORDS)
        moved = on_grid(weight + sigma * bell(bits))
        weights.append(min(max(moved, -bound), bound))
    return tuple(weights)
