"""Which bits and which outcomes survive another batch, thread, instruction set or library.

Run as `python tests/bench/exactness_matrix.py`; takes a minute or two. `--write` puts the table
into docs/explanation/exactness.md. `--python PATH` adds a row for another interpreter with another
torch, which needs torch, numpy, tokenizers and cryptography.

One system, the sum of the demo's adapters on its base, is run in every setting and every class. A
cell says whether all logits have the bits of the first setting, or how far the farthest is off, and
how many of the outcomes on two suites differ from those of the first setting.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from compose import exact  # noqa: E402 - the path comes first
from compose.adapter import inspect_adapter  # noqa: E402
from compose.bank import MemberBank  # noqa: E402
from compose.base import BaseModel, open_base  # noqa: E402
from compose.decoding import Decoding  # noqa: E402
from compose.delta import Deltas, delta_of, weighted_sum  # noqa: E402
from compose.evaluation import outcomes_of  # noqa: E402
from compose.exactness import NEAR_TIE, SOFTWARE, load_decoder  # noqa: E402
from compose.methods.speaker import Speaker  # noqa: E402
from compose.suite import Item, Suite  # noqa: E402
from compose.tokens import Tokens  # noqa: E402

if TYPE_CHECKING:
    from compose.forward import Decoder

DATA = ROOT / "node" / "demo" / "data"
PAGE = ROOT / "docs" / "explanation" / "exactness.md"
BEGIN, END = "<!-- exactness matrix: begin -->\n", "<!-- exactness matrix: end -->\n"
LENGTHS = range(3, 15)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to run the same system; what `environment` sets needs a process of its own."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    threads: int = 1
    batch: int = 512
    padding: int = 0
    reverse: bool = False
    stepwise: bool = False
    openblas: bool = False
    python: str = sys.executable


REFERENCE = Setting("one thread, one batch for each length of row")
SETTINGS = (
    REFERENCE,
    Setting("the same in a new process", {"PYTHONHASHSEED": "7"}),
    Setting("two threads", threads=2),
    Setting("batches of one row", batch=1),
    Setting("batches of 7 rows, in reverse order", batch=7, reverse=True),
    Setting("16 tokens of padding", padding=16),
    Setting("token by token with a cache", stepwise=True),
    Setting("`ATEN_CPU_CAPABILITY=default`", {"ATEN_CPU_CAPABILITY": "default"}),
    Setting("`MKL_CBWR=COMPATIBLE`", {"MKL_CBWR": "COMPATIBLE"}),
    Setting("`MKL_CBWR=AVX2`", {"MKL_CBWR": "AVX2"}),
    Setting("`ONEDNN_MAX_CPU_ISA=SSE41`", {"ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Setting("products by numpy's OpenBLAS", openblas=True),
    Setting(
        "all caps, two threads, batches of 7, padding",
        {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
        threads=2,
        batch=7,
        padding=16,
    ),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What came out in one class: all logits, [positions, vocabulary], and the outcomes."""

    logits: np.ndarray[Any, np.dtype[np.float64]]
    outcomes: tuple[str, ...]


def main() -> None:
    """Print the table, or put it into the documentation."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="write the table into the page")
    parser.add_argument("--python", action="append", default=[], help="another interpreter")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        setting, target = Setting(**json.loads(options.worker[0])), Path(options.worker[1])
        _save(target, run_here(setting))
        return
    others = [Setting(_software(python), python=python) for python in options.python]
    table = markdown([*SETTINGS, *others])
    print(table)
    if options.write:
        page = PAGE.read_text()
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(before + BEGIN + table + END + after)


def markdown(settings: Sequence[Setting]) -> str:
    """Run the system in every setting and return the table."""
    heads = [f"`{name}`: {what}" for name in NEAR_TIE for what in ("logits", "outcomes")]
    lines = [f"| setting | {' | '.join(heads)} |", f"| --- |{' --- |' * len(heads)}"]
    reference: dict[str, Run] = {}
    for setting, runs in zip(settings, map(run, settings), strict=True):
        reference = reference or runs
        cells = [cell for name in NEAR_TIE for cell in compared(runs[name], reference[name])]
        lines.append(f"| {setting.name} | {' | '.join(cells)} |")
    items = len(next(iter(reference.values())).outcomes)
    positions, vocabulary = next(iter(reference.values())).logits.shape
    here = f"{_software(sys.executable)}; {_processor()}"
    lines += [
        "",
        f"{positions * vocabulary:,} logits and {items} outcomes in each class; {here}.",
    ]
    return "\n".join(lines) + "\n"


def compared(ours: Run, reference: Run) -> tuple[str, str]:
    """Return a cell about the logits and one about the outcomes."""
    farthest = float(np.abs(ours.logits - reference.logits).max())
    same = ours.logits.tobytes() == reference.logits.tobytes()
    others = sum(a != b for a, b in zip(ours.outcomes, reference.outcomes, strict=True))
    return "same bits" if same else f"{farthest:.0e}", f"{others} differ" if others else "same"


def run(setting: Setting) -> dict[str, Run]:
    """Run the system in one setting, in another process if it needs one."""
    if not setting.environment and setting.python == sys.executable:
        return run_here(setting)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "runs.npz"
        command = [setting.python, str(Path(__file__)), "--worker"]
        subprocess.run(
            [*command, json.dumps(asdict(setting)), str(target)],
            check=True,
            env=os.environ | setting.environment,
        )
        with np.load(target) as arrays:
            return {
                name: Run(arrays[f"{name} logits"], tuple(arrays[f"{name} outcomes"].tolist()))
                for name in NEAR_TIE
            }


def run_here(setting: Setting) -> dict[str, Run]:
    """Run the system in every class in this process."""
    import torch

    base, merged = _merged()
    runs = {}
    for name in NEAR_TIE:
        decoder = load_decoder(base, name, {SOFTWARE: exact.VERSION}).with_deltas(merged)
        before = torch.get_num_threads(), torch.Tensor.__matmul__
        torch.set_num_threads(setting.threads)
        if setting.openblas:
            torch.Tensor.__matmul__ = _through_numpy  # type: ignore[method-assign,assignment]
        try:
            runs[name] = Run(_logits(decoder, setting), _outcomes(decoder, base, setting))
        finally:
            torch.set_num_threads(before[0])
            torch.Tensor.__matmul__ = before[1]  # type: ignore[method-assign]
    return runs


@cache
def _merged() -> tuple[BaseModel, Deltas]:
    base = open_base(DATA / "base", name="demo")
    folders = sorted((DATA / "adapters").iterdir())
    deltas = [delta_of(inspect_adapter(folder, base)) for folder in folders]
    return base, weighted_sum([(each, Fraction(1, 2)) for each in deltas])


def _logits(decoder: Decoder, setting: Setting) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the logits of all rows at every position, rows in one order whatever the setting."""
    rows = _rows(decoder.shape.vocab_size)
    found: dict[int, np.ndarray[Any, np.dtype[np.float64]]] = {}
    for batch in _batches(rows, setting):
        if setting.stepwise:
            logits, cache = decoder.start([rows[number][:1] for number in batch])
            steps = [logits]
            for step in range(1, len(rows[batch[0]])):
                logits, cache = decoder.extend(cache, [rows[number][step] for number in batch])
                steps.append(logits)
            parts = np.stack(steps, axis=1)
        else:
            parts = decoder.logits([rows[number] + [0] * setting.padding for number in batch])
        found |= {number: parts[at, : len(rows[number])] for at, number in enumerate(batch)}
    return np.concatenate([found[number] for number in range(len(rows))])


def _rows(vocabulary: int) -> list[list[int]]:
    draw = random.Random(29)
    return [[draw.randrange(vocabulary) for _ in range(size)] for size in LENGTHS for _ in range(8)]


def _batches(rows: Sequence[Sequence[int]], setting: Setting) -> Iterator[list[int]]:
    """Yield numbers of rows of one length, so that nothing is padded but on purpose."""
    for length in LENGTHS:
        same = [number for number, row in enumerate(rows) if len(row) == length]
        same = same[::-1] if setting.reverse else same
        for start in range(0, len(same), setting.batch):
            yield same[start : start + setting.batch]


def _outcomes(decoder: Decoder, base: BaseModel, setting: Setting) -> tuple[str, ...]:
    """Return the leaves of the outcomes, in hexadecimal, in the order of the items."""
    bank = MemberBank([decoder], Speaker(), names=["merged model"])
    system = Decoding(bank, Tokens.open(base), base.eos_token_ids)
    suites = [
        replace(suite, items=suite.items[::-1]) if setting.reverse else suite
        for suite in _suites(base)
    ]
    everybody = np.ones((1, 0), dtype=np.bool_)
    (cell,) = outcomes_of(system, suites, everybody, items_at_once=setting.batch)
    leaves = {each.item: each.leaf().hex() for outcomes in cell for each in outcomes}
    return tuple(leaves[item] for item in sorted(leaves))


def _suites(base: BaseModel) -> list[Suite]:
    """Texts and choices over the words of the base's own tokenizer."""
    vocabulary = json.loads((base.directory / "tokenizer.json").read_bytes())["model"]["vocab"]
    words = sorted(word for word in vocabulary if word.isalnum())
    draw = random.Random(30)
    prompts = [" ".join(draw.choices(words, k=draw.randint(3, 7))) + " >" for _ in range(96)]
    choices = tuple(" ".join(draw.choices(words, k=3)) for _ in range(5))
    texts = [Item(f"text {at:02}", each, (), "?") for at, each in enumerate(prompts[:64])]
    chosen = [Item(f"choice {at:02}", each, choices, 0) for at, each in enumerate(prompts[64:])]
    about = "CC0-1.0", 6, "made for a comparison", None
    return [
        Suite("texts", about[0], "exact", *about[1:], "whitespace", tuple(texts)),
        Suite("choices", about[0], "choice", *about[1:], "none", tuple(chosen)),
    ]


def _through_numpy(left: Any, right: Any) -> Any:
    import torch

    return torch.from_numpy(np.matmul(left.numpy(), right.numpy()))


def _save(target: Path, runs: dict[str, Run]) -> None:
    arrays = {f"{name} logits": run.logits for name, run in runs.items()}
    texts = {f"{name} outcomes": np.array(run.outcomes) for name, run in runs.items()}
    with target.open("wb") as file:
        np.savez(file, **arrays, **texts)


def _software(python: str) -> str:
    code = "import numpy, torch; print(f'torch {torch.__version__}, numpy {numpy.__version__}')"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2] for line in lines if line.startswith("model name")), "?")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    widest = next((each for each in ("avx512f", "avx2", "sse4_2") if each in flags), "")
    return f"{model.strip()} ({widest})"


if __name__ == "__main__":
    main()
