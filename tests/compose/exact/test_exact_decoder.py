"""The exact engine gives the published digests, whatever the batch, the padding or the threads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.delta import Deltas, delta_of
from compose.exact.decoder import ExactDecoder
from compose.exact.selftest import SHAPE, digest_of
from compose.exact.selftest import weights as hashed_weights
from compose.forward import Decoder
from tests.compose.exact.models import DEMO_BASE, vectors

torch = pytest.importorskip("torch")
pytest.importorskip("mpmath")

from tests.compose.exact.integers import log_softmax, logits_of  # noqa: E402

Rows = list[list[int]]


@pytest.fixture(scope="module")
def hashed() -> ExactDecoder:
    weights = {name: torch.from_numpy(each) for name, each in hashed_weights().items()}
    return ExactDecoder(SHAPE, weights)


@pytest.fixture(scope="module")
def demo(one_thread: None) -> ExactDecoder:
    return ExactDecoder.load(open_base(DEMO_BASE, name="demo"))


def _each(decoder: ExactDecoder, rows: Rows) -> list[np.ndarray]:
    """Return the logits of rows run together, without what stands in the padding."""
    together = decoder.logits(rows)
    return [logits[: len(row)] for logits, row in zip(together, rows, strict=True)]


@pytest.mark.parametrize("model", ["hashed", "demo"])
def test_logits_have_the_published_digest(model: str, request: pytest.FixtureRequest) -> None:
    decoder: ExactDecoder = request.getfixturevalue(model)
    vector = vectors()[model]
    logits = _each(decoder, vector["rows"])
    assert digest_of(logits) == vector["logits"]
    assert digest_of(decoder.log_probs(each) for each in logits) == vector["log_probs"]


def test_an_implementation_in_integers_agrees(hashed: ExactDecoder, demo: ExactDecoder) -> None:
    base = open_base(DEMO_BASE, name="demo")
    demo_weights = {name: base.tensor(name) for name in base.shape.tensors()}
    for decoder, weights, name in (
        (hashed, hashed_weights(), "hashed"),
        (demo, demo_weights, "demo"),
    ):
        vector = vectors()[name]
        rows = vector["rows"]
        logits = [logits_of(decoder.shape, weights, row) for row in rows]
        assert digest_of(logits) == vector["logits"]
        assert np.array_equal(logits[0], decoder.logits([rows[0]])[0])
        log_probs = [np.stack([log_softmax(row) for row in each]) for each in logits]
        assert digest_of(log_probs) == vector["log_probs"]


def test_batch_padding_and_order_change_no_bit(hashed: ExactDecoder) -> None:
    rows = vectors()["hashed"]["rows"]
    together = _each(hashed, rows)
    for alone, row in zip(together, rows, strict=True):
        assert np.array_equal(hashed.logits([row])[0], alone)
        assert np.array_equal(hashed.logits([[*row, *([5] * 16)]])[0, : len(row)], alone)
    for shuffled, expected in zip(_each(hashed, rows[::-1]), together[::-1], strict=True):
        assert np.array_equal(shuffled, expected)
    wide = max(rows, key=len)
    assert np.array_equal(hashed.states([wide[:4]])[0], hashed.states([wide])[0, :4])


def test_a_small_batch_and_a_second_thread_change_no_bit(
    hashed: ExactDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = vectors()["hashed"]["rows"] * 3
    expected = hashed.logits(rows)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert np.array_equal(hashed.logits(rows), expected)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(ExactDecoder, "activation_bytes", 1)
    assert np.array_equal(hashed.logits(rows), expected)


def test_a_cache_continues_with_the_bits_of_the_whole(hashed: ExactDecoder) -> None:
    rows = [row[:6] for row in vectors()["hashed"]["rows"] if len(row) >= 6]
    logits, cache = hashed.start([row[:3] for row in rows])
    assert np.array_equal(logits, hashed.last_logits([row[:3] for row in rows]))
    order = [1, 0, 0]
    cache = cache.rows(order)
    for step in range(3, 6):
        logits, cache = hashed.extend(cache, [rows[each][step] for each in order])
        assert np.array_equal(
            logits, hashed.last_logits([rows[each][: step + 1] for each in order])
        )


def test_deltas_are_added_before_anything_is_rounded(hashed: ExactDecoder) -> None:
    rows = vectors()["hashed"]["rows"]
    before = hashed.logits(rows)
    name = "model.layers.1.mlp.down_proj"
    rng = np.random.default_rng(3)
    deltas = Deltas({name: rng.normal(size=(SHAPE.hidden_size, SHAPE.intermediate_size))})
    adapted = hashed.with_deltas(deltas)
    weights = hashed_weights()
    weights[f"{name}.weight"] = weights[f"{name}.weight"] + deltas[name]
    anew = ExactDecoder(SHAPE, {key: torch.from_numpy(each) for key, each in weights.items()})
    assert np.array_equal(adapted.logits(rows), anew.logits(rows))
    assert not np.array_equal(adapted.logits(rows), before)
    assert np.array_equal(hashed.logits(rows), before)
    assert hashed.with_deltas(None) is hashed


def test_it_is_near_the_float64_engine(tiny_base: Path, tiny_adapters: list[Path]) -> None:
    base = open_base(tiny_base, name="tiny")
    rows = [[6, 7, 8, 9, 4], [12, 13, 14, 15, 16]]
    for deltas in (None, delta_of(inspect_adapter(tiny_adapters[0], base))):
        ours = ExactDecoder.load(base).with_deltas(deltas)
        theirs = Decoder.load(base).with_deltas(deltas)
        assert np.abs(ours.logits(rows) - theirs.logits(rows)).max() < 1e-4
        assert np.abs(ours.states(rows) - theirs.states(rows)).max() < 1e-4
        assert (
            np.abs(ours.log_probs(ours.logits(rows)) - theirs.log_probs(ours.logits(rows))).max()
            < 1e-8
        )


def test_a_model_out_of_range_has_no_logits(hashed: ExactDecoder) -> None:
    name = "model.layers.0.self_attn.v_proj"
    shape = (SHAPE.kv_heads * SHAPE.head_dim, SHAPE.hidden_size)
    huge = hashed.with_deltas(Deltas({name: np.full(shape, 1e200)}))
    assert np.isnan(huge.logits([[1, 2, 3]])).all()
