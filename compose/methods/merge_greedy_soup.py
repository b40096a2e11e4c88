"""`merge.greedy_soup`: the mean of the members that help on dev (Wortsman et al. 2022, 2203.05482).

Version 1. Members are ordered by their own accuracy on the dev suite, best first, the smaller id
first among equals. The soup begins as the first. Each next member joins if the mean of the soup
and that member answers at least as many dev items as the soup did. The result is the mean of
those who joined.

A member that does not join has coefficient zero: it changes nothing. A copy of the best member
joins it and then counts twice in what is tried next; any other copy joins by the rule. If no member
answers any dev item, all join. One member is that member, bit for bit. n evaluations of the dev
suite order the members, n - 1 more build the soup; the coefficients are part of the digest.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import ClassVar

from compose.methods.devscores import Coefficients, DevScores, learned_sum, ranked, unit
from compose.methods.method import Assembly, Context, Method, Parameters


class MergeGreedySoup(Method):
    """The mean of the members that do not lower the dev score."""

    name = "merge.greedy_soup"
    version = "1"
    level = "weight"
    needs_dev = True
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {}

    def assemble(self, context: Context) -> Assembly:
        """Build the soup and merge it into one model."""
        members = len(context.members)
        scores = DevScores(context, expected=2 * members - 1)
        alone = [scores.accuracy(unit(number, members)) for number in range(members)]
        first, *others = ranked(alone)
        soup, best = [first], alone[first]
        for number in others:
            score = scores.accuracy(_mean([*soup, number], members))
            if score >= best:
                soup, best = [*soup, number], score
        return learned_sum(context, _mean(soup, members))


def _mean(soup: Sequence[int], members: int) -> Coefficients:
    share = Fraction(1, len(soup))
    return tuple(share if number in soup else Fraction(0) for number in range(members))
