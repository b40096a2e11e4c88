"""`merge.regmean`: the merge whose layers answer as the members' do (Jin et al. 2023, 2212.09849).

Version 1. Each member i is run over the prompts of the dev items that it alone answers correctly
(`prompts` "solved"), or of all dev items ("all"); G_i is the Gram matrix of what a linear layer of
W + D_i is given there (`compose.gram`), with everything off its diagonal multiplied by `alpha`. Per
layer the result is the D that minimises

    sum_i || X_i (D - D_i)^T ||^2, with G_i for X_i^T X_i:   (sum_i G_i) D^T = sum_i G_i D_i^T

found as M + E, M being the mean of the D_i and (sum_i G_i) E^T = sum_i G_i (D_i - M)^T, by Gaussian
elimination in the order of the features, without pivoting (the matrix is positive definite for
alpha < 1). A feature that is zero wherever it is seen has E = 0: there the result is the mean.

A member that does not touch a layer has D_i = 0 there and takes part: it holds the layer where it
was. One that answers no item has G_i = 0 and counts only in M; if nobody answers any, the result is
the mean. One member is that member, bit for bit. A copy of a member counts twice. All arithmetic
after the rounding of `compose.gram` is elementwise float64 in one order, and the Gram matrices are
part of the digest. A member's matrices are found once for all coalitions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from compose.delta import Array, Deltas, product
from compose.errors import UnfitAdapterError, UnfitSuiteError
from compose.exact.linear import solve
from compose.gram import gram_matrices, input_of
from compose.methods.devscores import DevScores, unit
from compose.methods.method import Assembly, Context, Method, Number, Option, Parameters
from compose.tokens import Ids
from ledger.errors import PolicyError

MAX_GRAM_BYTES = 16 * 2**30

Grams = Mapping[str, Array]


class MergeRegmean(Method):
    """The least-squares merge of the members' layers on dev prompts."""

    name = "merge.regmean"
    version = "1"
    level = "weight"
    needs_dev = True
    exactness = "bitwise"
    parameters: ClassVar[Parameters] = {
        "prompts": Option("solved", ("solved", "all")),
        "alpha": Number("0.9", "0", "0.999", "factor on what is off the diagonal"),
    }

    def assemble(self, context: Context) -> Assembly:
        """Find each member's Gram matrices and solve for the merge."""
        members = len(context.members)
        layers = sorted({name for member in context.members for name in member.deltas})
        _check_size(context, layers)
        scores = DevScores(context, expected=members)
        grams = [_grams_of(context, number, scores, layers) for number in range(members)]
        merged = regmean(
            [member.deltas for member in context.members],
            grams,
            mean=context.weighted_sum((Fraction(1, members),) * members),
            alpha=float(context.number("alpha")),
        )
        return context.merged(merged, learned={"grams": _digest(grams)})


def regmean(
    members: Sequence[Deltas], grams: Sequence[Grams], *, mean: Deltas, alpha: float
) -> Deltas:
    """Return the merged deltas, given each member's Gram matrices by name of `input_of`."""
    layers = {}
    groups: dict[str, list[str]] = {}
    for layer in mean:
        groups.setdefault(input_of(layer), []).append(layer)
    for name, group in groups.items():
        size = mean[group[0]].shape[1]
        total = np.zeros((size, size))
        right = np.zeros((size, sum(len(mean[layer]) for layer in group)))
        for deltas, found in zip(members, grams, strict=True):
            gram = _damped(found[name], alpha)
            total = total + gram
            apart = [deltas.get(layer, np.zeros(1)) - mean[layer] for layer in group]
            right = right + product(np.concatenate(apart).T, gram)
        change = solve(total, right).T
        ends = np.cumsum([len(mean[layer]) for layer in group])[:-1]
        for layer, part in zip(group, np.split(change, ends), strict=True):
            layers[layer] = mean[layer] + part
    return Deltas(layers)


def _damped(gram: Array, alpha: float) -> Array:
    damped = gram * alpha
    np.fill_diagonal(damped, gram.diagonal())
    return damped


def _grams_of(context: Context, number: int, scores: DevScores, layers: Sequence[str]) -> Grams:
    """Return the Gram matrices of one member on its prompts, zero if it has none."""
    member = context.members[number]
    every = context.parameters["prompts"] == "all"
    known: dict[str, Array] = context.memo.setdefault(("grams", every, member.id), {})
    names = sorted({input_of(layer) for layer in layers})
    missing = [name for name in names if name not in known]
    if missing:
        solved = None if every else scores.solved(unit(number, len(context.members)))
        decoder = context.decoder.with_deltas(member.deltas)
        found = gram_matrices(decoder, _prompts(context, solved), missing)
        if not all(np.isfinite(gram).all() for gram in found.values()):
            raise UnfitAdapterError(
                f"member {member.id}: what its layers are given is not finite", check="not-finite"
            )
        known.update(found)
    return {name: known[name] for name in names}


def _prompts(context: Context, solved: bytes | None) -> list[Ids]:
    """Return the prompts of the dev items that are solved, or of all."""
    assert context.dev is not None
    prompts = []
    for number, item in enumerate(context.dev.items):
        if solved is None or solved[number]:
            what = f"suite {context.dev.name}: item {item.id}"
            ids = context.tokens.encode_prompt(item.prompt, what=what)
            limit = context.decoder.positions
            if len(ids) > limit:
                raise UnfitSuiteError(
                    f"{what} needs {len(ids)} tokens, the base has {limit} positions",
                    hint="shorten the prompt",
                )
            prompts.append(ids)
    return prompts


def _check_size(context: Context, layers: Sequence[str]) -> None:
    sizes = {input_of(name): context.base.linears[name].in_features for name in layers}
    needed = 8 * len(context.members) * sum(size * size for size in sizes.values())
    if needed > MAX_GRAM_BYTES:
        raise PolicyError(
            f"the Gram matrices of {len(context.members)} members take {needed} bytes, "
            f"at most {MAX_GRAM_BYTES} are held",
            hint="compose fewer members, or use another merge",
        )


def _digest(grams: Sequence[Grams]) -> Any:
    """Return the sha256 over all matrices of all members, in id order."""
    state = hashlib.sha256(b"pnode-grams/1\n")
    for number, found in enumerate(grams):
        for name, gram in found.items():
            state.update(f"{number} {name} {len(gram)}\n".encode())
            state.update(np.ascontiguousarray(gram, dtype="<f8").tobytes())
    return state.hexdigest()
