"""The trained router: which member is likely to answer a query correctly.

Version 1, shared by `route.trained` and `route.switch`. Features of a token sequence, all float64:

    the mean over its tokens of the base's hidden state after the last norm
    token counts in `width` buckets, the bucket of token t being the first 8 bytes, big-endian, of
        sha256("pnode-router/1:" + decimal t) modulo width
    a constant 1

Labels: for each dev item, 1/k on each of the k members that answer it correctly alone; items that
nobody answers are dropped. Fit: multinomial logistic regression, sum of cross-entropies plus
(l2 / 2) * ||W||^2 (the constant included), by `steps` steps of W <- W - (X'X / 2 + l2 I)^-1 grad
from W = 0: the bound optimisation of Boehning (1992), which needs no step size and never
overshoots. The result is rounded to a grid of 1e-6, which is what is used and digested. Means are
summed from the first token to the last; products, the inverse and the exponentials are those of
`compose.exact`, so that no library has a say in a fit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from compose.bank import Array, Prefix
from compose.errors import MethodError
from compose.exact.linear import product, solve, split
from compose.exact.rules import softmax
from compose.forward import Decoder, by_length
from compose.methods.alone import record_alone
from compose.methods.method import Context, Number
from compose.methods.speaker import Speaker
from compose.tokens import Ids

GRID = 1_000_000
PARAMETERS: Mapping[str, Number] = {
    "l2": Number("1", "0.000001", "1000000", "weight of the squared norm"),
    "steps": Number("200", "1", "10000", "steps of the fit", integer=True),
    "width": Number("128", "1", "4096", "buckets of token counts", integer=True),
}


class Router:
    """A fitted router; `weights` are integers in units of 1e-6, [features, members]."""

    def __init__(self, decoder: Decoder, weights: npt.NDArray[np.int64], width: int) -> None:
        """Take the base model, the fitted weights and the number of buckets."""
        self.weights = weights
        self._decoder = decoder
        self._width = width
        self._known: dict[Ids, Array] = {}

    @classmethod
    def fit(cls, context: Context) -> Router:
        """Fit on the dev suite of a context.

        Raises:
            MethodError: if there is no dev suite, or no member answers any of its items.
        """
        if context.dev is None:
            raise MethodError(
                "a trained router needs a dev suite",
                hint="name one in the recipe: dev = 'ID'",
            )
        solved = record_alone(context).solved
        useful = np.any(solved, axis=1)
        if not np.any(useful):
            raise MethodError(f"no member answers any item of dev suite {context.dev.name}")
        prompts = [
            context.tokens.encode_prompt(item.prompt, what=f"item {item.id}")
            for item, kept in zip(context.dev.items, useful.tolist(), strict=True)
            if kept
        ]
        width = int(context.number("width"))
        labels = solved[useful] / solved[useful].sum(axis=1, keepdims=True)
        weights = _fit(
            _features(context.decoder, prompts, width),
            labels,
            l2=float(context.number("l2")),
            steps=int(context.number("steps")),
        )
        return cls(context.decoder, np.rint(weights * GRID).astype(np.int64), width)

    def scores(self, queries: Sequence[Ids]) -> Array:
        """Return each member's logit for each query, [rows, members]."""
        unknown = [each for each in dict.fromkeys(queries) if each not in self._known]
        if unknown:
            features = _features(self._decoder, unknown, self._width)
            logits = product(features, self.weights / GRID)
            self._known.update(zip(unknown, logits, strict=True))
        return np.stack([self._known[each] for each in queries])

    def state(self) -> dict[str, Any]:
        """Return what the digest of a system says of the router."""
        rows, columns = self.weights.shape
        header = f"pnode-router/1\n{rows} {columns}\n".encode()
        body = np.ascontiguousarray(self.weights, dtype="<i8").tobytes()
        return {"router": hashlib.sha256(header + body).hexdigest()}


class Routed(Speaker):
    """Speakers scored by a router; the base speaks only when no member is present."""

    def __init__(self, router: Router, delimiter: int | None = None) -> None:
        """Route on the prompt or, with a delimiter, anew after each one in the answer."""
        self.router = router
        self._delimiter = delimiter

    def scores(self, prefixes: Sequence[Prefix], log_probs: Array) -> Array:  # noqa: ARG002
        """Return the router's logits for members, minus infinity for the base."""
        routed = self.router.scores([self.query(prefix) for prefix in prefixes])
        return np.concatenate([np.full((len(prefixes), 1), -np.inf), routed], axis=1)

    def query(self, prefix: Prefix) -> Ids:
        """Return what the router looks at: the prompt, and the segments that are complete."""
        end = prefix.prompt
        for position in range(len(prefix.tokens), end, -1):
            if prefix.tokens[position - 1] == self._delimiter:
                return prefix.tokens[:position]
        return prefix.tokens[:end]


def _features(decoder: Decoder, queries: Sequence[Ids], width: int) -> Array:
    hidden = decoder.shape.hidden_size
    features = np.zeros((len(queries), hidden + width + 1))
    for rows in by_length(queries):
        states = decoder.states([queries[row] for row in rows])
        for position in range(states.shape[1]):
            features[rows, :hidden] += states[:, position]
        features[rows, :hidden] /= states.shape[1]
    for row, query in enumerate(queries):
        for token in query:
            features[row, hidden + _bucket(token, width)] += 1.0
    features[:, -1] = 1.0
    return features


def _bucket(token: int, width: int) -> int:
    digest = hashlib.sha256(f"pnode-router/1:{token}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % width


def _fit(features: Array, labels: Array, *, l2: float, steps: int) -> Array:
    """Return the weights [features, members] after the given number of bound steps."""
    items, width = features.shape
    weights = np.zeros((width, labels.shape[1]))
    rows, columns = split(features, terms=width), split(features.T, terms=items)
    bound = 0.5 * product(columns, features) + l2 * np.eye(width)
    inverse = split(solve(bound, np.eye(width)), terms=width)
    for _ in range(steps):
        shares = softmax(product(rows, weights))
        weights -= product(inverse, product(columns, shares - labels) + l2 * weights)
    return weights
