"""The engines of the exactness classes against a float32 forward of transformers on the same rows.

Run as `python tests/bench/bench_exact.py`; takes half a minute. Seconds of CPU time on one thread,
the fastest of several runs, taken in turns so that a busy machine is busy for all of them. The
models are the base of the demo and random ones; every engine returns all logits, as transformers
does.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from compose.base import open_base
from compose.exactness import NEAR_TIE, load_decoder
from compose.exactness import SOFTWARE as EXACT

RUNS = 5
DEMO = Path(__file__).parents[2] / "node" / "demo" / "data" / "base"
SIZES: dict[str, dict[str, int]] = {
    "width 128, 3 layers": {
        "hidden_size": 128,
        "intermediate_size": 344,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
    },
    "width 512, 4 layers": {
        "hidden_size": 512,
        "intermediate_size": 1376,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
    },
}


def main() -> None:
    """Print one line for each model."""
    import torch

    from compose import exact

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'model':22s} {'rows':>10s} {'transformers':>13s}", *(f"{c:>10s}" for c in NEAR_TIE))
    for name, folder, rows in models():
        base = open_base(folder, name="bench")
        engines = [load_decoder(base, each, {EXACT: exact.VERSION}) for each in NEAR_TIE]
        torch.set_num_threads(1)
        ids = np.random.default_rng(0).integers(0, base.shape.vocab_size, size=rows).tolist()
        plain, *seconds = fastest(
            [through_transformers(folder, ids), *(partial(each.logits, ids) for each in engines)]
        )
        ratios = [f"{each / plain:8.2f} x" for each in seconds]
        print(f"{name:22s} {rows[0]:>5d} x {rows[1]:<2d} {1000 * plain:10.1f} ms", *ratios)


def models() -> Iterator[tuple[str, Path, tuple[int, int]]]:
    """Yield name, folder, and number and length of the rows."""
    yield "the demo's base", DEMO, (200, 15)
    for (name, sizes), rows in zip(SIZES.items(), ((200, 15), (32, 24)), strict=True):
        with random_base(sizes) as folder:
            yield name, folder, rows


@contextmanager
def random_base(sizes: dict[str, int]) -> Iterator[Path]:
    """Write a random model with the tokenizer of the demo's base."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        torch.manual_seed(1)
        config = LlamaConfig(vocab_size=2048, max_position_embeddings=256, **sizes)
        LlamaForCausalLM(config).save_pretrained(name)
        shutil.copy(DEMO / "tokenizer.json", name)
        yield Path(name)


def through_transformers(folder: Path, ids: list[list[int]]) -> Callable[[], Any]:
    """Return a float32 forward of transformers over the rows."""
    import torch
    from transformers import LlamaForCausalLM

    with contextlib.redirect_stderr(io.StringIO()):
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rows = torch.tensor(ids)

    def forward() -> Any:
        with torch.inference_mode():
            return model(rows).logits

    return forward


def fastest(works: list[Callable[[], Any]]) -> list[float]:
    """Return the least CPU time of each, after one run to warm up."""
    times: list[list[float]] = [[] for _ in works]
    for run in range(RUNS + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.process_time()
            work()
            if run:
                taken.append(time.process_time() - start)
    return [min(taken) for taken in times]


if __name__ == "__main__":
    main()
