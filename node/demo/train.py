"""Training of the demo world's base model and adapters, from nothing.

The base is a Llama-shaped decoder of 108,992 parameters that sees public text only. Each of the
eight contributors then trains one LoRA adapter on its own private text, mixed one to one with
public replay: without the replay an adapter overwrites every operation and no method that
composes models survives. Torch, transformers and peft are imported inside functions.

Rule: one thread and one seeded stream per purpose, so a run on the same software repeats itself; a
part is written under a temporary name and renamed when complete, so a run that was interrupted
continues with the first part that is missing.
"""

import json
import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ledger.errors import UsageError
from node.demo.world import (
    ANSWER,
    BOS,
    EOS,
    PAD,
    UNKNOWN,
    VOCABULARY,
    Contributor,
    World,
    private_lines,
    public_lines,
    stream,
)

Progress = Callable[[str, int, int], None]

BASE_NAME = "cipher-tiny"
SEED = 2606
REPORT_EVERY = 25
TARGETS = ("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj")
_IGNORED = -100
_INDEX = {word: index for index, word in enumerate(VOCABULARY)}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps, rows per step and the learning rate: a linear warm-up, then a cosine to zero.

    Label smoothing keeps the probabilities of all other words level, so that how far a member
    departs from the base says how sure it is, and not which word it happens to prefer.
    """

    steps: int
    batch: int
    rate: float
    warmup: int
    smoothing: float


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of the base and of the adapters."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    width: int = 192
    positions: int = 64
    rank: int = 8
    alpha: int = 16


SHAPE = Shape()
BASE_SCHEDULE = Schedule(steps=3000, batch=128, rate=4e-3, warmup=100, smoothing=0.05)
ADAPTER_SCHEDULE = Schedule(steps=400, batch=64, rate=3e-3, warmup=20, smoothing=0.05)


def train(directory: Path, *, seed: int = SEED, progress: Progress | None = None) -> None:
    """Train the base and every adapter of one world into a directory.

    Writes `base/`, `adapters/<name>/` and `world.json`, which records the seed and schedules. Parts
    that are already present are kept.

    Args:
        directory: Where to write; created if missing.
        seed: The world seed, which also seeds the training.
        progress: Called with the stage (`base` or a contributor's name), steps done and steps
            in all.

    Raises:
        UsageError: The directory holds the parts of another world or schedule.
    """
    report = progress or _silent
    world = World(seed)
    directory.mkdir(parents=True, exist_ok=True)
    _claim(directory, seed)
    with _one_thread(), _quiet():
        base = directory / "base"
        if not base.is_dir():
            with _complete(base) as partial:
                _train_base(world, partial, report)
        for contributor in world.contributors:
            target = directory / "adapters" / contributor.name
            if not target.is_dir():
                with _complete(target) as partial:
                    _train_adapter(world, contributor, base, partial, report)


def _silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""


def _claim(directory: Path, seed: int) -> None:
    """Write what determines the training, or check that it is what the directory was begun with.

    Raises:
        UsageError: The directory was begun with another seed or schedule.
    """
    record = {
        "schema": "pnode.demo-world/1",
        "seed": seed,
        "base": asdict(BASE_SCHEDULE),
        "adapter": asdict(ADAPTER_SCHEDULE),
        "shape": asdict(SHAPE),
    }
    path = directory / "world.json"
    if not path.exists():
        path.write_bytes(_pretty(record))
    elif json.loads(path.read_bytes()) != json.loads(_pretty(record)):
        raise UsageError(
            f"{path}: begun with another seed or schedule", hint="train into a new folder"
        )


def _pretty(value: object) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


@contextmanager
def _complete(target: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes `target` when the block ends without an error."""
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    for path in partial.iterdir():
        # The libraries leave weights readable by their owner only, unlike the files beside them.
        path.chmod(0o644)
    partial.rename(target)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread and a private copy of the global generator, and give both back.

    Sums split over threads depend on their number. The global generator is drawn on where the
    libraries initialise weights.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and notices of coming changes: the caller reports its own way."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _train_base(world: World, target: Path, report: Progress) -> None:
    """Train the base on public text and save it with its tokenizer."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(_seed(world, "base"))
    special: dict[str, Any] = {
        "pad_token_id": _INDEX[PAD],
        "bos_token_id": _INDEX[BOS],
        "eos_token_id": _INDEX[EOS],
    }
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=SHAPE.hidden,
        intermediate_size=SHAPE.width,
        num_hidden_layers=SHAPE.layers,
        num_attention_heads=SHAPE.heads,
        num_key_value_heads=SHAPE.heads,
        max_position_embeddings=SHAPE.positions,
        tie_word_embeddings=True,
        **special,
    )
    model = LlamaForCausalLM(config)
    lines = public_lines(world, stream(world.seed, "train", "base"))
    _fit(model, lines, BASE_SCHEDULE, lambda done, total: report("base", done, total))
    untyped: Any = GenerationConfig
    model.generation_config = untyped(do_sample=False, **special)
    model.save_pretrained(target)
    _tokenizer().save_pretrained(target)


def _train_adapter(
    world: World, contributor: Contributor, base: Path, target: Path, report: Progress
) -> None:
    """Train one contributor's adapter and save it in PEFT format."""
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import LlamaForCausalLM

    torch.manual_seed(_seed(world, contributor.name))
    model = LlamaForCausalLM.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    # PEFT writes this into the adapter; it would otherwise be the path of this directory.
    model.name_or_path = BASE_NAME
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=SHAPE.rank,
        lora_alpha=SHAPE.alpha,
        target_modules=list(TARGETS),
    )
    adapted = get_peft_model(model, config)
    lines = _alternate(
        private_lines(world, contributor, stream(world.seed, "train", contributor.name)),
        public_lines(
            world,
            stream(world.seed, "replay", contributor.name),
            without=contributor.operation,
        ),
    )
    _fit(
        adapted,
        lines,
        ADAPTER_SCHEDULE,
        lambda done, total: report(contributor.name, done, total),
    )
    # Asked to decide about embeddings by itself, PEFT would look the name up on a hub.
    adapted.save_pretrained(str(target), save_embedding_layers=False)
    _neutral(target)


def _neutral(adapter: Path) -> None:
    """Keep the two files of an adapter, the configuration in an order that does not vary.

    PEFT keeps target modules in a set, so their order changes from one process to the next.
    """
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_bytes())
    config["target_modules"] = sorted(config["target_modules"])
    path.write_bytes(_pretty(config))
    (adapter / "README.md").unlink(missing_ok=True)


def _alternate(first: Iterator[str], second: Iterator[str]) -> Iterator[str]:
    """Yield from both in turn: one line of private text, one of public replay."""
    while True:
        yield next(first)
        yield next(second)


def _fit(
    model: Any, lines: Iterator[str], schedule: Schedule, report: Callable[[int, int], None]
) -> None:
    """Minimise the loss of the answers with AdamW."""
    import torch

    parameters = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=schedule.rate, betas=(0.9, 0.98), weight_decay=0.0)
    decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_at(schedule, step))
    model.train()
    for step in range(schedule.steps):
        inputs, labels = _batch(list(islice(lines, schedule.batch)))
        # Right padding needs no mask: a causal model never looks at what follows.
        logits = model(input_ids=inputs, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1),
            labels[:, 1:].flatten(),
            ignore_index=_IGNORED,
            label_smoothing=schedule.smoothing,
        )
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        decay.step()
        if (step + 1) % REPORT_EVERY == 0 or step + 1 == schedule.steps:
            report(step + 1, schedule.steps)
    model.eval()


def _rate_at(schedule: Schedule, step: int) -> float:
    """Return the factor on the learning rate at a step."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    progress = (step - schedule.warmup) / (schedule.steps - schedule.warmup)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _batch(lines: list[str]) -> tuple[Any, Any]:
    """Return token ids and labels, padded on the right; prompts are not trained on."""
    import torch

    rows = [[_INDEX[word] for word in line.split()] for line in lines]
    width = max(map(len, rows))
    inputs, labels = [], []
    for row in rows:
        padding = width - len(row)
        start = row.index(_INDEX[ANSWER]) + 1
        inputs.append(row + [_INDEX[PAD]] * padding)
        labels.append([_IGNORED] * start + row[start:] + [_IGNORED] * padding)
    return torch.tensor(inputs), torch.tensor(labels)


def _tokenizer() -> Any:
    """Return the tokenizer: one token for each word, words split at whitespace, none added."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(WordLevel(dict(_INDEX), unk_token=UNKNOWN))
    inner.pre_tokenizer = WhitespaceSplit()
    untyped: Any = PreTrainedTokenizerFast
    return untyped(
        tokenizer_object=inner,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNKNOWN,
        model_max_length=SHAPE.positions,
        clean_up_tokenization_spaces=False,
    )


def _seed(world: World, purpose: str) -> int:
    return stream(world.seed, "weights", purpose).getrandbits(63)
