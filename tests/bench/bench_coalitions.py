"""Coalition evaluation against the same coalitions through PEFT's own merge API.

Run as `python tests/bench/bench_coalitions.py [BASE ADAPTER...]`, by default on the models of the
demo; prints seconds of CPU time, minimum of several runs, one thread.

PEFT side, per coalition: `add_weighted_adapter(combination_type="cat")`, `set_adapter`, batched
greedy `generate` in float32 over prompts of one length, `delete_adapter`. Our side is
`CoalitionEngine` in float64. The floor is `generate` of the bare base on the same rows, once per
coalition. Answers are compared as well: a fast engine that says something else has won nothing.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose.adapter import Adapter, inspect_adapter
from compose.base import BaseModel, open_base
from compose.coalitions import CoalitionEngine
from compose.lock import Lock, LockedBase, LockedEntry, LockedMethod
from compose.methods import find_method
from compose.suite import Item, Suite
from ledger.cid import Cid

RUNS = 3
MEMBERS = 4
ROWS = 64
NEW_TOKENS = 6


def main(base_directory: Path, directories: list[Path]) -> None:
    """Print one line for each way of evaluating all coalitions."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    base = open_base(base_directory, name="bench")
    chosen = sorted(directories, key=lambda path: str(_cid(path.name)))[:MEMBERS]
    adapters = {str(_cid(path.name)): inspect_adapter(path, base) for path in chosen}
    suite = _suite(base_directory)
    masks = list(range(1, 1 << len(chosen)))

    floor, _ = _fastest(lambda: _base_only(base_directory, suite, masks))
    peft, expected = _fastest(lambda: _through_peft(base_directory, chosen, suite, masks))
    print(f"{len(masks)} coalitions of {len(chosen)} members, {ROWS} rows, {NEW_TOKENS} tokens")
    print(f"base forward floor (float32)  {floor:8.3f} s")
    print(f"peft cat loop (float32)       {peft:8.3f} s  {peft / floor:6.2f} x floor")
    for method in ("merge.linear", "merge.ties", "logit.select"):
        parameters = {"form": "sum"} if method == "merge.linear" else {}
        lock = _lock(base, adapters, method, parameters)
        seconds, said = _fastest(lambda lock=lock: _engine(lock, base, adapters, suite, masks))
        note = ""
        if method == "merge.linear":
            same = sum(a == b for a, b in zip(said, expected, strict=True))
            note = f"  {same} of {len(said)} answers as peft"
        print(
            f"{method:14s} (float64)       {seconds:8.3f} s  {peft / seconds:6.2f} x faster{note}"
        )


def _cid(text: str) -> Cid:
    return Cid.of(text.encode())


def _suite(directory: Path) -> Suite:
    """Prompts of equal length over the words of the base's own tokenizer."""
    import json

    vocabulary = json.loads((directory / "tokenizer.json").read_bytes())["model"]["vocab"]
    words = [word for word in vocabulary if word.isalnum()]
    prompts = [
        " ".join(words[(7 * row + 5 * k * k + row * k) % len(words)] for k in range(5)) + " >"
        for row in range(ROWS)
    ]
    items = tuple(Item(f"row-{number}", text, (), "?") for number, text in enumerate(prompts))
    return Suite("bench", "CC0-1.0", "exact", NEW_TOKENS, "bench", None, "whitespace", items)


def _lock(
    base: BaseModel, adapters: dict[str, Adapter], method: str, parameters: dict[str, str]
) -> Lock:
    return Lock(
        frontier=(),
        base=LockedBase("bench", base.digest, _cid("base")),
        members=tuple(LockedEntry(each, _cid(each)) for each in sorted(adapters)),
        method=LockedMethod(method, "1", find_method(method).validate(parameters)),
        dev=None,
        suites=(LockedEntry(str(_cid("suite")), _cid("items")),),
        seed=0,
        exactness="pinned",
        software={},
    )


def _fastest(work: Callable[[], tuple[float, list[str]]]) -> tuple[float, list[str]]:
    return min((work() for _ in range(RUNS)), key=lambda result: result[0])


def _engine(
    lock: Lock, base: BaseModel, adapters: dict[str, Adapter], suite: Suite, masks: list[int]
) -> tuple[float, list[str]]:
    engine = CoalitionEngine(lock, base, adapters, [suite])
    start = time.process_time()
    said = [str(each.answer) for _, cell in engine.evaluate(masks) for each in cell[0]]
    return time.process_time() - start, said


def _load(directory: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(directory)


def _generate(model: Any, tokenizer: Any, suite: Suite) -> list[str]:
    import torch

    ids = torch.tensor([tokenizer(item.prompt)["input_ids"] for item in suite.items])
    with torch.inference_mode():
        produced = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
        )
    texts = tokenizer.batch_decode(produced[:, ids.shape[1] :], skip_special_tokens=True)
    return [" ".join(text.split()) for text in texts]


def _base_only(directory: Path, suite: Suite, masks: list[int]) -> tuple[float, list[str]]:
    model, tokenizer = _load(directory)
    start = time.process_time()
    said = [text for _ in masks for text in _generate(model, tokenizer, suite)]
    return time.process_time() - start, said


def _through_peft(
    directory: Path, adapters: list[Path], suite: Suite, masks: list[int]
) -> tuple[float, list[str]]:
    from peft import PeftModel

    model, tokenizer = _load(directory)
    adapted = PeftModel.from_pretrained(model, adapters[0], adapter_name="m0")
    for number, path in enumerate(adapters[1:], start=1):
        adapted.load_adapter(path, adapter_name=f"m{number}")
    said: list[str] = []
    start = time.process_time()
    for mask in masks:
        names = [f"m{bit}" for bit in range(len(adapters)) if mask >> bit & 1]
        adapted.add_weighted_adapter(names, [1.0] * len(names), "merged", combination_type="cat")
        adapted.set_adapter("merged")
        said.extend(_generate(adapted, tokenizer, suite))
        adapted.set_adapter("m0")
        adapted.delete_adapter("merged")
    return time.process_time() - start, said


if __name__ == "__main__":
    data = Path(__file__).parents[2] / "node" / "demo" / "data"
    given = [Path(each) for each in sys.argv[1:]]
    paths = given or [data / "base", *sorted((data / "adapters").iterdir())]
    main(paths[0], paths[1:])
