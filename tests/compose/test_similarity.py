"""A copy is found by what it does, whatever its files, factors, scale, rank or dtype."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compose.adapter import OpenedAdapter, open_adapter
from compose.similarity import NEAR_COPY, Similarity, inner_product, similarities
from tests.compose.hostile import CONFIG, WEIGHTS, Tensors, configured, encode, read_tensors

ADAPTERS = Path(__file__).parents[2] / "node" / "demo" / "data" / "adapters"
VALUES = st.floats(-4, 4, allow_nan=False, width=32)
Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Refactor = Callable[[str, Array, Array], tuple[Array, Array]]


@pytest.fixture(scope="module")
def ada() -> OpenedAdapter:
    return open_adapter(ADAPTERS / "ada", None)


@given(
    hnp.arrays(np.float64, (2, 5), elements=VALUES),
    hnp.arrays(np.float64, (7, 2), elements=VALUES),
    hnp.arrays(np.float64, (3, 5), elements=VALUES),
    hnp.arrays(np.float64, (7, 3), elements=VALUES),
)
def test_inner_product_needs_no_delta(a1: Array, b1: Array, a2: Array, b2: Array) -> None:
    expected = float(np.sum((b1 @ a1) * (b2 @ a2)))
    assert inner_product((a1, b1), (a2, b2)) == pytest.approx(expected, abs=1e-9)


def variant(folder: Path, change: Refactor | None = None, dtype: str = "F32") -> Path:
    """Write ada again with other factors."""
    directory = Path(shutil.copytree(ADAPTERS / "ada", folder))
    tensors = read_tensors(directory / WEIGHTS)
    rewritten: Tensors = {}
    rank = 8
    for name in [name for name in tensors if "lora_A" in name]:
        twin = name.replace("lora_A", "lora_B")
        a, b = (
            np.frombuffer(tensors[each][2], "<f4").reshape(tensors[each][1]).astype(np.float64)
            for each in (name, twin)
        )
        if change is not None:
            a, b = change(name, a, b)
        rank = a.shape[0]
        for each, array in ((name, a), (twin, b)):
            stored = array.astype({"F32": "<f4", "F16": "<f2"}[dtype])
            rewritten[each] = (dtype, list(array.shape), stored.tobytes())
    (directory / WEIGHTS).write_bytes(encode(rewritten))
    configured(r=rank, lora_alpha=2 * rank)(directory)
    return directory


def compare(ada: OpenedAdapter, directory: Path) -> Similarity:
    (similarity,) = similarities({"ada": ada, "other": open_adapter(directory, None)}).values()
    return similarity


def mixed(name: str, a: Array, b: Array) -> tuple[Array, Array]:
    """(B R)(R^-1 A) with a random R of condition about ten."""
    stream = np.random.default_rng(len(name))
    mixing = stream.normal(size=(8, 8)) + 8 * np.eye(8)
    return np.linalg.solve(mixing, a), b @ mixing


def widened(name: str, a: Array, b: Array) -> tuple[Array, Array]:
    """The same delta at rank 24: the factors divided over three blocks."""
    return np.concatenate([a, a, a]), np.concatenate([b, b, -b], axis=1)


def noisy(size: float) -> Refactor:
    def change(name: str, a: Array, b: Array) -> tuple[Array, Array]:
        stream = np.random.default_rng(len(name))
        return a + size * a.std() * stream.normal(size=a.shape), b

    return change


@pytest.mark.parametrize(
    ("change", "dtype"),
    [
        (None, "F32"),
        (None, "F16"),
        (mixed, "F32"),
        (mixed, "F16"),
        (widened, "F32"),
        (lambda _, a, b: (a[::-1], b[:, ::-1]), "F32"),
        (lambda _, a, b: (-a, -b), "F32"),
        (lambda _, a, b: (1000 * a, b / 1000), "F32"),
        (lambda _, a, b: (a, 0.3 * b), "F32"),
        (noisy(0.01), "F32"),
    ],
    ids=["same", "half", "mixed", "mixed half", "wide", "order", "signs", "1000", "scale", "noise"],
)
def test_a_copy_in_another_form_is_a_near_copy(
    tmp_path: Path, ada: OpenedAdapter, change: Refactor | None, dtype: str
) -> None:
    directory = variant(tmp_path / "copy", change, dtype)
    assert (directory / WEIGHTS).read_bytes() != (ADAPTERS / "ada" / WEIGHTS).read_bytes()
    similarity = compare(ada, directory)
    assert similarity.near_copy
    assert similarity.cosine > NEAR_COPY
    assert (similarity.alike, similarity.fewer) == (14, 14)


@pytest.mark.parametrize(
    "change",
    [noisy(0.2), lambda _, a, b: (a, -b), lambda _, a, b: (a[:, ::-1], b)],
    ids=["much noise", "reversed", "other inputs"],
)
def test_another_update_is_no_copy(tmp_path: Path, ada: OpenedAdapter, change: Refactor) -> None:
    similarity = compare(ada, variant(tmp_path / "other", change))
    assert not similarity.near_copy
    assert similarity.alike == 0


def test_a_copy_hidden_by_one_large_layer_is_found_by_the_others(
    tmp_path: Path, ada: OpenedAdapter
) -> None:
    def change(name: str, a: Array, b: Array) -> tuple[Array, Array]:
        if "layers.1.mlp.up_proj" in name:
            return np.random.default_rng(1).normal(size=a.shape) * 50, b
        return a, b

    similarity = compare(ada, variant(tmp_path / "copy", change))
    assert abs(similarity.cosine) < 0.5
    assert (similarity.alike, similarity.fewer) == (13, 14)
    assert similarity.near_copy


@pytest.mark.parametrize("kept", ["self_attn", "q_proj"])
def test_a_part_of_an_adapter_is_a_near_copy(tmp_path: Path, ada: OpenedAdapter, kept: str) -> None:
    directory = Path(shutil.copytree(ADAPTERS / "ada", tmp_path / "part"))
    tensors = {
        name: each for name, each in read_tensors(directory / WEIGHTS).items() if kept in name
    }
    (directory / WEIGHTS).write_bytes(encode(tensors))
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = json.loads((directory / CONFIG).read_text())
    (directory / CONFIG).write_text(json.dumps(config | {"target_modules": targets}))
    similarity = compare(ada, directory)
    assert similarity.alike == similarity.fewer == 2 * len(targets)
    assert similarity.near_copy


def test_honest_adapters_of_one_base_are_far_from_near() -> None:
    opened = {path.name: open_adapter(path, None) for path in sorted(ADAPTERS.iterdir())}
    found = similarities(opened)
    assert len(found) == 28
    assert next(iter(found)) == ("ada", "bo")
    assert max(abs(each.cosine) for each in found.values()) < 0.1
    assert not any(each.near_copy for each in found.values())


def test_an_adapter_that_changes_nothing_is_like_nothing(
    tmp_path: Path, ada: OpenedAdapter
) -> None:
    similarity = compare(ada, variant(tmp_path / "zero", lambda _, a, b: (a, 0 * b)))
    assert (similarity.cosine, similarity.alike, similarity.near_copy) == (0.0, 0, False)
