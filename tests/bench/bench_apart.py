"""All coalitions under methods that keep their members apart, against PEFT's loop over merges.

Run as `python tests/bench/bench_apart.py [MEMBERS...]`, by default 8 and 12, on the models of the
demo; it has 8 adapters, so the others are copies under ids of their own, which are run like any.
Prints seconds of CPU time of one run on one thread, fitting on 8 dev items included, and the ratio.

The PEFT side is that of `bench_coalitions`, on six coalitions drawn at random and multiplied up to
all: there is no other way of evaluating a coalition with PEFT that is exact. What the methods
answer is another matter, and is not compared.
"""

from __future__ import annotations

import random
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

from bench_coalitions import NEW_TOKENS, ROWS, _cid, _lock, _suite, _through_peft

from compose.adapter import inspect_adapter
from compose.base import open_base
from compose.coalitions import CoalitionEngine
from compose.methods import METHODS

DATA = Path(__file__).parents[2] / "node" / "demo" / "data"
SAMPLE = 6
# It asks other prompts for other coalitions, so n + 1 runs do not settle them.
LEFT_OUT = ("text.refine",)


def main(members: int) -> None:
    """Print one line for each method."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    base = open_base(DATA / "base", name="bench")
    found = sorted((DATA / "adapters").iterdir())
    directories = [found[number % len(found)] for number in range(members)]
    ids = [str(_cid(f"{number} {path.name}")) for number, path in enumerate(directories)]
    adapters = {
        id_: inspect_adapter(path, base) for id_, path in zip(ids, directories, strict=True)
    }
    suite = _suite(DATA / "base")
    masks = range(1, 1 << members)
    sample = random.Random(0).sample(masks, SAMPLE)
    spent, _ = _through_peft(DATA / "base", directories, suite, sample)
    peft = spent * len(masks) / SAMPLE
    print(f"{len(masks)} coalitions of {members} members, {ROWS} rows, {NEW_TOKENS} tokens")
    print(f"peft cat loop      {peft:8.2f} s, from {SAMPLE} coalitions")
    titles = {id_: path.name for id_, path in zip(ids, directories, strict=True)}
    fuse = CoalitionEngine(_lock(base, adapters, "logit.fuse", {}), base, adapters, [suite])
    ((_, (said,)),) = fuse.evaluate([1])
    # Gold is what the first member says, so that there is something to route by.
    pairs = zip(suite.items[:8], said[:8], strict=True)
    dev = replace(suite, items=tuple(replace(item, answer=each.answer) for item, each in pairs))
    for name, method in sorted(METHODS.items()):
        if not method.shares_members or name in LEFT_OUT:
            continue
        lock = replace(_lock(base, adapters, name, {}), exactness="pinned")
        engine = CoalitionEngine(lock, base, adapters, [suite], dev, titles)
        print(_timed(name, engine, masks, peft), flush=True)


def _timed(name: str, engine: CoalitionEngine, masks: range, peft: float) -> str:
    start = time.process_time()
    count = sum(1 for _ in engine.evaluate(masks))
    seconds = time.process_time() - start
    assert count == len(masks)
    return f"{name:18s} {seconds:8.2f} s  {peft / seconds:7.1f} times as fast"


if __name__ == "__main__":
    for number in [int(each) for each in sys.argv[1:]] or [8, 12]:
        main(number)
