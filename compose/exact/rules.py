"""What the rules of methods compute of distributions, with the same bits everywhere, for numpy.

Rules use these in every exactness class: there is one way to compute a score.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compose.exact import arithmetic

Array = npt.NDArray[np.float64]


def log_total(scores: Array) -> Array:
    """Return the logarithm of the summed exponentials of the last axis, error below 1e-8."""
    import torch

    best = scores.max(axis=-1, keepdims=True)
    total = arithmetic.log_total(torch.from_numpy(scores - best)).numpy()
    result: Array = (best + total)[..., 0]
    return result


def divergence(log_probs: Array, reference: Array) -> Array:
    """Return KL(p || q) in nat over the last axis, relative error below 1e-8.

    Args:
        log_probs: of p, [..., vocabulary].
        reference: the log-probabilities of q, of a shape that broadcasts to it.
    """
    import torch

    probabilities = arithmetic.exp(torch.from_numpy(log_probs).clamp(min=-700.0))
    terms = probabilities.mul_(torch.from_numpy(log_probs - reference))
    result: Array = arithmetic.ordered_sum(terms).numpy()
    return result


def softmax(scores: Array) -> Array:
    """Return the exponentials of each row over their sum, relative error below 1e-7."""
    import torch

    shifted = torch.from_numpy(scores - scores.max(axis=-1, keepdims=True))
    shares = arithmetic.exp(shifted.clamp_(min=-700.0))
    result: Array = shares.div_(arithmetic.ordered_sum(shares)[..., None]).numpy()
    return result
