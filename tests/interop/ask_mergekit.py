"""Ask MergeKit to merge small tensors: a JSON list of questions in, a list of tensors out.

A question: {"method", "base", "tensors", "parameters", "seed"?}, tensors as nested lists, taken as
float64. The answer is MergeKit's merged tensor minus the base.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from mergekit.merge_methods.base import TensorGroup
from mergekit.merge_methods.registry import registered_methods

PER_TENSOR = ("weight", "density")
METHODS = {method.spec.name: method for method in registered_methods()}


def merge(question: dict[str, Any]) -> Any:
    base = torch.tensor(question["base"], dtype=torch.float64)
    tensors = [torch.tensor(each, dtype=torch.float64) for each in question["tensors"]]
    method = METHODS[question["method"]]
    defaults = {each.name: each.default for each in method.spec.parameters}
    given = {**defaults, "weight": 1.0, **question["parameters"]}
    ids = range(1, len(tensors) + 1)
    parameters = {
        name: dict.fromkeys(ids, value) if name in PER_TENSOR else value
        for name, value in given.items()
    }
    torch.manual_seed(question.get("seed", 0))
    group = TensorGroup.from_tensors([base, *tensors], base_index=0)
    return (method.merge_group(group, **parameters) - base).tolist()


json.dump([merge(each) for each in json.load(sys.stdin)], sys.stdout)
